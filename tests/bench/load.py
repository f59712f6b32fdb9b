"""The near end of the bench: callers on their own connections, and how long they waited."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final, cast

LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d+)")
STAMP: Final = re.compile(rb'"(\d+\.\d{6}) "')
"""When a paced chunk was sent, by the machine's monotonic clock."""
STAMP_BYTES_MAX: Final = 32
LAST_CHUNK: Final = b"0\r\n\r\n"


class RefusedError(Exception):
    """A contender answered with anything but 200."""


class Connection(asyncio.Protocol):
    """One connection: a request at a time, and how long its answer took."""

    def __init__(self, on_data: Callable[[bytes], None] | None = None) -> None:
        self._buffer = bytearray()
        self._on_data = on_data
        self._answered: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self.is_open = True
        self.answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """There is a connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        """The contender hung up."""
        self.is_open = False
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(RefusedError(f"hung up: {bytes(self._buffer[:300])!r}"))

    def data_received(self, data: bytes) -> None:
        """A piece of the answer."""
        if self._on_data is not None:
            self._on_data(data)
        self._buffer += data
        if self._answered is not None and self._is_whole():
            answer = bytes(self._buffer)
            self._buffer.clear()
            answered, self._answered = self._answered, None
            answered.set_result(answer)

    async def ask(self, request: bytes) -> float:
        """Send a request; the seconds until its answer was whole. Raises RefusedError."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        began_s = time.perf_counter()
        self._transport.write(request)
        self.answer = await self._answered
        took_s = time.perf_counter() - began_s
        status = STATUS.match(self.answer)
        if status is None or status[1] != b"200":
            raise RefusedError(self.answer[:400].decode(errors="replace"))
        return took_s

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()

    def _is_whole(self) -> bool:
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        length = LENGTH.search(self._buffer, 0, head_end)
        if length:
            return len(self._buffer) >= head_end + 4 + int(length[1])
        is_body = len(self._buffer) > head_end + 4
        return is_body and self._buffer.endswith(LAST_CHUNK)


async def connect(port: int, on_data: Callable[[bytes], None] | None = None) -> Connection:
    """A connection to a contender."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(on_data), "127.0.0.1", port)
    return connection


def post(path: str, body: bytes, token: str, *headers: str) -> bytes:
    """A request's bytes."""
    head = "".join(
        f"{line}\r\n"
        for line in (
            f"POST {path} HTTP/1.1",
            "Host: 127.0.0.1",
            f"Authorization: Bearer {token}",
            *headers,
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
    )
    return f"{head}\r\n".encode() + body


def get(path: str, token: str) -> bytes:
    """A request's bytes."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )


class Callers:
    """Connections that stay open from round to round, so that no round pays for opening them."""

    def __init__(self, port: int, count: int) -> None:
        self._port = port
        self._count = count
        self._open: list[Connection] = []

    async def ask(self, request: bytes, count: int) -> list[float]:
        """`count` requests, each as soon as the last is answered; how many seconds each took."""
        left, took_s = count, list[float]()

        async def call(connection: Connection) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                took_s.append(await connection.ask(request))

        await self._connect()
        await asyncio.gather(*map(call, self._open))
        return took_s

    async def _connect(self) -> None:
        """Some contenders hang up on who says nothing for five seconds."""
        self._open = [connection for connection in self._open if connection.is_open]
        while len(self._open) < self._count:
            self._open.append(await connect(self._port))

    def close(self) -> None:
        """Hang up."""
        for connection in self._open:
            connection.close()


async def closed_loop(port: int, request: bytes, count: int, callers: int) -> list[float]:
    """`count` requests over `callers` new connections."""
    with closing(Callers(port, callers)) as calling:
        return await calling.ask(request, count)


async def open_loop(
    port: int, request: bytes, *, per_s: int, seconds: float, callers: int
) -> list[float]:
    """Requests at a fixed rate, whatever the answers do; how many seconds each took from when it was
    due, the wait for a free connection with them.
    """
    loop, now, took_s = asyncio.get_running_loop(), time.perf_counter, list[float]()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(callers):
        free.put_nowait(await connect(port))

    async def call(due_s: float) -> None:
        connection = await free.get()
        await connection.ask(request)
        took_s.append(now() - due_s)
        free.put_nowait(connection)

    began_s, calls = now(), []
    for number in range(round(per_s * seconds)):
        due_s = began_s + number / per_s
        await asyncio.sleep(max(0.0, due_s - now()))  # wakes up late at times: not the contender's
        calls.append(loop.create_task(call(max(due_s, now()))))
    await asyncio.gather(*calls)
    while not free.empty():
        free.get_nowait().close()
    return took_s


async def paced_streams(
    port: int, request: bytes, streams: int, *, within_s: float
) -> list[list[float]]:
    """How late each chunk of each stream was, in seconds, for streams that are open together."""

    async def listen(number: int) -> list[float]:
        late_s, rest = list[float](), b""

        def note(data: bytes) -> None:
            nonlocal rest
            now_s, seen = time.monotonic(), rest + data
            end = 0
            for stamp in STAMP.finditer(seen):
                late_s.append(now_s - float(stamp[1]))
                end = stamp.end()
            rest = seen[max(end, len(seen) - STAMP_BYTES_MAX) :]

        await asyncio.sleep(within_s * number / streams)  # they do not begin in the same instant
        connection = await connect(port, note)
        with suppress(RefusedError):  # its chunks are missing, which is counted
            await connection.ask(request)
        connection.close()
        return late_s

    return await asyncio.gather(*(listen(number) for number in range(streams)))
