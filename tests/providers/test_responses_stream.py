"""The Responses dialect's streams, on transcripts written after the vendors' own pages and types."""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.domain.errors import ProviderBadReplyError, ProviderError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.responses.stream import (
    ITEMS_MAX,
    ResponsesStreamDecoder,
    error_from_event,
    responses_usage,
)
from ringside_proxy.providers.types import Finish, StateDelta, TextDelta, ToolCallDelta

STREAMS = sorted((Path(__file__).parent / "transcripts" / "responses").glob("*/*.sse"))


def case_id(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def decoder(provider: str = "openai") -> ResponsesStreamDecoder:
    return ResponsesStreamDecoder(provider, lambda prefix: f"{prefix}_new")


def drain(stream: ResponsesStreamDecoder, pieces: list[bytes]) -> list[Any]:
    """Every item, then the error if there is one; as the client reads."""
    items: list[Any] = []
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


def read(*events: dict[str, Any]) -> list[Any]:
    """What a stream of events gives."""
    return drain(decoder(), [b"data: " + orjson.dumps(event) + b"\n\n" for event in events])


def ended(**response: Any) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", **response}}


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_gives_its_deltas(path):
    """A transcript gives exactly the deltas that stand beside it."""
    items = drain(decoder(path.parent.name), [path.read_bytes()])

    assert [shown(item) for item in items] == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_cut_anywhere_gives_the_same_deltas(path):
    """Where the network cuts a stream does not matter, at any byte and at all of them."""
    raw = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())

    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw))]
    for pieces in [*cuts, [raw[i : i + 1] for i in range(len(raw))]]:
        items = drain(decoder(path.parent.name), pieces)
        assert [shown(item) for item in items] == expected, f"first piece {len(pieces[0])} bytes"


@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_may_use_any_line_ending(path, newline):
    """CRLF and CR end lines as LF does, also where a cut parts the two."""
    raw = path.read_bytes().replace(b"\n", newline)

    items = drain(decoder(path.parent.name), [raw[i : i + 1] for i in range(len(raw))])

    assert [shown(item) for item in items] == json.loads(path.with_suffix(".json").read_text())


def test_nothing_is_read_after_the_end():
    """The response's last event is the last word: no `[DONE]` is waited for."""
    stream = decoder()

    items = stream.feed(b"data: " + orjson.dumps(ended()) + b"\n\ndata: rubbish\n\n")

    assert items == [Finish("stop")]
    assert stream.is_done


def test_whole_text_is_said_once():
    """An item that repeats what its deltas said adds nothing; one without deltas says it all."""
    item = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hi"}]}
    delta = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}

    assert read(delta, done, ended(output=[item])) == [TextDelta("Hi"), Finish("stop")]
    assert read(done, ended(output=[item])) == [TextDelta("Hi"), Finish("stop")]
    assert read(delta, ended(output=[item])) == [TextDelta("Hi"), Finish("stop")]


def test_call_without_id_gets_one():
    """A call that comes without any id is named here."""
    item = {"type": "function_call", "name": "f", "arguments": "{}"}

    first, *_ = read(
        {"type": "response.output_item.added", "output_index": 0, "item": item}, ended()
    )

    assert first == ToolCallDelta(index=0, id="call_new", name="f")


def test_reasoning_without_its_content_is_not_kept():
    """Nothing is stored at the provider, so that an item's id alone would lead nowhere."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}

    items = read({"type": "response.output_item.done", "output_index": 0, "item": item}, ended())

    assert not [item for item in items if isinstance(item, StateDelta)]


@pytest.mark.parametrize(
    ("said", "name", "code"),
    [
        ({"error": {"code": "server_error"}}, "ProviderUnavailableError", "provider_unavailable"),
        ({"error": {"code": "vector_store_timeout"}}, "ProviderUnavailableError", None),
        ({"error": {"code": "invalid_prompt"}}, "ProviderRejectedError", "invalid_prompt"),
        ({"error": {"code": "bio_policy"}}, "ProviderRejectedError", "bio_policy"),
        ({"code": "rate_limit_exceeded", "type": "error"}, "ProviderRateLimitedError", None),
        (
            {"code": "context_length_exceeded", "message": "too long", "type": "error"},
            "ProviderRejectedError",
            "context_length_exceeded",
        ),
        (
            {"error": {"type": "insufficient_quota", "code": "insufficient_quota"}},
            "ProviderQuotaExceededError",
            None,
        ),
        ({"message": "no", "type": "invalid_request", "code": 400}, "ProviderRejectedError", None),
        ({"code": "request_rate_limit_exceeded"}, "ProviderRateLimitedError", None),
        ({"message": "no", "type": "invalid_request"}, "ProviderRejectedError", None),
        ({"message": "pay", "code": 402}, "ProviderQuotaExceededError", None),
        ({"message": "busy", "code": 429}, "ProviderRateLimitedError", None),
        ("The model is at capacity.", "ProviderUnavailableError", None),
        (None, "ProviderUnavailableError", None),
        ({"error": None}, "ProviderUnavailableError", None),
    ],
)
def test_error_means_what_its_code_says(said, name, code):
    """Codes that blame the request are refusals; the others are failures that may pass."""
    error = error_from_event("openai", said)

    assert type(error).__name__ == name
    assert code in (None, error.code)


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (None, None),
        ({}, None),
        ({"input_tokens": -1, "output_tokens": 1}, None),
        ({"input_tokens": 1, "output_tokens": "1"}, None),
        ({"input_tokens": 1, "output_tokens": 10**12}, None),
        ({"input_tokens": 4, "output_tokens": 2}, TokenUsage(input_tokens=4, output_tokens=2)),
        (
            {
                "input_tokens": 10,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                "output_tokens": 8,
                "output_tokens_details": {"reasoning_tokens": 5},
                "total_tokens": 18,
            },
            TokenUsage(
                input_tokens=10,
                cached_input_tokens=4,
                cache_write_input_tokens=3,
                output_tokens=8,
                reasoning_tokens=5,
            ),
        ),
        (
            {
                "input_tokens": 32,
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 110},
                "total_tokens": 151,
            },
            TokenUsage(input_tokens=32, output_tokens=119, reasoning_tokens=110),
        ),
        (
            {
                "input_tokens": 9,
                "input_tokens_details": {
                    "cache_read_input_tokens": 5,
                    "cache_creation_input_tokens": 2,
                },
                "output_tokens": 1,
            },
            TokenUsage(
                input_tokens=9,
                cached_input_tokens=5,
                cache_write_input_tokens=2,
                output_tokens=1,
            ),
        ),
    ],
)
def test_usage_is_canonical(reported, usage):
    """Details are part of the counts, unless the total shows that reasoning comes on top."""
    assert responses_usage(reported) == usage


def test_number_of_calls_and_items_is_bounded():
    """A model that never stops calling or starting items is cut off."""

    def item(index: int, kind: str) -> dict[str, Any]:
        item = {"type": kind, "call_id": f"call_{index}", "name": "f"}
        return {"type": "response.output_item.done", "output_index": index, "item": item}

    calls = read(*(item(index, "function_call") for index in range(200)))
    messages = read(*(item(index, "message") for index in range(ITEMS_MAX + 1)))

    assert isinstance(calls[-1], ProviderBadReplyError)
    assert isinstance(messages[-1], ProviderBadReplyError)


def test_call_without_a_name_is_refused():
    """A call that nobody can run is a bad reply."""
    item = {"type": "function_call", "call_id": "call_1"}

    items = read({"type": "response.output_item.added", "output_index": 0, "item": item}, ended())

    assert isinstance(items[-1], ProviderBadReplyError)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_deltas_or_a_provider_error(data):
    """Whatever comes, nothing but a ProviderError is raised, and a stream that said nothing broke."""
    for pieces in ([data], [b"data: " + data + b"\n\n"]):
        assert isinstance(drain(decoder(), pieces)[-1], ProviderError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["item", "output_index", "item_id", "delta", "response", "error", "arguments", "code"]
)
ITEMS = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "function_call", "reasoning"]) | JSON},
    optional={
        key: JSON
        for key in ("id", "call_id", "name", "content", "arguments", "encrypted_content", "phase")
    },
)
KINDS = st.sampled_from(sorted(decoder()._readers))


@given(st.lists(st.tuples(KINDS | JSON, st.dictionaries(KEYS, JSON | ITEMS)), max_size=8))
@settings(max_examples=300, deadline=None)
def test_mutated_events_raise_only_provider_errors(events):
    """Events of any content give at most one Finish, and calls whose indexes are dense."""
    items = read(*({**fields, "type": kind} for kind, fields in events))

    errors = [item for item in items if isinstance(item, Exception)]
    assert all(isinstance(error, ProviderError) for error in errors)
    assert sum(isinstance(item, Finish) for item in items) == (0 if errors else 1)
    opened = [i.index for i in items if isinstance(i, ToolCallDelta) and i.id is not None]
    assert len(opened) == len(set(opened))
