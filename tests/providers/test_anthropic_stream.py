"""What Anthropic answers: its stream, its counts, its refusals, and thinking there and back."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, reject, settings
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
from ringside_proxy.providers.anthropic.state import STATE_CHARS_MAX, Layout
from ringside_proxy.providers.anthropic.stream import MessageStreamDecoder, message_usage
from ringside_proxy.providers.errors import error_from_reply
from ringside_proxy.providers.types import Finish, StateDelta, ToolCallDelta
from tests.providers.anthropic_rig import ANTHROPIC, HI, call, called, result, turns
from tests.providers.streams import (
    ANY_JSON,
    check_deltas,
    drained,
    mutated,
    no_new_id,
    transcripts,
)

STREAMS = transcripts("anthropic", "sse")
WITH_STATE = [path for path in STREAMS if "StateDelta" in path.with_suffix(".json").read_text()]
PATHS = st.lists(st.integers(min_value=0, max_value=9), max_size=4)
START = {"type": "message_start", "message": {"usage": {"input_tokens": 3, "output_tokens": 1}}}
STOP = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}


def decoder() -> MessageStreamDecoder:
    return MessageStreamDecoder("anthropic", no_new_id)


def minting() -> MessageStreamDecoder:
    return MessageStreamDecoder("anthropic", lambda prefix: f"{prefix}_new")


def stream(*events: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


def events_of(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    return [orjson.loads(line[6:]) for line in lines if line.startswith(b"data: ")]


def opened(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def refusal(status: int, error: Any, **headers: str) -> ProviderError:
    body = orjson.dumps({"type": "error", "error": error, "request_id": "req_1"})
    return error_from_reply("anthropic", *ANTHROPIC.restate(status, headers, body), 0)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_stream_gives_its_deltas_wherever_it_is_cut(path):
    """A transcript gives exactly the deltas that stand beside it, cut at every byte."""
    check_deltas(path, decoder)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_stream_may_use_any_line_ending(path, newline):
    """CRLF and CR end lines as LF does."""
    raw = path.read_bytes().replace(b"\n", newline)

    assert drained(decoder(), [raw]) == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize(
    ("stop_reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "stop"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("compaction", "stop"),
        ("a_new_word", "stop"),
    ],
)
def test_stop_reason_in_openais_words(stop_reason, finish):
    """Each reason has its word; without a call in the answer, none says `tool_calls`."""
    stop = {"type": "message_delta", "delta": {"stop_reason": stop_reason}}

    deltas = decoder().feed(stream(START, stop, {"type": "message_stop"}))

    assert deltas[-1:] == [Finish(finish)]


def test_call_ids_that_are_missing_or_repeated_are_minted():
    """Every call has an id of its own, also where the stream has none, or one twice."""
    calls = [
        opened(0, type="tool_use", name="f", id="a"),
        opened(1, type="tool_use", name="f", id="a"),
    ]

    deltas = minting().feed(stream(START, *calls, STOP))

    assert [d.id for d in deltas if isinstance(d, ToolCallDelta) and d.name] == ["a", "call_new"]


@pytest.mark.parametrize(
    "events",
    [
        [opened(0, type="tool_use", id="a")],
        [opened(i, type="tool_use", id=str(i), name="f") for i in range(129)],
        [1],
        [],
    ],
)
def test_stream_that_cannot_be_an_answer_is_refused(events):
    """A call without a name, calls without end, no objects, and an end that never came."""
    shown = drained(decoder(), [stream(START, *events)])

    assert "ProviderBadReplyError" in shown[-1]


def test_text_that_is_no_json_is_refused():
    """An event has to be an object."""
    with pytest.raises(ProviderBadReplyError):
        decoder().feed(b"data: <html>\n\n")


def test_nothing_is_told_before_the_answer_begins():
    """The first counts wait: until something was said, the call may be sent again."""
    stream_decoder = decoder()

    waiting = stream_decoder.feed(stream(START, {"type": "ping"}))
    told = stream_decoder.feed(stream(opened(0, type="text", text="Hi.")))

    assert waiting == []
    assert [type(delta).__name__ for delta in told] == ["UsageDelta", "TextDelta"]


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            {
                "input_tokens": 42,
                "cache_creation_input_tokens": 7,
                "cache_read_input_tokens": 2048,
                "output_tokens": 61,
                "output_tokens_details": {"thinking_tokens": 12},
            },
            (2097, 2048, 7, 61, 12),
        ),
        ({"input_tokens": 1, "output_tokens": 2}, (1, 0, 0, 2, 0)),
        ({"input_tokens": 1, "output_tokens": 0, "cache_read_input_tokens": None}, (1, 0, 0, 0, 0)),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "output_tokens_details": {"thinking_tokens": 9},
            },
            (1, 0, 0, 2, 2),
        ),
        ({"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 1.5}, (1, 0, 0, 2, 0)),
        ({"input_tokens": 1}, None),
        ({"input_tokens": True, "output_tokens": 2}, None),
        ({"input_tokens": -1, "output_tokens": 2}, None),
        ({"input_tokens": 1, "output_tokens": 10**10}, None),
        ({}, None),
    ],
)
def test_usage_is_exact(reported, usage):
    """What was read from and written to the cache is input too; thinking is part of the output."""
    told = message_usage(reported)

    if usage is None:
        assert told is None
    else:
        assert told == TokenUsage(
            input_tokens=usage[0],
            cached_input_tokens=usage[1],
            cache_write_input_tokens=usage[2],
            output_tokens=usage[3],
            reasoning_tokens=usage[4],
        )


def test_writes_for_an_hour_are_a_part_of_the_writes():
    """They have a price of their own; more of them than of all writes cannot be."""
    counts = {"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 7}

    told = [
        message_usage({**counts, "cache_creation": {"ephemeral_1h_input_tokens": hourly}})
        for hourly in (3, 9, None)
    ]

    assert [usage.cache_write_1h_input_tokens for usage in told if usage] == [3, 7, 0]
    assert [usage.cache_write_input_tokens for usage in told if usage] == [7, 7, 7]


ERRORS = [
    (400, "invalid_request_error", "Bad.", None, ProviderRejectedError, "invalid_request"),
    (
        400,
        "invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum",
        None,
        ProviderRejectedError,
        "context_length_exceeded",
    ),
    (
        400,
        "invalid_request_error",
        "Output blocked by content filtering policy",
        None,
        ProviderRejectedError,
        "content_policy_violation",
    ),
    (
        400,
        "invalid_request_error",
        "The thinking block is bound to a different conversation.",
        None,
        ProviderRejectedError,
        "provider_state_rejected",
    ),
    (
        400,
        "invalid_request_error",
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        None,
        ProviderRejectedError,
        "provider_state_rejected",
    ),
    (
        400,
        "invalid_request_error",
        "The compiled grammar is too large.",
        None,
        ProviderRejectedError,
        "schema_not_supported",
    ),
    (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
        None,
        ProviderQuotaExceededError,
        "insufficient_quota",
    ),
    (
        401,
        "authentication_error",
        "invalid x-api-key",
        None,
        ProviderAuthenticationError,
        "provider_auth_failed",
    ),
    (402, "billing_error", "Pay.", None, ProviderQuotaExceededError, "insufficient_quota"),
    (
        403,
        "permission_error",
        "No.",
        None,
        ProviderPermissionDeniedError,
        "provider_permission_denied",
    ),
    (
        404,
        "not_found_error",
        "model: claude-3",
        None,
        ProviderRejectedError,
        "model_not_found",
    ),
    (409, "conflict_error", "Busy.", None, ProviderUnavailableError, "provider_unavailable"),
    (413, "request_too_large", "Big.", None, ProviderRejectedError, "request_too_large"),
    (429, "rate_limit_error", "Slow.", None, ProviderRateLimitedError, "rate_limit_exceeded"),
    (
        429,
        "rate_limit_error",
        "Slow.",
        "ramp_limit_exceeded",
        ProviderRateLimitedError,
        "rate_limit_exceeded",
    ),
    (
        429,
        "rate_limit_error",
        "Stop.",
        "enforced_spend_limit_reached",
        ProviderQuotaExceededError,
        "insufficient_quota",
    ),
    (
        429,
        "rate_limit_error",
        "Stop.",
        "contract_spend_limit_reached",
        ProviderQuotaExceededError,
        "insufficient_quota",
    ),
    (500, "api_error", "Oops.", None, ProviderUnavailableError, "provider_unavailable"),
    (504, "timeout_error", "Late.", None, ProviderTimeoutError, "provider_timeout"),
    (529, "overloaded_error", "Full.", None, ProviderUnavailableError, "provider_unavailable"),
]


@pytest.mark.parametrize(("status", "kind", "message", "detail", "error", "code"), ERRORS)
def test_refusal_means_the_same_by_status_in_a_200_and_in_a_stream(
    status, kind, message, detail, error, code
):
    """Status or not, the same words are the same error, and may be tried again alike."""
    said = {"type": kind, "message": message}
    if detail:
        said["details"] = {"error_code": detail}

    by_status, under_200 = refusal(status, said), refusal(200, said)
    with pytest.raises(ProviderError) as in_stream:
        decoder().feed(stream(START, {"type": "error", "error": said}))

    for told in (by_status, under_200, in_stream.value):
        assert (type(told), told.code) == (error, code)
        assert told.is_retryable == error.is_retryable_default


@pytest.mark.parametrize("error", [None, "gone", {}, {"type": 1, "message": 2}])
def test_error_event_of_no_known_shape_is_a_failure_of_the_provider(error):
    """An event named `error` is one, whatever it holds."""
    with pytest.raises(ProviderUnavailableError):
        decoder().feed(b"event: error\n" + stream({"error": error}))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"text"}', b'{"a":1}'])
def test_refusal_of_someone_elses_is_left_as_it_is(body):
    """A proxy between us and Anthropic speaks for itself."""
    headers = {"content-type": "text/html"}

    assert ANTHROPIC.restate(502, headers, body) == (502, headers, body)


def test_refusal_says_when_to_come_back():
    """`retry-after` is kept, and `x-should-retry` obeyed."""
    told = refusal(
        429,
        {"type": "rate_limit_error", "message": "Slow."},
        **{"retry-after": "7", "x-should-retry": "false"},
    )

    assert told.retry_after_s == 7
    assert not told.is_retryable


@pytest.mark.parametrize("path", WITH_STATE, ids=lambda path: path.stem)
def test_thinking_goes_back_exactly_as_it_came(path):
    """What a stream left with its calls is put back block for block, in its order."""
    deltas = decoder().feed(path.read_bytes())
    [state] = [delta.state for delta in deltas if isinstance(delta, StateDelta)]
    blocks = [e["content_block"] for e in events_of(path) if e["type"] == "content_block_start"]
    calls = [call(str(i)) for i, block in enumerate(b for b in blocks if b["type"] == "tool_use")]
    words = "".join(delta.text for delta in deltas if type(delta).__name__ == "TextDelta")
    kept = json.loads(json.dumps(state))  # as the store keeps it

    message = called(*calls, content=words or None, provider_state=kept)
    said = turns(*HI, message, *(result(call_id=c["id"]) for c in calls))[1][1]

    assert [block["type"] for block in said] == [block["type"] for block in blocks]
    assert [b for b in said if "thinking" in b["type"]] == [
        b for b in kept["blocks"] if "thinking" in b["type"]
    ]


def test_thinking_that_nobody_signed_is_not_kept():
    """Without its signature it would be refused."""
    thinking = opened(0, type="thinking", thinking="Hm.", signature="")
    calling = opened(1, type="tool_use", id="a", name="f", input={})

    deltas = decoder().feed(stream(START, thinking, calling, STOP))

    assert not [delta for delta in deltas if isinstance(delta, StateDelta)]


def test_state_has_a_limit():
    """An answer that thinks without end leaves nothing behind, and still is an answer."""
    layout = Layout()
    layout.add("redacted_thinking", data="x" * STATE_CHARS_MAX)
    layout.add("redacted_thinking", data="y")

    assert layout.state() is None
    assert not layout.grow(1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_end_in_an_answer_or_a_provider_error(pieces):
    """Whatever comes, nothing but a ProviderError goes out, and an answer ends once."""
    shown = drained(minting(), pieces)

    assert sum("Finish" in item for item in shown) <= 1


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(min_value=0), PATHS, ANY_JSON)
def test_any_change_of_an_event_ends_in_an_answer_or_a_provider_error(path, at, where, new):
    """A field of a wrong type, or in a wrong place, is no reason to fail otherwise."""
    events = events_of(path)
    at %= len(events)
    events[at] = mutated(events[at], where, new)

    try:
        raw = stream(*events)
    except TypeError:
        reject()  # no such number comes in

    shown = drained(minting(), [raw])

    assert sum("Finish" in item for item in shown) <= 1
    indexes = [item["ToolCallDelta"]["index"] for item in shown if "ToolCallDelta" in item]
    assert sorted(set(indexes)) == list(range(len(set(indexes))))
