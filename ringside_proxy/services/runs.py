"""Runs: create, cancel, submit tool outputs, expire, recover."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import BillingError, RingsideError, ShuttingDownError
from ringside_proxy.domain.events import StreamEvent
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.items import Item
from ringside_proxy.domain.ledger import WORTH_ASKING_TOKENS
from ringside_proxy.domain.runs import LastError, Run, RunEvent, RunSettings
from ringside_proxy.services import run_transactions
from ringside_proxy.services import threads as thread_service
from ringside_proxy.services.calls import call_of
from ringside_proxy.services.cutoff import SHUTTING_DOWN_RETRY_AFTER_S
from ringside_proxy.services.live_runs import (
    SOMETHING_WENT_WRONG,
    LiveRun,
    LiveRuns,
    StopReason,
)
from ringside_proxy.services.metering import terms_of
from ringside_proxy.services.model_routing import Route
from ringside_proxy.services.rate_limits import Admission, Reservation
from ringside_proxy.services.run_events import created_events, resumed_events
from ringside_proxy.services.run_request import SHORT_ITEMS_MAX
from ringside_proxy.services.run_transactions import Ending, NewRun, WhenBusy, finish
from ringside_proxy.services.shield import Shield
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.services.threads import NewMessage, NewThread
from ringside_proxy.store import assistants, idempotency, ledger, runs, threads
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Standing
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

BEGIN_S_MAX: Final = 2.0
"""How long what has begun may take to be stored, on the way down."""
SWEPT_EVERY_S: Final = 5.0
"""How often it is looked for what has expired, at least."""


class RunParams(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the caller gave it.

    `overrides` holds, by the names of `RunSettings`, what replaces the assistant's values or has
    no default there.
    """

    assistant_id: str
    overrides: dict[str, Any] = {}
    additional_instructions: str | None = None
    messages: list[NewMessage] = []
    metadata: dict[str, str] = {}
    customer: str | None = None
    expires_after_s: int | None = None
    when_busy: WhenBusy | None = None


class BegunRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was created or resumed: the answer to give, or how its stream begins.

    `remaining_nano` is what its customer had left when it was created; None if it has no cap.
    """

    run: Run
    first_events: list[StreamEvent]
    live: LiveRun
    remaining_nano: int | None = None


class Runs:
    """What may be done to runs."""

    def __init__(
        self,
        db: Database,
        live_runs: LiveRuns,
        new_id: NewId,
        clock: Clock,
        shield: Shield,
        wake_sweeper: Callable[[], None],
        on_unpaid: Callable[[], None],
    ) -> None:
        self._wake_sweeper = wake_sweeper
        self._on_unpaid = on_unpaid
        self._db = db
        self._live_runs = live_runs
        self._new_id = new_id
        self._clock = clock
        self._shield = shield
        self._is_draining = False

    async def create(
        self,
        caller: Caller,
        snapshot: Snapshot,
        thread: str | NewThread,
        params: RunParams,
        *,
        is_streamed: bool,
        request_id: str | None = None,
        admission: Admission | None = None,
    ) -> BegunRun:
        """A run on a thread, existing or new, at work when this returns; or waiting for its turn.

        Raises NotFoundError, InvalidModelError, ProviderNotConfiguredError, BillingError,
        ConversationLockedError, ConversationFullError, RateLimitExceededError, OverloadedError,
        ShuttingDownError.
        """
        self._refuse_while_draining()

        def store(tx: Tx) -> _Created | RingsideError:
            return self._create(tx, caller, snapshot, thread, params, admission)

        async def begin() -> BegunRun:
            created = await self._stored(store, caller, snapshot, thread, params)
            record, run = created.thread, created.run
            live = await self._launched(
                run,
                created.route,
                snapshot,
                is_streamed=is_streamed,
                request_id=request_id,
                reservation=None if admission is None else admission.handed_on(),
                history=created.history,
            )
            if run.expires_ms - run.created_ms < SWEPT_EVERY_S * 1000:
                self._wake_sweeper()  # it has to sleep shorter now
            queued = runs.to_wire(run)
            events = created_events(queued)
            if isinstance(thread, NewThread):
                events.insert(0, StreamEvent("thread.created", record.thread))
            return BegunRun(
                run=queued,
                first_events=events,
                live=live,
                remaining_nano=created.remaining_nano,
            )

        return await self._shield.finish(begin(), partial(self.leave, snapshot=snapshot))

    async def _stored(
        self,
        store: "Store",
        caller: Caller,
        snapshot: Snapshot,
        thread: str | NewThread,
        params: RunParams,
    ) -> "_Created":
        """The run that `store` adds; if it replaces an active one, once that has ended."""
        active = None
        if isinstance(thread, str) and _when_busy(params, snapshot) == "replace":
            active = self._db.get(_active_run, caller, thread)
        if active is None:
            created = await self._added(store)
        else:
            created = await self._added_instead_of(active, store)
        if created.replaced is not None:  # ended in the transaction that added the new one
            await self._live_runs.stop_and_wait(created.replaced, StopReason.REPLACED)
        return created

    async def _added_instead_of(self, active: RunRecord, store: "Store") -> "_Created":
        """The new run, once the active one has ended: but not for a run that may not begin."""
        if isinstance(await self._db.write(_rehearsed, store), RingsideError):
            return await self._added(store)
        await self._live_runs.stop_and_wait(active.id, StopReason.REPLACED)
        try:
            return await self._added(store)
        except Exception:
            turns = await self._db.write(run_transactions.give_turn_if_free, active.conversation)
            self._live_runs.give_turns(turns)
            raise

    async def _added(self, store: "Store") -> "_Created":
        created = await self._db.write(store)
        if isinstance(created, BillingError):
            self._on_unpaid()
        if isinstance(created, RingsideError):
            raise created
        return created

    async def submit_tool_outputs(
        self,
        caller: Caller,
        snapshot: Snapshot,
        thread_id: str,
        run_id: str,
        outputs: list[tuple[str, str]],
        *,
        is_streamed: bool,
        request_id: str | None = None,
        admission: Admission | None = None,
    ) -> BegunRun:
        """The run, at work again with the outputs of all its pending calls.

        Raises NotFoundError, RunStateError, InvalidRequestError, ShuttingDownError.
        """
        self._refuse_while_draining()

        def apply(tx: Tx) -> tuple[RunRecord, Any, Route]:
            run = runs.get(tx, threads.get(tx, thread_id, caller), run_id)
            resumed, step = run_transactions.submit(tx, run, outputs, self._new_id)
            idempotency.made(tx, caller.once, step.id)
            route = snapshot.router.route(run.settings.model, runs.last_model(tx, run))
            return resumed, step, route

        async def begin() -> BegunRun:
            run, step, route = await self._db.write(apply)
            live = await self._launched(
                run,
                route,
                snapshot,
                is_streamed=is_streamed,
                request_id=request_id,
                reservation=None if admission is None else admission.handed_on(),
            )
            queued = runs.to_wire(run)
            return BegunRun(run=queued, first_events=resumed_events(queued, step), live=live)

        return await self._shield.finish(begin(), partial(self.leave, snapshot=snapshot))

    async def cancel(self, caller: Caller, thread_id: str, run_id: str) -> Run:
        """The run as `cancelling`; it is `cancelled` as soon as its work has stopped.

        Raises NotFoundError, RunStateError.
        """

        def apply(tx: Tx) -> RunRecord:
            run = runs.get(tx, threads.get(tx, thread_id, caller), run_id)
            idempotency.made(tx, caller.once, run_id)
            return runs.move(tx, run, RunEvent.CANCEL)

        async def cancel() -> Run:
            run = await self._db.write(apply)
            await self._stop(run_id, StopReason.CANCELLED, RunEvent.STOP)
            return runs.to_wire(run)

        return await self._shield.finish(cancel())

    async def update(
        self, caller: Caller, thread_id: str, run_id: str, metadata: dict[str, str] | None
    ) -> Run:
        """The run, with its metadata replaced if given. Raises NotFoundError."""

        def apply(tx: Tx) -> Run:
            run = runs.get(tx, threads.get(tx, thread_id, caller), run_id)
            idempotency.made(tx, caller.once, run_id)
            if metadata is not None:
                run = runs.set_metadata(tx, run, metadata)
            return runs.wire_object(tx, run)

        return await self._db.write(apply)

    def leave(self, begun: BegunRun, snapshot: Snapshot) -> None:
        """Nobody reads a streamed run any more: cancel it, or let it go on unheard.

        Without effect on a run that has ended, or that nobody was to stream.
        """
        if begun.live.channel is None:
            return
        begun.live.channel.detach()
        if snapshot.settings.runs.on_disconnect == "cancel":
            begun.live.stop(StopReason.CLIENT_GONE)

    async def refuse_new(self) -> None:
        """Begin no more runs; returns once those that were being begun are at work.

        What cannot be stored (the disk is full) is left to the next start.
        """
        self._is_draining = True
        if not await self._shield.wait(BEGIN_S_MAX):
            logger.error("work left for the next start, it could not be stored")

    async def expire_due(self) -> float | None:
        """Expire what is due; seconds until the next run is, None if none is active."""
        now_ms = self._clock.now_ms()
        for run_id, expires_ms in await self._db.read(runs.by_expiry):
            if expires_ms > now_ms:
                return (expires_ms - now_ms) / 1000
            await self._stop(run_id, StopReason.EXPIRED, RunEvent.EXPIRE)
        return None

    async def recover(self, snapshot: Snapshot) -> None:
        """End what a dead process left half done, and begin what it had only promised."""
        waiting, ended = await self._db.write(run_transactions.recover)
        if waiting or ended:
            logger.warning("runs of the last process were ended", extra=fields(count=ended))
            logger.info("runs of the last process go on", extra=fields(count=len(waiting)))
        for run in waiting:
            try:
                route = snapshot.router.route(run.settings.model)
            except RingsideError as error:
                failure = LastError("server_error", error.message)
                ending = Ending(event=RunEvent.FAIL, last_error=failure)
                gone = await self._db.write(finish, run.id, None, ending)
                self._live_runs.give_turns(() if gone is None else gone.turns)
                continue
            try:
                await self._launched(run, route, snapshot, is_streamed=False)
            except Exception:
                logger.exception("run could not go on", extra=fields(run_id=run.id))

    async def _launched(
        self,
        run: RunRecord,
        route: Route,
        snapshot: Snapshot,
        *,
        is_streamed: bool,
        request_id: str | None = None,
        reservation: Reservation | None = None,
        history: list[Item] | None = None,
    ) -> LiveRun:
        """The run, at work. If that cannot be, it has failed: stored, it would be queued for nothing."""
        try:
            return self._live_runs.launch(
                run,
                route,
                snapshot,
                is_streamed=is_streamed,
                request_id=request_id,
                reservation=reservation,
                history=history,
            )
        except Exception:
            if self._live_runs.find(run.id) is None:
                if reservation is not None:
                    reservation.close()
                failure = Ending(event=RunEvent.FAIL, last_error=SOMETHING_WENT_WRONG)
                ended = await self._db.write(finish, run.id, None, failure)
                self._live_runs.give_turns(() if ended is None else ended.turns)
            raise

    async def _stop(self, run_id: str, reason: StopReason, event: RunEvent) -> None:
        live = self._live_runs.find(run_id)
        if live is not None:
            live.stop(reason)
        else:
            ended = await self._db.write(finish, run_id, None, Ending(event=event))
            self._live_runs.give_turns(() if ended is None else ended.turns)

    def _create(
        self,
        tx: Tx,
        caller: Caller,
        snapshot: Snapshot,
        thread: str | NewThread,
        params: RunParams,
        admission: Admission | None,
    ) -> "_Created | RingsideError":
        """The run, stored; or, with nothing stored but that, the error of a customer without money."""
        limits, history = snapshot.settings.runs, None
        record = threads.get(tx, thread, caller) if isinstance(thread, str) else None
        settings = _settings(tx, caller, params)
        route = snapshot.router.route(settings.model)
        customer = caller.customer or params.customer
        whose = customer or _default_customer(caller, record, thread)
        standing = self._standing(tx, caller, snapshot, route, settings, whose)
        if standing.refusal is not None:
            return standing.refusal
        if record is None:
            assert not isinstance(thread, str)  # noqa: S101 - a thread by its id was found above
            record, history = thread_service.insert(
                tx, self._new_id, caller, thread, limits.max_messages_per_thread
            )
        run_id = self._new_id("run")
        idempotency.made(tx, caller.once, run_id)
        new = NewRun(
            run_id=run_id,
            assistant_id=params.assistant_id,
            settings=settings,
            customer=customer,
            token=caller.token_id,
            metadata=params.metadata,
            expires_after_ms=1000 * (params.expires_after_s or limits.expires_after_s),
            messages=thread_service.message_items(tx, self._new_id, params.messages),
            messages_max=limits.max_messages_per_thread,
        )
        when_busy = _when_busy(params, snapshot)
        replaced = runs.active_run_id(tx, record) if when_busy == "replace" else None
        is_new = not isinstance(thread, str)
        run = run_transactions.create(tx, record, new, when_busy, is_new=is_new)
        if admission is not None:
            admission.require_free_run(tx)
        return _Created(
            thread=record,
            run=run,
            route=route,
            remaining_nano=standing.remaining_nano,
            replaced=None if run.is_waiting else replaced,
            history=history if history and len(history) <= SHORT_ITEMS_MAX else None,
        )

    def _standing(
        self,
        tx: Tx,
        caller: Caller,
        snapshot: Snapshot,
        route: Route,
        settings: RunSettings,
        customer: str | None,
    ) -> Standing:
        call = call_of("run", route, settings.model, caller.token_id, customer=customer)
        price = snapshot.prices.find(route.ref, tx.now_ms)
        limits = (settings.call_max_tokens, settings.max_completion_tokens, WORTH_ASKING_TOKENS)
        least = min(limit for limit in limits if limit is not None)
        return ledger.standing(tx, call, price and price.beforehand, terms_of(snapshot), least)

    def _refuse_while_draining(self) -> None:
        if self._is_draining:
            raise ShuttingDownError(
                "The proxy is shutting down and begins no new runs. Try again in a few seconds.",
                retry_after_s=SHUTTING_DOWN_RETRY_AFTER_S,
            )


class _Created(msgspec.Struct, frozen=True, kw_only=True):
    thread: ThreadRecord
    run: RunRecord
    route: Route
    remaining_nano: int | None
    replaced: str | None
    history: list[Item] | None


Store = Callable[[Tx], _Created | RingsideError]
"""Adds a run; gives the error of a customer without money, whom that is noted of."""


def _rehearsed(tx: Tx, store: Store) -> _Created | RingsideError:
    """What `store` would give or raise, with nothing done."""
    with tx.rehearsal():
        return store(tx)


def _when_busy(params: RunParams, snapshot: Snapshot) -> WhenBusy:
    return params.when_busy or snapshot.settings.runs.when_busy


def _active_run(tx: Tx, caller: Caller, thread_id: str) -> RunRecord | None:
    run_id = runs.active_run_id(tx, threads.get(tx, thread_id, caller))
    return None if run_id is None else runs.reload(tx, run_id)


def _default_customer(
    caller: Caller, record: ThreadRecord | None, thread: str | NewThread
) -> str | None:
    """Whom runs on the thread are attributed to if nobody else is named."""
    if isinstance(thread, NewThread):
        return thread_service.default_customer(caller, thread)
    return None if record is None else record.customer


def _settings(tx: Tx, caller: Caller, params: RunParams) -> RunSettings:
    """The assistant's values under the run's own."""
    assistant = assistants.get(tx, params.assistant_id, caller)
    values: dict[str, Any] = {
        "model": assistant.model,
        "instructions": assistant.instructions,
        "tools": assistant.tools,
        "temperature": assistant.temperature,
        "top_p": assistant.top_p,
        "reasoning_effort": assistant.reasoning_effort,
        "response_format": assistant.response_format,
    } | params.overrides
    if params.additional_instructions:
        stated = (values["instructions"], params.additional_instructions)
        values["instructions"] = "\n\n".join(text for text in stated if text)
    return RunSettings(**values)
