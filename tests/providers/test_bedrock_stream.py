"""ConverseStream's answers, from transcripts of one message a line: its name and its payload."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.bedrock.adapter import Bedrock
from ringside_proxy.providers.bedrock.stream import (
    ConverseStreamDecoder,
    converse_usage,
    restated,
)
from ringside_proxy.providers.errors import error_from_reply
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    Finish,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from tests.fakes import Scripted

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts" / "bedrock").glob("*.frames"))


def message(name: str, payload: bytes, kind: str = "event") -> bytes:
    """One frame as AWS writes it."""
    given = {
        f":{kind}-type": name,
        ":content-type": "application/json",
        ":message-type": kind,
    }
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in given.items()
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def framed(lines: list[str]) -> bytes:
    """A transcript's bytes; `!` marks an exception."""
    frames = []
    for line in lines:
        name, _, payload = line.partition(" ")
        kind = "exception" if name.startswith("!") else "event"
        frames.append(message(name.removeprefix("!"), payload.encode(), kind))
    return b"".join(frames)


def decoder() -> ConverseStreamDecoder:
    return ConverseStreamDecoder("bedrock", lambda prefix: f"{prefix}_new")


def drain(pieces: list[bytes]) -> list[Any]:
    """Every item, then the error if there is one; as the client reads."""
    stream, items = decoder(), []
    try:
        for piece in pieces:
            items += stream.feed(piece)
            if stream.is_done:
                break
        items += stream.close()
    except ProviderError as error:
        items.append(error)
    return items


def shown(item: Any) -> dict[str, Any]:
    if isinstance(item, ProviderError):
        return {type(item).__name__: {"code": item.code, "is_retryable": item.is_retryable}}
    return {type(item).__name__: msgspec.to_builtins(item)}


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_stream_gives_its_deltas(path):
    """A transcript gives exactly the deltas that stand beside it, wherever the network cuts it."""
    raw = framed(path.read_text().splitlines())
    expected = json.loads(path.with_suffix(".json").read_text())

    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw) + 1)]
    for pieces in [*cuts, [raw[i : i + 1] for i in range(len(raw))]]:
        assert [shown(item) for item in drain(pieces)] == expected, len(pieces[0])


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcripts_are_what_aws_sends(path):
    """AWS's own client reads the transcripts, event by event, in the shapes of its model."""
    pytest.importorskip("botocore")
    from botocore.eventstream import EventStreamBuffer
    from botocore.session import Session
    from botocore.validate import ParamValidator

    model = Session().get_service_model("bedrock-runtime")
    events = model.shape_for("ConverseStreamOutput").members
    buffer = EventStreamBuffer()
    buffer.add_data(framed(path.read_text().splitlines()))
    if path.stem == "unknown_events":
        return
    for event in buffer:
        name = event.headers.get(":event-type") or event.headers[":exception-type"]
        payload = json.loads(event.payload)
        payload.pop("p", None)
        assert not ParamValidator().validate(payload, events[name]).generate_report()


def test_usage_ends_the_answer():
    """Nothing is waited for after it; what still comes is not read."""
    stream = decoder()
    stop, usage = ['messageStop {"stopReason":"end_turn"}'], ['metadata {"usage":{}}']

    assert stream.feed(framed(stop)) == [Finish("stop")]
    assert not stream.is_done
    assert stream.feed(framed([*usage, *stop])) == []
    assert stream.is_done
    assert stream.close() == []


def test_error_with_nothing_before_it_is_raised_at_once():
    """So that the call can be made again."""
    stream = decoder()

    with pytest.raises(ProviderRateLimitedError, match="Slow down"):
        stream.feed(framed(["messageStart {}", '!throttlingException {"message":"Slow down"}']))

    with pytest.raises(ProviderRateLimitedError):
        stream.close()


@pytest.mark.parametrize("given_id", [None, "", 7, "tooluse_A"])
def test_missing_and_repeated_ids_are_replaced(given_id):
    """A call can be answered only by an id of its own."""
    lines = [
        f'contentBlockStart {{"contentBlockIndex":{i},"start":{{"toolUse":{json.dumps(use)}}}}}'
        for i, use in enumerate(
            [{"toolUseId": "tooluse_A", "name": "f"}, {"toolUseId": given_id, "name": "g"}]
        )
    ]

    deltas = decoder().feed(framed(lines))

    assert deltas == [
        ToolCallDelta(index=0, id="tooluse_A", name="f"),
        ToolCallDelta(index=1, id="call_new", name="g"),
    ]


CALL = (
    'contentBlockStart {"contentBlockIndex":%d,"start":{"toolUse":{"toolUseId":"t%d","name":"f"}}}'
)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['contentBlockStart {"start":{"toolUse":{"toolUseId":"x"}}}'], "without a name"),
        ([CALL % (1, 1), CALL % (1, 2)], "in one place"),
        ([CALL % (i, i) for i in range(129)], "more than 128 tool calls"),
        (["contentBlockDelta nonsense"], "not a JSON object"),
        (["contentBlockDelta [1]"], "not a JSON object"),
    ],
)
def test_nonsense_is_a_bad_reply(lines, words):
    """What cannot be understood, or has no end, is refused."""
    refusal = drain([framed(lines)])[-1]

    assert isinstance(refusal, ProviderBadReplyError)
    assert words in refusal.message


def test_reasoning_is_bounded():
    """What is kept to be sent back has a limit."""
    delta = {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "x" * 600_000}}}
    frame = message("contentBlockDelta", orjson.dumps(delta))

    with pytest.raises(ProviderBadReplyError, match="characters of reasoning"):
        decoder().feed(frame * 2)


def test_usage_comes_with_the_tier_it_was_served_at():
    """What the call costs may depend on it."""
    counts = {"inputTokens": 1, "outputTokens": 2}
    metadata = {"usage": counts, "serviceTier": {"type": "flex"}}

    [told] = decoder().feed(message("metadata", orjson.dumps(metadata)))

    assert told == UsageDelta(TokenUsage(input_tokens=1, output_tokens=2), counts, "flex")


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (
            {"inputTokens": 42, "outputTokens": 50, "cacheReadInputTokens": 2048},
            TokenUsage(input_tokens=2090, cached_input_tokens=2048, output_tokens=50),
        ),
        (
            {
                "inputTokens": 1,
                "outputTokens": 2,
                "cacheReadInputTokens": 3,
                "cacheWriteInputTokens": 4,
            },
            TokenUsage(
                input_tokens=8,
                cached_input_tokens=3,
                cache_write_input_tokens=4,
                output_tokens=2,
            ),
        ),
        (
            {
                "inputTokens": 1,
                "outputTokens": 2,
                "cacheWriteInputTokens": 7,
                "cacheDetails": [
                    {"ttl": "5m", "inputTokens": 4},
                    {"ttl": "1h", "inputTokens": 3},
                    {"ttl": "1h", "inputTokens": -3},
                    None,
                ],
            },
            TokenUsage(
                input_tokens=8,
                cache_write_input_tokens=7,
                cache_write_1h_input_tokens=3,
                output_tokens=2,
            ),
        ),
        ({"inputTokens": 0, "outputTokens": 0}, TokenUsage()),
        ({"inputTokens": 1}, None),
        ({"inputTokens": -1, "outputTokens": 1}, None),
        ({"inputTokens": 1.5, "outputTokens": 1}, None),
        ({"inputTokens": 10**10, "outputTokens": 1}, None),
        ({"inputTokens": True, "outputTokens": 1}, None),
        (None, None),
        ([], None),
    ],
)
def test_usage_counts_the_cache_as_input(reported, expected):
    """AWS leaves it out of the input; what cannot be true is no count."""
    assert converse_usage(reported) == expected


ERRORS = [
    (
        400,
        "ValidationException",
        "Input is too long",
        ProviderRejectedError,
        "context_length_exceeded",
    ),
    (400, "ValidationException", "Malformed input", ProviderRejectedError, "invalid_request"),
    (
        400,
        "ValidationException",
        "The provided model identifier is invalid.",
        ProviderRejectedError,
        "model_not_found",
    ),
    (
        400,
        "ValidationException",
        "Invocation with on-demand throughput isn't supported. Use an inference profile.",
        ProviderRejectedError,
        "model_not_found",
    ),
    (400, "ServiceQuotaExceededException", "x", ProviderQuotaExceededError, "insufficient_quota"),
    (
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
        ProviderPermissionDeniedError,
        "provider_permission_denied",
    ),
    (403, "UnrecognizedClientException", "x", ProviderAuthenticationError, "provider_auth_failed"),
    (403, "InvalidSignatureException", "x", ProviderAuthenticationError, "provider_auth_failed"),
    (403, "ExpiredTokenException", "x", ProviderAuthenticationError, "provider_auth_failed"),
    (404, "ResourceNotFoundException", "x", ProviderRejectedError, "model_not_found"),
    (408, "ModelTimeoutException", "x", ProviderTimeoutError, "provider_timeout"),
    (424, "ModelErrorException", "x", ProviderUnavailableError, "provider_unavailable"),
    (429, "ThrottlingException", "x", ProviderRateLimitedError, "rate_limit_exceeded"),
    (429, "ModelNotReadyException", "x", ProviderRateLimitedError, "rate_limit_exceeded"),
    (500, "InternalServerException", "x", ProviderUnavailableError, "provider_unavailable"),
    (503, "ServiceUnavailableException", "x", ProviderUnavailableError, "provider_unavailable"),
    (418, "UnheardOfException", "x", ProviderBadReplyError, "provider_bad_response"),
]


@pytest.mark.parametrize(("status", "name", "text", "error", "code"), ERRORS)
@pytest.mark.parametrize("place", ["header", "body"])
def test_refusals_mean_what_aws_says(status, name, text, error, code, place):
    """AWS's name decides, with or without an address after it, in the header or the body."""
    headers = {"x-amzn-errortype": f"{name}:http://x/"} if place == "header" else {}
    fields = {"message": text} if place == "header" else {"__type": f"a.b#{name}", "Message": text}

    said = restated(status, headers, orjson.dumps(fields))
    refusal = error_from_reply("bedrock", *said, now_ms=0)

    assert type(refusal) is error
    assert refusal.code == code
    assert text in refusal.message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}"])
def test_refusal_without_words_keeps_its_status(body):
    """A front proxy's page is read by everyone's rules."""
    assert restated(502, {}, body) == (502, {}, body)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("internalServerException", ProviderUnavailableError),
        ("modelStreamErrorException", ProviderUnavailableError),
        ("validationException", ProviderRejectedError),
        ("throttlingException", ProviderRateLimitedError),
        ("serviceUnavailableException", ProviderUnavailableError),
        ("modelTimeoutException", ProviderTimeoutError),
        ("newException", ProviderUnavailableError),
        ("", ProviderUnavailableError),
    ],
)
@pytest.mark.parametrize("payload", [b'{"message":"No."}', b"", b"nonsense"])
def test_exceptions_in_the_stream_are_errors(name, error, payload):
    """Each of the model's exceptions has its class, whatever is left of its words."""
    with pytest.raises(error) as caught:
        decoder().feed(message(name, payload, "exception"))

    assert type(caught.value) is error


KEYS = [
    *("delta", "start", "toolUse", "text", "input", "name", "toolUseId", "usage", "inputTokens"),
    *("reasoningContent", "signature", "stopReason", "contentBlockIndex"),
]

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
names = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata", "x"]
)


@given(st.lists(st.tuples(names, values, st.sampled_from(["event", "exception"])), max_size=8))
@settings(max_examples=300, deadline=None)
def test_mutated_events_raise_nothing_else(events):
    """Whatever its fields hold, an event is deltas or a ProviderError, with one end at most."""
    raw = b"".join(message(name, json.dumps(value).encode(), kind) for name, value, kind in events)

    items = drain([raw])

    assert sum(isinstance(item, Finish) for item in items) <= 1
    opened = [i.index for i in items if isinstance(i, ToolCallDelta) and i.id]
    assert opened == list(range(len(opened)))
    assert all(item.text for item in items if isinstance(item, TextDelta))


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_random_bytes_raise_nothing_else(pieces):
    """Bytes that are no frames at all end in a ProviderError."""
    assert isinstance(drain(pieces)[-1], ProviderError)


async def test_signed_call_is_streamed(caller, upstream):
    """Through the client: a signature instead of a key, and binary frames for an answer."""
    options = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "s", "region": "eu-west-1"}
    question = CompletionRequest(model="amazon.nova-pro-v1:0", messages=[], is_stream=True)
    [plain] = [path for path in TRANSCRIPTS if path.stem == "plain"]
    frames = framed(plain.read_text().splitlines())
    upstream.enqueue(
        Scripted(
            [frames[:50], frames[50:]], 200, {"content-type": "application/vnd.amazon.eventstream"}
        )
    )

    async with caller.client.stream(
        caller.target,
        Bedrock().build_request(question, Credentials(base_url=upstream.base_url, options=options)),
        decoder,
    ) as batches:
        deltas = [delta async for batch in batches for delta in batch]

    assert deltas[:3] == [TextDelta("Grüß"), TextDelta(" dich 👋"), Finish("stop")]
    assert upstream.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=")
    assert upstream.requests[0].headers["x-amz-date"].endswith("Z")
