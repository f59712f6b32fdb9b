"""Events as frames on the wire, and what happens when the client goes away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from ringside_proxy.api.context import caller
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


class Stream:
    """A streamed answer, on its way to a client.

    One to a request with an Idempotency-Key is made to its end although the client has left: it
    will be asked for again. Of any other the methods raise ConnectionResetError then.
    """

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        self._request = request
        self._response = web.StreamResponse(headers=HEADERS | headers)
        self._is_kept = caller(request).once is not None
        self._is_unheard = False

    @property
    def has_begun(self) -> bool:
        """Whether a status cannot be told any more: the head is out, or nobody is there."""
        return self._response.prepared or self._is_unheard

    async def begin(self) -> None:
        """Send the head."""
        await self._unless_unheard(self._response.prepare, self._request)

    async def write(self, data: bytes) -> None:
        """Send frames."""
        await self._unless_unheard(write, self._response, data)

    async def end(self) -> web.StreamResponse:
        """What the handler answers. The body of one that is kept ends once it is stored."""
        if not self._is_kept:
            await self._response.write_eof()
        return self._response

    async def _unless_unheard(self, send: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self._is_unheard:
            return
        try:
            await send(*args)
        except ConnectionResetError:
            if not self._is_kept:
                raise
            self._is_unheard = True


async def write(response: web.StreamResponse, data: bytes) -> None:
    """Write, and give up on a client that has stopped reading for a minute.

    Raises ConnectionResetError when the client is gone.
    """
    try:
        async with asyncio.timeout(WRITE_STALL_S):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client stopped reading") from None
