"""What operators see of money: holds at work, an answer dearer than was held, a clock that jumped."""

import asyncio
import re
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.settings.money import BudgetSettings
from tests.api.rig import Ringside, serving
from tests.api.test_forgotten_holds import swept
from tests.api.test_spending import OUT, booked, completion, period
from tests.api.test_spending_ends import CHAT, CUSTOMER, body, spend
from tests.fakes import FakeClock, Gate, chunk, json_reply, stream_reply, usage

CAP_NANO: Final = 1_000_000
DAY_S: Final = 24 * 3600
SHOWN: Final = ("live", "oldest_seconds")
CAPPED: Final = BudgetSettings(default_monthly_nano_usd=CAP_NANO)


async def measured(ringside: Ringside, name: str) -> float:
    """The value of a metric without labels."""
    told = (await ringside.admin("/metrics")).body.decode()
    [value] = re.findall(rf"^{name} (\S+)$", told, re.MULTILINE)
    return float(value)


async def test_an_answer_dearer_than_its_hold_is_booked_in_full(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that does not keep to the limit: the money is gone; metric and log say so."""
    async with serving(tmp_path, budgets=CAPPED) as ringside:
        ringside.upstream.enqueue(json_reply(completion(5_000)))
        assert await measured(ringside, "ringside_budget_overrun_total") == 0

        answer = await ringside.developer.post(CHAT, body(max_tokens=100))

        assert answer.status == 200
        assert await measured(ringside, "ringside_budget_overrun_total") == 1
        assert period(ringside, CUSTOMER) == (9 * 150 + 5_000 * OUT, 0)
        assert (await ringside.developer.post(CHAT, body())).status == 402
    [told] = [record for record in caplog.records if "cost more" in record.getMessage()]
    shown = [told.__dict__[name] for name in ("provider", "model", "request_id")]
    assert shown == [
        *body()["model"].removeprefix("fc:").split("/"),
        answer.headers["x-request-id"],
    ]


async def test_holds_at_work_are_shown_with_their_age(tmp_path: Path) -> None:
    """As the sweeper last saw them."""
    clock, gate = FakeClock(), Gate()
    last = [chunk(None, "stop"), chunk(None, usage=usage()), b"data: [DONE]\n\n"]
    async with serving(tmp_path, clock) as ringside:
        ringside.upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, *last))
        asked = asyncio.create_task(ringside.developer.post(CHAT, body(stream=True)))
        await gate.reached.wait()
        clock.advance(90)

        await swept(ringside)
        at_work = [await measured(ringside, f"ringside_holds_{what}") for what in SHOWN]
        gate.release()
        await asked
        await swept(ringside)

        assert at_work == [1, 90]
        assert [await measured(ringside, f"ringside_holds_{what}") for what in SHOWN] == [0, 0]
        assert len(booked(ringside)) == 1


async def test_a_clock_far_ahead_is_told_and_can_be_vouched_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not ready, and no new month, until it is set right or RINGSIDE_TRUST_CLOCK says that it is."""
    clock = FakeClock()
    async with serving(tmp_path, clock, budgets=CAPPED) as ringside:
        assert await spend(ringside) == 200
    clock.advance(40 * DAY_S)

    async with serving(tmp_path, clock, budgets=CAPPED) as ringside:
        ready = await ringside.admin("/readyz")
        assert (ready.status, ready.json["reasons"]) == (503, ["clock_jump"])
        assert await spend(ringside) == 503

    monkeypatch.setenv("RINGSIDE_TRUST_CLOCK", "1")
    async with serving(tmp_path, clock, budgets=CAPPED) as ringside:
        assert (await ringside.admin("/readyz")).status == 200
        assert await spend(ringside) == 200
