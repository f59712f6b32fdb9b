"""Holds that nobody will end any more: found, booked and told; those of calls at work are not."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.store.ledger import Hold
from tests.api.rig import Ringside, rows, serving
from tests.api.spending import hold
from tests.api.test_clock_steps import JumpingClock
from tests.api.test_spending import USED, booked, nothing_is_held, period
from tests.api.test_spending_ends import CHAT, CUSTOMER, body
from tests.fakes import Gate, chunk, stream_reply, usage

HOUR_S: Final = 3_600
FORGOTTEN: Final = "holds were forgotten"


async def swept(ringside: Ringside) -> None:
    services = ringside.proxy.services
    await services.books.sweep(services.live_config.snapshot)


async def a_stream_during(
    ringside: Ringside, meanwhile: Callable[[], Awaitable[None]]
) -> list[dict[str, Any]]:
    """What is booked of a streamed answer in the middle of which something happens."""
    gate = Gate()
    last = [chunk(None, "stop"), chunk(None, usage=usage()), b"data: [DONE]\n\n"]
    ringside.upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, *last))
    asked = asyncio.create_task(ringside.developer.post(CHAT, body(stream=True)))
    await gate.reached.wait()
    await meanwhile()
    gate.release()
    assert (await asked).status == 200
    await nothing_is_held(ringside)
    return booked(ringside)


MEANWHILE: Final = {
    "set ahead": lambda clock: clock.jump(HOUR_S),
    "set back": lambda clock: clock.jump(-HOUR_S),
    "an hour goes by": lambda clock: clock.advance(HOUR_S),
}


@pytest.mark.parametrize("happens", MEANWHILE.values(), ids=MEANWHILE)
async def test_no_clock_ends_a_call_at_work(
    tmp_path: Path, happens: Callable[[JumpingClock], None]
) -> None:
    """However long an answer is being read, what it consumed is booked, and not a guess."""
    clock = JumpingClock()
    async with serving(tmp_path, clock) as ringside:

        async def meanwhile() -> None:
            happens(clock)
            await swept(ringside)

        [row] = await a_stream_during(ringside, meanwhile)

    assert (row["provider_cost_nano"], row["estimated"]) == (USED, 0)


async def test_a_forgotten_hold_is_booked_as_after_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once it is older than 15 minutes; it is a bug, and the log says so."""
    clock = JumpingClock()
    async with serving(tmp_path, clock) as ringside:
        held = await hold(ringside, CUSTOMER, 300, body_bytes=400)
        assert isinstance(held, Hold)
        clock.advance(14 * 60)
        await swept(ringside)
        assert rows(tmp_path, "holds")
        assert FORGOTTEN not in caplog.messages

        clock.advance(2 * 60)
        await swept(ringside)

        [row] = booked(ringside)
        assert not rows(tmp_path, "holds")
        assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (100, 0, 1)
        assert period(ringside, CUSTOMER) == (row["provider_cost_nano"], 0)
        assert FORGOTTEN in caplog.messages
