"""Deltas as chat completions: given these deltas, exactly these chunks, and this one completion."""

import json
from typing import Any, Final

import pytest

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StateDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.services.chat_encoder import ChatChunks, ChatCompletion
from tests.conformance.schema import check_response
from tests.conformance.stream import check_chat_stream
from tests.fakes import frame

Json = dict[str, Any]

CHAT: Final = "/v1/chat/completions"
USED: Final = TokenUsage(
    input_tokens=90,
    cached_input_tokens=50,
    cache_write_input_tokens=20,
    output_tokens=12,
    reasoning_tokens=7,
)
USAGE: Final[Json] = {
    "prompt_tokens": 90,
    "completion_tokens": 12,
    "total_tokens": 102,
    "prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 7},
}
ROLE: Final[Json] = {"role": "assistant", "content": ""}


def new_id(prefix: str) -> str:
    """The one id."""
    return f"{prefix}_1"


def call(index: int, call_id: str, name: str, arguments: str = "") -> ToolCallDelta:
    """A call's first piece."""
    return ToolCallDelta(index=index, id=call_id, name=name, arguments=arguments)


def opened(index: int, call_id: str, name: str, arguments: str = "") -> Json:
    """The chunk's fields for a call's first piece."""
    function = {"name": name, "arguments": arguments}
    fragment = {"index": index, "id": call_id, "type": "function", "function": function}
    return {"tool_calls": [fragment]}


def more(index: int, arguments: str) -> Json:
    """The chunk's fields for a further piece of a call."""
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def function(call_id: str, name: str, arguments: str) -> Json:
    """A whole call."""
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


# Deltas, then the chunks' deltas, then what the message holds.
PLAYBOOK: dict[str, tuple[list[Delta], FinishReason, list[Json], Json]] = {
    "words": (
        [TextDelta("Hel"), TextDelta("lo ü🥊\u2028")],
        "stop",
        [ROLE | {"content": "Hel"}, {"content": "lo ü🥊\u2028"}],
        {"content": "Hello ü🥊\u2028"},
    ),
    "nothing": ([], "stop", [], {"content": None}),
    "a refusal": (
        [RefusalDelta("I "), RefusalDelta("can't")],
        "stop",
        [ROLE | {"refusal": "I "}, {"refusal": "can't"}],
        {"content": None, "refusal": "I can't"},
    ),
    "words cut short": ([TextDelta("Hel")], "length", [ROLE | {"content": "Hel"}], {"content": "Hel"}),
    "filtered": ([], "content_filter", [], {"content": None}),
    "reasoning before words": (
        [ReasoningDelta("Let me "), ReasoningDelta("see"), TextDelta("42")],
        "stop",
        [
            ROLE | {"reasoning_content": "Let me "},
            {"reasoning_content": "see"},
            {"content": "42"},
        ],
        {"content": "42", "reasoning_content": "Let me see"},
    ),
    "a call": (
        [call(0, "call_a", "look"), ToolCallDelta(index=0, arguments='{"x":'), ToolCallDelta(index=0, arguments="1}")],
        "tool_calls",
        [ROLE | opened(0, "call_a", "look"), more(0, '{"x":'), more(0, "1}")],
        {"content": None, "tool_calls": [function("call_a", "look", '{"x":1}')]},
    ),
    "words and interleaved calls": (
        [
            TextDelta("One moment."),
            call(0, "call_a", "look", "{"),
            call(1, "call_b", "tell", "[1"),
            ToolCallDelta(index=0, arguments="}"),
            ToolCallDelta(index=1, arguments="]"),
        ],
        "tool_calls",
        [
            ROLE | {"content": "One moment."},
            opened(0, "call_a", "look", "{"),
            opened(1, "call_b", "tell", "[1"),
            more(0, "}"),
            more(1, "]"),
        ],
        {
            "content": "One moment.",
            "tool_calls": [function("call_a", "look", "{}"), function("call_b", "tell", "[1]")],
        },
    ),
    "a state, which is nobody's business": (
        [TextDelta("Hi"), StateDelta({"secret": 1})],
        "stop",
        [ROLE | {"content": "Hi"}],
        {"content": "Hi"},
    ),
}  # fmt: skip


def streamed(deltas: list[Delta], *, include_usage: bool, at_once: bool = False) -> list[Json]:
    """All chunks, after they passed for OpenAI's."""
    chunks = ChatChunks(new_id, "m", 1_763_700_000, include_usage=include_usage)
    batches = [deltas] if at_once else [[delta] for delta in deltas]
    told = [chunk for batch in batches for chunk in chunks.feed(batch)] + chunks.end()
    check_chat_stream(b"".join(map(frame, told)) + b"data: [DONE]\n\n")
    return told


@pytest.mark.parametrize("at_once", [True, False], ids=["together", "one by one"])
@pytest.mark.parametrize("include_usage", [True, False], ids=["with usage", "without usage"])
@pytest.mark.parametrize(
    ("deltas", "reason", "fields"), [each[:3] for each in PLAYBOOK.values()], ids=PLAYBOOK
)
def test_chunks_are_openais(
    deltas: list[Delta],
    reason: FinishReason,
    fields: list[Json],
    include_usage: bool,
    at_once: bool,
) -> None:
    """Role first, one finish reason, and usage in a last chunk of its own if it was asked for."""
    told = streamed(
        [*deltas, Finish(reason), UsageDelta(USED)], include_usage=include_usage, at_once=at_once
    )

    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_763_700_000}
    head["model"] = "m"
    last: list[tuple[Json, str | None]] = [({} if fields else ROLE, reason)]
    expected = [
        head
        | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        | ({"usage": None} if include_usage else {})
        for delta, finish in [(delta, None) for delta in fields] + last
    ]
    if include_usage:
        expected.append(head | {"choices": [], "usage": USAGE})
    assert told == expected


@pytest.mark.parametrize(
    ("deltas", "reason", "message"),
    [(deltas, reason, message) for deltas, reason, _, message in PLAYBOOK.values()],
    ids=PLAYBOOK,
)
def test_completion_is_openais(deltas: list[Delta], reason: FinishReason, message: Json) -> None:
    """The same deltas as one object, every piece joined."""
    completion = ChatCompletion(new_id, "m", 1_763_700_000)
    completion.feed([*deltas, Finish(reason)])
    completion.feed([UsageDelta(USED)])

    made = completion.completion()

    check_response("POST", CHAT, 200, json.dumps(made).encode())
    assert made == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_763_700_000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "refusal": None, "annotations": []} | message,
                "logprobs": None,
                "finish_reason": reason,
            }
        ],
        "usage": USAGE,
    }


def test_last_usage_counts() -> None:
    """A provider that tells its usage as it goes is taken at its last word."""
    deltas: list[Delta] = [
        UsageDelta(TokenUsage(input_tokens=90)),
        TextDelta("Hi"),
        Finish("stop"),
        UsageDelta(USED),
    ]
    completion = ChatCompletion(new_id, "m", 1)
    completion.feed(deltas)

    assert completion.completion()["usage"] == USAGE
    assert streamed(deltas, include_usage=True)[-1]["usage"] == USAGE


@pytest.mark.parametrize("make", ["chunks", "completion"])
def test_state_belongs_to_the_first_call(make: str) -> None:
    """What the provider wants back is handed out with the call it will be found by."""
    encoder = (
        ChatChunks(new_id, "m", 1, include_usage=False)
        if make == "chunks"
        else ChatCompletion(new_id, "m", 1)
    )
    before = (encoder.first_call_id, encoder.state, encoder.usage)

    encoder.feed([call(0, "call_a", "look"), ToolCallDelta(index=0, arguments="{}")])
    encoder.feed([call(1, "call_b", "look"), StateDelta(["opaque"]), Finish("tool_calls")])

    assert before == (None, None, None)
    assert (encoder.first_call_id, encoder.state) == ("call_a", ["opaque"])
