"""A run's model call as one generator of events; plain and streamed runs drain the same one."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.domain.events import StreamEvent
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.items import Item
from ringside_proxy.domain.runs import LastError, RunEvent
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.types import UsageDelta
from ringside_proxy.services import run_request
from ringside_proxy.services.answers import Answers
from ringside_proxy.services.fallbacks import following
from ringside_proxy.services.metering import Meter
from ringside_proxy.services.model_routing import Route
from ringside_proxy.services.run_assembler import RunAssembler
from ringside_proxy.services.run_request import Limit, RunRequest
from ringside_proxy.services.run_transactions import Ending, save
from ringside_proxy.store import runs
from ringside_proxy.store.db import Database
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.system import Clock

SAVE_EVERY_S: Final = 2.0
SAVE_EVERY_BYTES: Final = 8 * 1024


class ModelCall(msgspec.Struct, kw_only=True):
    """One model call of a run, and what came of it so far.

    It has no `generation` before its first hold is stored: the run starts with it.
    """

    run: RunRecord
    generation: int | None = None
    route: Route
    meter: Meter
    assembler: RunAssembler
    is_answering: bool = False
    has_told: bool = False
    untold: list[StreamEvent] = []
    history: list[Item] | None = None
    """What stands in its thread, if that is known; the store is asked otherwise."""
    limit_reached: Limit | None = None

    @property
    def usage(self) -> TokenUsage | None:
        """What it is known to have consumed, as it is booked; None if it never said anything."""
        return self.meter.used if self.is_answering else None


class RunExecutor:
    """Makes a run's model calls. Owns no task and ends no run: it says how a call came out."""

    def __init__(self, db: Database, answers: Answers, new_id: NewId, clock: Clock) -> None:
        self._db = db
        self._answers = answers
        self._new_id = new_id
        self._clock = clock

    def prepare(
        self, run: RunRecord, route: Route, meter: Meter, history: list[Item] | None = None
    ) -> ModelCall:
        """A call that has not begun."""
        assembler = RunAssembler(run, self._new_id, self._clock.now_ms)
        return ModelCall(run=run, route=route, meter=meter, assembler=assembler, history=history)

    def dropped_params(self, run: RunRecord, route: Route) -> tuple[str, ...]:
        """The names of the run's parameters that its model does not take."""
        return self._answers.dropped_params(route, run_request.sample(run, route))

    async def generate(
        self, call: ModelCall, *, is_streamed: bool
    ) -> AsyncGenerator[list[StreamEvent], None]:
        """The events of the model's answer, as they come.

        For a run that `is_streamed`, a step or message is stored before its opening or closing is
        told; for others with the next periodic save. A slot's next model is asked if one fails
        before it has said anything. Raises ProviderError, InvalidRequestError for what the model
        cannot do, BillingError, ResponseSchemaValidationFailedError.
        """
        while True:
            try:
                async with aclosing(self._answer(call, is_streamed=is_streamed)) as batches:
                    async for batch in batches:
                        yield batch
            except RingsideError as error:
                route = None if call.has_told else following(call.route, error)
                if route is None:
                    raise
                call.meter.move_to(route, error)
                call.route = route
                if call.generation is not None:
                    await self._db.write(runs.set_model, call.generation, str(route.ref))
            else:
                return

    async def _answer(
        self, call: ModelCall, *, is_streamed: bool
    ) -> AsyncGenerator[list[StreamEvent], None]:
        built = await self._built(call)
        call.limit_reached = built.limit_reached
        if built.request is None:
            return
        assembler = call.assembler
        planned = await self._answers.plan(call.route, built.request)
        saved_at_s = self._clock.monotonic_s()
        answer = self._answers.deltas(
            call.route, planned, call.meter, is_streamed=is_streamed, joins_text=True
        )
        async with aclosing(answer) as batches:
            async for deltas in batches:
                call.is_answering = True
                call.has_told = call.has_told or any(not isinstance(d, UsageDelta) for d in deltas)
                call.untold += assembler.feed_all(deltas)
                is_told = is_streamed and assembler.must_save
                if is_told and assembler.is_whole:
                    continue  # its end is stored at once, and the rest of it with it
                if is_told or self._is_save_due(assembler, saved_at_s):
                    await self._save(call)
                    saved_at_s = self._clock.monotonic_s()
                if call.untold:
                    yield call.untold
        if assembler.finish_reason != "content_filter" and (events := assembler.ensure_message()):
            call.untold += events
            if is_streamed:
                await self._save(call)
            yield call.untold

    async def _built(self, call: ModelCall) -> RunRequest:
        """What is asked of the model; a short thread is read right here, a new one not at all."""
        if call.history is not None:
            return run_request.of_new_thread(call.run, call.route, call.history)
        built = self._db.get(run_request.build_short, call.run, call.route)
        if built is None:
            built = await self._db.read(run_request.build, call.run, call.route)
        return built

    def _is_save_due(self, assembler: RunAssembler, saved_at_s: float) -> bool:
        if assembler.unsaved_bytes == 0:
            return False
        is_long = assembler.unsaved_bytes >= SAVE_EVERY_BYTES
        return is_long or self._clock.monotonic_s() - saved_at_s >= SAVE_EVERY_S

    async def _save(self, call: ModelCall) -> None:
        assert call.generation is not None  # noqa: S101 - nothing is said before the hold
        changes = call.assembler.take_changes()
        await self._db.write(save, call.run, call.generation, changes)


def ending(call: ModelCall) -> Ending:
    """How the run or its segment ends after an answer that came in whole."""
    assembler = call.assembler
    if call.limit_reached is not None:
        return Ending(event=RunEvent.RUN_OUT, incomplete_reason=call.limit_reached)
    if assembler.finish_reason == "length":
        return Ending(
            event=RunEvent.RUN_OUT,
            changes=assembler.take_changes(),
            usage=call.usage,
            incomplete_reason="max_completion_tokens",
        )
    if assembler.finish_reason == "content_filter":
        return _filtered(call)
    return Ending(
        event=RunEvent.REQUIRE_ACTION if assembler.has_calls else RunEvent.COMPLETE,
        changes=assembler.take_changes(with_calls=True),
        usage=call.usage,
    )


def broken_off(call: ModelCall, event: RunEvent, error: LastError | None = None) -> Ending:
    """How the run ends when the answer did not come in whole; what was said stays."""
    return Ending(
        event=event, changes=call.assembler.take_changes(), usage=call.usage, last_error=error
    )


def _filtered(call: ModelCall) -> Ending:
    """A filtered answer: OpenAI has no word for it on a run, only on the message."""
    if not call.assembler.has_text:
        error = LastError("server_error", "The provider's content filter stopped the answer.")
        return broken_off(call, RunEvent.FAIL, error)
    return Ending(
        event=RunEvent.RUN_OUT,
        changes=call.assembler.take_changes(),
        usage=call.usage,
        message_reason="content_filter",
    )
