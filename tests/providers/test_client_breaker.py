"""A client and its breakers: what reaches a provider that fails, and what callers are told."""

import asyncio

import msgspec
import pytest

from ringside_proxy.domain.errors import (
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from ringside_proxy.providers.client import ProviderClient
from tests.fakes import Cut, FakeUpstream, Gate, chunk, error_reply, stream_reply, text_reply
from tests.providers.conftest import Caller

DOWN = error_reply(503)


async def fails(caller: Caller) -> ProviderError:
    """The error that a streamed call comes to."""
    with pytest.raises(ProviderError) as caught:
        await caller.deltas()
    return caught.value


async def stumble(caller: Caller) -> None:
    """Fails in the middle of a stream, by itself."""
    async with caller.stream() as batches:
        await anext(batches)
        raise ZeroDivisionError


async def test_a_model_that_is_down_is_not_asked(caller: Caller, upstream: FakeUpstream) -> None:
    """After ten failures calls are refused at once, until a probe is answered."""
    caller.set(max_retries=0)
    upstream.enqueue(*[DOWN] * 10, text_reply("Hello"), text_reply("Hello"))
    for _ in range(10):
        await fails(caller)

    refused = [await fails(caller) for _ in range(5)]
    asked = len(upstream.requests)
    caller.clock.advance(5)
    probe = await caller.deltas()
    after = await caller.deltas()

    assert asked == 10
    assert all(isinstance(each, ProviderUnavailableError) for each in refused)
    assert {each.retry_after_s for each in refused} == {5}
    assert probe == after
    assert len(upstream.requests) == 12


async def test_attempts_of_one_call_count_each(caller: Caller, upstream: FakeUpstream) -> None:
    """Three calls of three attempts and one more: the last is told what its own attempt met."""
    upstream.enqueue(*[DOWN] * 10)
    for _ in range(3):
        await fails(caller)

    last = await fails(caller)
    refused = await fails(caller)

    assert len(upstream.requests) == 10
    assert "HTTP 503" in last.message
    assert "at the moment" in refused.message


async def test_one_probe_at_a_time_reaches_the_provider(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Of twenty calls that come as the pause is over, one is sent."""
    caller.set(max_retries=0)
    gate = Gate()
    upstream.enqueue(*[DOWN] * 10, stream_reply(gate, chunk({"content": "x"}), chunk({}, "stop")))
    for _ in range(10):
        await fails(caller)
    caller.clock.advance(5)

    calls = [asyncio.create_task(caller.deltas()) for _ in range(20)]
    await gate.reached.wait()
    _, out = await asyncio.wait(calls, timeout=0.2)
    gate.release()
    await asyncio.wait(calls)

    assert len(out) == 1
    assert len(upstream.requests) == 11
    assert sum(call.exception() is None for call in calls) == 1


async def test_a_probe_whose_caller_leaves_does_not_lock_the_model(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """The next call is the probe."""
    caller.set(max_retries=0)
    upstream.enqueue(*[DOWN] * 10, stream_reply(Gate()), text_reply("Hello"))
    for _ in range(10):
        await fails(caller)
    caller.clock.advance(5)

    probe = asyncio.create_task(caller.deltas())
    await upstream.request(10)
    probe.cancel()
    await asyncio.wait({probe})

    assert await caller.deltas()


async def test_streams_that_break_off_open_it(caller: Caller, upstream: FakeUpstream) -> None:
    """Although every one of them had begun."""
    caller.set(max_retries=0)
    upstream.enqueue(*[stream_reply(chunk({"content": "x"}), Cut())] * 10)
    for _ in range(10):
        await fails(caller)

    assert "at the moment" in (await fails(caller)).message


async def test_a_consumer_that_fails_says_nothing_about_the_provider(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """An error of ours while a stream is read is no failure of the model."""
    upstream.enqueue(*[text_reply("Hello")] * 11)
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            await stumble(caller)

    assert await caller.deltas()


async def test_whole_answers_and_streams_share_a_breaker(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """It is the model that is down, not the way it is asked."""
    caller.set(max_retries=0)
    upstream.enqueue(*[DOWN] * 10)
    for _ in range(10):
        with pytest.raises(ProviderError):
            await caller.send()

    assert "at the moment" in (await fails(caller)).message


async def test_another_model_or_address_is_asked(caller: Caller, upstream: FakeUpstream) -> None:
    """Only what has failed is left alone."""
    caller.set(max_retries=0)
    upstream.enqueue(*[DOWN] * 10, text_reply("Hello"), text_reply("Hello"))
    for _ in range(10):
        await fails(caller)

    target = caller.target
    caller.target = msgspec.structs.replace(target, model="gpt-4o-mini")
    assert await caller.deltas()
    caller.target = msgspec.structs.replace(target, base_url="https://elsewhere/v1")
    assert await caller.deltas()


async def test_without_a_breaker_it_is_always_asked(caller: Caller, upstream: FakeUpstream) -> None:
    """`breaker: false` is for providers that the owner would rather wait for."""
    caller.set(max_retries=0)
    caller.target = msgspec.structs.replace(caller.target, has_breaker=False)
    upstream.enqueue(*[DOWN] * 30)

    for _ in range(30):
        await fails(caller)

    assert len(upstream.requests) == 30


async def test_a_model_that_cools_down_is_waited_for(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Until the provider wants calls again, if that is soon; a longer wait is the caller's."""
    limited = error_reply(429, retry_after="4")
    upstream.enqueue(limited, text_reply("Hello"), text_reply("Hello"))
    caller.set(max_retries=0)
    await fails(caller)
    caller.set(max_retries=2)

    await caller.deltas()
    waited_s = list(caller.slept_s)
    upstream.enqueue(error_reply(429, retry_after="30"))
    caller.clock.advance(4)
    await caller.deltas()
    await fails(caller)
    told = await fails(caller)

    assert waited_s == [4]
    assert isinstance(told, ProviderRateLimitedError)
    assert told.retry_after_s == 30
    assert len(upstream.requests) == 4


async def test_a_limit_is_not_waited_for_where_another_can_be_asked(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Neither a 429 nor a cool-down: the slot's next entry is quicker."""
    caller.target = msgspec.structs.replace(caller.target, has_next=True)
    upstream.enqueue(error_reply(429, retry_after="4"))

    first, second = await fails(caller), await fails(caller)

    assert caller.slept_s == []
    assert (first.retry_after_s, second.retry_after_s) == (4, 4)
    assert len(upstream.requests) == 1


async def test_money_of_a_retry_that_is_not_there_is_no_failure(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """What `before_retry` raises ends the call, and is not counted as an attempt."""
    upstream.enqueue(*[DOWN] * 9, text_reply("Hello"))

    async def refuse(error: ProviderError) -> None:
        raise error

    for _ in range(9):
        with pytest.raises(ProviderError):
            async with caller.stream(before_retry=refuse):
                pass

    assert await caller.deltas()


@pytest.fixture
def states() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture
def told(upstream: FakeUpstream, states: list[tuple[str, str, int]]) -> Caller:
    """A caller whose client tells what its breakers do."""
    caller = Caller(upstream)
    caller.client = ProviderClient(
        caller.clock,
        lambda low, high: high,
        on_breaker=lambda provider, model, state: states.append((provider, model, int(state))),
    )
    return caller


async def test_states_are_told(
    told: Caller, upstream: FakeUpstream, states: list[tuple[str, str, int]]
) -> None:
    """Open 2, half open 1, closed 0, with provider and model."""
    told.set(max_retries=0)
    upstream.enqueue(*[DOWN] * 10, text_reply("Hello"))
    for _ in range(10):
        await fails(told)
    told.clock.advance(5)
    await told.deltas()
    await told.client.close()

    assert states == [("openai", "gpt-4o", state) for state in (2, 1, 0)]
