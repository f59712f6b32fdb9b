"""Every transaction in a run's life. Each is whole: a crash between two of them finds the run in a
state that start-up knows how to end.

    create ─► start ─► save* ─► finish ─► (submit ─► start ─► save* ─► finish)*
                 cancel, expire and restart end a run from anywhere, through `finish` too
"""

import logging
from typing import Final, Literal

import msgspec

from ringside_proxy.domain.errors import ConversationLockedError, InvalidRequestError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.items import FunctionCallOutputBody, Item, MessageBody, message_object
from ringside_proxy.domain.messages import IncompleteReason, Message, MessageStatus
from ringside_proxy.domain.money import usd_or_null
from ringside_proxy.domain.outgoing import EventType, RunEventData
from ringside_proxy.domain.run_steps import (
    MessageCreation,
    MessageCreationDetails,
    RunStep,
    StepStatus,
)
from ringside_proxy.domain.runs import LastError, RunEvent, RunSettings, RunStatus
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage, assistants_usage, canonical_usage
from ringside_proxy.services.run_assembler import (
    AddItem,
    Change,
    CompleteStep,
    KeepState,
    OpenMessage,
    OpenStep,
    UpdateItem,
    split,
)
from ringside_proxy.store import (
    events,
    items,
    ledger,
    provider_states,
    run_steps,
    runs,
    threads,
    waiting_runs,
)
from ringside_proxy.store.ledger import Closing, Terms
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Tx
from ringside_proxy.store.usage import cost_of_run
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

CUT_CALL: Final = LastError("server_error", "The output limit cut the function call short.")

STEP_ENDINGS: Final[dict[RunStatus, StepStatus]] = {
    RunStatus.COMPLETED: StepStatus.COMPLETED,
    RunStatus.INCOMPLETE: StepStatus.COMPLETED,
    RunStatus.FAILED: StepStatus.FAILED,
    RunStatus.CANCELLED: StepStatus.CANCELLED,
    RunStatus.EXPIRED: StepStatus.EXPIRED,
}
"""How the open step ends with its run."""

OUTGOING: Final[dict[RunStatus, EventType]] = {
    RunStatus.REQUIRES_ACTION: "run.requires_action",
    RunStatus.COMPLETED: "run.completed",
    RunStatus.INCOMPLETE: "run.incomplete",
    RunStatus.FAILED: "run.failed",
    RunStatus.EXPIRED: "run.failed",
    RunStatus.CANCELLED: "run.cancelled",
}
"""What others are told when a run comes to rest."""

MESSAGE_ENDINGS: Final[dict[RunStatus, IncompleteReason]] = {
    RunStatus.INCOMPLETE: "max_tokens",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.EXPIRED: "run_expired",
}
"""Why the open message ends early with its run."""


WhenBusy = Literal["reject", "queue", "replace"]
"""What becomes of a run whose thread has an active one."""


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is created with."""

    run_id: str
    assistant_id: str
    settings: RunSettings
    customer: str | None
    metadata: dict[str, str]
    expires_after_ms: int
    messages: list[Item]
    messages_max: int
    token: str = ""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a model call, or the run itself, ends.

    `usage` is what the call consumed, null if none was made. `reason` says in one word why the run
    failed, for those who are told. `closing` ends the hold that paid for the call, on `terms`.
    """

    event: RunEvent
    changes: list[Change] = []
    usage: TokenUsage | None = None
    last_error: LastError | None = None
    incomplete_reason: str | None = None
    message_reason: IncompleteReason | None = None
    reason: str | None = None
    closing: Closing | None = None
    terms: Terms = Terms()


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What `finish` left: the run, and the step and message that ended with it.

    `turns` are the runs that waited for the thread and wait no more.
    """

    run: RunRecord
    step: RunStep | None = None
    message: Message | None = None
    turns: tuple[str, ...] = ()


def create(
    tx: Tx,
    thread: ThreadRecord,
    new: NewRun,
    when_busy: WhenBusy = "reject",
    *,
    is_new: bool = False,
) -> RunRecord:
    """Append the run's messages and lock the thread, which `is_new` if this transaction made it.

    On a busy thread, with `queue`, it waits for its turn, and its messages with it; with `replace`
    the run that is active is cancelled first. Raises ConversationLockedError,
    ConversationFullError, OverloadedError, and InvalidRequestError in OpenAI's words for a run that
    would have nothing to say.
    """
    active, waiting = None, 0
    if not is_new:
        active, waiting = runs.active_run_id(tx, thread), waiting_runs.count(tx, thread.seq)
    if when_busy == "replace" and active is not None:
        finish(tx, active, None, CANCELLED, gives_turn=False)
    elif waiting and active is None and when_busy == "reject":
        raise ConversationLockedError(f"Thread {thread.thread.id} has runs that wait for it.")
    waits = when_busy == "queue" and (waiting > 0 or active is not None)
    if waits:
        waiting_runs.require_place(tx, thread)
    brought = waiting_runs.Brought(new.messages, new.messages_max)
    run = runs.insert(
        tx,
        new.run_id,
        thread,
        new.assistant_id,
        new.settings,
        customer=new.customer or thread.customer,
        metadata=new.metadata,
        expires_after_ms=new.expires_after_ms,
        token=new.token,
        waiting=waiting_runs.encode(brought) if waits else None,
    )
    threads.require_room(thread, len(new.messages), new.messages_max)
    if waits:
        return run
    if new.messages:
        items.append(tx, thread.seq, new.messages)
    elif not thread.message_count and not new.settings.instructions:
        raise InvalidRequestError(
            "Run creation requires a Thread with a user message or an assistant with instructions.",
            code="invalid_thread",
        )
    return run


def start(
    tx: Tx, run_id: str, generation_id: str, model: str, known: RunRecord | None = None
) -> tuple[RunRecord, int] | None:
    """Note that model work begins, before any byte goes out; gives the run and the generation.

    `known` is the run as it was when it was read last, if it was. None if the run was ended
    meanwhile.
    """
    run = runs.reload(tx, run_id) if known is None else runs.refresh(tx, known)
    if run is None or run.status is not RunStatus.QUEUED or run.is_waiting:
        return None
    started = runs.move(tx, run, RunEvent.START)
    return started, runs.open_generation(tx, started, generation_id, model)


def save(tx: Tx, run: RunRecord, generation: int, changes: list[Change]) -> None:
    """Store what the model call has made so far."""
    opened: dict[str, int] = {}
    for change in changes:
        match change:
            case OpenStep(step_id, step_type, created_ms, message_id):
                opened[step_id] = run_steps.insert(
                    tx, run.seq, generation, step_id, step_type, created_ms, message_id
                )
            case CompleteStep():
                run_steps.end(tx, change.step_id, StepStatus.COMPLETED, change.ended_ms)
            case AddItem(item, step_id):
                step = opened.get(step_id) or run_steps.seq_of(tx, step_id)
                origin = items.Origin(run.seq, generation, step)
                items.append(tx, run.conversation, [item], origin)
            case UpdateItem():
                items.update(tx, change.item)
            case KeepState():
                scope = provider_states.thread_scope(run.conversation)
                model = runs.model_of(tx, generation)
                provider_states.put(tx, scope, change.call_id, model, change.state)


def finish(
    tx: Tx,
    run_id: str,
    generation: int | None,
    ending: Ending,
    *,
    gives_turn: bool = True,
    known: RunRecord | None = None,
) -> Ended | None:
    """End a model call, and with it the run or its segment, in one go.

    A cancel that came first wins over whatever the call came to. A thread that gets free by it
    goes to the run that has waited longest, if it `gives_turn`. `known` is the run as it was when
    it was read last, if it was. None if the run has ended already, or is gone with its thread:
    what the call consumed is booked all the same.
    """
    run = runs.reload(tx, run_id) if known is None else runs.refresh(tx, known)
    if run is None or run.is_terminal:
        _book(tx, ending, None)
        return None
    message: OpenMessage | None = None
    if generation is not None:
        others, message = split(ending.changes)
        save(tx, run, generation, others)
    runs.close_generation(tx, run, ending.usage)
    event = ending.event
    if event is RunEvent.CANCEL and run.status is not RunStatus.CANCELLING:
        run = runs.move(tx, run, RunEvent.CANCEL)
    if run.status is RunStatus.CANCELLING and event is not RunEvent.EXPIRE:
        event = RunEvent.STOP
    is_failure = event is RunEvent.FAIL
    moved = runs.move(
        tx,
        run,
        event,
        last_error=ending.last_error if is_failure else None,
        incomplete_reason=ending.incomplete_reason if event is RunEvent.RUN_OUT else None,
    )
    ended = (
        _end_open_work(tx, moved, ending)
        if message is None or generation is None
        else _end_message(tx, moved, generation, message, ending)
    )
    _book(tx, ending, ended.step)
    events.emit(tx, OUTGOING[moved.status], _event_data(tx, moved, ending))
    if moved.is_terminal and gives_turn and not run.is_waiting:
        return msgspec.structs.replace(ended, turns=give_turn(tx, run.conversation))
    return ended


def give_turn(tx: Tx, conversation: int) -> tuple[str, ...]:
    """Let the run that has waited longest have the thread; the runs that wait no more.

    One that has waited too long expires, and one whose messages the thread has no room for any
    more fails: then the next one has its turn.
    """
    called: list[str] = []
    while (run_id := waiting_runs.first(tx, conversation)) is not None:
        run = runs.reload(tx, run_id)
        assert run is not None  # noqa: S101 - it was found just now
        called.append(run_id)
        if tx.now_ms >= run.expires_ms:
            finish(tx, run_id, None, EXPIRED)
            continue
        brought = waiting_runs.give_turn(tx, run)
        if not threads.has_room(tx, conversation, len(brought.messages), brought.messages_max):
            finish(tx, run_id, None, NO_ROOM, gives_turn=False)
            continue
        messages = [
            msgspec.structs.replace(message, created_ms=tx.now_ms, ended_ms=tx.now_ms)
            for message in brought.messages
        ]
        if messages:
            items.append(tx, conversation, messages)
        break
    return tuple(called)


def give_turn_if_free(tx: Tx, conversation: int) -> tuple[str, ...]:
    """The same for a thread of which nobody knows whether a run is active."""
    return give_turn(tx, conversation) if conversation in waiting_runs.stranded(tx) else ()


def submit(
    tx: Tx, run: RunRecord, outputs: list[tuple[str, str]], new_id: NewId
) -> tuple[RunRecord, RunStep]:
    """Store the outputs of all pending calls and queue the run again; gives the finished step.

    Raises RunStateError or InvalidRequestError in OpenAI's words; nothing is stored then.
    """
    if not run.is_terminal and tx.now_ms >= run.expires_ms:  # the sweeper is about to say so
        run = msgspec.structs.replace(run, status=RunStatus.EXPIRED)
    queued = runs.move(tx, run, RunEvent.SUBMIT_OUTPUTS)
    opened = run_steps.find_open(tx, run.seq)
    calls = [] if opened is None else items.of_steps(tx, run.seq).get(opened.step.id, [])
    expected = [item.call_id or "" for item in calls]
    given = [call_id for call_id, _ in outputs]
    if opened is None or sorted(expected) != sorted(given):
        raise InvalidRequestError(f"Expected tool outputs for call_ids {expected}, got {given}")
    output_of = dict(outputs)
    answered = [
        Item(
            id=new_id("fco"),
            call_id=call_id,
            run_id=run.id,
            step_index=index,
            created_ms=tx.now_ms,
            ended_ms=tx.now_ms,
            body=FunctionCallOutputBody(output_of[call_id]),
        )
        for index, call_id in enumerate(expected)
    ]
    items.append(
        tx, run.conversation, answered, items.Origin(run.seq, opened.generation, opened.seq)
    )
    run_steps.end(tx, opened.step.id, StepStatus.COMPLETED, tx.now_ms)
    return queued, run_steps.get(tx, run.seq, opened.step.id)


def recover(tx: Tx) -> tuple[list[RunRecord], int]:
    """End what a dead process left half done.

    Gives the runs that were queued and never began, which can go on, and how many were ended; among
    them those that wait for their thread, in their order. A run that waits for outputs goes on
    waiting. One that cannot be ended is logged and left to its expiry: it must not keep the
    others, or the proxy, from going on.
    """
    ended = 0
    for run in runs.active(tx):
        is_over = tx.now_ms >= run.expires_ms
        if not is_over and (run.status is RunStatus.REQUIRES_ACTION or _can_go_on(tx, run)):
            continue
        try:
            with tx.savepoint():
                found = finish(tx, run.id, None, EXPIRED if is_over else RESTARTED)
        except Exception:
            logger.exception("run could not be ended", extra=fields(run_id=run.id))
        else:
            ended += found is not None
    for conversation in waiting_runs.stranded(tx):
        give_turn(tx, conversation)
    return [run for run in runs.active(tx) if _can_go_on(tx, run)], ended


def _can_go_on(tx: Tx, run: RunRecord) -> bool:
    return run.status is RunStatus.QUEUED and not runs.was_dispatched(tx, run)


EXPIRED: Final = Ending(event=RunEvent.EXPIRE)
CANCELLED: Final = Ending(event=RunEvent.CANCEL)
NO_ROOM: Final = Ending(
    event=RunEvent.FAIL,
    reason="conversation_full",
    last_error=LastError("server_error", "The thread has no room for the run's messages any more."),
)
RESTARTED: Final = Ending(
    event=RunEvent.FAIL,
    reason="restarted",
    last_error=LastError("server_error", "The proxy was restarted while the run was in progress."),
)


def _book(tx: Tx, ending: Ending, step: RunStep | None) -> None:
    if ending.closing is not None:
        ledger.close(tx, ending.closing, ending.terms, None if step is None else step.id)


def _event_data(tx: Tx, run: RunRecord, ending: Ending) -> RunEventData:
    reason = "expired" if run.status is RunStatus.EXPIRED else run.incomplete_reason
    if run.status is RunStatus.FAILED:
        reason = ending.reason or (run.last_error.code if run.last_error else None)
    return RunEventData(
        run_id=run.id,
        thread_id=run.thread_id,
        assistant_id=run.assistant_id,
        customer=run.customer,
        status=run.status,
        reason=reason,
        model=run.settings.model,
        usage=canonical_usage(run.usage or runs.used_so_far(tx, run)),
        cost_usd=usd_or_null(cost_of_run(tx, run.id)),
        metadata=run.metadata,
    )


def _end_open_work(tx: Tx, run: RunRecord, ending: Ending) -> Ended:
    opened = run_steps.find_open(tx, run.seq)
    if opened is None:
        return Ended(run=run)
    if run.status not in STEP_ENDINGS:  # the calls wait for their outputs
        run_steps.set_usage(tx, opened.step.id, ending.usage or NO_USAGE)
        return Ended(run=run, step=opened.step)
    message: Message | None = None
    status, error = STEP_ENDINGS[run.status], run.last_error
    if isinstance(opened.step.step_details, MessageCreationDetails):
        message = _end_stored_message(tx, run, opened.step.id, ending)
    elif run.status is RunStatus.INCOMPLETE:
        status, error = StepStatus.FAILED, CUT_CALL
    run_steps.end(
        tx, opened.step.id, status, tx.now_ms, last_error=_for_step(error), usage=ending.usage
    )
    return Ended(run=run, step=run_steps.get(tx, run.seq, opened.step.id), message=message)


def _end_message(
    tx: Tx, run: RunRecord, generation: int, message: OpenMessage, ending: Ending
) -> Ended:
    """End a message that this call has been writing, and its step: what there is to say is known."""
    item = _ended_item(tx, run, message.item, ending)
    status = STEP_ENDINGS[run.status]
    ended_at = tx.now_ms // 1000
    step = RunStep(
        id=message.step_id,
        created_at=item.created_ms // 1000,
        run_id=run.id,
        assistant_id=run.assistant_id,
        thread_id=run.thread_id,
        type="message_creation",
        status=status,
        cancelled_at=ended_at if status is StepStatus.CANCELLED else None,
        completed_at=ended_at if status is StepStatus.COMPLETED else None,
        expired_at=ended_at if status is StepStatus.EXPIRED else None,
        failed_at=ended_at if status is StepStatus.FAILED else None,
        last_error=_for_step(run.last_error),
        step_details=MessageCreationDetails(message_creation=MessageCreation(item.id)),
        usage=assistants_usage(ending.usage or NO_USAGE),
    )
    if message.is_stored:
        run_steps.end(
            tx, step.id, status, tx.now_ms, last_error=step.last_error, usage=ending.usage
        )
        item = items.end(tx, item)
    else:
        seq = run_steps.insert_ended(tx, run.seq, generation, step, item.created_ms, ending.usage)
        items.append(tx, run.conversation, [item], items.Origin(run.seq, generation, seq))
    return Ended(run=run, step=step, message=message_object(item, run.thread_id))


def _end_stored_message(tx: Tx, run: RunRecord, step_id: str, ending: Ending) -> Message | None:
    """End the message of a step of which only the store knows."""
    for item in items.of_steps(tx, run.seq).get(step_id, []):
        if isinstance(item.body, MessageBody):
            ended = _ended_item(tx, run, item, ending)
            items.update(tx, ended)
            return message_object(ended, run.thread_id)
    return None


def _ended_item(tx: Tx, run: RunRecord, item: Item, ending: Ending) -> Item:
    reason = MESSAGE_ENDINGS.get(run.status)
    if run.status is RunStatus.INCOMPLETE and ending.message_reason is not None:
        reason = ending.message_reason
    return msgspec.structs.replace(
        item,
        status=MessageStatus.COMPLETED if reason is None else MessageStatus.INCOMPLETE,
        incomplete_reason=reason,
        ended_ms=tx.now_ms,
    )


def _for_step(error: LastError | None) -> LastError | None:
    """A step knows fewer error codes than a run."""
    if error is not None and error.code == "invalid_prompt":
        return LastError("server_error", error.message)
    return error
