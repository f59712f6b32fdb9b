"""Events as frames on the wire, and what happens when the client goes away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from ringside_proxy.api.context import caller
from ringside_proxy.domain.events import StreamEvent

KEEP_ALIVE_S: Final = 15.0
KEEP_ALIVE: Final = b": ping\n\n"
DONE: Final = b"event: done\ndata: [DONE]\n\n"
WRITE_STALL_S: Final = 60.0
CHUNKED: Final = "chunked"
UNWAITED_BYTES_MAX: Final = 16 * 1024
"""What a connection takes at once: it asks for a pause at 64 KiB."""

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
    told, data, encoded = [], None, b""
    for event in events:
        if event.data is not data:  # a run and a step begin with two events about the same object
            data = event.data
            encoded = _encode(data)
        told.append(b"event: %b\ndata: %b\n\n" % (event.name.encode(), encoded))
    return b"".join(told)


class _Response(web.StreamResponse):
    """One whose head goes out with the first frames, which are there: one write of two."""

    _send_headers_immediately = False


class Stream:
    """A streamed answer, on its way to a client.

    One to a request with an Idempotency-Key is made to its end although the client has left: it
    will be asked for again. Of any other the methods raise ConnectionResetError then.
    """

    def __init__(self, request: web.Request, headers: dict[str, str]) -> None:
        self._request = request
        self._response = _Response(headers=HEADERS | headers)
        self._is_kept = caller(request).once is not None
        self._is_unheard = False
        self._is_flowing = False
        """The head is out, and what follows goes in chunks."""

    @property
    def has_begun(self) -> bool:
        """Whether a status cannot be told any more: the head is out, or nobody is there."""
        return self._response.prepared or self._is_unheard

    async def begin(self) -> None:
        """Make the head ready; it is sent with the first frames."""
        await self._unless_unheard(self._response.prepare, self._request)

    async def write(self, data: bytes) -> None:
        """Send frames."""
        if self._is_kept:
            await self._unless_unheard(self._patiently, self._response.write, data)
        elif self._is_flowing and data and (transport := self._free_transport(data)):
            # What aiohttp would write, without the five calls that come to it.
            transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            await self._patiently(self._response.write, data)
            self._is_flowing = self._response.headers.get(hdrs.TRANSFER_ENCODING) == CHUNKED

    async def end(self, last: bytes = b"") -> web.StreamResponse:
        """What the handler answers, after the `last` frames.

        The body of one that is kept ends once it is stored.
        """
        if self._is_kept:
            await self.write(last)
        else:
            await self._patiently(self._response.write_eof, last)
        return self._response

    async def _patiently(self, send: Callable[[bytes], Awaitable[None]], data: bytes) -> None:
        """Send, and give up on a client that has stopped reading for a minute.

        Raises ConnectionResetError when the client is gone.
        """
        if self._free_transport(data):
            await send(data)
            return
        try:
            async with asyncio.timeout(WRITE_STALL_S):
                await send(data)
        except TimeoutError:
            raise ConnectionResetError("the client stopped reading") from None

    def _free_transport(self, data: bytes) -> asyncio.Transport | None:
        """The connection, if writing so much to it cannot come to a wait."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return None
        waiting = transport.get_write_buffer_size()
        return transport if waiting + len(data) <= UNWAITED_BYTES_MAX else None

    async def _unless_unheard(self, send: Callable[..., Awaitable[Any]], *args: Any) -> None:
        if self._is_unheard:
            return
        try:
            await send(*args)
        except ConnectionResetError:
            if not self._is_kept:
                raise
            self._is_unheard = True
