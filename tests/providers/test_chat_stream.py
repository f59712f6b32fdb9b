"""Dialects: what the other providers do differently, and what the rest of the proxy must not see."""

from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.messages import ReplayField
from ringside_proxy.providers.chat.reasoning import ThinkTags
from ringside_proxy.providers.chat.stream import TOOL_CALLS_MAX, ChatStreamDecoder
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    ReasoningDelta,
    StateDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from tests.fakes import chunk, frame, usage

DONE = b"data: [DONE]\n\n"


def decoder(**dialect: Any) -> ChatStreamDecoder:
    numbers = count(1)
    return ChatStreamDecoder("acme", lambda prefix: f"{prefix}_new{next(numbers)}", **dialect)


def decoded(*chunks: Any, end: bytes = DONE, **dialect: Any) -> list[Delta]:
    stream = decoder(**dialect)
    return (
        [d for each in chunks for d in stream.feed(frame(each))] + stream.feed(end) + stream.close()
    )


def calls(*fragments: Any, finish: str | None = "tool_calls") -> list[ToolCallDelta]:
    chunks = [chunk({"tool_calls": [fragment]}) for fragment in fragments]
    deltas = decoded(*chunks, chunk({}, finish))
    assert deltas[-1] == Finish("tool_calls")
    return [delta for delta in deltas if isinstance(delta, ToolCallDelta)]


def function(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    inner = {"name": name, "arguments": arguments}
    return {"function": {k: v for k, v in inner.items() if v is not None}, **fields}


def call(index: int, call_id: str, name: str, arguments: str) -> list[ToolCallDelta]:
    return [
        ToolCallDelta(index=index, id=call_id, name=name),
        ToolCallDelta(index=index, arguments=arguments),
    ]


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        pytest.param(
            [function("f", '{"a":1}', index=0, id="x"), function("g", "{}", index=1, id="y")],
            call(0, "x", "f", '{"a":1}') + call(1, "y", "g", "{}"),
            id="whole calls",
        ),
        pytest.param(
            [function("f", "{}", index=0, id="x"), function("g", "{}", index=0, id="y")],
            call(0, "x", "f", "{}") + call(1, "y", "g", "{}"),
            id="index 0 for all",
        ),
        pytest.param(
            [function("f", index=0.0, id="x"), function(None, "{}", index=0.0)],
            call(0, "x", "f", "{}"),
            id="index as a float",
        ),
        pytest.param(
            [function("f", id="x"), function(None, "{}"), function("g", "[]", id="y")],
            call(0, "x", "f", "{}") + call(1, "y", "g", "[]"),
            id="no index",
        ),
        pytest.param(
            [function("f", "{}", index=0), function("g", "{}", index=1, id="")],
            call(0, "call_new1", "f", "{}") + call(1, "call_new2", "g", "{}"),
            id="no id",
        ),
        pytest.param(
            [function("f", "{}", index=0, id="null")],
            call(0, "call_new1", "f", "{}"),
            id="id of the word null",
        ),
        pytest.param(
            [function("f", "{}", index=0, id="0")],
            call(0, "call_new1", "f", "{}"),
            id="id that is a place",
        ),
        pytest.param(
            [function("f", {"city": "Köln"}, index=0, id="x")],
            call(0, "x", "f", '{"city":"Köln"}'),
            id="arguments as an object",
        ),
        pytest.param(
            [function("f", index=0, id="x"), function("f", "{}", index=0, id="x")],
            call(0, "x", "f", "{}"),
            id="id and name repeated",
        ),
        pytest.param(
            [function(None, '{"a"', index=0, id="x"), function("f", ":1}", index=0)],
            call(0, "x", "f", '{"a":1}'),
            id="name after arguments",
        ),
        pytest.param(
            [function("f", index=2, id="x"), function("g", "{}", index=5, id="y")],
            [
                ToolCallDelta(index=0, id="x", name="f"),
                *call(1, "y", "g", "{}"),
                ToolCallDelta(index=0, arguments="{}"),
            ],
            id="indexes with holes, no arguments",
        ),
        pytest.param(
            [
                function("f", index=0, id="x"),
                function("g", index=1, id="y"),
                function(None, "1", index=0),
                function(None, "2", index=1),
            ],
            [
                ToolCallDelta(index=0, id="x", name="f"),
                ToolCallDelta(index=1, id="y", name="g"),
                ToolCallDelta(index=0, arguments="1"),
                ToolCallDelta(index=1, arguments="2"),
            ],
            id="interleaved",
        ),
    ],
)
def test_tool_calls_are_openais(fragments, expected):
    """However a call comes, it goes on as id and name first, arguments after, indexes dense."""
    assert calls(*fragments) == expected


@pytest.mark.parametrize("word", ["stop", "", None, "tool_calls", "function_call", "eos"])
def test_end_after_calls_is_tool_calls(word):
    """A model that called has not stopped, whatever its provider calls it, or if it says nothing."""
    calls(function("f", "{}", index=0, id="x"), finish=word)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_finish_words(word, expected):
    """An answer without calls ends in one of OpenAI's words; `tool_calls` would wait for nothing."""
    assert decoded(chunk({"content": "x"}, word))[-1] == Finish(expected)


@pytest.mark.parametrize("word", ["error", "insufficient_system_resource"])
def test_failing_finish_is_a_failure(word):
    """Some providers report their own failure as a finish."""
    with pytest.raises(
        ProviderUnavailableError, match=f"acme gave up on the answer \\('{word}'\\)"
    ):
        decoded(chunk({}, word))


def test_one_finish_however_often_it_comes():
    """Chunks after the finish give usage and nothing else."""
    deltas = decoded(chunk({"content": "x"}, "stop"), chunk({"content": "y"}, "stop"))

    assert deltas == [TextDelta("x"), Finish("stop")]


def test_usage_may_come_anywhere():
    """With the last content, on a chunk of its own, or on every chunk."""
    counted = UsageDelta(TokenUsage(input_tokens=1, output_tokens=2), usage(1, 2))

    assert decoded(chunk({}, "stop", usage=usage(1, 2)))[-1] == counted
    assert decoded(chunk({}, "stop"), chunk(None, usage=usage(1, 2)))[-1] == counted
    assert decoded(chunk({"content": "x"}, usage=usage(1, 2)), chunk({}, "stop"))[1] == counted


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart(key):
    """Reasoning is never part of the text."""
    deltas = decoded(chunk({key: "hm", "content": ""}), chunk({"content": "42"}, "stop"))

    assert deltas == [ReasoningDelta("hm"), TextDelta("42"), Finish("stop")]


@pytest.mark.parametrize(
    ("payload", "error", "code"),
    [
        ({"error": {"message": "x", "type": "server_error"}}, ProviderUnavailableError, None),
        ({"error": "overloaded"}, ProviderUnavailableError, None),
        ({"error": {"code": 429, "message": "x"}}, ProviderRateLimitedError, None),
        ({"error": {"message": "x"}, "status_code": 429}, ProviderRateLimitedError, None),
        ({"error": {"type": "rate_limit_error", "message": "x"}}, ProviderRateLimitedError, None),
        (
            {"error": {"type": "invalid_request_error", "code": "bad_tool", "message": "x"}},
            ProviderRejectedError,
            "bad_tool",
        ),
        (
            {"error": {"message": "This model's maximum context length is 8192 tokens."}},
            ProviderRejectedError,
            "context_length_exceeded",
        ),
        ({"error": {"code": 502, "message": "x"}, "choices": []}, ProviderUnavailableError, None),
    ],
)
def test_error_frame_ends_the_stream(payload, error, code):
    """An error inside a 200 is the error that its words or its code say."""
    with pytest.raises(error) as caught:
        decoded(payload)

    assert caught.value.code == (code or error.default_code)


def test_named_error_event_is_an_error():
    """`event: error` makes any object an error."""
    with pytest.raises(ProviderUnavailableError, match="acme is unavailable: gone"):
        decoder().feed(b'event: error\ndata: {"message": "gone"}\n\n')


def test_text_before_an_error_is_not_lost():
    """In one piece or in many: first what was said, then the error."""
    stream = decoder()
    raw = frame(chunk({"content": "Half"})) + frame({"error": {"message": "x"}})

    assert stream.feed(raw) == [TextDelta("Half")]
    assert stream.is_done
    with pytest.raises(ProviderUnavailableError):
        stream.close()


@pytest.mark.parametrize("raw", [b"data: hello\n\n", b"data: [1]\n\n", b'data: {"a":\n\n'])
def test_garbage_is_a_bad_reply(raw):
    """What is no chunk is not guessed at."""
    with pytest.raises(ProviderBadReplyError, match="not a JSON object"):
        decoder().feed(raw)


@pytest.mark.parametrize("raw", [b"", b"<html>down</html>", b": ping\n\n", frame(chunk({}))])
def test_stream_without_end_broke_off(raw):
    """Neither a finish nor [DONE]: the answer is not whole, and the call may be sent again."""
    stream = decoder()
    stream.feed(raw)

    with pytest.raises(ProviderBadReplyError, match="broke off") as caught:
        stream.close()

    assert caught.value.is_retryable


def test_done_without_finish_is_whole():
    """[DONE] is the provider's word that there is no more."""
    assert decoded(chunk({"content": "x"})) == [TextDelta("x"), Finish("stop")]


def test_call_without_a_name_is_a_bad_reply():
    """Nobody could answer it."""
    with pytest.raises(ProviderBadReplyError, match="without a name"):
        calls(function(None, "{}", index=0, id="x"))


def test_calls_are_bounded():
    """A model that calls without end is stopped."""
    with pytest.raises(ProviderBadReplyError, match=f"more than {TOOL_CALLS_MAX} tool calls"):
        calls(*(function("f", "{}", index=i, id=f"x{i}") for i in range(TOOL_CALLS_MAX + 1)))


def thought(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}], **fields}


def test_thoughts_in_a_list_of_content_are_kept_apart():
    """Mistral's content is a list where it thinks; all its thoughts go back as one."""
    deltas = decoded(
        chunk({"content": [thought("a")]}),
        chunk({"content": [thought("b", closed=True), {"type": "text", "text": "42"}]}, "stop"),
        replay="thinking",
    )

    assert deltas == [
        ReasoningDelta("a"),
        ReasoningDelta("b"),
        TextDelta("42"),
        StateDelta({"thinking": [thought("ab", closed=True)]}),
        Finish("stop"),
    ]


DETAIL = {"type": "reasoning.text", "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "x", "index": 0}


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        ([DETAIL | {"text": "a"}, DETAIL | {"text": "b"}], [DETAIL | {"text": "ab"}]),
        (
            [DETAIL | {"text": "a"}, DETAIL | {"text": "", "signature": "s"}],
            [DETAIL | {"text": "a", "signature": "s"}],
        ),
        (
            [DETAIL | {"text": "a", "signature": "s"}, DETAIL | {"text": "b"}],
            [DETAIL | {"text": "a", "signature": "s"}, DETAIL | {"text": "b"}],
        ),
        (
            [DETAIL | {"text": "a"}, DETAIL | {"text": "b", "index": 1}],
            [DETAIL | {"text": "a"}, DETAIL | {"text": "b", "index": 1}],
        ),
        ([SEALED, SEALED], [SEALED, SEALED]),
    ],
)
def test_reasoning_details_are_kept_to_the_letter(pieces, kept):
    """Pieces of one text are joined, as the whole answer would hold them; the rest stays."""
    deltas = decoded(
        *(chunk({"reasoning_details": [piece]}) for piece in pieces),
        chunk({"content": "42"}, "stop"),
        replay="reasoning_details",
    )

    assert deltas == [TextDelta("42"), StateDelta({"reasoning_details": kept}), Finish("stop")]


def test_answer_without_reasoning_leaves_no_state():
    """Nothing is stored where nothing has to go back."""
    deltas = decoded(chunk({"content": "42"}, "stop"), replay="reasoning_content")

    assert deltas == [TextDelta("42"), Finish("stop")]


def test_open_thought_ends_with_the_answer():
    """A model that never closes its tag has only reasoned; its state says so."""
    deltas = decoded(
        chunk({"content": "<think>hm"}, "stop"), replay="reasoning_content", think_tags=ThinkTags()
    )

    assert deltas == [
        ReasoningDelta("hm"),
        StateDelta({"reasoning_content": "hm"}),
        Finish("stop"),
    ]


def test_service_tier_is_the_one_that_was_named_last():
    """OpenAI names it on every chunk, others only where they count."""
    early = decoded(chunk({}, "stop", service_tier="flex"), chunk(None, usage=usage(1, 2)))
    late = decoded(chunk({}, "stop"), chunk(None, usage=usage(1, 2), service_tier="priority"))
    no_name = decoded(chunk({}, "stop", usage=usage(1, 2), service_tier={"a": 1}))

    tiers = [found[-1].service_tier for found in (early, late, no_name)]
    assert tiers == ["flex", "priority", None]


def test_groq_counts_and_fails_beside_the_chunk():
    """Usage and errors stand in `x_groq` there."""
    counted = UsageDelta(TokenUsage(input_tokens=1, output_tokens=2), usage(1, 2))

    assert decoded(chunk({}, "stop", x_groq={"usage": usage(1, 2)}))[-1] == counted
    with pytest.raises(ProviderUnavailableError, match="over capacity"):
        decoded(chunk({}, x_groq={"error": "over capacity"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = ["choices", "delta", "tool_calls", "function", "name", "arguments", "index", "id"]
KEYS += ["content", "refusal", "finish_reason", "usage", "error", "code", "message", "type"]
KEYS += ["reasoning", "reasoning_details", "thinking", "text", "signature", "x_groq", "object"]
DIALECTS: list[ReplayField | None] = [
    *(None, "reasoning", "reasoning_content", "reasoning_details", "thinking")
]
SHAPED = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(KEYS), SHAPED), max_size=4),
    st.sampled_from(DIALECTS),
    st.booleans(),
)
def test_no_chunk_can_surprise(chunks, replay, think_tags):
    """Any JSON at all gives deltas or a ProviderError, and no delta is malformed."""
    raw = b"".join(b"data: " + orjson.dumps(each) + b"\n\n" for each in chunks)
    stream = decoder(replay=replay, think_tags=ThinkTags("qwq") if think_tags else None)

    try:
        deltas = stream.feed(raw + DONE) + stream.close()
    except ProviderError:
        return

    assert sum(isinstance(delta, Finish) for delta in deltas) == 1
    named = [d.index for d in deltas if isinstance(d, ToolCallDelta) and d.id is not None]
    assert named == list(range(len(named)))


DELTA = st.dictionaries(st.sampled_from(KEYS), SHAPED)


@settings(deadline=None)
@given(st.lists(DELTA, max_size=4), st.sampled_from(DIALECTS), st.booleans())
def test_no_delta_can_surprise(fields, replay, think_tags):
    """The same where the chunk is whole and only what it carries is not."""
    stream = decoder(replay=replay, think_tags=ThinkTags("qwq") if think_tags else None)

    try:
        deltas = [d for each in fields for d in stream.feed(frame(chunk(each)))]
        deltas += stream.feed(DONE) + stream.close()
    except ProviderError:
        return

    assert isinstance(deltas[-1], Finish)
    assert sum(isinstance(delta, StateDelta) for delta in deltas) <= 1


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=5))
def test_no_bytes_can_surprise(pieces):
    """Whatever the network brings, the error is the provider's."""
    stream = decoder(think_tags=ThinkTags())

    def read() -> None:
        for piece in pieces:
            stream.feed(piece)
        stream.close()

    with pytest.raises(ProviderError):
        read()
