import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.cohere.stream import CohereStreamDecoder, token_usage
from ringside_proxy.providers.errors import error_from_reply
from tests.providers.streams import (
    ANY_JSON,
    check_deltas,
    drained,
    mutated,
    no_new_id,
    sdk_extras,
    transcripts,
)


def decoder() -> CohereStreamDecoder:
    return CohereStreamDecoder("cohere", no_new_id, {})


def frames(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + orjson.dumps(event) + b"\n\n" for event in events)


@pytest.mark.parametrize("path", transcripts("cohere", "sse"), ids=lambda path: path.stem)
def test_stream_cut_anywhere_gives_its_deltas(path):
    """A transcript gives exactly the deltas that stand beside it."""
    check_deltas(path, decoder)


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            {"billed_units": {"input_tokens": 37.4, "output_tokens": 28}, "tokens": {"input_tokens": 913}, "cached_tokens": 5},
            TokenUsage(input_tokens=37, cached_input_tokens=5, output_tokens=28),
        ),
        (
            {"billed_units": {"input_tokens": 3, "output_tokens": 1}, "cached_tokens": 900.0},
            TokenUsage(input_tokens=3, cached_input_tokens=3, output_tokens=1),
        ),
        ({"billed_units": {"input_tokens": 3}}, TokenUsage(input_tokens=3)),
        ({"tokens": {"input_tokens": 913, "output_tokens": 83}}, None),
        ({"billed_units": {"input_tokens": True, "output_tokens": 1}}, None),
        ({"billed_units": {"input_tokens": -1, "output_tokens": 1}}, None),
        ({"billed_units": {"input_tokens": 2_000_000_000, "output_tokens": 1}}, None),
        ({"billed_units": "many"}, None),
        (None, None),
    ],
)  # fmt: skip
def test_usage_is_what_is_billed(reported, usage):
    """Not what Cohere writes around the prompt; a count that cannot be true is missing."""
    assert token_usage(reported) == usage


@pytest.mark.parametrize(
    ("status", "message", "error", "code"),
    [
        (400, "invalid request: bad field", ProviderRejectedError, "invalid_request"),
        (401, "invalid api token", ProviderAuthenticationError, "provider_auth_failed"),
        (402, "please add a payment method", ProviderQuotaExceededError, "insufficient_quota"),
        (403, "no access", ProviderPermissionDeniedError, "provider_permission_denied"),
        (404, "model 'x' not found", ProviderRejectedError, "model_not_found"),
        (422, "unprocessable", ProviderRejectedError, "invalid_request"),
        (429, "trial key: 20 calls/min", ProviderRateLimitedError, "rate_limit_exceeded"),
        (500, "internal error", ProviderUnavailableError, "provider_unavailable"),
        (503, "overloaded", ProviderUnavailableError, "provider_unavailable"),
        (504, "gateway timeout", ProviderTimeoutError, "provider_timeout"),
    ],
)
def test_refusals_have_their_class(status, message, error, code):
    """Cohere's `{id, message}` under each of its statuses."""
    caught = error_from_reply(
        "cohere", status, {}, orjson.dumps({"id": "5f", "message": message}), 0
    )

    assert (type(caught), caught.code) == (error, code)
    assert message in caught.message


@pytest.mark.parametrize(
    "event",
    [
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": {"id": "x"}}}},
        {"type": "tool-call-delta", "index": 3, "delta": {}},
    ],
)
def test_call_that_cannot_be_understood_is_a_bad_reply(event):
    """A call without a name, or arguments of none."""
    with pytest.raises(ProviderBadReplyError):
        decoder().feed(frames(event))


def test_calls_are_bounded():
    """A model gone wrong is stopped."""
    call = {"id": "", "function": {"name": "f"}}
    event = {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}}
    stream = CohereStreamDecoder("cohere", lambda prefix: f"{prefix}_new", {})

    items = drained(stream, [frames(event)] * 129)

    assert sum("ToolCallDelta" in item for item in items) == 128
    assert list(items[-1]) == ["ProviderBadReplyError"]


def test_call_without_an_id_of_its_own_gets_one():
    """Also where Cohere gives two the same."""
    call = {"id": "same", "function": {"name": "f", "arguments": "{}"}}
    events = [
        {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": [call]}}}
        for index in (0, 1)
    ]
    stream = CohereStreamDecoder("cohere", lambda prefix: f"{prefix}_new", {})

    ids = [delta.id for delta in stream.feed(frames(*events)) if getattr(delta, "id", None)]

    assert ids == ["same", "call_new"]


EVENTS = [json.loads(line[6:]) for path in transcripts("cohere", "sse")
          for line in path.read_text("utf-8").split("\n") if line.startswith("data: {")]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(EVENTS), st.lists(st.integers(0, 9), max_size=6), ANY_JSON),
        max_size=6,
    )
)
def test_mutated_events_raise_only_provider_errors(changes):
    """Whatever stands where."""
    data = b"".join(
        b"data: " + json.dumps(mutated(*change)).encode() + b"\n\n" for change in changes
    )

    drained(CohereStreamDecoder("cohere", lambda prefix: f"{prefix}_new", {}), [data])


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_raise_only_provider_errors(pieces):
    """A stream that is none of Cohere's ends in an error that says so."""
    stream = CohereStreamDecoder("cohere", lambda prefix: f"{prefix}_new", {})

    items = drained(stream, [*pieces, b"\n\ndata: ["])

    assert "Error" in next(iter(items[-1]))


def test_cohere_s_own_types_know_what_comes_back():
    """Every event in the transcripts, judged by the vendor's SDK."""
    cohere = pytest.importorskip("cohere")
    types = {
        "content-start": cohere.ChatContentStartEvent,
        "content-delta": cohere.ChatContentDeltaEvent,
        "tool-plan-delta": cohere.ChatToolPlanDeltaEvent,
        "tool-call-start": cohere.ChatToolCallStartEvent,
        "tool-call-delta": cohere.ChatToolCallDeltaEvent,
        "message-end": cohere.ChatMessageEndEvent,
    }
    judged = [event for event in EVENTS if event.get("type") in types]

    assert len(judged) > 20
    for event in judged:
        kind = types[event["type"]]
        assert set(sdk_extras(kind.model_validate(event))) <= {"type"}, event
