"""The far side of delivery: a receiver on a real socket, which keeps what it was sent."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
from aiohttp import web

ANSWER_S_MAX: Final = 30.0


@dataclass(frozen=True)
class Received:
    """A request as it came; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def id(self) -> str:
        """The message's id: the same for all attempts."""
        return self.headers["webhook-id"]


Answer = web.StreamResponse | Callable[[Received], web.StreamResponse]


class Receiver:
    """Answers 200, or as `answer` says; `hang` makes it accept requests and say nothing."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.answer: Callable[[Received], web.StreamResponse] = lambda _: web.Response()
        self.is_hanging = False
        self.hanging = 0
        self.hanging_at_once = 0
        self._let_go = asyncio.Event()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.let_go()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where events are sent."""
        return f"http://127.0.0.1:{self.port}/hook"

    def let_go(self) -> None:
        """Answer everything that hangs, and what comes from now on."""
        self.is_hanging = False
        self._let_go.set()

    async def received(self, count: int) -> list[Received]:
        """Everything it was sent, as soon as there are so many requests."""
        return await self.until(lambda requests: len(requests) >= count)

    async def until(self, holds: Callable[[list[Received]], bool]) -> list[Received]:
        """Everything it was sent, as soon as that is as wanted."""
        async with asyncio.timeout(ANSWER_S_MAX), self._arrived:
            await self._arrived.wait_for(lambda: holds(self.requests))
        return self.requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, headers, await request.read())
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        if self.is_hanging:
            self.hanging += 1
            self.hanging_at_once = max(self.hanging_at_once, self.hanging)
            try:
                await self._let_go.wait()
            finally:
                self.hanging -= 1
        return self.answer(received)
