"""Holds: what a call may cost is kept back, and booked once."""

import msgspec
import pytest

from ringside_proxy.domain.errors import (
    ClockJumpError,
    CustomerBudgetExceededError,
    ModelPriceUnknownError,
    WalletExhaustedError,
)
from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.pricing import Price, Rates, Tier
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.settings.money import (
    BudgetSettings,
    CustomerBudgetSettings,
    WalletSettings,
)
from ringside_proxy.store import events, ledger, ledger_clock, usage, wallet
from ringside_proxy.store.ledger import Ask, Terms
from ringside_proxy.store.usage import Consumed
from tests.store.memory import Store

USD = 10**9
DAY_MS = 24 * 3600 * 1000
PRICE = Price(
    source="test",
    tiers=(
        Tier(
            above=0,
            rates=Rates(
                input=USD,
                cached_input=USD // 10,
                cache_write=USD,
                cache_write_1h=USD,
                output=10 * USD,
            ),
        ),
    ),
)
"""1 USD per million tokens in, 10 out: 1,000 nano-USD and 10,000 for each token."""
OUT = 10_000
CUSTOMER = "customer_42"


@pytest.fixture
def store():
    made = Store()
    yield made
    made.connection.close()


def capped(nano, **more):
    """Terms under which the customer has a cap."""
    return Terms(budgets=BudgetSettings(default_monthly_nano_usd=nano, **more))


def ask(store, *, customer=CUSTOMER, price=PRICE, tokens_in=0, wanted=1000, least=256, **call):
    return Ask(
        hold_id=store.new_id("hold"),
        boot="boot_1",
        call=Call(
            kind="chat.completion",
            model="fc:openai/m",
            requested_model="slot:fast",
            provider="openai",
            token="tok_1",
            customer=customer,
            **call,
        ),
        price=price,
        input_tokens_max=tokens_in,
        output_tokens_max=wanted,
        output_tokens_min=least,
    )


def consumed(tokens_out, price=PRICE, markup_nano=0):
    used = TokenUsage(output_tokens=tokens_out)
    cost = None if price is None else price.cost_nano_usd(used)
    return Consumed(
        usage=used, provider_cost_nano=cost, markup_nano=markup_nano, price_source="test"
    )


def period(store, customer=CUSTOMER, name="2025-11"):
    return store.write(ledger.spent, customer, name)


def said(store):
    return [event.type for event in store.write(events.after, 0, 100)]


def test_hold_is_kept_back_and_given_back_when_settled(store):
    """While a call is out its worst case is reserved; afterwards what it cost is spent."""
    terms = capped(USD)
    hold = store.write(ledger.reserve, ask(store), terms)
    assert hold.amount_nano == 1000 * OUT
    assert period(store).reserved_nano == hold.amount_nano

    assert store.write(ledger.settle, hold.id, consumed(7), terms)

    after = period(store)
    assert (after.reserved_nano, after.settled_nano, after.requests) == (0, 7 * OUT, 1)


def test_hold_ends_once(store):
    """Who comes second finds nothing and changes nothing, whichever end came first."""
    terms = capped(USD)
    hold = store.write(ledger.reserve, ask(store), terms)
    store.write(ledger.settle, hold.id, consumed(7), terms)
    before = store.dump()

    assert not store.write(ledger.settle, hold.id, consumed(9), terms)
    assert not store.write(ledger.void, hold.id)

    assert store.dump() == before


def test_answer_is_cut_to_what_the_balance_affords(store):
    """The output limit that goes upstream is what the hold paid for."""
    hold = store.write(ledger.reserve, ask(store, wanted=1000), capped(300 * OUT))

    assert hold.output_tokens_max == 300
    assert hold.remaining_nano == 0


def test_call_that_affords_less_than_256_tokens_is_refused(store):
    """402, told to the outbox once for a customer, period and cap."""
    terms = capped(255 * OUT)

    first = store.write(ledger.reserve, ask(store), terms)
    second = store.write(ledger.reserve, ask(store), terms)

    assert isinstance(first, CustomerBudgetExceededError)
    assert isinstance(second, CustomerBudgetExceededError)
    assert said(store) == ["customer.created", "customer.budget_exceeded"]
    assert period(store).reserved_nano == 0


def test_caller_who_wants_less_than_256_tokens_is_served(store):
    """The least worth asking for is what was asked for."""
    hold = store.write(ledger.reserve, ask(store, wanted=20, least=20), capped(20 * OUT))

    assert hold.output_tokens_max == 20


def test_very_short_answer_is_held_for_as_the_shortest_limit_there_is(store):
    """Where a dialect raises the limit to 16 tokens, the money for them is there."""
    hold = store.write(ledger.reserve, ask(store, wanted=5, least=5), capped(16 * OUT))

    assert (hold.output_tokens_max, hold.amount_nano) == (5, 16 * OUT)


def test_money_is_free_again_when_others_are_void(store):
    """A refusal because of calls at work does not outlast them."""
    terms = capped(1000 * OUT)
    hold = store.write(ledger.reserve, ask(store), terms)
    assert isinstance(store.write(ledger.reserve, ask(store), terms), CustomerBudgetExceededError)

    store.write(ledger.void, hold.id)

    assert store.write(ledger.reserve, ask(store), terms).output_tokens_max == 1000


def test_cap_of_zero_lets_pass_what_is_free(store):
    """A cap of 0 refuses everything that costs more than 0."""
    free = msgspec.structs.replace(
        PRICE,
        tiers=(
            Tier(
                above=0,
                rates=Rates(input=0, cached_input=0, cache_write=0, cache_write_1h=0, output=0),
            ),
        ),
    )

    assert isinstance(
        store.write(ledger.reserve, ask(store), capped(0)), CustomerBudgetExceededError
    )
    hold = store.write(ledger.reserve, ask(store, price=free, tokens_in=100), capped(0))

    assert (hold.amount_nano, hold.output_tokens_max) == (0, 1000)


def test_without_a_cap_nothing_is_cut(store):
    """The hold is there all the same: a crash must find it."""
    hold = store.write(ledger.reserve, ask(store), Terms())

    assert hold.output_tokens_max is None
    assert period(store).reserved_nano == 1000 * OUT


def test_nobodys_call_is_held_too(store):
    """Usage without a customer is booked on none."""
    hold = store.write(ledger.reserve, ask(store, customer=None), Terms())
    store.write(ledger.settle, hold.id, consumed(5), Terms())

    assert store.rows("SELECT customer, model, requests FROM usage_days") == [
        ("", "fc:openai/m", 1)
    ]


def test_model_without_a_price_is_refused_under_a_cap(store):
    """Unknown is not free; the configuration may allow it."""
    terms = capped(USD)
    allowed = capped(USD, unknown_price="allow")

    assert isinstance(
        store.write(ledger.reserve, ask(store, price=None), terms), ModelPriceUnknownError
    )
    hold = store.write(ledger.reserve, ask(store, price=None), allowed)

    assert (hold.amount_nano, hold.output_tokens_max) == (0, 1000)


def test_cap_comes_from_the_nearest_that_set_one(store):
    """The configuration's own line for a customer, else the default."""
    budgets = BudgetSettings(
        default_monthly_nano_usd=0,
        customers={CUSTOMER: CustomerBudgetSettings(monthly_nano_usd=USD)},
    )

    own = store.write(ledger.reserve, ask(store), Terms(budgets=budgets))
    other = store.write(ledger.reserve, ask(store, customer="other"), Terms(budgets=budgets))

    assert own.amount_nano
    assert isinstance(other, CustomerBudgetExceededError)


def test_warning_is_given_once_per_threshold_and_period(store):
    """At the first settlement that reaches the share of the cap."""
    terms = capped(1000 * OUT)
    for tokens in (799, 1, 50):
        hold = store.write(ledger.reserve, ask(store, wanted=10, least=10), terms)
        store.write(ledger.settle, hold.id, consumed(tokens), terms)

    assert said(store) == ["customer.created", "customer.budget_warning"]
    [event] = store.write(events.after, 1, 10)
    assert msgspec.json.decode(event.data) == {
        "customer": CUSTOMER,
        "period": "2025-11",
        "monthly_budget_usd": 0.01,
        "spent_usd": 0.008,
        "reserved_usd": 0.0,
        "threshold": 0.8,
    }


def test_warning_is_given_at_the_very_share(store):
    """7 % of 3 USD are 0.21 USD, which the product of the floats is a little more than."""
    terms = capped(3 * USD, warn_at=(0.07,))
    hold = store.write(ledger.reserve, ask(store), terms)

    store.write(ledger.settle, hold.id, consumed(21_000), terms)

    assert said(store) == ["customer.created", "customer.budget_warning"]


def test_usage_row_says_whose_call_it_was(store):
    """Run, thread, token, model asked for and model that answered; its id is the hold's."""
    hold = store.write(ledger.reserve, ask(store, run_id="run_1", thread_id="thread_1"), Terms())
    store.write(ledger.settle, hold.id, consumed(5), Terms(), "step_1")

    assert store.rows(
        "SELECT id, customer, token, requested_model, run_id, step_id, provider_cost_nano "
        "FROM usage_records"
    ) == [
        (hold.id.replace("hold", "use"), CUSTOMER, "tok_1", "slot:fast", "run_1", "step_1", 5 * OUT)
    ]
    assert store.write(usage.cost_of_run, "run_1") == 5 * OUT


def test_markup_is_part_of_what_is_held_and_charged(store):
    """A cap holds for the price that the customer is charged."""
    terms = msgspec.structs.replace(capped(1000 * OUT), wallet=WalletSettings(markup_ppm=250_000))

    hold = store.write(ledger.reserve, ask(store, wanted=5000), terms)

    assert hold.output_tokens_max == 800
    assert hold.amount_nano == 1000 * OUT


@pytest.mark.parametrize(("length", "is_kept"), [(8_000, True), (9_000, False)])
def test_counts_that_a_provider_makes_up_do_not_fill_the_books(store, length, is_kept):
    """What is booked stays; its own words are kept while they are short."""
    held = store.write(ledger.reserve, ask(store), Terms())
    told = msgspec.structs.replace(consumed(1), raw={"made_up": "x" * length})

    store.write(ledger.settle, held.id, told, Terms())

    [(raw, tokens)] = store.rows("SELECT raw, output_tokens FROM usage_records")
    assert ((raw is not None), tokens) == (is_kept, 1)


def test_wallet_pays_and_is_never_overdrawn(store):
    """Nobody's call is limited by the wallet too; low is said once per crossing."""
    terms = Terms(wallet=WalletSettings(enabled=True, low_balance_nano_usd=500 * OUT))
    store.write(wallet.top_up, 1000 * OUT, None, terms.wallet)
    hold = store.write(ledger.reserve, ask(store, customer=None, wanted=5000), terms)
    assert hold.output_tokens_max == 1000
    refused = store.write(ledger.reserve, ask(store, customer=None), terms)
    assert isinstance(refused, WalletExhaustedError)

    store.write(ledger.settle, hold.id, consumed(600), terms)

    left = store.write(wallet.get)
    assert (left.balance_nano, left.reserved_nano) == (400 * OUT, 0)
    assert said(store) == ["wallet.exhausted", "wallet.low"]


def test_wallet_low_is_rearmed_by_a_top_up(store):
    """Twice below, twice said."""
    terms = Terms(wallet=WalletSettings(enabled=True, low_balance_nano_usd=500 * OUT))
    for _ in range(2):
        store.write(wallet.top_up, 1000 * OUT, None, terms.wallet)
        hold = store.write(ledger.reserve, ask(store, customer=None), terms)
        store.write(ledger.settle, hold.id, consumed(900), terms)

    assert said(store) == ["wallet.low", "wallet.low"]


def test_wallet_low_is_said_of_a_lowered_threshold_too(store):
    """The balance is above the new one, and falls below it: that is another crossing."""
    thresholds = [500 * OUT, 500 * OUT, 300 * OUT, 300 * OUT, 300 * OUT]
    store.write(wallet.top_up, 1000 * OUT, None, WalletSettings())
    for low, tokens in zip(thresholds, (510, 10, 10, 200, 10), strict=True):
        terms = Terms(wallet=WalletSettings(enabled=True, low_balance_nano_usd=low))
        hold = store.write(ledger.reserve, ask(store, customer=None, wanted=200, least=1), terms)
        store.write(ledger.settle, hold.id, consumed(tokens), terms)

    low = [msgspec.json.decode(event.data) for event in store.write(events.after, 0, 10)]
    assert [each["balance_usd"] for each in low] == [0.0049, 0.0027]


def test_new_month_is_a_new_budget(store):
    """The period is the calendar month of the budgets' time zone."""
    terms = capped(300 * OUT)
    hold = store.write(ledger.reserve, ask(store), terms)
    store.write(ledger.settle, hold.id, consumed(300), terms)
    store.now_ms += 12 * DAY_MS  # 2025-12-03

    assert store.write(ledger.reserve, ask(store), terms).output_tokens_max == 300
    assert period(store, name="2025-12").reserved_nano == 300 * OUT


def test_period_is_that_of_the_reservation(store):
    """A call over midnight of the last day belongs to the month it began in."""
    terms = capped(USD)
    hold = store.write(ledger.reserve, ask(store), terms)
    store.now_ms += 12 * DAY_MS

    store.write(ledger.settle, hold.id, consumed(3), terms)

    assert period(store).settled_nano == 3 * OUT


def test_timezone_decides_when_the_month_begins(store):
    """One instant is two months in two places."""
    store.now_ms = 1_764_547_200_000 - 1  # 2025-11-30T23:59:59.999Z

    assert store.write(ledger_clock.today, "UTC") == "2025-11-30"
    assert store.write(ledger_clock.today, "Europe/Zurich") == "2025-12-01"


def test_clock_set_back_opens_no_old_month(store):
    """What was left of last month's cap is not to be had again."""
    terms = capped(300 * OUT)
    hold = store.write(ledger.reserve, ask(store), terms)
    store.write(ledger.settle, hold.id, consumed(300), terms)
    store.now_ms -= 30 * DAY_MS

    assert isinstance(store.write(ledger.reserve, ask(store), terms), CustomerBudgetExceededError)


def test_clock_that_jumps_ahead_opens_no_budget(store):
    """More than 35 days ahead of what is stored: refused under a cap, until somebody vouches."""
    terms = capped(300 * OUT)
    store.write(ledger.reserve, ask(store), terms)
    store.now_ms += 36 * DAY_MS

    assert isinstance(store.write(ledger.reserve, ask(store), terms), ClockJumpError)
    assert store.write(ledger.reserve, ask(store, customer=None), terms).amount_nano
    assert not store.write(ledger_clock.see)

    assert store.write(ledger_clock.see, is_trusted=True)
    assert store.write(ledger.reserve, ask(store), terms).amount_nano


def test_holds_of_other_processes_are_found(store):
    """What a dead process left is known by its boot."""
    hold = store.write(ledger.reserve, ask(store, body_bytes=400), Terms())

    assert store.write(ledger.orphans, "boot_1", 10) == []
    [orphan] = store.write(ledger.orphans, "boot_2", 10)

    assert (orphan.id, orphan.call.body_bytes) == (hold.id, 400)


@pytest.mark.parametrize(
    ("cap", "choices", "least", "paid"),
    [
        (None, 1, 256, None),
        (10_000 * OUT, 1, 256, 1000),
        (10_000 * OUT, 3, 256, 3000),
        (300 * OUT, 1, 256, 300),
        (10_000 * OUT, 2, 4, 32),
    ],
)
def test_what_a_dead_process_s_answer_can_have_been_is_known(store, cap, choices, least, paid):
    """All choices together, no shorter than any limit is; without a cap it had none of ours."""
    asked = msgspec.structs.replace(
        ask(store, wanted=4 if least == 4 else 1000, least=least), choices=choices
    )
    hold = store.write(ledger.reserve, asked, capped(cap))

    [orphan] = store.write(ledger.orphans, "boot_2", 10)

    assert orphan.call == hold.call
    assert orphan.call.answer_tokens_max == paid
    assert orphan.call.prompt_tokens_max == (None if paid is None else 0)
    if paid is not None:
        assert hold.amount_nano == paid * OUT


def test_promised_work_is_refused_when_nothing_is_left(store):
    """A run is not created for a customer who could not pay for its first words."""
    call = ask(store).call

    assert store.write(ledger.standing, call, PRICE, capped(256 * OUT)).refusal is None
    assert isinstance(
        store.write(ledger.standing, call, PRICE, capped(255 * OUT)).refusal,
        CustomerBudgetExceededError,
    )


def test_a_known_customer_s_call_is_seven_statements(store):
    """Three to hold, four to book: whatever one more would cost, every call would pay."""
    terms, said = capped(USD), []
    held = store.write(ledger.reserve, ask(store), terms)
    store.connection.set_trace_callback(lambda sql: said.append(sql.split()[0]))

    second = store.write(ledger.reserve, ask(store), terms)
    for hold in (held, second):
        used = TokenUsage(input_tokens=1, output_tokens=1)
        cost = Consumed(usage=used, provider_cost_nano=1, markup_nano=0, price_source="test")
        store.write(ledger.settle, hold.id, cost, terms)

    whole = ["BEGIN", "COMMIT"]
    work = [word for word in said if word not in whole]
    assert work == ["SELECT", "UPDATE", "INSERT", *["DELETE", "INSERT", "INSERT", "UPDATE"] * 2]
