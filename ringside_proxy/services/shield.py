"""Work that is finished even if the request that asked for it is cancelled.

A client may leave between two steps that belong together (store a run, start it). Such steps run
in a task of their own, which the request only waits for.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Shield:
    """Holds on to the work that goes on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def finish(
        self,
        work: Coroutine[Any, Any, T],
        on_abandoned: Callable[[T], None] = lambda result: None,
    ) -> T:
        """The result of `work`; `on_abandoned` gets it if the caller is cancelled meanwhile."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: _hand_over(done, on_abandoned))
            raise

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Work that nobody waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self, seconds: float | None = None) -> bool:
        """Until everything that is being finished is, or for `seconds`; whether it is."""
        try:
            async with asyncio.timeout(seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
        except TimeoutError:
            return False
        return True


def _hand_over(task: "asyncio.Task[T]", on_abandoned: Callable[[T], None]) -> None:
    if not task.cancelled() and task.exception() is None:
        on_abandoned(task.result())
