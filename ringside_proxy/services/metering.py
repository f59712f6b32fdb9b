"""What calls to providers may cost and did cost: a hold before each attempt, a booking after it.

A `Meter` goes with one call: a chat completion, a request for embeddings, or a stretch of a run.
Before anything is sent it keeps back the worst case, in one durable write; under a cap it says how
long the answer may be. Every attempt that consumed something is booked on its own: repairs, and
answers that broke off and were asked for again. How the last one ended is left in `closing`, for
the transaction that the call itself ends with; `settle` is that transaction where there is no other.

Nobody has to remember to end a hold: what is neither told to have ended nor to have been refused
counts as consumed, estimated.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

import msgspec

from ringside_proxy.domain.errors import (
    BillingError,
    ProviderError,
    RingsideError,
    UnavailableError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.ledger import (
    WORTH_ASKING_TOKENS,
    Call,
    bytes_as_tokens,
    input_tokens_bound,
)
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.providers.types import CompletionRequest, HTTPRequest
from ringside_proxy.services.attempt_costs import at_most, consumed_at, lost
from ringside_proxy.services.model_routing import Route
from ringside_proxy.services.paid_requests import TIER, as_paid, given_limit, tiers_possible
from ringside_proxy.services.rate_limits import Reservation
from ringside_proxy.services.shield import Shield
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.services.unpriced_tiers import UnpricedTiers
from ringside_proxy.services.until_stored import until_stored
from ringside_proxy.store import idempotency, items, ledger, ledger_clock
from ringside_proxy.store.customers import configured_cap
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Ask, Closing, Hold, Terms
from ringside_proxy.store.tx import Tx
from ringside_proxy.store.usage import Consumed
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

ORPHANS_AT_ONCE: Final = 500
STALE_MS: Final = 15 * 60 * 1000
"""A hold this old was forgotten, unless its call is still at work: a stream has no time limit."""


class Ledger:
    """Makes meters, and ends the holds of processes that are gone."""

    def __init__(
        self,
        db: Database,
        new_id: NewId,
        clock: Clock,
        metrics: Metrics,
        shield: Shield,
        boot: str,
    ) -> None:
        self.db = db
        self.new_id = new_id
        self.clock = clock
        self.metrics = metrics
        self.shield = shield
        self.boot = boot
        self.unpriced_tiers = UnpricedTiers()
        self.clock_jumped = False
        """The clock is far ahead of everything stored: no budget is opened by it."""
        self._at_work: WeakSet[Meter] = WeakSet()
        """Who will end a hold, as long as somebody will: a wall clock cannot tell, it may be set."""

    def meter(
        self,
        snapshot: Snapshot,
        route: Route,
        call: Call,
        *,
        once: bytes | None = None,
        reservation: Reservation | None = None,
    ) -> "Meter":
        """A meter for a call on `route`, under the configuration that it began with.

        `once`: see `Caller`; that the call went out is noted with its hold. `reservation` is told
        what each attempt consumed.
        """
        meter = Meter(self, snapshot, route, call, once, reservation)
        self._at_work.add(meter)
        return meter

    async def recover(self, snapshot: Snapshot, *, trusts_clock: bool = False) -> None:
        """Book what calls of dead processes may have consumed. Runs before anything is served."""
        await self._see_clock(is_trusted=trusts_clock)
        ended = 0
        while orphans := await self.db.read(ledger.orphans, self.boot, ORPHANS_AT_ONCE):
            ended += await self._end(snapshot, orphans)
        if ended:
            logger.warning("calls of the last process were booked", extra=fields(count=ended))

    async def sweep(self, snapshot: Snapshot) -> None:
        """Note the time, show what is held, and end what was forgotten: which is a bug."""
        await self._see_clock()
        count, since_ms = self.db.get(ledger.live)
        now_ms = self.clock.now_ms()
        self.metrics.holds_live.set(count)
        self.metrics.holds_oldest_seconds.set(
            0 if since_ms is None else max(0, now_ms - since_ms) / 1000
        )
        if since_ms is None or now_ms - since_ms < STALE_MS:
            return
        at_work = {meter.hold_id for meter in self._at_work}
        limit = ORPHANS_AT_ONCE + len(at_work)
        stale = await self.db.read(ledger.stale, now_ms - STALE_MS, limit)
        forgotten = [hold for hold in stale if hold.id not in at_work]
        if forgotten:
            logger.error("holds were forgotten", extra=fields(count=len(forgotten)))
            await self._end(snapshot, forgotten)

    async def _see_clock(self, *, is_trusted: bool = False) -> None:
        is_believed = await self.db.write(ledger_clock.see, is_trusted=is_trusted)
        if not is_believed and not self.clock_jumped:
            logger.error("the clock is far ahead of everything stored: no budget is opened by it")
        self.clock_jumped = not is_believed

    async def _end(self, snapshot: Snapshot, orphans: list[ledger.OrphanHold]) -> int:
        terms = terms_of(snapshot)

        def close(tx: Tx, orphan: ledger.OrphanHold) -> bool:
            run_id = orphan.call.run_id
            saved = 0 if run_id is None else items.open_bytes(tx, run_id)
            return ledger.close(tx, lost(orphan, saved, snapshot, terms), terms)

        def apply(tx: Tx) -> int:
            return sum(close(tx, orphan) for orphan in orphans)

        return await self.db.write(apply)


Opening = tuple[Callable[[Tx], Any], Callable[[Any], None]]
NOTHING: Final[Opening] = (lambda tx: None, lambda opened: None)


class Meter:
    """One call's money. Attempts follow each other: there is at most one hold at a time."""

    def __init__(
        self,
        books: Ledger,
        snapshot: Snapshot,
        route: Route,
        call: Call,
        once: bytes | None,
        reservation: Reservation | None,
    ) -> None:
        self._books = books
        self._reservation = reservation
        self._prices = snapshot.prices
        self._price = self._prices.find(route.ref, books.clock.now_ms())
        self._route = route
        self._call = call
        self._attempt = call.attempt
        self._once = once
        self._was_sent = False
        self._ask: Ask | None = None
        self._hold: Hold | None = None
        self._closing: Closing | None = None
        self._opening: Opening = NOTHING
        self.terms = terms_of(snapshot)
        self.used = NO_USAGE
        """What all attempts that have ended consumed."""
        self.cost_nano: int | None = 0
        """What they cost; None once a price was unknown."""
        self.remaining_nano: int | None = None
        """What the customer has left beside what is held for this call; None if it has no cap."""

    @property
    def hold_id(self) -> str | None:
        """The hold that was asked for last; it may have ended."""
        return None if self._ask is None else self._ask.hold_id

    def open_with(self, apply: Callable[[Tx], Any], on_stored: Callable[[Any], None]) -> None:
        """Have `apply` done in the transaction of the first hold, and `on_stored` told its result.

        What `apply` raises forbids the hold. If the hold is refused, what it did stands.
        """
        self._opening = apply, on_stored

    def move_to(self, route: Route, error: RingsideError) -> None:
        """What comes next is asked of another model, at its price, because the one before failed."""
        if self._hold is not None:
            self.note(self.estimate())
        failed, ref = self._route.ref, route.ref
        self._books.metrics.fell_back(failed.provider, error.code or type(error).__name__)
        logger.warning(
            "a slot's next model is asked",
            extra=fields(provider=failed.provider, model=failed.model, code=error.code),
        )
        self._route, self._price = route, self._prices.find(ref, self._books.clock.now_ms())
        self._call = msgspec.structs.replace(self._call, model=str(ref), provider=ref.provider)

    async def admitted(
        self, route: Route, request: CompletionRequest
    ) -> tuple[CompletionRequest, HTTPRequest]:
        """The request with the output limit that was paid for, and as it goes upstream.

        Keeps back what it may cost, and books what the attempt before it consumed. Raises
        BillingError, ModelPriceUnknownError, ClockJumpError, and InvalidRequestError for what the
        model cannot be asked.
        """
        wanted, provider = given_limit(request), route.ref.provider
        tokens_max = self._output_tokens_max(wanted)
        # Most who are under a cap can pay for the longest answer: built so, it need not be again.
        is_likely = self._is_likely_capped()
        likely = tokens_max if is_likely else wanted
        paid = as_paid(request, likely, provider, is_capped=is_likely)
        built = route.provider.build_request(paid, route.credentials)
        hold = await self._admit(request, built, tokens_max)
        is_capped = hold.output_tokens_max is not None
        limit = hold.output_tokens_max if is_capped else wanted
        if (limit, is_capped) != (likely, is_likely):
            paid = as_paid(request, limit, provider, is_capped=is_capped)
            built = route.provider.build_request(paid, route.credentials)
        return paid, built

    async def _admit(self, request: CompletionRequest, built: HTTPRequest, tokens_max: int) -> Hold:
        params, provider, body = request.params, self._route.ref.provider, built.body
        is_named = TIER in params and TIER not in built.dropped_params
        return await self._reserve(
            input_tokens_bound(
                body,
                request.messages,
                params.get("tools"),
                provider,
                self._context_window(),
                is_elsewhere="cached_content" in params,
            ),
            tokens_max,
            len(body),
            choices=int(params.get("n") or 1),
            service_tier=params[TIER] if is_named else None,
            may_write_cache_1h=b'"1h"' in body,
        )

    async def admit_embeddings(self, body: bytes) -> None:
        """Keep back what a request for embeddings may cost; raises as `admit` does."""
        await self._reserve(
            input_tokens_bound(body, (), None, self._route.ref.provider, None), 0, len(body)
        )

    async def again(self, error: ProviderError) -> None:
        """An attempt failed and the same request is about to be sent again: see that it is paid for.

        Raises `error` itself if what the failed one may have consumed left too little.
        """
        self.saw(error)
        hold, ask = self._hold, self._ask
        if hold is None or ask is None or not error.may_be_billed:
            return
        self.note(self.estimate())
        # What goes upstream is made already: the answer may become as long as it says.
        limit = hold.output_tokens_max or ask.output_tokens_max
        same = msgspec.structs.replace(
            ask,
            hold_id=self._books.new_id("hold"),
            call=self._next_call(),
            output_tokens_max=limit,
            output_tokens_min=limit,
        )
        try:
            await self._hold_for(same)
        except BillingError:
            raise error from None

    def note(
        self,
        usage: TokenUsage,
        raw: dict[str, Any] | None = None,
        service_tier: str | None = None,
    ) -> TokenUsage:
        """The attempt that is out has ended, having consumed this; nothing if it was refused.

        Gives what is booked: an estimate is no more than was held for.
        """
        hold, self._hold = self._hold, None
        if hold is None:
            return usage
        usage, consumed = at_most(usage, hold.call), None
        if usage != NO_USAGE:
            self._was_sent = True
            tier = service_tier or self._call.service_tier
            consumed = consumed_at(self._price, self._call.provider, usage, raw, tier, self.terms)
            self._count(hold, consumed)
            self._books.unpriced_tiers.note(self._route.ref, self._price, tier)
        self._closing = Closing(hold_id=hold.id, consumed=consumed)
        if self.remaining_nano is not None:
            self.remaining_nano += hold.amount_nano - (consumed.cost_nano if consumed else 0)
        return usage

    def saw(self, error: ProviderError) -> None:
        """An attempt failed. Unless nothing of it went out, the call has gone to a provider."""
        self._was_sent = self._was_sent or error.was_sent

    def failed(self, error: ProviderError) -> None:
        """The attempt that is out failed before it said anything."""
        self.saw(error)
        self.note(self.estimate() if error.may_be_billed else NO_USAGE)

    def estimate(self, output_tokens: int = 0) -> TokenUsage:
        """About what the attempt consumed, for a provider that does not say."""
        return TokenUsage(
            input_tokens=bytes_as_tokens(self._call.body_bytes),
            output_tokens=output_tokens,
            is_estimated=True,
        )

    def closing(self) -> Closing | None:
        """How the last attempt ended, for the transaction that ends the call; None if none is open.

        An attempt of which nobody said how it ended may have been at work: it is estimated.
        """
        if self._hold is not None:
            self.note(self.estimate())
        closing, self._closing = self._closing, None
        return closing

    async def settle(self) -> None:
        """Book the last attempt. Goes on to its end even if the caller is cancelled."""
        closing = self.closing()
        if closing is None:
            return
        recalled = None if self._was_sent else self._once
        try:
            await self._books.db.submit(_close, closing, self.terms, recalled)
        except UnavailableError:
            await self._books.shield.finish(self._written(closing))
        except asyncio.CancelledError:
            # It is begun, and may fail where nobody hears of it: said twice, it is done once.
            self._books.shield.begin(self._written(closing))
            raise

    def end(self) -> None:
        """No further attempt is made: what the call still holds of rate limits is free again."""
        if self._reservation is not None:
            self._reservation.close()

    async def _written(self, closing: Closing) -> None:
        await until_stored(self._books.db, ledger.close, closing, self.terms)

    async def _reserve(
        self,
        input_tokens_max: int,
        output_tokens_max: int,
        body_bytes: int,
        service_tier: str | None = None,
        **more: Any,
    ) -> Hold:
        price = self._price and self._price.beforehand
        if price is not None and price.service_tiers:
            provider = self._call.provider
            price = price.bounding(tiers_possible(provider, service_tier, price.service_tiers))
        return await self._hold_for(
            Ask(
                hold_id=self._books.new_id("hold"),
                boot=self._books.boot,
                call=self._next_call(body_bytes=body_bytes, service_tier=service_tier),
                price=price,
                input_tokens_max=input_tokens_max,
                output_tokens_max=output_tokens_max,
                output_tokens_min=min(WORTH_ASKING_TOKENS, output_tokens_max),
                **more,
            )
        )

    async def _hold_for(self, ask: Ask) -> Hold:
        self._ask = ask
        before = self.closing()
        (apply, on_stored), self._opening = self._opening, NOTHING
        reserved = self._books.db.submit(_reserve, ask, self.terms, before, self._once, apply)
        try:
            held, opened = await reserved
        except asyncio.CancelledError:
            # It may yet be stored, and nothing was sent: what follows it ends it.
            self._books.shield.begin(self._written(Closing(hold_id=ask.hold_id, consumed=None)))
            raise
        on_stored(opened)
        if isinstance(held, RingsideError):
            if isinstance(held, BillingError):
                self._books.metrics.budget_rejections_total.inc()
            raise held
        self._hold, self.remaining_nano = held, held.remaining_nano
        self._attempt += 1
        return held

    def _next_call(self, **facts: Any) -> Call:
        self._call = msgspec.structs.replace(self._call, attempt=self._attempt, **facts)
        return self._call

    def _is_likely_capped(self) -> bool:
        """Whether its answer will have to be limited; the store knows for sure."""
        customer, terms = self._call.customer, self.terms
        if terms.wallet.enabled:
            return True
        if customer is None:
            return False
        return configured_cap(customer, terms.budgets).monthly_nano is not None

    def _output_tokens_max(self, wanted: int | None) -> int:
        """How long one answer may become, by the caller, the configuration and the model."""
        tokens_max = wanted or self.terms.budgets.max_output_tokens
        model_max = self._model_output_max()
        return tokens_max if model_max is None else min(tokens_max, model_max)

    def _count(self, hold: Hold, consumed: Consumed) -> None:
        provider, model = self._route.ref.provider, self._route.ref.model
        metrics = self._books.metrics
        metrics.tokens_used(provider, model, consumed.usage)
        self.used = self.used + consumed.usage
        if self._reservation is not None:
            self._reservation.consumed(consumed.usage.input_tokens + consumed.usage.output_tokens)
        if consumed.provider_cost_nano is None:
            self.cost_nano = None
            return
        metrics.cost_booked(provider, model, consumed.cost_nano)
        if self.cost_nano is not None:
            self.cost_nano += consumed.cost_nano
        if hold.output_tokens_max is not None and consumed.cost_nano > hold.amount_nano:
            metrics.budget_overrun_total.inc()
            logger.error(
                "a call cost more than was held for it",
                extra=fields(
                    provider=provider,
                    model=model,
                    run_id=self._call.run_id or "none",
                    request_id=self._call.request_id or "none",
                ),
            )

    def _context_window(self) -> int | None:
        facts = self._route.facts
        return None if facts is None else facts.context_window

    def _model_output_max(self) -> int | None:
        facts = self._route.facts
        return None if facts is None else facts.max_output_tokens


def terms_of(snapshot: Snapshot) -> Terms:
    """What a configuration says of money."""
    settings = snapshot.settings
    return Terms(budgets=settings.budgets, wallet=settings.wallet)


def _reserve(
    tx: Tx,
    ask: Ask,
    terms: Terms,
    before: Closing | None,
    once: bytes | None,
    apply: Callable[[Tx], Any],
) -> tuple[Hold | RingsideError, Any]:
    opened = apply(tx)
    held = ledger.reserve(tx, ask, terms, before)
    if once is not None and isinstance(held, Hold):
        idempotency.dispatched(tx, once)
    return held, opened


def _close(tx: Tx, closing: Closing, terms: Terms, recalled: bytes | None) -> None:
    ledger.close(tx, closing, terms)
    if recalled is not None:
        idempotency.recalled(tx, recalled)
