"""Calls of models that know none: how they are offered, told, and read out of an answer."""

import json
from itertools import count
from typing import Any

import pytest

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.services.calls_in_words import OPENING_CHARS_MAX, CallsInWords, offer, told

NAMES = ("get_weather", "get_time")
CALL = '{"tool": "get_weather", "arguments": {"city": "Zürich 👋"}}'
BARE = '{"tool":"get_time"}'
Read = tuple[str, list[tuple[str, str]], str]


def read(pieces: list[str], reason: Any = "stop") -> Read:
    """Text, calls and finish of an answer that comes in `pieces`."""
    reader, ids = CallsInWords(NAMES, lambda prefix: f"{prefix}_{next(numbers)}"), []
    numbers, calls, text, end = count(), [], "", ""
    for delta in [d for piece in pieces for d in reader.feed([TextDelta(piece)])] + reader.feed(
        [Finish(reason)]
    ):
        match delta:
            case TextDelta():
                assert not calls
                text += delta.text
            case ToolCallDelta(id=str() as call_id, name=str() as name):
                assert delta.index == len(calls)
                ids.append(call_id)
                calls.append((name, ""))
            case ToolCallDelta():
                calls[delta.index] = (calls[delta.index][0], delta.arguments)
            case Finish():
                end = delta.reason
    assert len({*ids}) == len(calls)
    return text, calls, end


WEATHER = ("get_weather", '{"city": "Zürich 👋"}')
TIME = ("get_time", "{}")
ANSWERS: dict[str, tuple[str, Read]] = {
    "one": (CALL, ("", [WEATHER], "tool_calls")),
    "after blanks": (f"\n\n  {CALL}\n", ("", [WEATHER], "tool_calls")),
    "several": (f"{CALL}\n{BARE}", ("", [WEATHER, TIME], "tool_calls")),
    "in a list": (f"[{CALL}, {BARE}]", ("", [WEATHER, TIME], "tool_calls")),
    "fenced": (f"```json\n{CALL}\n```", ("", [WEATHER], "tool_calls")),
    "over lines": (
        json.dumps(json.loads(CALL), indent=2, ensure_ascii=False),
        ("", [WEATHER], "tool_calls"),
    ),
    "after words": (f"Let me look.\n\n{CALL}", ("Let me look.", [WEATHER], "tool_calls")),
    "before words": (f"{CALL}\n\nUser: thanks", ("", [WEATHER], "tool_calls")),
    "after other JSON": (
        f'{{"a": 1}}\n[x]\n```py\nx\n```\nSo:\n{CALL}',
        ('{"a": 1}\n[x]\n```py\nx\n```\nSo:', [WEATHER], "tool_calls"),
    ),
    "arguments as text": (
        '{"tool": "get_time", "arguments": "{\\"zone\\": \\"CET\\"}"}',
        ("", [("get_time", '{"zone": "CET"}')], "tool_calls"),
    ),
    "half a pair of surrogates": (
        '{"tool": "get_time", "arguments": {"a": "\\ud83d"}}',
        ("", [("get_time", '{"a": "\\ud83d"}')], "tool_calls"),
    ),
}
WORDS = [
    "It is warm.",
    '{"city": "Bern"}\n',
    'I could write {"tool": "get_weather"} here.',
    '{"tool": "unheard_of", "arguments": {}}',
    '{"tool": "get_weather", "arguments": {"city": "Be',
    '{"tool": "get_weather", "arguments": {"city": NaN}}',
    '{"tool": ' + "[" * 100_000,
    "```json\n{}\n```",
    "``` and `` and `",
    "[1](https://example.com)\n",
    "{" + " " * 4 * OPENING_CHARS_MAX + '"tool": "get_time"}',
    " " * 4 * OPENING_CHARS_MAX,
    "\n{",
    "",
]


@pytest.mark.parametrize(("answer", "expected"), ANSWERS.values(), ids=ANSWERS)
def test_calls_are_read_out_of_the_text(answer: str, expected: Read) -> None:
    """Wherever the answer is cut, and in single characters."""
    cuts = [[answer[:i], answer[i:]] for i in range(1, len(answer) + 1)]

    for pieces in [*cuts, [*answer]]:
        assert read(pieces) == expected, pieces


@pytest.mark.parametrize("answer", WORDS, ids=range(len(WORDS)))
def test_what_is_no_call_stays_text(answer: str) -> None:
    """To the letter: other JSON, functions that nobody offered, and calls that are cut off."""
    cuts = [[answer[:i], answer[i:]] for i in range(1, min(len(answer), 200) + 1)]

    for pieces in [[answer], *cuts, [answer[i : i + 50] for i in range(0, len(answer), 50)]]:
        assert read(pieces) == (answer, [], "stop")


def test_a_cut_answer_says_so() -> None:
    """A call that was complete before the tokens ran out is told; the reason stays."""
    assert read([CALL, '\n{"tool": "get_ti'], "length") == ("", [WEATHER], "length")


def test_words_are_told_as_they_come() -> None:
    """Nothing waits but blanks, and what may be a call."""
    reader = CallsInWords(NAMES, lambda prefix: prefix)

    steps = [reader.feed([TextDelta(text)]) for text in ("Let ", "me look", ".\n", "{", '"a": 1}')]

    texts = [[delta.text for delta in step if isinstance(delta, TextDelta)] for step in steps]
    assert texts == [["Let"], [" me look"], ["."], [], ['\n{"a": 1}']]


def test_other_deltas_pass() -> None:
    """Reasoning and usage are none of its business."""
    others: list[Delta] = [ReasoningDelta("Hm."), UsageDelta(TokenUsage(input_tokens=3))]

    assert CallsInWords(NAMES, lambda prefix: prefix).feed(others) == others


def test_a_history_of_calls_becomes_lines() -> None:
    """The call stands in the answer's words, and with its output in the user's."""
    function = {"name": "get_weather", "arguments": '{"city": "Zürich 👋"}'}
    broken = {"name": "get_time", "arguments": "{"}
    calls = [{"id": "a", "function": function}, {"id": "b", "function": broken}]
    hi = {"role": "user", "content": "Hi."}
    messages = [
        hi,
        {"role": "assistant", "content": None, "tool_calls": calls, "provider_state": {"x": 1}},
        {"role": "tool", "tool_call_id": "a", "content": "12°"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "noon"}]},
        {"role": "tool", "tool_call_id": "c", "content": "Whose is this?"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "So."}],
            "tool_calls": calls[:1],
        },
        {"role": "assistant", "content": "Done."},
    ]

    lines = '{"tool": "get_time", "arguments": "{"}'
    assert told(messages) == [
        hi,
        {"role": "assistant", "content": f"{CALL}\n{lines}"},
        {"role": "user", "content": f'{CALL[:-1]}, "output": "12°"}}'},
        {"role": "user", "content": f'{lines[:-1]}, "output": "noon"}}'},
        {"role": "user", "content": "Whose is this?"},
        {"role": "assistant", "content": f"So.\n{CALL}"},
        messages[-1],
    ]


def test_an_offer_names_every_function_with_its_schema() -> None:
    """A line of JSON for each."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    functions = [
        {"name": "get_weather", "description": "The weather", "parameters": schema, "strict": True},
        {"name": "get_time"},
    ]

    *_, first, second = offer({"type": "function", "function": f} for f in functions).splitlines()

    assert json.loads(first) == {k: v for k, v in functions[0].items() if k != "strict"}
    assert json.loads(second) == {
        "name": "get_time",
        "parameters": {"type": "object", "properties": {}},
    }
