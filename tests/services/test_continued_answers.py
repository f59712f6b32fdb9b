"""Answers that a provider breaks off to be asked to go on are one answer to the caller."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.types import Finish, TextDelta, ToolCallDelta
from ringside_proxy.services.answers import CONTINUATIONS_MAX
from tests.fakes import FakeUpstream, Scripted, error_reply, stream_reply
from tests.services.asker import Asker
from tests.services.rig import WEATHER


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    """Gemini's side: it says what it is told to."""
    async with FakeUpstream(is_strict=False) as upstream:
        yield upstream


def said(*parts: Any, reason: str = "STOP", token: str | None = None, count: int = 4) -> Scripted:
    candidate = {"content": {"parts": list(parts)}, "finishReason": reason}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": count}
    return stream_reply(
        {
            "candidates": [candidate | ({"continuationToken": token} if token else {})],
            "usageMetadata": usage,
        }
    )


def halted(text: str, token: str) -> Scripted:
    return said({"text": text}, reason="CONTINUATION", token=token)


async def test_long_answer_is_one_answer(asker: Asker, upstream: FakeUpstream) -> None:
    """Each request goes on with the token of the last; text, usage and finish are the whole's."""
    upstream.enqueue(halted("one ", "t1"), halted("two ", "t2"), said({"text": "three"}, count=2))

    deltas = await asker.ask(Google())

    assert [d.text for d in deltas if isinstance(d, TextDelta)] == ["one ", "two ", "three"]
    assert [d for d in deltas if isinstance(d, Finish)] == [Finish("stop")]
    tokens = [request.body.get("continuationToken") for request in upstream.requests]
    assert tokens == [None, "t1", "t2"]
    assert asker.used is not None
    assert (asker.used.input_tokens, asker.used.output_tokens) == (27, 10)
    assert [used.output_tokens for used, _, _ in asker.told] == [4, 4, 2]


async def test_answer_goes_on_only_so_often(asker: Asker, upstream: FakeUpstream) -> None:
    """What never ends is cut, as any answer that is too long."""
    upstream.enqueue(*[halted("x", f"t{n}") for n in range(CONTINUATIONS_MAX + 2)])

    deltas = await asker.ask(Google())

    assert len(upstream.requests) == CONTINUATIONS_MAX + 1
    [finish] = [d for d in deltas if isinstance(d, Finish)]
    assert finish.reason == "length"


async def test_calls_are_numbered_through(asker: Asker, upstream: FakeUpstream) -> None:
    """A call in the second half is the second call."""
    call = {"functionCall": {"name": "weather", "args": {}}}
    upstream.enqueue(said(call, reason="CONTINUATION", token="t1"), said(call))

    deltas = await asker.ask(Google(), tools=[WEATHER])

    assert [d.index for d in deltas if isinstance(d, ToolCallDelta) and d.name] == [0, 1]
    assert [d.reason for d in deltas if isinstance(d, Finish)] == ["tool_calls"]


async def test_second_half_that_fails_is_an_answer_that_broke_off(
    asker: Asker, upstream: FakeUpstream
) -> None:
    """Nothing is said twice."""
    upstream.enqueue(halted("one ", "t1"), error_reply(500))

    with pytest.raises(ProviderError):
        await asker.ask(Google())

    told = [delta for batch in asker.batches for delta in batch]
    assert [d.text for d in told if isinstance(d, TextDelta)] == ["one "]
    assert asker.used is not None
    assert asker.used.output_tokens == 4
