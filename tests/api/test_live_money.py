"""Prices, caps, limits and the wallet change with the file: from the next call on, and no sooner."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.api.live import Live, following
from tests.api.rig import UPSTREAM_MODEL, Answer, rows
from tests.fakes import FakeClock, FakeUpstream, Gate, chunk, stream_reply, text_reply, usage

CHAT: Final = "/v1/chat/completions"
CUSTOMER: Final = "customer_42"
LISTED: Final = 9 * 150 + 4 * 600
"""What an answer of the fake provider costs by the table, in nano-USD: 9 tokens in, 4 out."""
OURS: Final = 9 * 1_000 + 4 * 2_000
PRICES: Final = {UPSTREAM_MODEL: {"input": 1, "output": 2}}


class Owner:
    """Saves the file, and calls."""

    def __init__(self, live: Live, upstream: FakeUpstream) -> None:
        self.live = live
        self.upstream = upstream

    async def save(self, **sections: Any) -> None:
        """The file, with these sections; in effect when this returns."""
        self.live.write(providers=provider(self.upstream), **sections)
        assert await self.live.reload()

    async def call(self, **fields: Any) -> Answer:
        """One call in the customer's name."""
        if not fields.get("stream"):
            self.upstream.enqueue(text_reply("Hello there you"))
        messages = [{"role": "user", "content": "hi"}]
        asked = {"model": UPSTREAM_MODEL, "messages": messages, "user": CUSTOMER, "max_tokens": 4}
        return await self.live.developer.post(CHAT, asked | fields)

    async def statuses(self, *changes: dict[str, Any]) -> list[int]:
        """Of a call after each change."""
        seen = []
        for sections in changes:
            await self.save(**sections)
            seen.append((await self.call()).status)
            self.upstream.forget()
        return seen

    def costs(self) -> list[tuple[int, int, str]]:
        """What each attempt cost, what was added, and who said so."""
        booked = rows(self.live.home, "usage_records")
        return [(r["provider_cost_nano"], r["markup_nano"], r["price_source"][:6]) for r in booked]


def provider(upstream: FakeUpstream) -> dict[str, Any]:
    return {"openai": {"api_key": "k", "base_url": upstream.base_url, "max_retries": 0}}


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[Owner]:
    async with (
        FakeUpstream(is_strict=False) as upstream,
        following(tmp_path, FakeClock(), providers=provider(upstream)) as live,
    ):
        yield Owner(live, upstream)


async def test_a_changed_price_is_the_next_call_s(owner: Owner) -> None:
    """The one that is out ends at the price, and at the markup, that it began with."""
    gate = Gate()
    last = [chunk(None, "stop"), chunk(None, usage=usage()), b"data: [DONE]\n\n"]
    owner.upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, *last))
    asked = asyncio.create_task(owner.call(stream=True))
    await gate.reached.wait()

    await owner.save(prices=PRICES, wallet={"markup_percent": 10})
    assert (await owner.call()).headers["x-ringside-cost-usd"] == "0.0000187"
    gate.release()
    await asked
    await owner.save()
    await owner.call()

    ours, old, listed = owner.costs()
    assert ours == (OURS, OURS // 10, "config")
    assert old == listed == (LISTED, 0, "catalo")


async def test_a_changed_cap_holds_for_the_next_call(owner: Owner) -> None:
    """Of one customer and of all; what the API sets wins over both until it is taken back."""
    nothing = {"budgets": {"customers": {CUSTOMER: {"monthly_usd": 0}}}}
    free = {"budgets": {"default_monthly_usd": 0, "customers": {CUSTOMER: {"monthly_usd": None}}}}
    nobody = {"budgets": {"default_monthly_usd": 0}}

    assert await owner.statuses({}, nothing, {}, free, nobody) == [200, 402, 200, 200, 402]

    path = f"/v1/customers/{CUSTOMER}"
    await owner.live.developer.patch(path, {"monthly_budget_usd": 1})
    assert await owner.statuses(nobody, nothing) == [200, 200]
    await owner.live.developer.delete(path)
    assert await owner.statuses(nobody) == [402]


async def test_a_changed_limit_holds_for_the_next_call(owner: Owner) -> None:
    """One a minute is used up; more, or no limit, lets the next one pass."""
    one, two = ({"rate_limits": {"customer": {"requests_per_minute": n}}} for n in (1, 3))

    assert await owner.statuses({}, one, one, two, {}) == [200, 200, 429, 200, 200]


async def test_a_wallet_that_is_turned_on_pays_for_what_begins_then(owner: Owner) -> None:
    """An empty one refuses the next call, and is not charged for the one that is out."""
    gate = Gate()
    last = [chunk(None, "stop"), chunk(None, usage=usage()), b"data: [DONE]\n\n"]
    owner.upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, *last))
    asked = asyncio.create_task(owner.call(stream=True))
    await gate.reached.wait()

    await owner.save(wallet={"enabled": True})
    refused = await owner.call()
    gate.release()
    await asked

    assert (refused.status, refused.error["code"]) == (402, "wallet_exhausted")
    api = owner.live.developer
    assert (await api.get("/v1/wallet")).json["balance_usd"] == 0
    await api.post("/v1/wallet/top_ups", {"amount_usd": 1})
    assert (await owner.call()).status == 200
    wallet = (await api.get("/v1/wallet")).json
    assert (wallet["balance_usd"], wallet["reserved_usd"]) == (1 - LISTED / 10**9, 0)
