"""A machine whose clock jumps about: nobody gets a fresh budget by it, and nothing waits for ever."""

import asyncio
import random
from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.domain.ledger import CLOCK_JUMP_MS, day_of
from ringside_proxy.services.sweeper import TICK_S, Sweeper
from ringside_proxy.settings.money import BudgetSettings
from tests.api.rig import FUNCTION, Ringside, rows, serving
from tests.api.test_spending import nothing_is_held
from tests.api.test_spending_ends import body
from tests.fakes import FakeClock, text_reply
from tests.faults.sizes import TIMEOUT_S, size

STEPS: Final = size("steps of the clock")
SEED: Final = 20261130
CAP_NANO: Final = 60_000
"""Some calls a month: the worst case of one has to fit."""
HOUR_S: Final = 3_600
DAY_S: Final = 24 * HOUR_S
JUMPS_S: Final = (HOUR_S, -HOUR_S, 31 * DAY_S, -31 * DAY_S, 3_650 * DAY_S, -3_650 * DAY_S, 1, 60)
EXPIRES_AFTER_S: Final = 2 * HOUR_S


class JumpingClock(FakeClock):
    """A clock whose wall time is set anew; durations go on as ever."""

    def jump(self, seconds: float) -> None:
        """Set it by so much, and let a moment pass."""
        self._now_ms = max(0, self._now_ms + round(seconds * 1000))
        self.advance(0.001)


class Owner:
    """Somebody under a cap, who calls and has runs; and what was seen of them."""

    def __init__(self, ringside: Ringside, clock: JumpingClock) -> None:
        self.ringside = ringside
        self.clock = clock
        self.run: Any = None
        self.thread = ""
        self.assistant = ""
        self.spent_up: set[str] = set()
        self.statuses: list[int] = []

    async def call(self) -> None:
        """A call: on the newest month that was ever opened, or on the clock's, if that is later."""
        [before] = rows(self.ringside.home, "ledger_clock")
        month = max(before["period"], day_of(self.clock.now_ms(), "UTC")[:7])
        is_jump = before["seen_ms"] > 0 and self.clock.now_ms() - before["seen_ms"] > CLOCK_JUMP_MS
        self.ringside.upstream.enqueue(text_reply("Hello there you"))
        answer = await self.ringside.developer.post("/v1/chat/completions", body(max_tokens=4))
        self.statuses.append(answer.status)
        if month > before["period"] and is_jump:
            assert (answer.status, answer.error["code"]) == (503, "clock_jump")
            return
        assert answer.status in ((402,) if month in self.spent_up else (200, 402)), answer.body
        if answer.status == 402:
            self.spent_up.add(month)

    async def look_after_the_run(self) -> None:
        """The run waits for outputs until the clock is past its end, and has ended then."""
        api = self.ringside.developer
        if self.run is None:
            if self.statuses[-1] != 503:
                self.thread = await api.thread("hi")
                asked = {"expires_after": EXPIRES_AFTER_S, "user": "somebody_else"}
                self.run = await api.run(self.thread, self.assistant, **asked)
                assert self.run["status"] == "requires_action"
            return
        path = f"/v1/threads/{self.thread}/runs/{self.run['id']}"
        found = (await api.get(path)).json
        is_over = self.clock.now_ms() >= 1000 * (self.run["created_at"] + EXPIRES_AFTER_S + 1)
        assert found["status"] == "expired" or (
            found["status"] == "requires_action" and not is_over
        ), found
        if found["status"] == "expired":
            self.run = None


@pytest.mark.timeout(TIMEOUT_S)
async def test_a_jumping_clock_gives_nothing_away_and_stops_nothing(tmp_path: Path) -> None:
    """Random jumps: each month is spent once, runs expire by the clock, the sweeper looks soon again."""
    source, clock = random.Random(SEED), JumpingClock()
    budgets = BudgetSettings(default_monthly_nano_usd=CAP_NANO)
    async with serving(tmp_path, clock, budgets=budgets) as ringside:
        services, owner = ringside.proxy.services, Owner(ringside, clock)
        owner.assistant = await ringside.developer.assistant(
            model="fc:sandbox/tools", tools=[FUNCTION]
        )
        sweeper = Sweeper(
            services.db,
            services.runs,
            services.idempotency,
            clock,
            asyncio.Event(),
            lambda: services.books.sweep(services.live_config.snapshot),
        )
        for _ in range(STEPS):
            clock.jump(source.choice(JUMPS_S))
            assert 0 <= await sweeper.sweep() <= TICK_S
            await owner.call()
            await owner.look_after_the_run()
        await nothing_is_held(ringside)

    assert all(row["settled_nano"] <= CAP_NANO for row in rows(tmp_path, "budget_periods"))
    assert {200, 402, 503} <= set(owner.statuses)
    assert owner.spent_up
