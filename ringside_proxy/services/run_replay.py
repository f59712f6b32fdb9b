"""The stream of a run once more, from its rows: every event in OpenAI's order, each text in one piece.

A stream tells one stretch of a run: from its creation, or from the outputs of its calls, to its end
or to the next calls. What is shown is what was stored: calls that were never whole are left out,
and a message that was deleted since is empty.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.events import StreamEvent, message_delta, step_delta
from ringside_proxy.domain.items import Item, MessageBody, message_object
from ringside_proxy.domain.messages import Message, MessageStatus
from ringside_proxy.domain.run_steps import (
    MessageCreationDetails,
    RunStep,
    StepStatus,
    StepToolCall,
    ToolCallsDetails,
)
from ringside_proxy.domain.runs import RunStatus
from ringside_proxy.services.run_events import (
    STEP_EVENTS,
    created_events,
    ended_events,
    resumed_events,
    started_events,
)
from ringside_proxy.services.run_transactions import Ended
from ringside_proxy.store import idempotency, items, run_steps, runs, threads
from ringside_proxy.store.run_steps import MadeStep
from ringside_proxy.store.runs import Generation, RunRecord
from ringside_proxy.store.tx import Tx

STEP_OPEN: Final[dict[str, Any]] = {
    "status": StepStatus.IN_PROGRESS,
    "cancelled_at": None,
    "completed_at": None,
    "expired_at": None,
    "failed_at": None,
    "last_error": None,
    "usage": None,
}
MESSAGE_OPEN: Final[dict[str, Any]] = {
    "status": MessageStatus.IN_PROGRESS,
    "incomplete_details": None,
    "incomplete_at": None,
    "completed_at": None,
    "content": [],
}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream tells, headers first."""

    headers: dict[str, str]
    events: list[StreamEvent]


def model_header(model: str) -> dict[str, str]:
    """What an answer about a run says of its model."""
    return {"x-ringside-model": model}


def retell(tx: Tx, caller: Caller, resource: str, *, with_thread: bool) -> Told:
    """What the stream told that began with a run, or with the outputs of a step's calls.

    Raises NotFoundError, and IdempotencyInProgressError while there is more to come.
    """
    run, after = find(tx, caller, resource)
    before = None if after is None else runs.generation(tx, run, after.generation)
    queued = _as_it_was(run, RunStatus.QUEUED, before)
    events = created_events(runs.to_wire(queued))
    if after is not None:
        events = resumed_events(runs.to_wire(queued), _unexpired(after.step, run))
    elif with_thread:
        thread = threads.get(tx, run.thread_id, caller).thread
        events.insert(0, StreamEvent("thread.created", thread))
    number = 1 if after is None else after.generation + 1
    generation = runs.generation(tx, run, number)
    if generation is not None:
        is_last = runs.generation(tx, run, number + 1) is None
        events += _stretch(tx, run, generation, is_last=is_last)
        return Told(headers=model_header(generation.model), events=events)
    if not run.is_terminal:
        raise idempotency.in_progress()
    return Told(headers={}, events=events + ended_events(queued, Ended(run=run)))


def find(tx: Tx, caller: Caller, resource: str) -> tuple[RunRecord, MadeStep | None]:
    """The run with this id, or with a step of this id, which comes along.

    Raises NotFoundError, also for what the caller may not see.
    """
    made = None if resource.startswith("run_") else run_steps.made_by(tx, resource)
    run = runs.reload(tx, resource if made is None else made.run_id)
    if run is None:
        raise NotFoundError.of("run", resource)
    threads.get(tx, run.thread_id, caller)
    return run, made


def _stretch(tx: Tx, run: RunRecord, generation: Generation, *, is_last: bool) -> list[StreamEvent]:
    """What one stretch of model work told, from its start to its end."""
    if generation.ended_ms is None:
        raise idempotency.in_progress()
    started = _as_it_was(run, RunStatus.IN_PROGRESS, generation)
    events = started_events(started)
    found = items.of_steps(tx, run.seq)
    steps = [
        step
        for step in run_steps.of_generation(tx, run.seq, generation.seq)
        if isinstance(step.step_details, MessageCreationDetails) or step.step_details.tool_calls
    ]
    for step in steps[:-1]:
        message = _message(step, found)
        events += _opening(step, run, message)
        if message is not None:
            events.append(StreamEvent("thread.message.completed", message))
        events.append(StreamEvent(STEP_EVENTS[step.status], _unexpired(step, run)))
    ended = Ended(run=run)
    if steps:
        ended = Ended(run=run, step=steps[-1], message=_message(steps[-1], found))
        events += _opening(steps[-1], run, ended.message)
    if not is_last or not run.is_terminal or run.ended_ms != generation.ended_ms:
        ended = _waiting(ended, generation)
    return events + ended_events(started, ended)


def _waiting(ended: Ended, generation: Generation) -> Ended:
    """The run as it stopped to wait for outputs, whatever became of it since."""
    step = None if ended.step is None else msgspec.structs.replace(ended.step, **STEP_OPEN)
    run = _as_it_was(ended.run, RunStatus.REQUIRES_ACTION, generation)
    return Ended(run=run, step=step)


def _as_it_was(run: RunRecord, status: RunStatus, generation: Generation | None) -> RunRecord:
    """The run while it was active; a stretch of work starts with its generation."""
    return msgspec.structs.replace(
        run,
        status=status,
        started_ms=None if generation is None else generation.created_ms,
        ended_ms=None,
        last_error=None,
        incomplete_reason=None,
        usage=None,
    )


def _unexpired(step: RunStep, run: RunRecord) -> RunStep:
    """The step as it was told while its run was active."""
    return msgspec.structs.replace(step, expires_at=run.expires_ms // 1000)


def _opening(step: RunStep, run: RunRecord, message: Message | None) -> list[StreamEvent]:
    """The step begins, and says all it has to say."""
    opened = msgspec.structs.replace(_unexpired(step, run), **STEP_OPEN)
    details = step.step_details
    if isinstance(details, ToolCallsDetails):
        opened = msgspec.structs.replace(opened, step_details=ToolCallsDetails())
    events = [
        StreamEvent("thread.run.step.created", opened),
        StreamEvent("thread.run.step.in_progress", opened),
    ]
    if isinstance(details, ToolCallsDetails):
        calls = enumerate(details.tool_calls)
        return events + [step_delta(step.id, _call(index, call)) for index, call in calls]
    if message is None:
        return events
    begun = msgspec.structs.replace(message, **MESSAGE_OPEN)
    parts = enumerate(msgspec.to_builtins(message.content))
    return [
        *events,
        StreamEvent("thread.message.created", begun),
        StreamEvent("thread.message.in_progress", begun),
        *(message_delta(message.id, {"index": index} | part) for index, part in parts),
    ]


def _call(index: int, call: StepToolCall) -> dict[str, Any]:
    function = {
        "name": call.function.name,
        "arguments": call.function.arguments,
        "output": None,
    }
    return {"index": index, "id": call.id, "type": call.type, "function": function}


def _message(step: RunStep, found: dict[str, list[Item]]) -> Message | None:
    """The message that the step wrote."""
    details = step.step_details
    if isinstance(details, ToolCallsDetails):
        return None
    for item in found.get(step.id, []):
        if isinstance(item.body, MessageBody):
            return message_object(item, step.thread_id)
    return Message(
        id=details.message_creation.message_id,
        created_at=step.created_at,
        assistant_id=step.assistant_id,
        thread_id=step.thread_id,
        run_id=step.run_id,
        completed_at=step.completed_at,
        role="assistant",
        content=[],
    )
