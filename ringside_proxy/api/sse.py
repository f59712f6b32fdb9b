"""Events as frames on the wire, and what happens when the client goes away."""

import asyncio
from typing import Any, Final

import msgspec
from aiohttp import web

from ringside_proxy.domain.events import StreamEvent

KEEP_ALIVE_S: Final = 15.0
KEEP_ALIVE: Final = b": ping\n\n"
DONE: Final = b"event: done\ndata: [DONE]\n\n"
WRITE_STALL_S: Final = 60.0

HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}

_encode = msgspec.json.Encoder().encode


def frame(name: str, data: Any) -> bytes:
    """One event: exactly one `event:` and one `data:` line, then a blank one."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))


def data_frame(data: Any) -> bytes:
    """One event of a chat stream, which has no names."""
    return b"data: %b\n\n" % _encode(data)


def frames(events: list[StreamEvent]) -> bytes:
    """A batch of events, ready for one write."""
    return b"".join(frame(event.name, event.data) for event in events)


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write, and give up on a client that has stopped reading for a minute.

    Raises ConnectionResetError when the client is gone.
    """
    try:
        async with asyncio.timeout(WRITE_STALL_S):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client stopped reading") from None
