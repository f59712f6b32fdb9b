"""How much callers may ask for: requests and tokens per minute, and runs at once.

Limits are those of a developer token, a client token and a customer; all that apply have to have
room. A request is taken as it comes. The tokens of a model call are held at an estimate when it is
admitted, and what it consumed is taken as that becomes known. What one limit refuses is given back
to the others: a customer past its limit does not use up the token that it shares.

Requests and tokens are counted in memory (`token_buckets`): a restart makes every bucket full.
Runs at once are not counted here but in the store, by their status, in the transaction that adds
one: so nothing is forgotten by a restart, and a run that has ended, however that was, is no more.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.durations import written
from ringside_proxy.domain.errors import CallTooLargeError, RateLimitExceededError
from ringside_proxy.domain.tokens import BYTES_PER_TOKEN
from ringside_proxy.services.context import IMAGE_TOKENS
from ringside_proxy.services.token_buckets import Buckets, Standing
from ringside_proxy.settings.money import RateLimitSettings, RateSettings
from ringside_proxy.store import runs
from ringside_proxy.store.tx import Tx

Kind = Literal["developer", "client_token", "customer"]
Resource = Literal["requests", "tokens"]

KINDS: Final[tuple[Kind, ...]] = ("developer", "client_token", "customer")
RESOURCES: Final[dict[Resource, str]] = {
    "requests": "requests per min (RPM)",
    "tokens": "tokens per min (TPM)",
}
"""What is counted in buckets, in OpenAI's words."""

OUTPUT_TOKENS_GUESS: Final = 1024
"""Held for an answer that the caller set no limit to; a tenth of the limit at most."""

CUSTOMERS_KEPT_MAX: Final = 10_000
"""Customers whose own limits are at hand, so that a request need not read them."""

INLINE_IMAGE: Final = re.compile(rb'"data:image[^"]*+"')


class Subject(NamedTuple):
    """Whom limits hold for: a token or a customer. `name` is what a refusal calls it."""

    kind: Kind
    id: str
    name: str
    limits: RateSettings

    def limit(self, resource: Resource) -> int | None:
        """How much it may have a minute; None: as much as it likes."""
        if resource == "requests":
            return self.limits.requests_per_minute
        return self.limits.tokens_per_minute


class RateLimits:
    """Every bucket. `own_rates` gives what the API has set for a customer, by the limits' names."""

    def __init__(
        self, own_rates: Callable[[str], dict[str, int]], monotonic_s: Callable[[], float]
    ) -> None:
        self._own_rates = own_rates
        self._kept: dict[str, dict[str, int]] = {}
        self._monotonic_s = monotonic_s
        self.buckets = {(kind, resource): Buckets() for kind in KINDS for resource in RESOURCES}

    def admission(self, caller: Caller, settings: RateLimitSettings) -> "Admission":
        """A request of `caller`, under the limits as they are now. Nothing is counted yet."""
        admission = Admission(self, settings)
        kind: Kind = "developer" if caller.role == "developer" else "client_token"
        admission.add(Subject(kind, caller.token_id, caller.name, getattr(settings, kind)))
        if caller.customer is not None:
            admission.add(self.customer(caller.customer, settings))
        return admission

    def customer(self, customer_id: str, settings: RateLimitSettings) -> Subject:
        """A customer and its limits: what the API set for it wins over the configuration."""
        own = self._kept.get(customer_id)
        if own is None:
            if len(self._kept) >= CUSTOMERS_KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            own = self._kept[customer_id] = self._own_rates(customer_id)
        limits = msgspec.structs.replace(settings.customer, **own) if own else settings.customer
        return Subject("customer", customer_id, customer_id, limits)

    def forget(self, customer_id: str) -> None:
        """The API has changed the customer: what it set is read anew."""
        self._kept.pop(customer_id, None)

    def now_ms(self) -> int:
        """The time of the buckets."""
        return int(self._monotonic_s() * 1000)


class Admission:
    """One request, and what it has taken of the limits that it is under."""

    def __init__(self, rate_limits: RateLimits, settings: RateLimitSettings) -> None:
        self._rate_limits = rate_limits
        self._settings = settings
        self._subjects: list[Subject] = []
        self.is_limited = False
        """Whether anything but the number of its runs at once is limited."""
        self._taken: list[tuple[Subject, int]] = []
        self._is_counted = False
        self._is_handed_on = False
        self.reservation = Reservation(rate_limits)

    def add(self, subject: Subject) -> None:
        """Put the request under another subject's limits."""
        self._subjects.append(subject)
        limits = subject.limits
        self.is_limited = self.is_limited or bool(
            limits.requests_per_minute or limits.tokens_per_minute
        )

    def count(self) -> None:
        """Take a request of every limit. Raises RateLimitExceededError."""
        self._is_counted = True
        try:
            for subject in self._subjects:
                self._take_request(subject)
        except RateLimitExceededError:
            self.refund()
            raise

    def attribute(self, customer_id: str | None) -> None:
        """The request is made in a customer's name. Raises RateLimitExceededError."""
        if customer_id is None or any(each.kind == "customer" for each in self._subjects):
            return
        subject = self._rate_limits.customer(customer_id, self._settings)
        self.add(subject)
        if self._is_counted:
            self._take_request(subject)

    def reserve(self, body: bytes, output_tokens: int | None) -> None:
        """Hold the tokens of a model call that came with `body`.

        `output_tokens` is as long as the caller lets the answer become, None if it did not say.
        Raises RateLimitExceededError, CallTooLargeError for what no full bucket could hold.
        """
        if not self.is_limited:
            return
        limited = list(self._limited("tokens"))
        prompt_tokens = _prompt_tokens(body) if limited else 0
        for subject, limit in limited:
            guess = min(OUTPUT_TOKENS_GUESS, limit // 10, max(0, limit - prompt_tokens))
            amount = prompt_tokens + (guess if output_tokens is None else output_tokens)
            if amount > limit:
                raise _too_large(subject, limit, amount)
            self._require(subject, "tokens", amount, limit)
            self.reservation.hold(subject, amount)

    def handed_on(self) -> "Reservation":
        """The reservation, for a call that goes on after the request: that has to close it."""
        self._is_handed_on = True
        return self.reservation

    def close(self) -> None:
        """The request was answered."""
        if not self._is_handed_on:
            self.reservation.close()

    def refund(self) -> None:
        """The request was refused by a limit: it counts for none."""
        now_ms = self._rate_limits.now_ms()
        for subject, taken_ms in self._taken:
            limit = subject.limit("requests")
            if limit is not None:
                self._buckets(subject, "requests").give_back(subject.id, 1, limit, taken_ms, now_ms)
        self._taken.clear()

    def standing(self, resource: Resource) -> Standing | None:
        """The limit of which least is left; None if there is no limit."""
        now_ms = self._rate_limits.now_ms()
        standings = [
            self._buckets(subject, resource).standing(subject.id, limit, now_ms)
            for subject, limit in self._limited(resource)
        ]
        return min(standings, key=lambda each: (each.remaining, -each.reset_ms), default=None)

    def require_free_run(self, tx: Tx) -> None:
        """Hold the run that the transaction has just added to the limits of runs at once.

        Raises RateLimitExceededError.
        """
        for subject in self._subjects:
            limit = subject.limits.concurrent_runs
            if limit is None:
                continue
            if subject.kind == "customer":
                active = runs.count_active_of_customer(tx, subject.id)
            else:
                active = runs.count_active_of_token(tx, subject.id)
            if active > limit:
                raise _too_many_runs(subject, limit, active - 1)

    def _take_request(self, subject: Subject) -> None:
        limit = subject.limit("requests")
        if limit is None:
            return
        self._require(subject, "requests", 1, limit)
        now_ms = self._rate_limits.now_ms()
        self._buckets(subject, "requests").take(subject.id, 1, limit, now_ms)
        self._taken.append((subject, now_ms))

    def _require(self, subject: Subject, resource: Resource, amount: int, limit: int) -> None:
        buckets, now_ms = self._buckets(subject, resource), self._rate_limits.now_ms()
        wait_ms = buckets.wait_ms(subject.id, amount, limit, now_ms)
        if wait_ms:
            used = limit - buckets.remaining(subject.id, limit, now_ms)
            raise _exceeded(subject, resource, limit, used, amount, wait_ms)

    def _limited(self, resource: Resource) -> Iterator[tuple[Subject, int]]:
        for subject in self._subjects:
            limit = subject.limit(resource)
            if limit is not None:
                yield subject, limit

    def _buckets(self, subject: Subject, resource: Resource) -> Buckets:
        return self._rate_limits.buckets[subject.kind, resource]


class Reservation:
    """Tokens held for a model call, in the buckets of everyone whose limits it is under."""

    def __init__(self, rate_limits: RateLimits) -> None:
        self._rate_limits = rate_limits
        self._held: list[tuple[Subject, int]] = []

    def hold(self, subject: Subject, amount: int) -> None:
        """Keep so many tokens of the subject's limit from others."""
        self._buckets(subject).hold(subject.id, amount)
        self._held.append((subject, amount))

    def consumed(self, tokens: int) -> None:
        """An attempt at the call consumed so many: they are taken, and no longer held.

        May come more than once, and after `close`: what was really consumed always counts.
        """
        now_ms = self._rate_limits.now_ms()
        for index, (subject, held) in enumerate(self._held):
            limit = subject.limits.tokens_per_minute
            if limit is None:
                continue
            freed = min(held, tokens)
            if freed:
                self._buckets(subject).release(subject.id, freed)
                self._held[index] = (subject, held - freed)
            self._buckets(subject).take(subject.id, tokens, limit, now_ms)

    def close(self) -> None:
        """The call has ended: what it did not consume is free again. May come more than once."""
        for index, (subject, held) in enumerate(self._held):
            if held:
                self._buckets(subject).release(subject.id, held)
                self._held[index] = (subject, 0)

    def _buckets(self, subject: Subject) -> Buckets:
        return self._rate_limits.buckets[subject.kind, "tokens"]


def _prompt_tokens(body: bytes) -> int:
    """About how many tokens a body asks a model to read; images count by themselves."""
    images = [len(image[0]) for image in INLINE_IMAGE.finditer(body)]
    text_bytes = len(body) - sum(images)
    return -(-text_bytes // BYTES_PER_TOKEN) + len(images) * IMAGE_TOKENS


def _exceeded(
    subject: Subject, resource: Resource, limit: int, used: int, amount: int, wait_ms: int
) -> RateLimitExceededError:
    return RateLimitExceededError(
        f"Rate limit reached for {_named(subject)} on {RESOURCES[resource]}: Limit {limit}, "
        f"Used {used}, Requested {amount}. Please try again in {written(wait_ms)}. "
        + _remedy(subject, f"{resource}_per_minute"),
        retry_after_s=wait_ms / 1000,
    )


def _too_large(subject: Subject, limit: int, amount: int) -> CallTooLargeError:
    return CallTooLargeError(
        f"Request too large for {_named(subject)} on {RESOURCES['tokens']}: Limit {limit}, "
        f"Requested {amount}. The input or output tokens must be reduced in order to run "
        "successfully. " + _remedy(subject, "tokens_per_minute")
    )


def _too_many_runs(subject: Subject, limit: int, used: int) -> RateLimitExceededError:
    return RateLimitExceededError(
        f"Rate limit reached for {_named(subject)} on concurrent runs: Limit {limit}, Used {used}, "
        "Requested 1. Please try again when one of its runs has ended. "
        + _remedy(subject, "concurrent_runs")
    )


def _named(subject: Subject) -> str:
    noun = "customer" if subject.kind == "customer" else "token"
    return f"{noun} '{subject.name}'"


def _remedy(subject: Subject, key: str) -> str:
    remedy = f"To raise the limit, set rate_limits.{subject.kind}.{key} in the configuration"
    if subject.kind == "customer" and key != "concurrent_runs":
        return f"{remedy}, or this customer's own with PATCH /v1/customers/{subject.id}."
    return f"{remedy}."
