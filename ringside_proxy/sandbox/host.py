"""The built-in sandbox of a proxy: there while the configuration names it, and its last call lasts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from ringside_proxy.domain.ids import NewId
from ringside_proxy.sandbox import server
from ringside_proxy.system import Clock

LOOK_EVERY_S: Final = 1.0
QUIET_LOOKS: Final = 5
"""How many looks in a row find nobody calling before an unwanted sandbox ends: between two calls of
one run there is a moment."""

Sleep = Callable[[float], Awaitable[None]]


class SandboxHost:
    """Starts the sandbox when it is first asked for, and ends it when it is no longer wanted."""

    def __init__(
        self,
        clock: Clock,
        new_id: NewId,
        is_busy: Callable[[], bool],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._new_id = new_id
        self._is_busy = is_busy
        self._sleep = sleep
        self._stack = AsyncExitStack()
        self._url: str | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_running(self) -> bool:
        """Whether it can be called."""
        return self._url is not None

    async def url(self) -> str:
        """Its base URL; it runs from now on. Raises OSError."""
        await self._stay()
        async with self._one_at_a_time:
            if self._url is None:
                serving = server.serve(self._clock, self._new_id)
                port = await self._stack.enter_async_context(serving)
                self._url = f"http://127.0.0.1:{port}/v1"
            return self._url

    def leave(self) -> None:
        """It is no longer wanted: it ends when nobody calls it any more."""
        if self._url is not None and self._leaving is None:
            self._leaving = asyncio.create_task(self._end_when_quiet())

    async def close(self) -> None:
        """End it now."""
        await self._stay()
        await self._end()

    async def _stay(self) -> None:
        leaving, self._leaving = self._leaving, None
        if leaving is not None:
            leaving.cancel()
            await asyncio.wait({leaving})

    async def _end_when_quiet(self) -> None:
        quiet_looks = 0
        while quiet_looks < QUIET_LOOKS:
            await self._sleep(LOOK_EVERY_S)
            quiet_looks = 0 if self._is_busy() else quiet_looks + 1
        await asyncio.shield(self._end())

    async def _end(self) -> None:
        async with self._one_at_a_time:
            self._url = None
            await self._stack.aclose()
