"""From a run to the one who streams it: bounded, so that a slow reader slows the provider down."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from ringside_proxy.domain.events import StreamEvent

WAITING_BATCHES_MAX: Final = 4
"""A batch is what one upstream read (at most 64 KiB) caused: 256 KiB of a slow reader's stream."""


class EventChannel:
    """One writer, one reader. After `detach` the writer goes on and nobody listens."""

    def __init__(self) -> None:
        self._waiting: list[StreamEvent] = []
        self._batches = 0
        self._is_closed = False
        self._is_detached = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether everything that there will be has been read."""
        return self._is_closed and not self._waiting

    async def put(self, events: list[StreamEvent]) -> None:
        """Hand over a batch, waiting while the reader is behind."""
        while events and self._batches >= WAITING_BATCHES_MAX and not self._is_detached:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        self.push(events)

    def push(self, events: list[StreamEvent]) -> None:
        """Hand over a batch however far the reader is behind: for the few that are not said by a model."""
        if events and not self._is_detached:
            self._waiting += events
            self._batches += 1
            _wake(self._reader)

    def close(self) -> None:
        """Say that no more will come."""
        self._is_closed = True
        _wake(self._reader)

    def detach(self) -> None:
        """Stop listening; whoever waits in `put` goes on."""
        self._is_detached = True
        self._take()

    async def batches(self, idle_s: float) -> AsyncGenerator[list[StreamEvent], None]:
        """Everything that was put, until `close`; an empty batch wherever `idle_s` went by.

        What has gathered while its reader was busy comes as one batch.
        """
        loop = asyncio.get_running_loop()
        read_s = loop.time()

        def tick() -> None:  # one timer for the whole stream: one for each wait would cost more
            left_s = read_s + idle_s - loop.time()
            if left_s <= 0:
                _wake(self._reader)
            timers[0] = loop.call_later(left_s if left_s > 0 else idle_s, tick)

        timers = [loop.call_later(idle_s, tick)]
        try:
            while not self.is_over:
                if not self._waiting:
                    self._reader = loop.create_future()
                    await self._reader
                    if self.is_over:
                        return
                read_s = loop.time()
                yield self._take()
        finally:
            timers[0].cancel()

    def _take(self) -> list[StreamEvent]:
        events, self._waiting, self._batches = self._waiting, [], 0
        _wake(self._writer)
        return events


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
