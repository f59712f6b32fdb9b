"""Calls that are signed as they go, that follow a first answer, or that are refused in other words."""

import asyncio

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.stream import ChatStreamDecoder
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.types import Delta, Finish, HTTPRequest, TextDelta, UsageDelta
from tests.fakes import (
    Gate,
    Scripted,
    chunk,
    error_reply,
    json_reply,
    stream_reply,
    text_reply,
    usage,
)
from tests.providers.conftest import API_KEY

HELLO = [
    TextDelta("Hello"),
    TextDelta(" there"),
    Finish("stop"),
    UsageDelta(TokenUsage(input_tokens=9, output_tokens=4), usage()),
]
DONE = b"data: [DONE]\n\n"


def signing(caller, url: str | None = None) -> HTTPRequest:
    """A request that is signed with the time, as its headers then show."""

    def sign(request: HTTPRequest, now_ms: int) -> HTTPRequest:
        return msgspec.structs.replace(request, headers={**request.headers, "x-time": str(now_ms)})

    plain = caller.request(is_stream=True)
    return msgspec.structs.replace(plain, sign=sign, url=url or plain.url)


def new_decoder() -> ChatStreamDecoder:
    return ChatStreamDecoder("openai", lambda prefix: f"{prefix}_new")


async def streamed(caller, request: HTTPRequest) -> list[Delta]:
    """Everything that a streamed call gives."""
    async with caller.client.stream(caller.target, request, new_decoder) as batches:
        return [delta async for batch in batches for delta in batch]


@pytest.mark.parametrize("kind", ["stream", "send"])
async def test_each_attempt_is_signed_anew(caller, upstream, kind):
    """A signature holds the time, and a retry goes out later."""
    upstream.enqueue(error_reply(503, retry_after="2"), text_reply("Hello there"))
    began_ms = caller.clock.now_ms()

    async def asleep(seconds: float) -> None:
        caller.clock.advance(seconds)

    client = ProviderClient(caller.clock, lambda low, high: high, sleep=asleep)
    if kind == "stream":
        async with client.stream(caller.target, signing(caller), new_decoder):
            pass
    else:
        whole = caller.request(is_stream=False)
        whole = msgspec.structs.replace(whole, sign=signing(caller).sign)
        await client.send(caller.target, whole)
    await client.close()

    times = [int(sent.headers["x-time"]) for sent in upstream.requests]
    assert times == [began_ms, began_ms + 2000]


@pytest.mark.parametrize("is_signed", [True, False])
async def test_quoted_address_goes_out_as_it_is(caller, is_signed):
    """A path that is written otherwise, if only in its escapes, is another one to some servers."""
    lines: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        request = signing(caller, f"http://127.0.0.1:{port}/model/a.b-v1%3A0%2Fc/converse")
        if not is_signed:
            request = msgspec.structs.replace(request, sign=None)
        with pytest.raises(ProviderRejectedError):
            await streamed(caller, request)

    assert lines == [b"POST /model/a.b-v1%3A0%2Fc/converse HTTP/1.1\r\n"]


async def test_signed_address_that_is_none_is_a_provider_error(caller):
    """The owner's mistake, in the usual words."""
    with pytest.raises(ProviderUnavailableError, match="not an HTTP URL"):
        await streamed(caller, signing(caller, "http://[::1/v1"))


def following(caller) -> HTTPRequest:
    """A request whose first answer says where the real one is."""
    asked = caller.request(is_stream=True)

    def follow(body: bytes) -> HTTPRequest:
        path = orjson.loads(body)["stream"]
        if path is None:
            raise ProviderRejectedError("openai has no stream.", provider="openai")
        headers = {"authorization": asked.headers["authorization"]}
        return HTTPRequest(method="GET", url=caller.base_url + path, headers=headers)

    return msgspec.structs.replace(asked, follow=follow)


CREATED = json_reply({"stream": "/files/1"}, 201)
ANSWER = stream_reply(
    chunk({"content": "Hello"}),
    chunk({"content": " there"}),
    chunk({}, "stop", usage=usage()),
    DONE,
)


def asked_for(upstream) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in upstream.requests]


POST, GET = ("POST", "/v1/chat/completions"), ("GET", "/v1/files/1")


async def test_first_answer_is_followed(caller, upstream):
    """Its body makes the request that is streamed; both are one attempt."""
    upstream.enqueue(CREATED, ANSWER)

    assert await streamed(caller, following(caller)) == HELLO
    assert asked_for(upstream) == [POST, GET]
    assert caller.outcomes == ["ok"]


async def test_stream_that_fails_is_fetched_again_alone(caller, upstream):
    """What was asked for is at work already, and would be paid twice."""
    upstream.enqueue(CREATED, error_reply(503), error_reply(502), ANSWER)

    assert await streamed(caller, following(caller)) == HELLO
    assert asked_for(upstream) == [POST, GET, GET, GET]


async def test_answer_that_failed_is_asked_for_again(caller, upstream):
    """Fetching it again would bring the same failure."""
    failure = stream_reply({"error": {"message": "overloaded", "type": "server_error"}})
    upstream.enqueue(CREATED, error_reply(503), failure, CREATED, ANSWER)
    caller.set(max_retries=3)

    assert await streamed(caller, following(caller)) == HELLO
    assert asked_for(upstream) == [POST, GET, GET, POST, GET]


async def test_creation_is_retried_like_any_call(caller, upstream):
    """A failure that may pass costs time; a refusal is final."""
    upstream.enqueue(error_reply(503), CREATED, ANSWER, error_reply(400, None, "No such input."))

    assert await streamed(caller, following(caller)) == HELLO
    with pytest.raises(ProviderRejectedError, match="No such input"):
        await streamed(caller, following(caller))


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (json_reply({"stream": None}), ProviderRejectedError, "no stream"),
        (json_reply({"stream": "x" * (4 << 20)}), ProviderBadReplyError, "more than 4194304 bytes"),
    ],
)
async def test_first_answer_that_leads_nowhere_is_an_error(caller, upstream, reply, error, words):
    """What follow refuses, and what is too large to be read."""
    upstream.enqueue(reply)

    with pytest.raises(error, match=words):
        await streamed(caller, following(caller))

    assert len(upstream.requests) == 1


async def test_slow_first_answer_is_not_waited_for(caller, upstream):
    """The first byte's time holds for it too; it is not asked for twice."""
    caller.set(first_byte_s=0.05)
    gate = Gate()
    upstream.enqueue(Scripted([b"{", gate], 201, {"content-type": "application/json"}))

    with pytest.raises(ProviderTimeoutError):
        await streamed(caller, following(caller))

    await asyncio.wait_for(upstream.requests[0].gone.wait(), timeout=30)
    assert len(upstream.requests) == 1


async def test_leaving_amid_the_first_answer_closes_the_connection(caller, upstream):
    """A caller that leaves early frees the provider at once."""
    gate = Gate()
    upstream.enqueue(Scripted([b"{", gate], 201, {"content-type": "application/json"}))
    task = asyncio.create_task(streamed(caller, following(caller)))
    await gate.reached.wait()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(upstream.requests[0].gone.wait(), timeout=30)


async def test_refusal_is_restated_where_the_provider_needs_it(caller, upstream):
    """Its own words become the usual ones before they are read."""

    def restate(status, headers, body):
        return 429, {**headers, "retry-after": "3"}, b'{"error":{"message":"Slow down."}}'

    caller.set(max_retries=0)
    caller.target = msgspec.structs.replace(caller.target, restate=restate)
    upstream.enqueue(error_reply(400))

    with pytest.raises(ProviderRateLimitedError, match="Slow down") as caught:
        await caller.deltas()

    assert caught.value.retry_after_s == 3


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "x-goog-api-key"])
async def test_key_is_taken_out_of_what_is_said(caller, upstream, header):
    """Wherever the provider wants it."""
    upstream.enqueue(error_reply(401, None, f"Wrong key {API_KEY}."))
    request = msgspec.structs.replace(caller.request(is_stream=True), headers={header: API_KEY})

    with pytest.raises(ProviderAuthenticationError) as caught:
        await streamed(caller, request)

    assert API_KEY not in str(caught.value)
