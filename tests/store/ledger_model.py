"""What should happen to money, without a store: whole numbers in dictionaries."""

import datetime
from dataclasses import dataclass, field
from fractions import Fraction

JUMP_MS = 35 * 24 * 3600 * 1000
WORTH_TOKENS = 256


SHORTEST_LIMIT = 16
"""Some dialects raise a smaller output limit to this: the money for it has to be there."""


@dataclass(frozen=True)
class Prices:
    """Nano-USD per million tokens; from one token above `above` on, twice as much."""

    rate_in: int
    rate_out: int
    above: int | None = None

    def factor(self, tokens_in: int) -> int:
        """How many times the rates a request of so many tokens costs."""
        return 2 if self.above is not None and tokens_in > self.above else 1

    def cost(self, tokens_in: int, tokens_out: int) -> int:
        """What a call costs: its sum, rounded up once."""
        total = tokens_in * self.rate_in + tokens_out * self.rate_out
        return rounded_up(self.factor(tokens_in) * total)

    def bound(self, tokens_in: int, tokens_out: int) -> int:
        """What a call of at most so many tokens is held for: each part is rounded up."""
        times = self.factor(tokens_in)
        return rounded_up(times * tokens_in * self.rate_in) + rounded_up(
            times * tokens_out * self.rate_out
        )


def rounded_up(millionths: int) -> int:
    """Whole nano-USD."""
    return -(-millionths // 10**6)


@dataclass(frozen=True)
class Terms:
    """What the configuration says."""

    default_cap: int | None = None
    caps: tuple[tuple[str, int | None], ...] = ()
    warn_at: tuple[float, ...] = (0.5, 0.8)
    may_be_unpriced: bool = False
    has_wallet: bool = False
    markup_ppm: int = 0
    low: int = 0

    def with_markup(self, cost: int) -> int:
        """What is charged for a cost."""
        return cost + rounded_up(cost * self.markup_ppm)


@dataclass(frozen=True)
class Wish:
    """A call that wants to go out."""

    customer: str | None
    prices: Prices | None
    tokens_in: int
    wanted: int
    least: int
    choices: int


@dataclass
class Period:
    """A customer's month."""

    settled: int = 0
    reserved: int = 0
    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    ceiling: int | None = None
    """What it may come to, held calls included: the cap, or what it was when that was lowered."""

    @property
    def total(self) -> int:
        """Spent and held."""
        return self.settled + self.reserved


@dataclass(frozen=True)
class Money:
    """What there is for a call: of the customer's month, and in the wallet; None: no limit."""

    day: str
    month: Period | None
    cap: int | None
    left: int | None
    credit: int | None

    @property
    def limits(self) -> list[int]:
        """What limits the call."""
        return [limit for limit in (self.left, self.credit) if limit is not None]


@dataclass(frozen=True)
class Held:
    """A call that is out."""

    wish: Wish
    terms: Terms
    day: str
    amount: int
    limit: int | None
    uses_wallet: bool


@dataclass
class Ledger:
    """Everything that the ledger should remember."""

    now_ms: int
    own_caps: dict[str, int | None] = field(default_factory=dict)
    customers: set[str] = field(default_factory=set)
    periods: dict[tuple[str, str], Period] = field(default_factory=dict)
    holds: dict[str, Held] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    newest: str = ""
    seen_ms: int = 0
    balance: int = 0
    wallet_reserved: int = 0
    is_low: bool = False
    is_exhausted: bool = False
    usage: list[tuple[str, str, str | None, int]] = field(default_factory=list)
    """Hold, day, customer and cost of every attempt that was booked."""
    moved: list[tuple[str, int, int]] = field(default_factory=list)
    """What moved the wallet: why, by how much, to what."""
    told: list[tuple[str, str]] = field(default_factory=list)
    """Events, and whom they are about."""
    once: set[tuple[object, ...]] = field(default_factory=set)

    # -- time

    @property
    def is_ahead(self) -> bool:
        """Whether the clock has jumped further than can be believed."""
        return 0 < self.seen_ms < self.now_ms - JUMP_MS

    def booking_day(self) -> tuple[str, bool]:
        """The day that a call is booked on, and whether it may be in a new month."""
        moment = datetime.datetime.fromtimestamp(self.now_ms / 1000, datetime.UTC)
        day = moment.date().isoformat()
        if day[:7] < self.newest:
            return f"{self.newest}-01", True
        return day, day[:7] == self.newest or not self.is_ahead

    def see(self, *, is_trusted: bool) -> bool:
        """The clock is looked at."""
        if self.is_ahead and not is_trusted:
            return False
        self.seen_ms = max(self.seen_ms, self.now_ms)
        return True

    # -- customers

    def tell(self, event: str, whom: str, *once: object) -> None:
        """An event; with `once` only the first of its kind."""
        if once and (event, whom, *once) in self.once:
            return
        self.once.add((event, whom, *once))
        self.told.append((event, whom))

    def introduce(self, customer: str) -> None:
        """The customer is known from now on."""
        if customer not in self.customers:
            self.customers.add(customer)
            self.tell("customer.created", customer)

    def cap(self, customer: str, terms: Terms) -> int | None:
        """What the customer may spend."""
        if customer in self.own_caps:
            return self.own_caps[customer]
        return dict(terms.caps).get(customer, terms.default_cap)

    def forget(self, customer: str) -> None:
        """The customer is deleted: what the API set is gone, what was spent is not."""
        self.customers.discard(customer)
        self.own_caps.pop(customer, None)

    def period(self, customer: str, month: str) -> Period:
        """The customer's month."""
        return self.periods.setdefault((customer, month), Period())

    # -- calls

    def reserve(self, hold_id: str, wish: Wish, terms: Terms) -> Held | str:
        """The call goes out; or the name of the error that forbids it."""
        money = self._money(wish, terms)
        if isinstance(money, str):
            return money
        limits = money.limits
        limit = affordable(wish, max(min(limits), 0), terms) if limits else wish.wanted
        amount = 0 if wish.prices is None else charge_bound(wish, limit, terms)
        lack = self._lack(wish, money, amount)
        if lack is not None:
            return lack
        day, month, cap = money.day, money.month, money.cap
        held = Held(wish, terms, day, amount, limit if limits else None, terms.has_wallet)
        self.holds[hold_id] = held
        if month is not None:
            month.reserved += amount
            month.ceiling = None if cap is None else max(cap, month.total)
            assert cap is None or not amount or month.total <= cap
        if terms.has_wallet:
            self.wallet_reserved += amount
            assert not amount or self.wallet_reserved <= self.balance
        return held

    def standing(self, wish: Wish, terms: Terms) -> tuple[str | None, int | None]:
        """The error that would forbid the least of such calls, and what the customer has left."""
        money = self._money(wish, terms)
        if isinstance(money, str):
            return money, self._left_if_unpriced(wish, terms, money)
        amount = 0
        if money.limits and wish.prices is not None:
            amount = terms.with_markup(wish.prices.bound(0, wish.least))
        return self._lack(wish, money, amount), money.left

    def _left_if_unpriced(self, wish: Wish, terms: Terms, error: str) -> int | None:
        """A model without a price is no reason not to say what is left; a wrong clock is."""
        if error != "ModelPriceUnknownError" or wish.customer is None:
            return None
        cap = self.cap(wish.customer, terms)
        total = self.period(wish.customer, self.booking_day()[0][:7]).total
        return None if cap is None else cap - total

    def _money(self, wish: Wish, terms: Terms) -> "Money | str":
        """What there is for the call; or the name of the error whatever it costs."""
        if wish.customer is not None:
            self.introduce(wish.customer)
        cap = None if wish.customer is None else self.cap(wish.customer, terms)
        credit = self.balance - self.wallet_reserved if terms.has_wallet else None
        day, is_believed = self.booking_day()
        if is_believed and day[:7] > self.newest:
            self.newest, self.seen_ms = day[:7], max(self.seen_ms, self.now_ms)
        if not is_believed and (cap is not None or credit is not None):
            return "ClockJumpError"
        month = None if wish.customer is None else self.period(wish.customer, day[:7])
        left = None if cap is None or month is None else cap - month.total
        money = Money(day, month, cap, left, credit)
        if money.limits and wish.prices is None and not terms.may_be_unpriced:
            return "ModelPriceUnknownError"
        return money

    def _lack(self, wish: Wish, money: "Money", amount: int) -> str | None:
        """The name of the error if there is less than `amount`, once told."""
        if wish.customer and money.left is not None and amount > max(money.left, 0):
            self.tell("customer.budget_exceeded", wish.customer, money.day[:7], money.cap)
            return "CustomerBudgetExceededError"
        if money.credit is not None and amount > max(money.credit, 0):
            if not self.is_exhausted:
                self.tell("wallet.exhausted", "wallet")
            self.is_exhausted = True
            return "WalletExhaustedError"
        return None

    def release(self, hold_id: str) -> Held | None:
        """The call is over: what was held is free again. None if it was over before."""
        held = self.holds.pop(hold_id, None)
        if held is None:
            return None
        self.ended.add(hold_id)
        if held.wish.customer is not None:
            self.period(held.wish.customer, held.day[:7]).reserved -= held.amount
        if held.uses_wallet:
            self.wallet_reserved -= held.amount
        return held

    def settle(self, hold_id: str, tokens_in: int, tokens_out: int, cost: int) -> bool:
        """The call is over and is booked."""
        held = self.release(hold_id)
        if held is None:
            return False
        self.usage.append((hold_id, held.day, held.wish.customer, cost))
        if held.wish.customer is not None:
            self._book(held, tokens_in, tokens_out, cost)
        if held.uses_wallet and cost:
            self._move("charge", -cost)
            is_crossed = self.balance < held.terms.low <= self.balance + cost
            if is_crossed or (self.balance < held.terms.low and not self.is_low):
                self.is_low = True
                self.tell("wallet.low", "wallet")
        return True

    def _book(self, held: Held, tokens_in: int, tokens_out: int, cost: int) -> None:
        customer, month = held.wish.customer or "", held.day[:7]
        period = self.period(customer, month)
        period.settled += cost
        period.requests += 1
        period.tokens_in += tokens_in
        period.tokens_out += tokens_out
        cap = self.cap(customer, held.terms) if customer in self.customers else None
        for threshold in held.terms.warn_at if cap else ():
            if period.settled >= (cap or 0) * Fraction(repr(threshold)):
                self.tell("customer.budget_warning", customer, month, threshold)

    # -- wallet

    def top_up(self, nano: int, terms: Terms) -> None:
        """Money is put in."""
        self._move("top_up", nano)
        self.is_low = self.is_low and self.balance < terms.low
        self.is_exhausted = False

    def _move(self, why: str, nano: int) -> None:
        self.balance += nano
        self.moved.append((why, nano, self.balance))


def charge_bound(wish: Wish, limit: int, terms: Terms) -> int:
    """What is held for a call of which each answer may have so many tokens."""
    assert wish.prices is not None
    longest = max(limit, SHORTEST_LIMIT) if limit else 0
    return terms.with_markup(wish.prices.bound(wish.tokens_in, longest * wish.choices))


def affordable(wish: Wish, left: int, terms: Terms) -> int:
    """The longest answer that the money is enough for; the least that makes sense if none is."""
    if wish.prices is None:
        return wish.wanted
    low, high = 0, wish.wanted
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (
            (middle, high) if charge_bound(wish, middle, terms) <= left else (low, middle - 1)
        )
    return max(low, wish.least)
