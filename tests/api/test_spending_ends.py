"""Clients that leave, months that end, caps and prices that change: the books stay right."""

import asyncio
import random
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import pytest

from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.price_lists import ListedRates, PriceOverride
from ringside_proxy.services.prices import PriceBook
from ringside_proxy.settings.money import BudgetSettings
from ringside_proxy.settings.prices import PriceSettings
from tests.api.rig import UPSTREAM_MODEL, Ringside, rows, serving
from tests.api.test_spending import CHAT, MESSAGES, booked, nothing_is_held, period
from tests.fakes import FakeClock, chunk, stream_reply, text_reply, usage
from tests.faults.sizes import TIMEOUT_S, size

LEAVERS: Final = size("clients that leave")
AT_ONCE: Final = 50
CUSTOMER: Final = "customer_42"
DAY_S: Final = 24 * 3600
USED: Final = 9 * 150 + 4 * 600


def body(**fields: Any) -> dict[str, Any]:
    return {"model": UPSTREAM_MODEL, "messages": MESSAGES, "user": CUSTOMER} | fields


@pytest.mark.timeout(TIMEOUT_S)
async def test_client_that_leaves_at_any_byte_leaves_one_row(tmp_path: Path) -> None:
    """Streams, each left somewhere: a row for each, and nothing held."""
    chance = random.Random(7)
    words = [chunk({"content": f"word {number} "}) for number in range(8)]
    last = [chunk(None, "stop"), chunk(None, usage=usage(9, 30)), b"data: [DONE]\n\n"]
    async with serving(tmp_path) as ringside:
        ringside.upstream.enqueue(*[stream_reply(*words, *last)] * (LEAVERS + 1))
        api = ringside.developer
        whole = len((await api.post(CHAT, body(stream=True))).body)
        limit = asyncio.Semaphore(AT_ONCE)

        async def leave() -> None:
            async with (
                limit,
                aiohttp.ClientSession(headers=api.headers) as session,
                session.post(api.url + CHAT, json=body(stream=True)) as response,
            ):
                await response.content.readexactly(chance.randrange(1, whole))

        await asyncio.gather(*(leave() for _ in range(LEAVERS)))
        await nothing_is_held(ringside)

        rows_ = booked(ringside)
        assert len(rows_) == len(ringside.upstream.requests) == LEAVERS + 1
        assert period(ringside, CUSTOMER) == (sum(row["provider_cost_nano"] for row in rows_), 0)


async def spend(ringside: Ringside) -> int:
    """One call; its status."""
    ringside.upstream.enqueue(text_reply("Hello there you"))
    answer = await ringside.developer.post(CHAT, body(max_tokens=4))
    return answer.status


async def test_new_month_brings_a_new_budget(tmp_path: Path) -> None:
    """Refused on the last day, served on the first; what was spent stays where it was spent."""
    clock = FakeClock(1_764_547_200_000 - 60_000)  # 2025-11-30T23:59:00Z
    budgets = BudgetSettings(default_monthly_nano_usd=60_000)
    async with serving(tmp_path, clock, budgets=budgets) as ringside:
        statuses = [await spend(ringside) for _ in range(16)]
        assert statuses[0] == 200
        assert statuses[-1] == 402
        clock.advance(120)

        assert await spend(ringside) == 200

    periods = {row["period"]: row["settled_nano"] for row in rows(tmp_path, "budget_periods")}
    assert periods == {"2025-11": USED * statuses.count(200), "2025-12": USED}


async def test_cap_set_over_the_api_holds_at_once(tmp_path: Path) -> None:
    """Lowered below what is spent: refused; raised: served; none: served."""
    async with serving(tmp_path) as ringside:
        path = f"/v1/customers/{CUSTOMER}"
        seen = []
        for cap in (1, 0.000001, 1, 0, None):
            await ringside.developer.call("PATCH", path, {"monthly_budget_usd": cap})
            seen.append(await spend(ringside))

    assert seen == [200, 402, 200, 402, 200]


async def test_call_is_priced_as_when_it_began(tmp_path: Path) -> None:
    """A price that changes meanwhile is the next call's."""
    async with serving(tmp_path) as ringside:
        assert await spend(ringside) == 200
        services = ringside.proxy.services
        dearer = PriceOverride(rates=ListedRates(input=10**9, output=2 * 10**9))
        book = PriceBook({UPSTREAM_MODEL: dearer})
        old = services.live_config.snapshot
        new = msgspec.structs.replace(old, prices=book)

        meters = [
            services.books.meter(snapshot, snapshot.router.route(UPSTREAM_MODEL), _call())
            for snapshot in (old, new)
        ]
        for meter in meters:
            await meter.admit_embeddings(b"{}")
            meter.note(meter.estimate(1))
            await meter.settle()

    costs = [row["provider_cost_nano"] for row in rows(tmp_path, "usage_records")]
    sources = [row["price_source"] for row in rows(tmp_path, "usage_records")]
    assert costs == [USED, 150 + 600, 1_000 + 2_000]
    assert sources[2] == "config"


@pytest.mark.parametrize("days", [-1, -29, -31, -400])
async def test_clock_set_back_brings_no_fresh_budget(tmp_path: Path, days: int) -> None:
    """What was spent is spent, whatever the clock says now."""
    clock = FakeClock()
    budgets = BudgetSettings(default_monthly_nano_usd=60_000)
    async with serving(tmp_path, clock, budgets=budgets) as ringside:
        assert await spend(ringside) == 200
        while await spend(ringside) == 200:
            pass
        clock.advance(days * DAY_S)

        assert await spend(ringside) == 402


def _call() -> Call:
    return Call(
        kind="embedding",
        model=UPSTREAM_MODEL,
        requested_model=UPSTREAM_MODEL,
        provider="openai",
        token="tok_1",
    )


async def test_an_answer_is_no_longer_than_the_owner_says_that_it_may_be(tmp_path: Path) -> None:
    """Of a model that the table does not know; its window bounds what is held for the prompt."""
    name, said = "fc:openai/gpt-99", PriceSettings(context=2_000, max_output=1_000)
    priced = msgspec.structs.replace(said, input_nano_usd=10**9, output_nano_usd=10**9)
    budgets = BudgetSettings(default_monthly_nano_usd=3_100_000)  # 2,000 tokens in, 1,100 out
    prices = {name: priced, UPSTREAM_MODEL: said}
    async with serving(tmp_path, budgets=budgets, prices=prices) as ringside:
        ringside.upstream.enqueue(text_reply("Hello there you"))
        long = [{"role": "user", "content": "x" * 10_000}]

        answer = await ringside.developer.post(CHAT, body(model=name, messages=long))
        shown = (await ringside.developer.get(f"/v1/models/{UPSTREAM_MODEL}")).json

    assert answer.status == 200
    [asked] = ringside.upstream.requests
    assert asked.body["max_completion_tokens"] == 1_000
    assert (shown["context_window"], shown["max_output_tokens"]) == (2_000, 1_000)
    assert shown["pricing"]["input"] == 0.15
