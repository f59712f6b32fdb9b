"""Work that a stop of the proxy ends: whoever waits for it is told, instead of just being left."""

import asyncio
from types import TracebackType
from typing import Any, Final

from ringside_proxy.domain.errors import ShuttingDownError

SHUTTING_DOWN_RETRY_AFTER_S: Final = 5.0
ENDS_S_MAX: Final = 3.0


class Cutoff:
    """Holds on to the tasks at work, until it is pulled."""

    def __init__(self) -> None:
        self._at_work: set[asyncio.Task[Any]] = set()
        self._is_pulled = False

    def around(self) -> "_Around":
        """For work that ends, once the proxy stops, as if its caller had cancelled it.

        Raises ShuttingDownError then. A task is in one such block at a time.
        """
        if self._is_pulled:
            raise _shutting_down()
        return _Around(self._at_work)

    async def pull(self) -> None:
        """End all of it, and begin nothing more; once. Waits a moment for the ends to be stored."""
        self._is_pulled = True
        ending = set(self._at_work)
        while self._at_work:  # that its task is missing tells a block who has cancelled it
            self._at_work.pop().cancel()
        if ending:
            await asyncio.wait(ending, timeout=ENDS_S_MAX)


class _Around:
    """What `asyncio.timeout(None)` does, at a tenth of its price: every call is in one."""

    __slots__ = ("_at_work", "_cancels_before", "_task")

    def __init__(self, at_work: set[asyncio.Task[Any]]) -> None:
        self._at_work = at_work

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - handlers run in tasks
        self._task, self._cancels_before = task, task.cancelling()
        self._at_work.add(task)

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._task in self._at_work:
            self._at_work.discard(self._task)
            return
        is_only_ours = self._task.uncancel() <= self._cancels_before
        if is_only_ours and kind is asyncio.CancelledError:
            raise _shutting_down() from None


def _shutting_down() -> ShuttingDownError:
    return ShuttingDownError(
        "The proxy is shutting down. Try again in a few seconds.",
        retry_after_s=SHUTTING_DOWN_RETRY_AFTER_S,
    )
