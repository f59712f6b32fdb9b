"""The runs at work in this process: one task each, owned here and not by any request.

A request that goes away only signals its run. Ending a run is never done in a cancelled task:
`stop` interrupts the model call, and the task then ends the run in one transaction.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from enum import StrEnum
from functools import partial
from typing import Final

import msgspec

from ringside_proxy.domain.errors import (
    BillingError,
    InvalidRequestError,
    ProviderError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    RingsideError,
)
from ringside_proxy.domain.events import StreamEvent
from ringside_proxy.domain.items import Item
from ringside_proxy.domain.runs import LastError, RunEvent
from ringside_proxy.services import run_executor
from ringside_proxy.services.calls import call_of_run
from ringside_proxy.services.event_channel import EventChannel
from ringside_proxy.services.metering import Ledger, Meter
from ringside_proxy.services.model_routing import Route
from ringside_proxy.services.rate_limits import Reservation
from ringside_proxy.services.run_events import ended_events, started_events, unstarted_events
from ringside_proxy.services.run_executor import ModelCall, RunExecutor
from ringside_proxy.services.run_transactions import Ended, Ending, finish, start
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.services.until_stored import until_stored
from ringside_proxy.store import runs
from ringside_proxy.store.db import Database
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.tx import Tx
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.metrics import Metrics
from ringside_proxy.telemetry.waits import WAIT, waited

logger = logging.getLogger(__name__)

STOP_S_MAX: Final = 5.0
"""How long interrupted runs may take to be stored as ended."""
STOP_FULL_S_MAX: Final = 1.0
"""The same where the disk is full, in case that there is room at last."""

SOMETHING_WENT_WRONG: Final = LastError("server_error", "Sorry, something went wrong.")
SHUT_DOWN: Final = LastError(
    "server_error", "The proxy was shut down while the run was in progress."
)


class StopReason(StrEnum):
    """Why a run at work is interrupted."""

    CANCELLED = "cancelled"
    EXPIRED = "expired"
    CLIENT_GONE = "client_gone"
    THREAD_DELETED = "thread_deleted"
    REPLACED = "replaced"
    SHUTDOWN = "shutdown"


STOP_ENDINGS: Final[dict[StopReason, tuple[RunEvent, LastError | None]]] = {
    StopReason.CANCELLED: (RunEvent.STOP, None),
    StopReason.EXPIRED: (RunEvent.EXPIRE, None),
    StopReason.CLIENT_GONE: (RunEvent.CANCEL, None),
    StopReason.THREAD_DELETED: (RunEvent.CANCEL, None),
    StopReason.REPLACED: (RunEvent.CANCEL, None),
    StopReason.SHUTDOWN: (RunEvent.FAIL, SHUT_DOWN),
}


class LiveRun:
    """A run at work, or one that waits for its turn. `channel` is there if somebody streams it."""

    def __init__(
        self, run: RunRecord, route: Route, meter: Meter, channel: EventChannel | None
    ) -> None:
        self.turn = asyncio.Event()
        """Set once the thread is the run's."""
        self.run = run
        self.route = route
        self.meter = meter
        self.channel = channel
        self.history: list[Item] | None = None
        self.stop_reason: StopReason | None = None
        self.dropped_params: tuple[str, ...] = ()
        self.task: asyncio.Task[None] | None = None
        self.has_stopped = asyncio.Event()
        """Its end, or that of its segment, is stored; its reader may still be behind."""
        self._scope: asyncio.Timeout | None = None

    def stop(self, reason: StopReason) -> None:
        """Interrupt the model call; the first reason stands."""
        if self.stop_reason is None:
            self.stop_reason = reason
            if self._scope is not None:
                self._scope.reschedule(asyncio.get_running_loop().time())

    async def until_stopped(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do `work`, unless and until `stop` interrupts it; whether it was done."""
        if self.stop_reason is not None:
            return False
        try:
            async with asyncio.timeout(None) as self._scope:
                await work()
                self._scope = None
        except TimeoutError:
            if self.stop_reason is None:
                raise
            return False
        finally:
            self._scope = None
        return True


class LiveRuns:
    """Starts runs, finds them, stops them."""

    def __init__(
        self,
        db: Database,
        executor: RunExecutor,
        new_generation_id: Callable[[], str],
        metrics: Metrics,
        books: Ledger,
    ) -> None:
        self._db = db
        self._books = books
        self._executor = executor
        self._new_generation_id = new_generation_id
        self._metrics = metrics
        self._live: dict[str, LiveRun] = {}
        self.idle = asyncio.Event()
        self.idle.set()

    def __len__(self) -> int:
        return len(self._live)

    def find(self, run_id: str) -> LiveRun | None:
        """The run, if it is at work here."""
        return self._live.get(run_id)

    def launch(
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
        """Begin the run's model work in a task of its own, at once or when it has its turn.

        `history` is all that stands in its thread, if that is known.

        Should anything raise, it was not begun.
        """
        call = call_of_run(run, route, request_id)
        meter = self._books.meter(snapshot, route, call, reservation=reservation)
        live = LiveRun(run, route, meter, EventChannel() if is_streamed else None)
        live.history = history
        live.dropped_params = self._executor.dropped_params(run, route)
        if run.is_waiting:
            meter.end()  # nobody shall be kept from asking by a call that waits
        else:
            live.turn.set()
        live.task = asyncio.create_task(self._work(live), name=run.id)
        self._live[run.id] = live
        self.idle.clear()
        return live

    def give_turns(self, run_ids: Iterable[str]) -> None:
        """These wait no more, as the transaction that ended the run before them has stored."""
        for run_id in run_ids:
            if run_id in self._live:
                self._live[run_id].turn.set()

    def _look_for_turn(self, live: LiveRun) -> None:
        """A run may have had its turn between being stored and being known here."""
        run = self._db.get(runs.reload, live.run.id)
        if run is None or not run.is_waiting:
            live.run = run or live.run
            live.turn.set()

    async def stop_all(self, reason: StopReason) -> None:
        """Interrupt every run at work, and wait until all have ended.

        A run whose end cannot be stored (the disk is full) is left to the next start.
        """
        for live in self._live.values():
            live.stop(reason)
        try:
            async with asyncio.timeout(STOP_FULL_S_MAX if self._db.is_full else STOP_S_MAX):
                await self.idle.wait()
        except TimeoutError:
            logger.error("runs left for the next start", extra=fields(count=len(self._live)))  # noqa: TRY400 - no stack

    async def _work(self, live: LiveRun) -> None:
        """Start, generate, finish. Runs to the end whatever happens in between."""
        if live.channel is None:
            WAIT.set(None)  # the request that began it waits for nothing of this
        try:
            await self._start_and_generate(live)
        except Exception:
            logger.exception("run task failed", extra=fields(run_id=live.run.id))
            await self._give_up(live)
        finally:
            self._forget(live)
            live.meter.end()
            if live.channel is not None:
                live.channel.close()

    async def _give_up(self, live: LiveRun) -> None:
        """End a run that could not be ended as it came to; its expiry ends it if this fails too."""
        failure = Ending(event=RunEvent.FAIL, last_error=SOMETHING_WENT_WRONG)
        try:
            await self._finish(live, None, failure)
        except Exception:
            logger.exception("run could not be ended", extra=fields(run_id=live.run.id))

    async def _start_and_generate(self, live: LiveRun) -> None:
        if not await self._has_turn(live):
            return
        call = self._executor.prepare(live.run, live.route, live.meter, live.history)
        begin = partial(_begin, call=call, generation_id=self._new_generation_id())
        live.meter.open_with(begin, partial(self._note_begun, live, call))
        try:
            ending = await self._generate(live, call)
            if call.generation is None and live.stop_reason is None:
                self._note_begun(live, call, await self._db.write(begin))
        except _OverError:  # it was ended meanwhile, or its cancel found no work to stop yet
            await self._finish(live, None, Ending(event=RunEvent.STOP))
        else:
            await self._finish(live, call, ending)

    def _note_begun(self, live: LiveRun, call: ModelCall, begun: tuple[RunRecord, int]) -> None:
        """The run has started, as the transaction that kept back money for its call has stored."""
        live.run, call.generation = begun
        call.run = live.run
        if live.channel is not None:
            live.channel.push(started_events(live.run))

    async def _has_turn(self, live: LiveRun) -> bool:
        """Wait for the turn; False if the run ended meanwhile.

        On the way down a run that nobody streams is left as it is: its turn comes after the next
        start.
        """
        if not live.turn.is_set():
            self._look_for_turn(live)
        if live.turn.is_set():
            return True

        async def wait() -> None:
            await live.turn.wait()

        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await live.until_stopped(wait)
        waited(loop.time() - began_s)
        if live.stop_reason is None:
            live.run = self._db.get(runs.reload, live.run.id) or live.run
            return True
        if live.stop_reason is not StopReason.SHUTDOWN or live.channel is not None:
            event, error = STOP_ENDINGS[live.stop_reason]
            await self._finish(live, None, Ending(event=event, last_error=error))
        return False

    async def _generate(self, live: LiveRun, call: ModelCall) -> Ending:
        """Let the model answer; how that ended."""

        async def pump() -> None:
            is_streamed = live.channel is not None
            async with aclosing(self._executor.generate(call, is_streamed=is_streamed)) as batches:
                async for batch in batches:
                    await self._tell(live, batch)
                    call.untold = []  # what interrupts before is told of it all the same

        try:
            is_done = await live.until_stopped(pump)
        except _OverError:
            raise
        except RingsideError as error:
            ending = run_executor.broken_off(call, RunEvent.FAIL, last_error_of(error))
            return msgspec.structs.replace(ending, reason=reason_of(error))
        except Exception:
            logger.exception("model call failed", extra=fields(run_id=live.run.id))
            return run_executor.broken_off(call, RunEvent.FAIL, SOMETHING_WENT_WRONG)
        if is_done or live.stop_reason is None:
            return run_executor.ending(call)
        return run_executor.broken_off(call, *STOP_ENDINGS[live.stop_reason])

    async def _finish(self, live: LiveRun, call: ModelCall | None, ending: Ending) -> None:
        generation = None if call is None else call.generation
        ending = msgspec.structs.replace(
            ending, closing=live.meter.closing(), terms=live.meter.terms
        )
        # The answer is in memory and paid for: it waits for a full disk to be cleared.
        ended: Ended | None = await until_stored(
            self._db,
            finish,
            live.run.id,
            generation,
            ending,
            gives_turn=live.stop_reason is not StopReason.REPLACED,
            known=live.run,
        )
        self._forget(live)
        self.give_turns(() if ended is None else ended.turns)
        if ended is None:
            await self._tell_state(live)
            return
        if ended.run.is_terminal:
            self._metrics.run_finished(ended.run.status)
        untold = [] if call is None else call.untold
        await self._tell(live, untold + ended_events(live.run, ended))

    async def stop_and_wait(self, run_id: str, reason: StopReason) -> None:
        """Interrupt a run, if it is at work here, and wait until it has ended."""
        live = self._live.get(run_id)
        if live is not None:
            live.stop(reason)
            await live.has_stopped.wait()

    def _forget(self, live: LiveRun) -> None:
        """Nothing is at work on the run here: others may take it on, its reader may be slow."""
        if self._live.get(live.run.id) is live:
            del self._live[live.run.id]
        if not self._live:
            self.idle.set()
        live.has_stopped.set()

    async def _tell_state(self, live: LiveRun) -> None:
        run = self._db.get(runs.reload, live.run.id)
        if run is not None:
            await self._tell(live, unstarted_events(run))

    async def _tell(self, live: LiveRun, events: list[StreamEvent]) -> None:
        if live.channel is not None:
            await live.channel.put(events)


class _OverError(Exception):
    """A run was ended before its work began."""


def _begin(tx: Tx, call: ModelCall, generation_id: str) -> tuple[RunRecord, int]:
    """Start the run with its call's hold. Raises _OverError if it has ended."""
    started = start(tx, call.run.id, generation_id, str(call.route.ref), call.run)
    if started is None:
        raise _OverError
    return started


def last_error_of(error: RingsideError) -> LastError:
    """A failed model call in the three codes that a run may show."""
    if isinstance(error, BillingError):
        return LastError("rate_limit_exceeded", f"{error.code}: {error.message}")
    if isinstance(error, ProviderRateLimitedError | ProviderQuotaExceededError):
        return LastError("rate_limit_exceeded", error.message)
    if isinstance(error, ProviderRejectedError | InvalidRequestError):
        return LastError("invalid_prompt", error.message)
    return LastError("server_error", error.message)


def reason_of(error: RingsideError) -> str:
    """Why a run failed, in one word for those who are told."""
    return "provider_error" if isinstance(error, ProviderError) else error.code or "server_error"
