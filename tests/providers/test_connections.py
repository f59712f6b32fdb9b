"""What goes over the wire to a provider, byte for byte, and what becomes of the connection."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from ringside_proxy.providers.connections import BODY_AT_ONCE_BYTES_MAX, Connections
from ringside_proxy.providers.types import HTTPRequest

HUNDREDS = 400
"""Two files each, of the 1,024 that a shell gives."""
TIMEOUT = aiohttp.ClientTimeout(connect=5)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class FarEnd:
    """A server that notes the bytes it gets, and answers with `says`, one for each request."""

    port: int = 0
    says: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while self.says:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                self.bodies.append(await reader.readexactly(int(lines.get("content-length", 0))))
                writer.write(self.says.pop(0))
            await reader.read(1)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    def request(self, body: bytes = b"{}", **headers: str) -> HTTPRequest:
        """A request to it."""
        given = {"content-type": "application/json", **headers}
        return HTTPRequest(
            url=f"http://127.0.0.1:{self.port}/v1/x?y=a%20b", headers=given, body=body
        )


@pytest.fixture
async def far_end() -> AsyncIterator[FarEnd]:
    """The server."""
    end = FarEnd()
    server = await asyncio.start_server(end.serve, "127.0.0.1", 0, limit=BODY_AT_ONCE_BYTES_MAX)
    end.port = server.sockets[0].getsockname()[1]
    yield end
    server.close()


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    """Connections as a provider's configuration has them."""
    opened = Connections(trust_env=False)
    yield opened
    await opened.close()


async def body_of(connections: Connections, request: HTTPRequest) -> bytes:
    """The whole body of an answer."""
    async with await connections.ask(request, TIMEOUT) as answer:
        return await answer.content.read()


async def test_a_request_is_what_http_wants(far_end: FarEnd, connections: Connections) -> None:
    """The line as it was given, each header once, the length of the body."""
    far_end.says = [OK]

    assert await body_of(connections, far_end.request(authorization="Bearer k")) == b"{}"

    line, *lines = far_end.heads[0].split("\r\n")[:-2]
    assert line == "POST /v1/x?y=a%20b HTTP/1.1"
    headers = dict(each.lower().split(": ", 1) for each in lines)
    assert len(headers) == len(lines)
    assert headers["host"] == f"127.0.0.1:{far_end.port}"
    assert headers["authorization"] == "bearer k"
    assert headers["content-length"] == "2"
    assert headers["accept"] == "*/*"
    assert headers["user-agent"].startswith("ringside-proxy/")
    assert far_end.bodies == [b"{}"]


async def test_a_request_s_own_header_stands_alone(
    far_end: FarEnd, connections: Connections
) -> None:
    """What every request says is not said beside it, in whatever case it is written."""
    far_end.says = [OK]

    await body_of(connections, far_end.request(Accept="application/x-special"))

    assert far_end.heads[0].lower().count("\r\naccept: ") == 1
    assert "application/x-special" in far_end.heads[0]


async def test_a_connection_serves_one_request_after_the_other(
    far_end: FarEnd, connections: Connections
) -> None:
    """Once an answer was read to its end."""
    far_end.says = [OK, OK, OK]

    for _ in range(3):
        await body_of(connections, far_end.request())

    assert far_end.connections == 1


async def test_an_answer_that_is_left_takes_its_connection_along(
    far_end: FarEnd, connections: Connections
) -> None:
    """What would still come belongs to nobody."""
    far_end.says = [OK.replace(b"Length: 2", b"Length: 200"), OK]

    async with await connections.ask(far_end.request(), TIMEOUT) as answer:
        assert answer.content_type == "application/json"
    await body_of(connections, far_end.request())

    assert far_end.connections == 2


async def test_what_comes_before_the_answer_is_passed_over(
    far_end: FarEnd, connections: Connections
) -> None:
    """`100 Continue` and early hints are no answers."""
    far_end.says = [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    ]

    assert await body_of(connections, far_end.request()) == b"{}"


async def test_a_compressed_answer_is_read(far_end: FarEnd, connections: Connections) -> None:
    """As it was before it was compressed."""
    packed = gzip.compress(b'{"a": 1}')
    headers = f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}"
    far_end.says = [f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode() + packed]

    assert await body_of(connections, far_end.request()) == b'{"a": 1}'
    assert "gzip" in far_end.heads[0]


async def test_a_large_body_arrives_whole(far_end: FarEnd, connections: Connections) -> None:
    """Also one that is written piece by piece."""
    far_end.says = [OK, OK]
    small, large = b"x" * BODY_AT_ONCE_BYTES_MAX, b"x" * (BODY_AT_ONCE_BYTES_MAX + 1)

    for body in (small, large):
        await body_of(connections, far_end.request(body))

    assert far_end.bodies == [small, large]


async def test_no_header_makes_a_second_one(far_end: FarEnd, connections: Connections) -> None:
    """Nothing of it goes out."""
    for broken in ("a\r\nx-b: c", "a\nb", "a\0b"):
        with pytest.raises(ValueError, match="line break"):
            await connections.ask(far_end.request(authorization=broken), TIMEOUT)

    assert far_end.heads == []


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"nonsense\r\n\r\n"],
    ids=["nothing", "half a head", "no HTTP"],
)
async def test_what_is_no_answer_is_an_error_of_the_client(
    far_end: FarEnd, connections: Connections, said: bytes
) -> None:
    """One that is in the table of transport errors."""
    server = await asyncio.start_server(
        lambda reader, writer: (writer.write(said), writer.close()), "127.0.0.1", 0
    )
    far_end.port = server.sockets[0].getsockname()[1]

    with pytest.raises(aiohttp.ClientError):
        await connections.ask(far_end.request(), TIMEOUT)

    server.close()


async def test_hundreds_of_answers_of_one_host_are_open_at_once() -> None:
    """None waits until another has ended: a stream may last for minutes."""
    everybody_is_here, count = asyncio.Event(), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count == HUNDREDS:
            everybody_is_here.set()
        await reader.read()
        writer.close()

    connections = Connections(trust_env=False)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, backlog=HUNDREDS) as server:
        end = FarEnd(port=server.sockets[0].getsockname()[1])
        asking = [
            asyncio.create_task(connections.ask(end.request(), TIMEOUT)) for _ in range(HUNDREDS)
        ]

        await asyncio.wait_for(everybody_is_here.wait(), 30)

        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        await connections.close()
