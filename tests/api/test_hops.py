"""What makes it fast, in numbers that are the same on every machine: transactions per request."""

import asyncio
import re
from typing import Final

import pytest

from tests.api.rig import UPSTREAM_MODEL, Caller, Ringside
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply, text_reply

CALLS: Final = 20
COMMITTED: Final = re.compile(rb"^ringside_store_tx_total ([0-9.]+)$", re.MULTILINE)
SWEEPS: Final = 10
"""Transactions that go on beside the calls, at most: the sweeper ticks every five seconds."""


async def transactions(ringside: Ringside) -> int:
    """How many have been committed so far."""
    found = COMMITTED.search((await ringside.admin("/metrics")).body)
    assert found
    return int(float(found[1]))


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_chat_is_two_transactions(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, is_streamed: bool
) -> None:
    """Its hold, and its booking; whoever it is for."""
    upstream.enqueue(*[text_reply("Hello there you")] * CALLS)
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}], "user": "c"}
    before = await transactions(ringside)

    for _ in range(CALLS):
        await api.post("/v1/chat/completions", body | {"stream": is_streamed})

    added = await transactions(ringside) - before
    assert 2 * CALLS <= added <= 2 * CALLS + SWEEPS


async def test_run_is_three_transactions(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Created; started and held; ended, with all that was said if that came in one piece."""
    upstream.enqueue(*[text_reply("Hello there you")] * CALLS)
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    threads = [await api.thread("hi") for _ in range(CALLS)]
    before = await transactions(ringside)

    await asyncio.gather(*(api.run(thread, assistant) for thread in threads))

    added = await transactions(ringside) - before
    assert 3 * CALLS <= added <= 3 * CALLS + SWEEPS


async def test_run_that_speaks_slowly_stores_its_message_before_it_tells_of_it(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """That is a transaction more, however many pieces follow."""
    pauses = [Gate() for _ in range(CALLS)]
    upstream.enqueue(
        *[stream_reply(chunk({"content": "Hello"}), pause, chunk({}, "stop")) for pause in pauses]
    )
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    threads = [await api.thread("hi") for _ in range(CALLS)]
    before = await transactions(ringside)

    running = [asyncio.create_task(api.run(thread, assistant)) for thread in threads]
    for pause in pauses:
        await pause.reached.wait()
        pause.release()
    await asyncio.gather(*running)

    added = await transactions(ringside) - before
    assert 4 * CALLS <= added <= 4 * CALLS + SWEEPS
