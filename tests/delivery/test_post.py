"""One attempt: what a receiver may answer or do, and what is kept of it. Real sockets, loopback."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest
from aiohttp import web

from ringside_proxy.delivery.post import (
    ANSWER_BYTES_MAX,
    CONNECT_S_MAX,
    SHOWN_CHARS_MAX,
    TOTAL_S_MAX,
    Poster,
    retry_after_ms,
)
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.system import SystemClock

LOCAL: Final = AddressRules.of("webhooks.allow_private", ["127.0.0.1", "localhost"])
PUBLIC: Final = AddressRules.of("webhooks.allow_private", [])
BODY: Final = b'{"id":"evt_1"}'
DEAD_PORT: Final = 9
PATIENT_S: Final = 120.0
HANG_S: Final = 60.0
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@pytest.fixture
async def client() -> AsyncIterator[GuardedClient]:
    """What posters share."""
    guarded = GuardedClient()
    yield guarded
    await guarded.close()


@pytest.fixture
def poster(client: GuardedClient) -> Poster:
    """One that waits longer than any test takes."""
    return Poster(client, SystemClock(), total_s_max=PATIENT_S, answer_s_max=PATIENT_S)


@pytest.fixture
def hasty(client: GuardedClient) -> Poster:
    """One for receivers that never say a thing."""
    return Poster(client, SystemClock(), total_s_max=0.2, answer_s_max=PATIENT_S)


@pytest.fixture
def satisfied(client: GuardedClient) -> Poster:
    """One for receivers that never end their answer."""
    return Poster(client, SystemClock(), total_s_max=PATIENT_S, answer_s_max=0.1)


@asynccontextmanager
async def speaking(answer: bytes, *, then_hang: bool = False) -> AsyncIterator[str]:
    """A server that says these bytes to whatever it is asked; its URL."""
    over = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if then_hang:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=canary"
    finally:
        over.set()
        server.close()
        await asyncio.sleep(0)
        await server.wait_closed()


async def post(poster, url, rules=LOCAL):
    return await poster.post(rules, url, {"X-FC-Event-Type": "wallet.low"}, BODY)


def test_limits_are_the_documented_ones() -> None:
    """Connect 5 s, 15 s in all, 16 KiB of the answer, of which 1,024 characters are kept."""
    assert (CONNECT_S_MAX, TOTAL_S_MAX) == (5, 15)
    assert (ANSWER_BYTES_MAX, SHOWN_CHARS_MAX) == (16 * 1024, 1024)


async def test_receiver_gets_the_body_and_the_headers_as_they_are(poster, receiver):
    """Not a byte is changed, and it is told who sends."""
    reply = await post(poster, receiver.url)

    [received] = receiver.requests
    assert (reply.status, reply.error, reply.is_success) == (200, None, True)
    assert received.body == BODY
    assert received.headers["x-fc-event-type"] == "wallet.low"
    assert received.headers["user-agent"].startswith("Ringside-Webhooks/")
    assert received.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [201, 204, 299])
async def test_any_2xx_is_a_success(poster, receiver, status):
    """Whatever else it says is not looked at."""
    receiver.answer = lambda _: web.Response(status=status)

    assert (await post(poster, receiver.url)).is_success


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 429, 500, 503])
async def test_any_other_status_is_a_failure(poster, receiver, status):
    """A redirect too: it is not followed."""
    receiver.answer = lambda _: web.Response(status=status, headers={"location": "/elsewhere"})

    reply = await post(poster, receiver.url)

    assert (reply.status, reply.error) == (status, f"answered {status}")
    assert not reply.is_success
    assert len(receiver.requests) == 1


async def test_beginning_of_a_refusal_is_kept(poster, receiver):
    """A kibibyte of it, on one line, without what looks like a key."""
    secret = "whsec_0123456789abcdef"
    text = f"no\r\nroom\x00 {secret} " + "ü" * 5000
    receiver.answer = lambda _: web.Response(status=500, text=text)

    reply = await post(poster, receiver.url)

    assert reply.error.startswith("answered 500: no room whsec_*** ü")
    assert len(reply.error) == len("answered 500: ") + SHOWN_CHARS_MAX


async def test_compressed_refusal_is_not_shown(poster, receiver):
    """Nor unpacked: it could be a bomb."""
    receiver.answer = lambda _: web.Response(
        status=500, body=gzip.compress(b"boom"), headers={"content-encoding": "gzip"}
    )

    assert (await post(poster, receiver.url)).error == "answered 500"


async def test_answer_is_not_read_to_its_end(poster):
    """Of one that never ends no more than 16 KiB are taken."""
    flood = b"HTTP/1.1 500 No\r\n\r\n" + b"x" * (16 * 1024)
    async with speaking(flood, then_hang=True) as url, asyncio.timeout(HANG_S):
        reply = await post(poster, url)

    assert reply.status == 500


async def test_success_counts_from_its_head_on(satisfied):
    """A receiver that drips its answer has the event all the same."""
    async with speaking(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", then_hang=True) as url:
        assert (await post(satisfied, url)).is_success


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_receiver_that_is_silent_is_told_in_words_of_ours(hasty, answer):
    """Without its URL, which may hold a secret; only silence counts as slow."""
    async with speaking(answer, then_hang=True) as url:
        reply = await post(hasty, url)

    assert (reply.status, reply.is_timeout) == (None, True)
    assert reply.error == f"no answer within {TOTAL_S_MAX:g} seconds"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection without an answer"),
        (b"220 mail.example.com ESMTP\r\n\r\n", "not HTTP as we know it"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000, "not HTTP as we know it"),
    ],
    ids=["closed", "another protocol", "endless head"],
)
async def test_receiver_that_breaks_is_told_in_words_of_ours(poster, answer, words):
    """Without its URL, which may hold a secret."""
    async with speaking(answer) as url:
        reply = await post(poster, url)

    assert reply.status is None
    assert words in reply.error
    assert "canary" not in reply.error
    assert not reply.is_timeout


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"http://127.0.0.1:{DEAD_PORT}/?token=canary", "cannot be reached"),
        ("https://nobody.invalid/?token=canary", "host name cannot be resolved"),
    ],
)
async def test_receiver_that_is_not_there_is_told_in_words_of_ours(poster, url, words):
    """Nothing listens, or nobody knows the name."""
    reply = await post(poster, url)

    assert words in reply.error
    assert "canary" not in reply.error


@pytest.mark.parametrize("url", ["https://127.0.0.1:8443/", "https://localhost:8443/", "file:///x"])
async def test_address_inside_is_not_dialled(poster, receiver, url):
    """The reply says why, and which setting would let it through."""
    reply = await post(poster, url.replace("8443", str(receiver.port)), PUBLIC)

    assert reply.status is None
    assert "webhooks.allow_private" in reply.error or "https://" in reply.error
    assert receiver.requests == []


@pytest.mark.parametrize(
    ("header", "asked_ms"),
    [
        (None, None),
        ("120", 120_000),
        (" 0 ", 0),
        ("Fri, 21 Nov 2025 04:41:00 GMT", 60_000),
        ("Fri, 21 Nov 2025 04:39:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 40, None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, asked_ms):
    """Anything else asks for nothing."""
    assert retry_after_ms(header, 1_763_700_000_000) == asked_ms
