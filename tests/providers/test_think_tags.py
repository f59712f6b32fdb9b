"""Reasoning between tags, or before the tag that closes it: told apart wherever it is cut."""

import pytest

from ringside_proxy.providers.chat.reasoning import ThinkTags
from ringside_proxy.providers.chat.rows import TOGETHER
from ringside_proxy.providers.types import (
    CompletionRequest,
    Delta,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from tests.fakes import chunk, frame

R1 = "deepseek-ai/DeepSeek-R1"


def said(deltas: list[Delta]) -> tuple[str, str]:
    """The reasoning and the text of deltas."""
    reasoning = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    return reasoning, "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@pytest.mark.parametrize(
    ("content", "reasoning", "text"),
    [
        ("<think>hm</think>42", "hm", "42"),
        ("\n<think>\nhm\n</think>\n\n42", "\nhm\n", "42"),
        ("<think></think>\n\n42", "", "42"),
        ("<think>a < b </thin b</think>42", "a < b </thin b", "42"),
        ("<think>never closed </thin", "never closed </thin", ""),
        ("<think>", "", ""),
        ("<thin", "", "<thin"),
        ("<thought>42", "", "<thought>42"),
        ("42 <think>hm</think>", "", "42 <think>hm</think>"),
        ("<think>hm</think>42 <think>x</think>", "hm", "42 <think>x</think>"),
        (" \n", "", " \n"),
        ("", "", ""),
    ],
)
def test_think_tags_part_reasoning_from_text(content, reasoning, text):
    """Only at the start, and wherever the stream is cut."""
    for cut in range(len(content) + 1):
        pieces = [content[:cut], content[cut:]]
        tags = ThinkTags()
        deltas = [delta for piece in pieces if piece for delta in tags.feed(piece)] + tags.close()
        assert said(deltas) == (reasoning, text), pieces

    tags = ThinkTags()
    assert said([d for letter in content for d in tags.feed(letter)] + tags.close()) == (
        reasoning,
        text,
    )


@pytest.mark.parametrize(
    ("content", "reasoning", "text"),
    [
        ("hm</think>\n\n42", "hm", "42"),
        ("a < b </thin b\n</think>42 </think>", "a < b </thin b\n", "42 </think>"),
        ("</think>\n\n42", "", "42"),
        ("<think>hm</think>42", "hm", "42"),
        ("\n<think>hm", "hm", ""),
        ("42, without a thought", "", "42, without a thought"),
        ("42 </thin", "", "42 </thin"),
        ("", "", ""),
    ],
)
def test_the_tag_that_opens_may_be_left_out(content, reasoning, text):
    """By models whose prompt ends with it: what stands before the one that closes is thought."""
    for pieces in [*([content[:i], content[i:]] for i in range(len(content) + 1)), [*content]]:
        tags = ThinkTags(R1)
        deltas = [delta for piece in pieces if piece for delta in tags.feed(piece)] + tags.close()
        assert said(deltas) == (reasoning, text), pieces


@pytest.mark.parametrize("model", ["deepseek-v3", "QwQuery", "qwen3-32b", ""])
def test_other_models_are_not_kept_waiting(model):
    """What they say is told at once."""
    assert ThinkTags(model).feed("42") == [TextDelta("42")]


def deltas(*chunks: dict) -> list[Delta]:
    stream = TOGETHER.stream_decoder(CompletionRequest(model=R1, messages=[]), lambda kind: kind)
    return [d for each in chunks for d in stream.feed(frame(each))]


def test_thoughts_in_a_field_of_their_own_end_the_wait():
    """The text beside them is the answer, and streams."""
    told = deltas(chunk({"reasoning": "hm"}), chunk({"content": "4"}), chunk({"content": "2"}))

    assert told == [ReasoningDelta("hm"), TextDelta("4"), TextDelta("2")]


def test_text_stands_before_the_calls_that_follow_it():
    """What was waited with is told before them."""
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}
    told = deltas(chunk({"content": "Let me look."}), chunk({"tool_calls": [call]}, "tool_calls"))

    assert told == [
        TextDelta("Let me look."),
        ToolCallDelta(index=0, id="call_1", name="f"),
        ToolCallDelta(index=0, arguments="{}"),
        Finish("tool_calls"),
    ]
