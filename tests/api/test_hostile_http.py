"""Broken HTTP on the socket: refused or cut off, and the server lives."""

import asyncio
import gzip
from typing import Any, Final

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.rig import DEVELOPER, Ringside, exchange
from tests.api.test_hostile_json import Target, target

__all__ = ["target"]

AUTH: Final = b"Host: x\r\nAuthorization: Bearer " + DEVELOPER.encode() + b"\r\n"
POST: Final = b"POST /v1/threads HTTP/1.1\r\n" + AUTH
GET: Final = b"GET /v1/models HTTP/1.1\r\n" + AUTH
VALID: Final = (
    POST + b"Content-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"metadata":{}}'
)

BROKEN: Final = {
    "no http": b"hello\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version": b"GET /v1/models HTTP/9.9\r\n" + AUTH + b"\r\n",
    "method": b"\x00\x01\x02 /v1/models HTTP/1.1\r\n" + AUTH + b"\r\n",
    "long method": b"G" * 9000 + b" / HTTP/1.1\r\n\r\n",
    "long line": b"GET /v1/" + b"a" * 9000 + b" HTTP/1.1\r\n" + AUTH + b"\r\n",
    "long header": GET + b"x-a: " + b"b" * 9000 + b"\r\n\r\n",
    "long header name": GET + b"x" * 9000 + b": b\r\n\r\n",
    "many headers": GET + b"".join(b"x-%d: y\r\n" % i for i in range(5000)) + b"\r\n",
    "no colon": GET + b"nonsense\r\n\r\n",
    "space in name": GET + b"a b: c\r\n\r\n",
    "nul in header": GET + b"x-a: \x00\r\n\r\n",
    "bare cr": GET + b"x-a: b\rc\r\n\r\n",
    "bytes in path": b"GET /v1/\xff\xfe HTTP/1.1\r\n" + AUTH + b"\r\n",
    "space in path": b"GET /v1/a b HTTP/1.1\r\n" + AUTH + b"\r\n",
    "negative length": POST + b"Content-Length: -1\r\n\r\n",
    "signed length": POST + b"Content-Length: +2\r\n\r\n{}",
    "hex length": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "huge length": POST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "length and chunks": POST
    + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
    "negative chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "huge chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n0\r\n\r\n",
    "chunk end": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n",
    "other coding": POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
    "no gzip": POST + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
    "no deflate": POST + b"Content-Encoding: deflate\r\nContent-Length: 4\r\n\r\nabcd",
    "half gzip": POST
    + b"Content-Encoding: gzip\r\nContent-Length: 12\r\n\r\n"
    + gzip.compress(b'{"metadata":{}}')[:12],
    "unknown coding": POST + b"Content-Encoding: br\r\nContent-Length: 4\r\n\r\nabcd",
    "expectation": POST + b"Expect: nonsense\r\nContent-Length: 2\r\n\r\n{}",
    "bytes in expectation": POST + b"Expect: 1\xb00-continue\r\nContent-Length: 2\r\n\r\n{}",
    "bytes in expectation of nothing": b"GET /v2/x HTTP/1.1\r\nExpect: \xb0\r\n" + AUTH + b"\r\n",
    "connect": b"CONNECT x.example:443 HTTP/1.1\r\n" + AUTH + b"\r\n",
    "trace": b"TRACE /v1/models HTTP/1.1\r\n" + AUTH + b"\r\n",
    "asterisk": b"OPTIONS * HTTP/1.1\r\n" + AUTH + b"\r\n",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
async def test_broken_http_is_refused(ringside: Ringside, data: bytes) -> None:
    """The answer is in the 400s, says so as all errors do, and the next caller notices nothing."""
    answer = await exchange(ringside.proxy.url, data)
    after = await exchange(ringside.proxy.url, VALID)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1].startswith(b"4"), answer
    assert b"\r\nContent-Type: application/json" in head
    assert b"\r\nx-request-id: req_" in head
    assert b"\r\nServer: ringside\r\n" in head
    assert orjson.loads(body)["error"].keys() == {"message", "type", "param", "code"}
    assert after.startswith(b"HTTP/1.1 200 ")
    assert len((await ringside.developer.get("/v1/threads")).json["data"]) == 1


async def test_what_may_be_expected_is_met(ringside: Ringside) -> None:
    """`Expect: 100-continue` gets its go-ahead; of HTTP/1.0 and of nothing, nothing is made."""
    url = ringside.proxy.url
    asking = GET + b"Expect: 100-Continue\r\n\r\n"
    old = GET.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: tea\r\n\r\n"

    answers = [await exchange(url, data) for data in (asking, old, GET + b"Expect:\r\n\r\n")]

    assert [answer.split(b" ", 2)[1] for answer in answers] == [b"100", b"200", b"200"]


async def test_broken_http_is_refused_on_the_admin_listener(ringside: Ringside) -> None:
    """In the same words, and without a version of anything."""
    answer = await exchange(ringside.proxy.admin_url, b"hello\r\n\r\n")

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"invalid_request_error" in answer
    assert b"aiohttp" not in answer


@pytest.mark.parametrize("length", range(0, len(VALID), 7))
async def test_a_request_cut_short_does_nothing(ringside: Ringside, length: int) -> None:
    """Wherever the connection ends before the request does, no thread is made."""
    answer = await exchange(ringside.proxy.url, VALID[:length], patience_s=0)

    assert answer == b"" or answer.split(b" ", 2)[1].startswith(b"4"), answer
    assert (await ringside.developer.get("/v1/threads")).json["data"] == []


async def test_a_compressed_body_is_read(ringside: Ringside) -> None:
    """gzip is unpacked, and its limit holds for what comes out."""
    api = ringside.developer
    headers = {"content-encoding": "gzip"}
    bomb = gzip.compress(b" " * (33 * 1024 * 1024))

    fine = await api.post(
        "/v1/threads", data=gzip.compress(b'{"metadata":{"a":"b"}}'), headers=headers
    )
    large = await api.post("/v1/threads", data=bomb, headers=headers)

    assert fine.json["metadata"] == {"a": "b"}
    assert (large.status, large.error["code"]) == (413, "request_too_large")


async def test_requests_may_follow_each_other_at_once(ringside: Ringside) -> None:
    """Three requests in one write get three answers, in their order."""
    host, _, port = ringside.proxy.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    last = b"GET /v1/nothing HTTP/1.1\r\nConnection: close\r\n" + AUTH + b"\r\n"

    writer.write(VALID + GET + b"\r\n" + last)
    async with asyncio.timeout(20):
        answers = await reader.read()
    writer.close()

    statuses = [part[:5].strip() for part in answers.split(b"HTTP/1.1")[1:]]
    assert statuses == [b"200", b"200", b"404"]


def test_mutated_requests_never_fail_the_server(target: Target) -> None:
    """Bytes changed, lost and added anywhere in a request: no answer in the 500s, no dead server."""
    mutation = st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 4), st.binary(max_size=4))

    @settings(
        max_examples=400,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(mutation, min_size=1, max_size=4))
    def attack(mutations: list[tuple[int, int, bytes]]) -> None:
        data = VALID
        for at, lost, added in mutations:
            data = data[:at] + added + data[at + lost :]

        answer = target.send(data)

        assert answer == b"" or answer.split(b" ", 2)[1] < b"500", (data, answer)

    attack()
    assert target.send(VALID).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_only_connects_disturbs_nobody(ringside: Ringside) -> None:
    """Silent connections cost a socket each and no one else's answer."""
    host, _, port = ringside.proxy.url.removeprefix("http://").partition(":")
    silent: list[Any] = [await asyncio.open_connection(host, int(port)) for _ in range(50)]

    answers = await asyncio.gather(*(ringside.developer.get("/v1/models") for _ in range(50)))

    for _, writer in silent:
        writer.close()
    assert {answer.status for answer in answers} == {200}
