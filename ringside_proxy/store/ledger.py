"""Holds: what a call may cost at most is kept back before it goes out, and settled after it.

    (none) ─► held ─► settled     a usage row is written
                 └──► void        nothing was consumed

A row exists while a call is held, and ending one deletes it: whoever comes second finds nothing
and changes nothing. The usage row has the hold's digits as its id, so even a hold that came back
could not be booked twice. Only `reserve`, `settle` and `void` touch the sums.

For a call under a cap the answer may be no longer than the hold pays for, and that limit goes
upstream: so neither concurrency nor a long answer nor a crash can pass the cap.
"""

from typing import Final

import msgspec

from ringside_proxy.domain.errors import (
    ClockJumpError,
    CustomerBudgetExceededError,
    ModelPriceUnknownError,
    RingsideError,
    WalletExhaustedError,
)
from ringside_proxy.domain.ids import twin
from ringside_proxy.domain.ledger import (
    OUTPUT_TOKENS_FLOOR,
    WORTH_ASKING_TOKENS,
    Call,
    day_of,
)
from ringside_proxy.domain.money import before_markup, markup, reaches, usd, usd_text
from ringside_proxy.domain.outgoing import BudgetEventData
from ringside_proxy.domain.pricing import Price
from ringside_proxy.settings.money import BudgetSettings, WalletSettings
from ringside_proxy.store import customers, events, ledger_clock, usage, wallet
from ringside_proxy.store.tx import Tx
from ringside_proxy.store.usage import Consumed

INSERT: Final = (
    "INSERT INTO holds (id, boot, customer, day, amount_nano, uses_wallet, created_ms, call) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
TAKE: Final = (
    "DELETE FROM holds WHERE id = ? RETURNING customer, day, amount_nano, uses_wallet, call"
)
OF_OTHER_BOOTS: Final = "SELECT id, created_ms, call FROM holds WHERE boot <> ? LIMIT ?"
STALE: Final = "SELECT id, created_ms, call FROM holds WHERE created_ms < ? LIMIT ?"
LIVE: Final = "SELECT count(*), min(created_ms) FROM holds"

ACCOUNT: Final = (
    "SELECT p.settled_nano, p.reserved_nano, c.has_own_budget, c.monthly_nano "
    "FROM ledger_clock k JOIN budget_periods p ON p.period = k.period "
    "JOIN customers c ON c.id = p.customer "
    "WHERE k.id = 1 AND k.period = ? AND p.customer = ?"
)
"""A known customer in the period that is open: all that a hold has to read, in one statement."""
ENSURE_PERIOD: Final = (
    "INSERT INTO budget_periods (customer, period) VALUES (?, ?) "
    "ON CONFLICT (customer, period) DO NOTHING"
)
SPENT: Final = (
    "SELECT settled_nano, reserved_nano, requests, input_tokens, output_tokens "
    "FROM budget_periods WHERE customer = ? AND period = ?"
)
RESERVE: Final = (
    "UPDATE budget_periods SET reserved_nano = reserved_nano + ? WHERE customer = ? AND period = ? "
    "AND (? IS NULL OR settled_nano + reserved_nano + ? <= ?)"
)
SETTLE: Final = (
    "UPDATE budget_periods SET reserved_nano = reserved_nano - ?, settled_nano = settled_nano + ?, "
    "requests = requests + 1, input_tokens = input_tokens + ?, output_tokens = output_tokens + ? "
    "WHERE customer = ? AND period = ? "
    "RETURNING settled_nano, reserved_nano, requests, input_tokens, output_tokens, "
    "(SELECT has_own_budget FROM customers c WHERE c.id = customer), "
    "(SELECT monthly_nano FROM customers c WHERE c.id = customer)"
)
"""Gives the period as it then stands, and the customer's own budget."""
RELEASE: Final = (
    "UPDATE budget_periods SET reserved_nano = reserved_nano - ? WHERE customer = ? AND period = ?"
)

_encode = msgspec.json.Encoder().encode
_parse_call = msgspec.json.Decoder(Call).decode


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of money; a call keeps those that it began with."""

    budgets: BudgetSettings = BudgetSettings()
    wallet: WalletSettings = WalletSettings()


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A call that wants to go out, at its worst.

    `output_tokens_max` is as long as one answer may become, `output_tokens_min` as short as it
    may be made by the money that is left; `choices` is how many are asked for.
    """

    hold_id: str
    boot: str
    call: Call
    price: Price | None
    input_tokens_max: int
    output_tokens_max: int
    output_tokens_min: int
    choices: int = 1
    may_write_cache_1h: bool = False


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """`call` may go out. Under a cap its answer may have `output_tokens_max` tokens."""

    id: str
    call: Call
    amount_nano: int
    output_tokens_max: int | None
    remaining_nano: int | None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a customer's call may go out, and what it has left; None if it has no cap."""

    refusal: RingsideError | None = None
    remaining_nano: int | None = None


class Closing(msgspec.Struct, frozen=True, kw_only=True):
    """How a hold ends: what the call consumed, or None for nothing."""

    hold_id: str
    consumed: Consumed | None


class Spent(msgspec.Struct, frozen=True):
    """A customer's period."""

    settled_nano: int = 0
    reserved_nano: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class OrphanHold(msgspec.Struct, frozen=True):
    """A hold that nobody will end any more."""

    id: str
    created_ms: int
    call: Call


def reserve(tx: Tx, ask: Ask, terms: Terms, before: Closing | None = None) -> Hold | RingsideError:
    """Keep back what a call may cost; or the error that forbids it.

    An error is given, not raised: that it was refused is stored. Makes a stub of a customer that
    is new. `before` is how the attempt before this one ended: it is booked first.
    """
    if before is not None:
        close(tx, before, terms)
    account = _account(tx, ask.call.customer, terms)
    if isinstance(account, RingsideError):
        return account
    if ask.price is None and account.is_capped and terms.budgets.unknown_price == "refuse":
        return _unpriced(ask.call)
    input_nano = 0 if ask.price is None else _input_nano(ask, ask.price)
    output_tokens = _output_tokens(ask, account.remaining_nano, input_nano, terms)
    answer_tokens = _answer_tokens(ask, output_tokens)
    amount = _amount(ask, input_nano, answer_tokens, terms)
    refusal = _keep_back(tx, ask, account, amount, terms)
    if refusal is not None:
        return refusal
    call = ask.call
    if account.is_capped:
        call = call.held_for(ask.input_tokens_max, answer_tokens)
    tx.run(
        INSERT,
        ask.hold_id,
        ask.boot,
        ask.call.customer,
        account.day,
        amount,
        account.uses_wallet,
        tx.now_ms,
        _encode(call),
    )
    remaining = account.customer_remaining_nano
    return Hold(
        id=ask.hold_id,
        call=call,
        amount_nano=amount,
        output_tokens_max=output_tokens if account.is_capped else None,
        remaining_nano=None if remaining is None else remaining - amount,
    )


def standing(
    tx: Tx,
    call: Call,
    price: Price | None,
    terms: Terms,
    output_tokens_min: int = WORTH_ASKING_TOKENS,
) -> Standing:
    """Whether a call of this customer to this model could go out now, whatever it says.

    For work that is only promised yet: nothing is kept back.
    """
    account = _account(tx, call.customer, terms)
    if isinstance(account, RingsideError):
        return Standing(refusal=account)
    refusal: RingsideError | None = None
    if account.is_capped and price is None and terms.budgets.unknown_price == "refuse":
        refusal = _unpriced(call)
    elif account.is_capped and price is not None:
        least = price.output_nano_usd(
            output_tokens_min, input_tokens_max=0, service_tier=call.service_tier
        )
        least += markup(least, terms.wallet.markup_ppm)
        refusal = _lacking(tx, call.customer, account, least, terms)
    return Standing(refusal=refusal, remaining_nano=account.customer_remaining_nano)


def settle(
    tx: Tx,
    hold_id: str,
    consumed: Consumed,
    terms: Terms,
    step_id: str | None = None,
) -> bool:
    """End a hold by booking what the call consumed; whether it was still held.

    What cost more than was held is booked in full. Emits `customer.budget_warning` once per
    threshold and period, `wallet.low` once per crossing.
    """
    row = tx.one(TAKE, hold_id)
    if row is None:
        return False
    customer, day, amount, uses_wallet = row[:4]
    cost, usage_id = consumed.cost_nano, twin(hold_id, "use")
    usage.record(tx, usage_id, day, _parse_call(row[4]), consumed, step_id)
    if customer is not None:
        used = consumed.usage
        settled = tx.one(
            SETTLE, amount, cost, used.input_tokens, used.output_tokens, customer, day[:7]
        )
        if settled is not None and settled[5] is not None:
            cap = customers.cap(customer, settled[5], settled[6], terms.budgets)
            _warn(tx, customer, day[:7], cap, Spent(*settled[:5]), terms)
    if uses_wallet:
        wallet.release(tx, amount)
        wallet.charge(tx, cost, usage_id, terms.wallet)
    return True


def void(tx: Tx, hold_id: str) -> bool:
    """End the hold of a call that consumed nothing; whether it was still held."""
    row = tx.one(TAKE, hold_id)
    if row is None:
        return False
    customer, day, amount, uses_wallet = row[:4]
    if customer is not None:
        tx.run(RELEASE, amount, customer, day[:7])
    if uses_wallet:
        wallet.release(tx, amount)
    return True


def close(tx: Tx, closing: Closing, terms: Terms, step_id: str | None = None) -> bool:
    """End a hold as it came to; whether it was still held."""
    if closing.consumed is None:
        return void(tx, closing.hold_id)
    return settle(tx, closing.hold_id, closing.consumed, terms, step_id)


def spent(tx: Tx, customer: str, period: str) -> Spent:
    """What a customer has spent in a period."""
    row = tx.one(SPENT, customer, period)
    return Spent() if row is None else Spent(*row)


def orphans(tx: Tx, boot: str, limit: int) -> list[OrphanHold]:
    """Holds of processes that are gone."""
    return [_orphan(row) for row in tx.all(OF_OTHER_BOOTS, boot, limit)]


def stale(tx: Tx, older_than_ms: int, limit: int) -> list[OrphanHold]:
    """Holds that are older than any call may be."""
    return [_orphan(row) for row in tx.all(STALE, older_than_ms, limit)]


def live(tx: Tx) -> tuple[int, int | None]:
    """How many calls are held, and since when (ms) the oldest of them is."""
    row = tx.one(LIVE)
    return (0, None) if row is None else (row[0], row[1])


class _Account(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money a call is made on, and how much of it there is; None: no limit."""

    day: str
    cap_nano: int | None
    customer_remaining_nano: int | None
    wallet_remaining_nano: int | None

    @property
    def uses_wallet(self) -> bool:
        return self.wallet_remaining_nano is not None

    @property
    def is_capped(self) -> bool:
        return self.customer_remaining_nano is not None or self.uses_wallet

    @property
    def remaining_nano(self) -> int | None:
        customer, credit = self.customer_remaining_nano, self.wallet_remaining_nano
        if customer is None or credit is None:
            return credit if customer is None else customer
        return min(customer, credit)


def _account(tx: Tx, customer: str | None, terms: Terms) -> _Account | RingsideError:
    day = day_of(tx.now_ms, terms.budgets.timezone)
    row = None if customer is None else tx.one(ACCOUNT, day[:7], customer)
    if customer is None or row is None:
        return _opened_account(tx, customer, terms)
    settled, reserved, has_own, own_nano = row
    cap = customers.cap(customer, has_own, own_nano, terms.budgets).monthly_nano
    return _Account(
        day=day,
        cap_nano=cap,
        customer_remaining_nano=None if cap is None else cap - settled - reserved,
        wallet_remaining_nano=wallet.get(tx).available_nano if terms.wallet.enabled else None,
    )


def _opened_account(tx: Tx, customer: str | None, terms: Terms) -> _Account | RingsideError:
    """The account of a customer, or in a period, that may not be there yet: it is made."""
    cap = None
    if customer is not None:
        customers.ensure(tx, customer)
        found = customers.cap_of(tx, customer, terms.budgets)
        cap = None if found is None else found.monthly_nano
    credit = wallet.get(tx).available_nano if terms.wallet.enabled else None
    day = ledger_clock.opened_day(tx, terms.budgets.timezone)
    if day is None and (cap is not None or credit is not None):
        return ClockJumpError(
            "The machine's clock is more than 35 days ahead of everything stored; no budget is "
            "opened by it. Set the clock, or restart with RINGSIDE_TRUST_CLOCK=1 if it is right.",
        )
    day = day or day_of(tx.now_ms, terms.budgets.timezone)
    remaining = None
    if customer is not None:
        tx.run(ENSURE_PERIOD, customer, day[:7])
        so_far = spent(tx, customer, day[:7])
        remaining = None if cap is None else cap - so_far.settled_nano - so_far.reserved_nano
    return _Account(
        day=day,
        cap_nano=cap,
        customer_remaining_nano=remaining,
        wallet_remaining_nano=credit,
    )


def _output_tokens(ask: Ask, remaining_nano: int | None, input_nano: int, terms: Terms) -> int:
    """How long the answer may be: as was asked for, or what the money that is left pays for."""
    if remaining_nano is None or ask.price is None:
        return ask.output_tokens_max
    tier = ask.call.service_tier
    cost_max = before_markup(max(remaining_nano, 0), terms.wallet.markup_ppm)
    affordable = ask.price.output_tokens_affordable(
        cost_max - input_nano,
        input_tokens_max=ask.input_tokens_max,
        service_tier=tier,
    )
    return max(min(ask.output_tokens_max, affordable // ask.choices), ask.output_tokens_min)


def _answer_tokens(ask: Ask, output_tokens: int) -> int:
    """What all choices together can have, if each may have so many."""
    return ask.choices * max(output_tokens, OUTPUT_TOKENS_FLOOR) if output_tokens else 0


def _amount(ask: Ask, input_nano: int, answer_tokens: int, terms: Terms) -> int:
    if ask.price is None:
        return 0
    cost = input_nano + ask.price.output_nano_usd(
        answer_tokens,
        input_tokens_max=ask.input_tokens_max,
        service_tier=ask.call.service_tier,
    )
    return cost + markup(cost, terms.wallet.markup_ppm)


def _input_nano(ask: Ask, price: Price) -> int:
    return price.input_bound_nano_usd(
        ask.input_tokens_max,
        service_tier=ask.call.service_tier,
        may_write_cache_1h=ask.may_write_cache_1h,
    )


def _keep_back(
    tx: Tx, ask: Ask, account: _Account, amount: int, terms: Terms
) -> RingsideError | None:
    customer = ask.call.customer
    refusal = _lacking(tx, customer, account, amount, terms)
    if refusal is not None:
        return refusal
    if customer is not None:
        cap = account.cap_nano if amount else None  # what is free passes no cap
        kept = tx.run(RESERVE, amount, customer, account.day[:7], cap, amount, cap)
        if not kept:  # pragma: no cover - the statement guards what was checked above
            raise AssertionError("a cap was about to be passed")
    if account.uses_wallet and not wallet.reserve(tx, amount):  # pragma: no cover - likewise
        raise AssertionError("the wallet was about to be overdrawn")
    return None


def _lacking(
    tx: Tx, customer: str | None, account: _Account, amount: int, terms: Terms
) -> RingsideError | None:
    """The error for an amount that is not there, told to the outbox; None if it is."""
    if (
        customer is not None
        and account.cap_nano is not None
        and account.customer_remaining_nano is not None
        and amount > max(account.customer_remaining_nano, 0)
    ):
        return _budget_exceeded(tx, customer, account, amount)
    if account.wallet_remaining_nano is not None and amount > max(account.wallet_remaining_nano, 0):
        wallet.exhausted(tx, terms.wallet)
        return WalletExhaustedError(
            f"The wallet has {usd_text(account.wallet_remaining_nano)} USD left and the call may "
            f"cost {usd_text(amount)}. Top it up with POST /v1/wallet/top_ups."
        )
    return None


def _budget_exceeded(tx: Tx, customer: str, account: _Account, amount: int) -> RingsideError:
    period, cap = account.day[:7], account.cap_nano or 0
    so_far = spent(tx, customer, period)
    events.emit(
        tx,
        "customer.budget_exceeded",
        _budget_data(customer, period, cap, so_far, None),
        once_key=f"budget_exceeded:{customer}:{period}:{cap}",
    )
    held = (
        f", {usd_text(so_far.reserved_nano)} held by calls at work" if so_far.reserved_nano else ""
    )
    return CustomerBudgetExceededError(
        f"Customer '{customer}' would pass its cap of {usd_text(cap)} USD for {period}: "
        f"{usd_text(so_far.settled_nano)} spent{held}, and the call may cost {usd_text(amount)}. "
        f"Raise it with PATCH /v1/customers/{customer}, or ask for a shorter answer."
    )


def _warn(
    tx: Tx, customer: str, period: str, cap: customers.Cap, so_far: Spent, terms: Terms
) -> None:
    if not cap.monthly_nano:
        return
    for threshold in terms.budgets.warn_at:
        if reaches(so_far.settled_nano, threshold, cap.monthly_nano):
            events.emit(
                tx,
                "customer.budget_warning",
                _budget_data(customer, period, cap.monthly_nano, so_far, threshold),
                once_key=f"budget_warning:{customer}:{period}:{threshold}",
            )


def _budget_data(
    customer: str, period: str, cap_nano: int, so_far: Spent, threshold: float | None
) -> BudgetEventData:
    return BudgetEventData(
        customer=customer,
        period=period,
        monthly_budget_usd=usd(cap_nano),
        spent_usd=usd(so_far.settled_nano),
        reserved_usd=usd(so_far.reserved_nano),
        threshold=threshold,
    )


def _unpriced(call: Call) -> ModelPriceUnknownError:
    return ModelPriceUnknownError(
        f"The price of '{call.model}' is not known beforehand, and the call is under a cap. Give it "
        "one under prices in the configuration, or set budgets.unknown_price: allow.",
        param="model",
    )


def _orphan(row: tuple[str, int, bytes]) -> OrphanHold:
    return OrphanHold(row[0], row[1], _parse_call(row[2]))
