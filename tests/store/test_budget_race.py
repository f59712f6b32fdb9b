"""A hundred thousand reservations at once on tight caps: not a nano-dollar over any of them."""

import asyncio
import random
from collections import Counter
from pathlib import Path

from ringside_proxy.domain.errors import CustomerBudgetExceededError
from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.pricing import Price, Rates, Tier
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.settings.money import BudgetSettings
from ringside_proxy.store import ledger
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Ask, Hold, Terms
from ringside_proxy.store.usage import Consumed
from ringside_proxy.system import system_ids
from tests.fakes import FakeClock
from tests.faults.sizes import size

RESERVATIONS = size("reservations")
WORKERS = 64
CUSTOMERS = 20
TOKEN_NANO = 600
CAP_NANO = 2_500 * TOKEN_NANO
"""Two calls of the usual length and a half; three workers or so ask for each customer's money."""

RATES = Rates(input=0, cached_input=0, cache_write=0, cache_write_1h=0, output=TOKEN_NANO * 10**6)
PRICE = Price(source="test", tiers=(Tier(0, RATES),))
TERMS = Terms(budgets=BudgetSettings(default_monthly_nano_usd=CAP_NANO))

SUMS = """
SELECT p.customer, p.settled_nano, p.reserved_nano, p.requests,
  (SELECT coalesce(sum(provider_cost_nano), 0) FROM usage_records u WHERE u.customer = p.customer),
  (SELECT coalesce(sum(amount_nano), 0) FROM holds h WHERE h.customer = p.customer),
  (SELECT count(*) FROM usage_records u WHERE u.customer = p.customer)
FROM budget_periods p
"""


class Race:
    """The workers' shared state."""

    def __init__(self, db):
        self.db = db
        self.new_id = system_ids()
        self.left = RESERVATIONS
        self.met = Counter()
        self.peak = Counter()

    def ask(self, customer):
        """A call of up to a thousand tokens."""
        call = Call(
            kind="chat.completion",
            model="fc:openai/m",
            requested_model="fc:openai/m",
            provider="openai",
            token="tok_1",
            customer=customer,
        )
        return Ask(
            hold_id=self.new_id("hold"),
            boot="boot_1",
            call=call,
            price=PRICE,
            input_tokens_max=0,
            output_tokens_max=1000,
            output_tokens_min=256,
        )

    async def work(self, seed):
        """Reserve, look what that came to, and end the call in one way or another."""
        choose = random.Random(seed)
        while self.left > 0:
            self.left -= 1
            customer = f"customer_{choose.randrange(CUSTOMERS)}"
            got, total = await self.db.write(reserve_and_look, self.ask(customer))
            self.peak[customer] = max(self.peak[customer], total)
            if not isinstance(got, Hold):
                assert isinstance(got, CustomerBudgetExceededError)
                self.met["refused"] += 1
                continue
            self.met["cut" if got.output_tokens_max < 1000 else "held"] += 1
            await self.end(got, choose)

    async def end(self, hold, choose):
        """Mostly nothing was consumed, seldom all that was held; sometimes it is told twice."""
        used = choose.choices((None, 0, 1, hold.output_tokens_max), (500, 300, 199, 1))[0]
        for _ in range(choose.choice((1, 1, 1, 2))):
            if used is None:
                await self.db.write(ledger.void, hold.id)
            else:
                await self.db.write(ledger.settle, hold.id, consumed(used), TERMS)


def reserve_and_look(tx, ask):
    """The reservation, and what the customer's month comes to with it."""
    got = ledger.reserve(tx, ask, TERMS)
    so_far = ledger.spent(tx, ask.call.customer, "2025-11")
    return got, so_far.settled_nano + so_far.reserved_nano


def consumed(tokens):
    usage = TokenUsage(output_tokens=tokens)
    return Consumed(
        usage=usage,
        provider_cost_nano=PRICE.cost_nano_usd(usage),
        markup_nano=0,
        price_source="test",
    )


async def test_no_race_passes_a_cap(tmp_path: Path) -> None:
    """64 workers, 20 customers: every sum stays within its cap at every moment, and all add up."""
    db = await Database.open(tmp_path / "ringside.db", FakeClock(), "normal")
    race = Race(db)

    await asyncio.gather(*(race.work(seed) for seed in range(WORKERS)))

    rows = db.get(lambda tx: tx.all(SUMS))
    [[first, last, count]] = db.get(
        lambda tx: tx.all("SELECT min(sequence), max(sequence), count(*) FROM usage_records")
    )
    await db.close()
    assert sum(race.met.values()) >= RESERVATIONS
    assert min(race.met[outcome] for outcome in ("held", "cut", "refused")) > 1_000, race.met
    assert max(race.peak.values()) <= CAP_NANO
    assert len(rows) == CUSTOMERS
    for _, settled, reserved, requests, used, held, booked in rows:
        assert (settled, reserved, requests) == (used, held, booked)
        assert settled <= CAP_NANO
        assert held == 0
    assert (first, last) == (1, count)
