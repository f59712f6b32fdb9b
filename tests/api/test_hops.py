"""What makes it fast, in numbers that are the same on every machine: transactions per request."""

import asyncio
import re
from typing import Final

import pytest

from tests.api.rig import UPSTREAM_MODEL, Caller, Ringside
from tests.fakes import FakeUpstream, text_reply

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


async def test_run_is_four_transactions_and_those_that_its_stream_announces(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Created, started, held, ended; a streamed one also stores its message before it tells of it."""
    upstream.enqueue(*[text_reply("Hello there you")] * CALLS)
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    threads = [await api.thread("hi") for _ in range(CALLS)]
    before = await transactions(ringside)

    await asyncio.gather(*(api.run(thread, assistant) for thread in threads))

    added = await transactions(ringside) - before
    assert 5 * CALLS <= added <= 5 * CALLS + SWEEPS
