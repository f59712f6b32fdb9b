"""What a call does when the provider behaves: answers, retries, limits of patience, clean ends."""

import asyncio

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.types import Finish, TextDelta, ToolCallDelta, UsageDelta
from tests.fakes import (
    Gate,
    Scripted,
    chunk,
    error_reply,
    frame,
    json_reply,
    stream_reply,
    text_reply,
    tool_reply,
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
RETRIED = [408, 409, 425, 429, 500, 502, 503, 504, 520, 529]
REFUSED = [301, 400, 401, 403, 404, 413, 422, 501]


async def test_stream_gives_deltas(caller, upstream):
    """A streamed answer comes as deltas; the request carries the key and nothing it should not."""
    upstream.enqueue(text_reply("Hello there"))

    deltas = await caller.deltas()

    assert deltas == HELLO
    assert caller.observed == [("openai", "gpt-4o", "ok")]
    request = upstream.requests[0]
    assert request.headers["authorization"] == f"Bearer {API_KEY}"
    assert request.headers["user-agent"].startswith("ringside-proxy/")
    assert request.body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


async def test_stream_gives_tool_calls(caller, upstream):
    """Calls come as their first delta and increments of arguments."""
    upstream.enqueue(tool_reply([("call_1", "f", '{"a":1}'), ("call_2", "g", "{}")]))

    calls = [delta for delta in await caller.deltas() if isinstance(delta, ToolCallDelta)]

    assert [(d.index, d.id, d.name) for d in calls if d.id] == [
        (0, "call_1", "f"),
        (1, "call_2", "g"),
    ]
    assert "".join(d.arguments for d in calls if d.index == 0) == '{"a":1}'


async def test_relay_gives_the_providers_bytes(caller, upstream):
    """A stream that is passed on is the upstream's, byte for byte."""
    frames = [frame(chunk({"content": "Hello"})), frame(chunk({}, "stop")), DONE]
    upstream.enqueue(stream_reply(*frames))

    assert await caller.relayed() == b"".join(frames)


async def test_items_come_as_they_are_said(caller, upstream):
    """Nothing waits for the end of the answer."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, chunk({}, "stop"), DONE))

    async with caller.stream() as batches:
        assert await anext(batches) == [TextDelta("Hello")]
        gate.release()
        assert [batch async for batch in batches] == [[Finish("stop")]]


async def test_send_gives_the_body_and_its_usage(caller, upstream):
    """A whole answer is the provider's bytes; what it consumed is read beside them."""
    upstream.enqueue(text_reply("Hello"))

    reply = await caller.client.send(caller.target, caller.request(is_stream=False))

    assert orjson.loads(reply.body)["choices"][0]["message"]["content"] == "Hello"
    assert reply.usage == TokenUsage(input_tokens=9, output_tokens=4)
    assert reply.raw_usage == usage()
    assert reply.service_tier is None
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert caller.outcomes == ["ok"]


@pytest.mark.parametrize("body", [b'\n\n {"a": 1}\n', b"[]", b'{"error": null}'])
async def test_send_takes_any_json(caller, upstream, body):
    """Blank lines before the body keep a connection alive; lists are answers too."""
    upstream.enqueue(Scripted([body]))

    assert await caller.send() == body.strip()


@pytest.mark.parametrize("kind", ["stream", "send"])
async def test_request_id_goes_upstream(caller, upstream, kind):
    """The provider's logs and ours can be laid side by side."""
    upstream.enqueue(text_reply("Hello"))

    if kind == "stream":
        async with caller.stream(request_id="req_1"):
            pass
    else:
        request = caller.request(is_stream=False)
        await caller.client.send(caller.target, request, request_id="req_1")

    assert upstream.requests[0].headers["x-request-id"] == "req_1"


@pytest.mark.parametrize("status", RETRIED)
@pytest.mark.parametrize("kind", ["deltas", "send", "relayed"])
async def test_passing_failure_is_retried(caller, upstream, status, kind):
    """One failure that may pass costs the caller nothing but time."""
    upstream.enqueue(error_reply(status), error_reply(status), text_reply("Hello there"))

    assert await getattr(caller, kind)()
    assert caller.slept_s == [0.5, 1]
    assert caller.outcomes[-1] == "ok"
    assert len({request.raw for request in upstream.requests}) == 1
    assert len(upstream.requests) == 3


@pytest.mark.parametrize("status", REFUSED)
@pytest.mark.parametrize("kind", ["deltas", "send", "relayed"])
async def test_refusal_is_not_retried(caller, upstream, status, kind):
    """What will not change is asked once."""
    upstream.enqueue(error_reply(status, location="http://127.0.0.1:1/"))

    with pytest.raises(Exception, match=rf"openai .*\(HTTP {status}\)"):
        await getattr(caller, kind)()

    assert len(upstream.requests) == 1
    assert caller.slept_s == []


async def test_retries_end(caller, upstream):
    """After the last attempt the caller is told, with the provider's last words."""
    upstream.enqueue(error_reply(500), error_reply(500), error_reply(503, None, "Nope."))

    with pytest.raises(ProviderUnavailableError, match=r"openai is unavailable .*: Nope"):
        await caller.deltas()

    assert caller.outcomes == ["provider_unavailable"] * 3


async def test_retries_can_be_turned_off(caller, upstream):
    """max_retries 0 is one attempt."""
    caller.set(max_retries=0)
    upstream.enqueue(error_reply(503))

    with pytest.raises(ProviderUnavailableError):
        await caller.send()

    assert len(upstream.requests) == 1


async def test_wait_of_the_provider_is_honoured(caller, upstream):
    """`retry-after` replaces the backoff."""
    upstream.enqueue(error_reply(429, retry_after_ms="2500"), text_reply("Hello there"))

    assert await caller.deltas() == HELLO
    assert caller.slept_s == [2.5]


@pytest.mark.parametrize(("wait_s", "total_s"), [(21, 300), (10, 5)])
async def test_long_wait_is_passed_on(caller, upstream, wait_s, total_s):
    """Longer than 20 s, or than the call may take: the caller hears at once for how long."""
    caller.set(total_s=total_s)
    upstream.enqueue(error_reply(429, "rate_limit_exceeded", retry_after=str(wait_s)))

    with pytest.raises(ProviderRateLimitedError) as caught:
        await caller.send()

    assert caught.value.retry_after_s == wait_s
    assert caller.slept_s == []


async def test_empty_account_is_not_retried(caller, upstream):
    """A 429 for want of credit is not a rate limit."""
    upstream.enqueue(error_reply(429, "insufficient_quota", retry_after="1"))

    with pytest.raises(ProviderQuotaExceededError):
        await caller.deltas()

    assert len(upstream.requests) == 1


async def test_retries_stop_when_the_provider_is_down(caller, upstream):
    """Past its budget a provider's failures are passed on at the first attempt."""
    caller.set(max_retries=1)
    caller.target = msgspec.structs.replace(caller.target, has_breaker=False)
    upstream.enqueue(*[error_reply(503)] * 250)

    for _ in range(125):
        with pytest.raises(ProviderUnavailableError):
            await caller.send()

    assert len(upstream.requests) == 125 + 100 + 125 // 5


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
async def test_error_before_the_first_word_is_retried(caller, upstream, kind):
    """A 200 that turns into an error after the role is still nothing that the caller saw."""
    failure = {"error": {"message": "overloaded", "type": "server_error"}}
    opening = chunk({"role": "assistant", "content": ""})
    upstream.enqueue(stream_reply(opening, failure), text_reply("Hello there"))

    assert await getattr(caller, kind)()
    assert caller.outcomes == ["provider_unavailable", "ok"]


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
async def test_error_after_the_first_word_is_not_retried(caller, upstream, kind):
    """The caller has it already; a second answer would be another one."""
    failure = {"error": {"message": "overloaded", "type": "server_error"}}
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), failure))

    with pytest.raises(ProviderUnavailableError, match="overloaded"):
        await getattr(caller, kind)()

    assert len(upstream.requests) == 1
    assert caller.outcomes == ["provider_unavailable"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"error": {"message": "x", "code": 429}}, ProviderRateLimitedError),
        ({"error": {"type": "invalid_request_error", "message": "x"}}, ProviderRejectedError),
        ({"code": "unauthenticated", "error": "Incorrect API key"}, ProviderAuthenticationError),
    ],
)
@pytest.mark.parametrize("kind", ["deltas", "send"])
async def test_error_with_status_200_is_an_error(caller, upstream, body, error, kind):
    """Some providers answer 200 and mean it not, to streamed calls with JSON."""
    caller.set(max_retries=0)
    upstream.enqueue(json_reply(body))

    with pytest.raises(error):
        await getattr(caller, kind)()


async def test_large_requests_go_out(caller, upstream):
    """Images travel inside requests."""
    image = "A" * (3 * 1024 * 1024)
    upstream.enqueue(text_reply("Hello"))

    await caller.client.send(caller.target, caller.request(is_stream=False, text=image))

    assert upstream.requests[0].body["messages"][0]["content"] == image


async def test_connections_are_used_again(caller, upstream):
    """An answer that was read to its end leaves its connection to the next."""
    upstream.enqueue(*[text_reply("Hello there")] * 6)

    for _ in range(3):
        assert await caller.deltas() == HELLO
        await caller.send()

    assert upstream.open_connections == 1


async def test_nothing_is_waited_for_after_done(caller, upstream):
    """A provider that keeps the connection open after its last event does not keep the caller."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hi"}), chunk({}, "stop"), DONE, gate))

    assert await caller.deltas() == [TextDelta("Hi"), Finish("stop")]
    assert caller.outcomes == ["ok"]
    await asyncio.wait_for(upstream.requests[0].gone.wait(), timeout=30)


@pytest.mark.parametrize("words", [0, 1])
async def test_cancelled_call_closes_the_connection(caller, upstream, words):
    """A caller that leaves, before or amid the answer, frees the provider at once."""
    gate = Gate()
    said = [chunk({"content": "Hel"})] * words
    upstream.enqueue(stream_reply(*said, gate))
    call = asyncio.create_task(caller.deltas())
    await gate.reached.wait()

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(upstream.requests[0].gone.wait(), timeout=30)
    assert caller.outcomes == ["cancelled"]


async def test_left_stream_closes_the_connection(caller, upstream):
    """Leaving the block is enough."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), gate))

    async with caller.stream() as batches:
        await anext(batches)

    await asyncio.wait_for(upstream.requests[0].gone.wait(), timeout=30)
    assert caller.outcomes == ["cancelled"]


async def test_cancelled_calls_leak_nothing(caller, upstream):
    """After 200 calls cut off before, at and after their first word, the pool works as before."""
    gates = [Gate() for _ in range(200)]
    upstream.enqueue(
        *(
            stream_reply(*[chunk({"content": "Hel"})] * (number % 3), gate)
            for number, gate in enumerate(gates)
        )
    )
    calls = [asyncio.create_task(caller.deltas()) for _ in gates]
    for gate in gates:
        await gate.reached.wait()

    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    for request in upstream.requests:
        await asyncio.wait_for(request.gone.wait(), timeout=30)
    upstream.enqueue(text_reply("Hello there"))
    assert await caller.deltas() == HELLO
    assert upstream.open_connections == 1
