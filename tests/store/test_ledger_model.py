"""Random lives of a ledger in a real store, beside a model made of whole numbers."""

import random
from collections import Counter
from datetime import date

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.pricing import Price, Rates, Tier
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.settings.money import BudgetSettings, CustomerBudgetSettings, WalletSettings
from ringside_proxy.store import (
    accounts,
    customers,
    ledger,
    ledger_clock,
    usage_reports,
    wallet,
)
from ringside_proxy.store.ledger import Ask, Closing, Hold
from ringside_proxy.store.usage import Consumed
from ringside_proxy.store.usage_reports import ReportQuery
from tests.faults.sizes import TIMEOUT_S, size
from tests.store import ledger_model as model
from tests.store.memory import Store

EXAMPLES = size("lives")
STEPS = 50
DAY_MS = 24 * 3600 * 1000
ORPHANS_AT_ONCE = 2
WORTH_TOKENS = 256

CUSTOMERS = ("a", "b", None)
PRICES = (
    model.Prices(1_000_000, 10_000_000),
    model.Prices(999_999, 3_333_333),
    model.Prices(0, 7),
    model.Prices(2_500_000, 0),
    model.Prices(0, 0),
    model.Prices(1_000_000, 4_000_000, above=200),
    None,
)
CAPS = st.none() | st.sampled_from([0, 1, 2_559, 2_560, 5_000, 20_000, 10**6])
TERMS = st.builds(
    model.Terms,
    default_cap=CAPS,
    caps=st.just(()) | st.tuples(st.tuples(st.just("a"), CAPS)),
    warn_at=st.sampled_from([(), (0.8,), (0.5, 1.0), (0.0, 0.333)]),
    may_be_unpriced=st.booleans(),
    has_wallet=st.booleans(),
    markup_ppm=st.sampled_from([0, 0, 1, 125_000, 10**7]),
    low=st.sampled_from([0, 1, 3_000, 10**5]),
)
WISHES = st.builds(
    lambda wanted, **wish: model.Wish(wanted=wanted, least=min(WORTH_TOKENS, wanted), **wish),
    customer=st.sampled_from(CUSTOMERS),
    prices=st.sampled_from(PRICES),
    tokens_in=st.sampled_from([0, 1, 199, 200, 201, 1000]),
    wanted=st.sampled_from([1, 255, 256, 300, 1000, 16384]),
    choices=st.sampled_from([1, 1, 1, 3]),
)
picks = st.integers(0, 1000)
shares = st.sampled_from([0, 0.0001, 0.5, 1])

SUMS_OF_PERIODS = """
SELECT customer, substr(day, 1, 7), sum(coalesce(provider_cost_nano, 0) + coalesce(markup_nano, 0)),
  count(*), sum(input_tokens), sum(output_tokens)
FROM usage_records WHERE customer IS NOT NULL GROUP BY 1, 2
"""
RESERVED_OF_PERIODS = """
SELECT customer, substr(day, 1, 7), sum(amount_nano) FROM holds
WHERE customer IS NOT NULL GROUP BY 1, 2
"""
UNEQUAL_DAYS = """
SELECT * FROM usage_days d WHERE (requests, input_tokens, output_tokens, provider_cost_nano,
  markup_nano) <> (SELECT count(*), sum(input_tokens), sum(output_tokens),
  sum(coalesce(provider_cost_nano, 0)), sum(coalesce(markup_nano, 0)) FROM usage_records r
  WHERE r.day = d.day AND coalesce(r.customer, '') = d.customer AND r.model = d.model
  AND r.kind = d.kind)
"""
CHARGED_OTHERWISE = """
SELECT t.id FROM wallet_transactions t LEFT JOIN usage_records r ON r.id = t.usage_id
WHERE t.type = 'charge' AND t.amount_nano IS NOT -(r.provider_cost_nano + r.markup_nano)
"""


def price_of(prices):
    """The same as the package has it."""
    if prices is None:
        return None

    def tier(above, times):
        rate_in = prices.rate_in * times
        rates = Rates(
            input=rate_in,
            cached_input=rate_in,
            cache_write=rate_in,
            cache_write_1h=rate_in,
            output=prices.rate_out * times,
        )
        return Tier(above, rates)

    higher = () if prices.above is None else (tier(prices.above, 2),)
    return Price(source="test", tiers=(tier(0, 1), *higher))


def terms_of(terms):
    """The same as the package has them."""
    return ledger.Terms(
        budgets=BudgetSettings(
            default_monthly_nano_usd=terms.default_cap,
            customers={
                name: CustomerBudgetSettings(monthly_nano_usd=cap) for name, cap in terms.caps
            },
            warn_at=terms.warn_at,
            unknown_price="allow" if terms.may_be_unpriced else "refuse",
        ),
        wallet=WalletSettings(
            enabled=terms.has_wallet,
            markup_ppm=terms.markup_ppm,
            low_balance_nano_usd=terms.low,
        ),
    )


def call_of(wish):
    """Whose call it is."""
    return Call(
        kind="run",
        model=f"fc:test/{PRICES.index(wish.prices)}",
        requested_model="slot:any",
        provider="test",
        token="tok_1",
        customer=wish.customer,
    )


class LedgerLife(RuleBasedStateMachine):
    """Everything that can happen to money, whether or not it makes sense at the time."""

    @initialize()
    def open_store(self):
        """An empty ledger."""
        self.store = Store()
        self.model = model.Ledger(self.store.now_ms)
        self.terms = model.Terms(default_cap=20_000)
        self.boot = 1
        self.orphans = set()
        self.outcomes = set()

    def teardown(self):
        """Looks at the whole once more, and gives the store up."""
        self.reports_add_up()
        self.store.connection.close()

    # -- calls

    @rule(wish=WISHES)
    def reserve(self, wish):
        """A call wants to go out."""
        self.ask(wish, self.terms)

    @precondition(lambda self: self.has_calls)
    @rule(wish=WISHES, number=picks, share=st.none() | shares)
    def reserve_after(self, wish, number, share):
        """A further attempt: in one transaction the one before is booked or void, even if it was."""
        hold_id = self.pick(number)
        held = self.model.holds.get(hold_id)
        terms = self.terms if held is None else held.terms
        if share is None:
            self.model.release(hold_id)
            self.ask(wish, terms, Closing(hold_id=hold_id, consumed=None))
            return
        tokens, charged, consumed = self.used_by(hold_id, 1, share)
        self.model.settle(hold_id, *tokens, charged)
        self.ask(wish, terms, Closing(hold_id=hold_id, consumed=consumed))

    def ask(self, wish, terms, before=None):
        """`ledger.reserve`, beside the model."""
        hold_id = self.store.new_id("hold")
        expected = self.model.reserve(hold_id, wish, terms)
        ask = Ask(
            hold_id=hold_id,
            boot=f"boot_{self.boot}",
            call=call_of(wish),
            price=price_of(wish.prices),
            input_tokens_max=wish.tokens_in,
            output_tokens_max=wish.wanted,
            output_tokens_min=wish.least,
            choices=wish.choices,
        )

        got = self.store.write(ledger.reserve, ask, terms_of(terms), before)

        self.outcomes.add(expected if isinstance(expected, str) else "held")
        if isinstance(expected, str):
            assert isinstance(got, RingsideError)
            assert type(got).__name__ == expected
            return
        if expected.limit is not None and expected.limit < wish.wanted:
            self.outcomes.add("cut")
        assert isinstance(got, Hold), got
        assert (got.amount_nano, got.output_tokens_max) == (expected.amount, expected.limit)

    @rule(wish=WISHES, count=st.integers(2, 5))
    def reserve_at_once(self, wish, count):
        """Several equal calls at the same moment."""
        for _ in range(count):
            self.reserve(wish)

    @rule(wish=WISHES)
    def promise(self, wish):
        """A run is about to be created: nothing is held, but who could not pay is refused."""
        refusal, left = self.model.standing(wish, self.terms)

        standing = self.store.write(
            ledger.standing, call_of(wish), price_of(wish.prices), terms_of(self.terms), wish.least
        )

        assert type(standing.refusal).__name__ == (refusal or "NoneType")
        assert standing.remaining_nano == left

    def pick(self, number):
        """A call that is out in this process, or one that is over."""
        ours = sorted((self.model.holds.keys() - self.orphans) | self.model.ended)
        return ours[number % len(ours)]

    @property
    def has_calls(self):
        """Whether there is anything to pick."""
        return bool(self.model.holds.keys() - self.orphans or self.model.ended)

    @precondition(lambda self: self.has_calls)
    @rule(number=picks, share_in=shares, share_out=shares)
    def settle(self, number, share_in, share_out):
        """A call ends with some of what it could have used; or ends a second time."""
        self.end(self.pick(number), share_in, share_out)

    @precondition(lambda self: self.model.holds.keys() - self.orphans)
    @rule(number=picks, share_in=shares, share_out=shares)
    def settle_one_that_is_out(self, number, share_in, share_out):
        """What mostly happens."""
        out = sorted(self.model.holds.keys() - self.orphans)
        self.end(out[number % len(out)], share_in, share_out)

    def end(self, hold_id, share_in, share_out):
        """`ledger.settle`, beside the model."""
        held = self.model.holds.get(hold_id)
        terms = self.terms if held is None else held.terms
        tokens, charged, consumed = self.used_by(hold_id, share_in, share_out)
        expected = self.model.settle(hold_id, *tokens, charged)

        assert self.store.write(ledger.settle, hold_id, consumed, terms_of(terms)) == expected

    def used_by(self, hold_id, share_in, share_out):
        """What a call used of what it was held for, and never more; of one that is over, nothing."""
        held = self.model.holds.get(hold_id)
        wish = model.Wish("a", None, 0, 0, 0, 1) if held is None else held.wish
        terms = model.Terms() if held is None else held.terms
        limit = wish.wanted if held is None or held.limit is None else held.limit
        tokens_in = int(wish.tokens_in * share_in)
        tokens_out = int(limit * wish.choices * share_out)
        cost = None if wish.prices is None else wish.prices.cost(tokens_in, tokens_out)
        markup = None if cost is None else terms.with_markup(cost) - cost
        charged = (cost or 0) + (markup or 0)
        assert held is None or charged <= held.amount
        consumed = Consumed(
            usage=TokenUsage(input_tokens=tokens_in, output_tokens=tokens_out),
            provider_cost_nano=cost,
            markup_nano=markup,
            price_source="test",
        )
        return (tokens_in, tokens_out), charged, consumed

    @precondition(lambda self: self.has_calls)
    @rule(number=picks)
    def void(self, number):
        """A call ends without having used anything; or ends a second time."""
        hold_id = self.pick(number)
        expected = self.model.release(hold_id) is not None

        assert self.store.write(ledger.void, hold_id) == expected

    # -- a crash

    @rule()
    def crash(self):
        """The process dies; the next one finds what it left."""
        self.boot += 1
        self.orphans = set(self.model.holds)

    @rule(is_dispatched=st.booleans(), share=shares)
    def recover(self, is_dispatched, share):
        """The next process ends calls of the dead one, a few at a time."""
        found = self.store.write(ledger.orphans, f"boot_{self.boot}", ORPHANS_AT_ONCE)

        assert {orphan.id for orphan in found} <= self.orphans
        assert len(found) == min(len(self.orphans), ORPHANS_AT_ONCE)
        for orphan in found:
            assert orphan.call.customer == self.model.holds[orphan.id].wish.customer
            self.orphans.discard(orphan.id)
            if is_dispatched:
                self.end(orphan.id, 1, share)
            else:
                self.model.release(orphan.id)
                assert self.store.write(ledger.void, orphan.id)

    # -- what the owner does

    @rule(terms=TERMS)
    def reload(self, terms):
        """The configuration changes: caps, wallet, markup. Calls that are out keep theirs."""
        self.terms = terms
        self.lift_ceilings()

    @rule(customer=st.sampled_from(["a", "b"]), cap=CAPS)
    def set_cap(self, customer, cap):
        """The API raises, lowers or removes a cap, also below what is spent."""
        self.model.introduce(customer)
        self.model.own_caps[customer] = cap
        changes = {"has_own_budget": True, "monthly_nano": cap}

        self.store.write(accounts.put, customer, changes, terms_of(self.terms))

        self.lift_ceilings()

    def lift_ceilings(self):
        """What is above a new cap already may stay; nothing may come to it."""
        for (customer, _), period in self.model.periods.items():
            cap = self.model.cap(customer, self.terms)
            period.ceiling = None if cap is None else max(cap, period.total)

    @rule(customer=st.sampled_from(["a", "b"]))
    def delete(self, customer):
        """A customer is deleted, at whatever moment."""
        if customer not in self.model.customers:
            return
        self.model.forget(customer)

        self.store.write(customers.delete, customer)

        self.lift_ceilings()

    @rule(nano=st.sampled_from([1, 2_560, 10_000, 10**6]))
    def top_up(self, nano):
        """Money is put into the wallet."""
        self.model.top_up(nano, self.terms)

        made = self.store.write(wallet.top_up, nano, None, terms_of(self.terms).wallet)

        assert made.balance_nano == self.model.balance

    # -- time

    @rule(
        step_ms=st.sampled_from(
            [DAY_MS * days for days in (0.001, 0.5, 1, 9, 31, 36, 3650, -0.05, -31, -400)]
        )
    )
    def move_clock(self, step_ms):
        """Time passes, or somebody sets the clock."""
        self.store.now_ms = max(self.store.now_ms + int(step_ms), DAY_MS)
        self.model.now_ms = self.store.now_ms

    @rule(is_trusted=st.booleans())
    def see_clock(self, is_trusted):
        """The time is noted, as it is now and then."""
        expected = self.model.see(is_trusted=is_trusted)

        assert self.store.write(ledger_clock.see, is_trusted=is_trusted) == expected

    # -- what always holds

    @invariant()
    def counters_are_as_modelled(self):
        """Periods, wallet and holds are what the model says, and what the rows add up to."""
        periods = {
            key: (p.settled, p.reserved, p.requests, p.tokens_in, p.tokens_out)
            for key, p in self.model.periods.items()
        }
        stored = {tuple(row[:2]): row[2:] for row in self.rows("SELECT * FROM budget_periods")}
        assert stored == periods
        assert self.rows(
            "SELECT balance_nano, reserved_nano, is_low, is_exhausted FROM wallet"
        ) == [
            (
                self.model.balance,
                self.model.wallet_reserved,
                self.model.is_low,
                self.model.is_exhausted,
            )
        ]
        holds = {hold: held.amount for hold, held in self.model.holds.items()}
        assert dict(self.rows("SELECT id, amount_nano FROM holds")) == holds

    @invariant()
    def counters_are_the_sums_of_their_rows(self):
        """Nothing is counted that has no row, and no row is not counted."""
        sums = {tuple(row[:2]): row[2:] for row in self.rows(SUMS_OF_PERIODS)}
        held = {tuple(row[:2]): row[2] for row in self.rows(RESERVED_OF_PERIODS)}
        for row in self.rows("SELECT * FROM budget_periods"):
            settled, reserved, requests, tokens_in, tokens_out = row[2:]
            assert (settled, requests, tokens_in, tokens_out) == sums.pop(row[:2], (0, 0, 0, 0))
            assert reserved == held.pop(row[:2], 0)
        assert (sums, held) == ({}, {})
        assert self.rows(UNEQUAL_DAYS) == []
        [[days]] = self.rows("SELECT coalesce(sum(requests), 0) FROM usage_days")
        assert days == len(self.model.usage)

    @invariant()
    def no_cap_is_passed(self):
        """Spent and held together stay below the cap, or where they were when it was lowered."""
        for period in self.model.periods.values():
            assert period.ceiling is None or period.total <= period.ceiling
        assert min(period.total for period in self.model.periods.values() or [model.Period()]) >= 0

    @invariant()
    def usage_is_booked_once(self):
        """One row for each call that used something, in a sequence without gaps."""
        rows = self.rows("SELECT sequence, id, day, customer FROM usage_records ORDER BY sequence")
        assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
        assert [row[1:] for row in rows] == [
            (hold.replace("hold_", "use_"), day, customer)
            for hold, day, customer, _ in self.model.usage
        ]

    @invariant()
    def wallet_moved_by_what_was_charged(self):
        """Every change has its reason, and the balance is their sum."""
        moved = self.rows(
            "SELECT type, amount_nano, balance_nano FROM wallet_transactions ORDER BY seq"
        )
        assert moved == self.model.moved
        assert sum(amount for _, amount, _ in moved) == self.model.balance
        assert self.rows(CHARGED_OTHERWISE) == []

    @invariant()
    def events_are_told_once(self):
        """What happened is told in its order, and what must be told once is."""
        told = self.rows("SELECT type, data FROM events ORDER BY seq")
        decoded = [
            (kind, msgspec.json.decode(data).get("customer", "wallet")) for kind, data in told
        ]
        assert decoded == self.model.told

    @invariant()
    def reports_show_all_of_it(self):
        """What the API tells of a customer's month is what was booked."""
        terms = terms_of(self.terms)
        for customer in self.model.customers:
            shown = self.store.write(accounts.get, customer, terms).current_period
            period = self.model.periods.get((customer, shown.period), model.Period())
            assert round(shown.spent_usd * 10**9) == period.settled
            assert round(shown.reserved_usd * 10**9) == period.reserved
            assert not self.model.newest or shown.period >= self.model.newest

    def reports_add_up(self):
        """By day and customer, every report shows what was booked."""
        booked = Counter()
        for _, day, customer, cost in self.model.usage:
            booked[day, customer] += cost
        for day in {day for day, _ in booked}:
            first = date.fromisoformat(day)
            query = ReportQuery(first_day=first, last_day=first, group_by=("customer",))
            report = self.store.write(usage_reports.report, query, terms_of(self.terms))
            shown = {(day, row.customer): round(row.cost_usd * 10**9) for row in report.data}
            assert shown == {key: cost for key, cost in booked.items() if key[0] == day}
            assert round(report.total.cost_usd * 10**9) == sum(shown.values())

    def rows(self, sql):
        """What a query of the test's own finds."""
        return self.store.rows(sql)


TestLedgerLife = pytest.mark.timeout(TIMEOUT_S)(LedgerLife.TestCase)
TestLedgerLife.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)


LIVES = 6
EVENTS_OF_A_LIFE = 300


def long_life(seed):
    """What was met in one life of random events, beside the model."""
    choose = random.Random(seed)
    life = LedgerLife()
    life.open_store()

    def some(strategy_values):
        return choose.choice(strategy_values)

    def wish():
        wanted = some([1, 255, 256, 1000, 16384])
        return model.Wish(
            customer=some(CUSTOMERS),
            prices=some(PRICES),
            tokens_in=some([0, 1, 199, 200, 201, 1000]),
            wanted=wanted,
            least=min(WORTH_TOKENS, wanted),
            choices=some([1, 1, 3]),
        )

    def terms():
        return model.Terms(
            default_cap=some([None, 0, 5_000, 10**6, 10**8]),
            caps=some([(), (("a", some([None, 2_560, 10**7])),)]),
            may_be_unpriced=some([True, False]),
            has_wallet=some([True, False, False]),
            markup_ppm=some([0, 125_000]),
            low=some([0, 10**6, 10**9]),
        )

    def is_out():
        return life.model.holds.keys() - life.orphans

    happenings = [
        *[lambda: life.reserve(wish())] * 4,
        lambda: life.reserve_at_once(wish(), 3),
        lambda: life.has_calls and life.reserve_after(wish(), some(range(99)), some([None, 0.5])),
        lambda: life.promise(wish()),
        *[lambda: is_out() and life.settle_one_that_is_out(some(range(9)), 1, some([0, 0.5, 1]))]
        * 3,
        lambda: life.has_calls and life.settle(some(range(99)), 1, 1),
        lambda: life.has_calls and life.void(some(range(99))),
        lambda: life.recover(some([True, False]), 0.5),
        lambda: life.set_cap(some(["a", "b"]), some([None, 0, 2_560, 10**6, 10**9])),
        lambda: life.delete(some(["a", "b"])),
        lambda: life.top_up(some([2_560, 10**6, 10**8])),
        lambda: life.move_clock(some([1, DAY_MS, 9 * DAY_MS, 36 * DAY_MS, -31 * DAY_MS])),
        lambda: life.see_clock(some([True, False])),
    ]
    rarely = [life.crash, lambda: life.reload(terms())]
    for number in range(EVENTS_OF_A_LIFE):
        choose.choice(happenings if number % 20 else rarely)()
        life.counters_are_as_modelled()
        life.counters_are_the_sums_of_their_rows()
        life.no_cap_is_passed()
        life.usage_is_booked_once()
        life.wallet_moved_by_what_was_charged()
        life.events_are_told_once()
        life.reports_show_all_of_it()
    life.teardown()
    return life.outcomes | {event for event, _ in life.model.told}


def test_long_lives_meet_everything_that_can_happen():
    """Lives too long for a search by halves: together they meet every refusal and every event."""
    met = set().union(*(long_life(seed) for seed in range(LIVES)))

    assert met == {
        "held",
        "cut",
        "ClockJumpError",
        "CustomerBudgetExceededError",
        "ModelPriceUnknownError",
        "WalletExhaustedError",
        "customer.created",
        "customer.budget_warning",
        "customer.budget_exceeded",
        "wallet.low",
        "wallet.exhausted",
    }
