"""From a run to the one who streams it: bounded, so that a slow reader slows the provider down."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from ringside_proxy.domain.events import StreamEvent

WAITING_BATCHES_MAX: Final = 4
"""A batch is what one upstream read (at most 64 KiB) caused: 256 KiB of a slow reader's stream."""


class EventChannel:
    """One writer, one reader. After `detach` the writer goes on and nobody listens."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[list[StreamEvent] | None] = asyncio.Queue(WAITING_BATCHES_MAX)
        self._is_detached = False

    async def put(self, events: list[StreamEvent]) -> None:
        """Hand over a batch, waiting while the reader is behind."""
        if events and not self._is_detached:
            await self._queue.put(events)

    async def close(self) -> None:
        """Say that no more will come."""
        if not self._is_detached:
            await self._queue.put(None)

    def detach(self) -> None:
        """Stop listening; whoever waits in `put` goes on."""
        self._is_detached = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def batches(self, idle_s: float) -> AsyncIterator[list[StreamEvent]]:
        """Everything that was put, until `close`; an empty batch wherever `idle_s` went by."""
        while True:
            try:
                async with asyncio.timeout(idle_s):
                    batch = await self._queue.get()
            except TimeoutError:
                yield []
                continue
            if batch is None:
                return
            yield batch
