"""Which events begin and end a stream, in OpenAI's order: message, then its step, then the run."""

from typing import Final

import msgspec

from ringside_proxy.domain.events import EventName, StreamEvent
from ringside_proxy.domain.run_steps import RunStep, StepStatus, required_action
from ringside_proxy.domain.runs import RequiredAction, Run, RunStatus
from ringside_proxy.services.run_transactions import Ended
from ringside_proxy.store.runs import RunRecord, to_wire

RUN_EVENTS: Final[dict[RunStatus, EventName]] = {
    RunStatus.QUEUED: "thread.run.queued",
    RunStatus.IN_PROGRESS: "thread.run.in_progress",
    RunStatus.REQUIRES_ACTION: "thread.run.requires_action",
    RunStatus.CANCELLING: "thread.run.cancelling",
    RunStatus.COMPLETED: "thread.run.completed",
    RunStatus.FAILED: "thread.run.failed",
    RunStatus.INCOMPLETE: "thread.run.incomplete",
    RunStatus.CANCELLED: "thread.run.cancelled",
    RunStatus.EXPIRED: "thread.run.expired",
}

STEP_EVENTS: Final[dict[StepStatus, EventName]] = {
    StepStatus.COMPLETED: "thread.run.step.completed",
    StepStatus.FAILED: "thread.run.step.failed",
    StepStatus.CANCELLED: "thread.run.step.cancelled",
    StepStatus.EXPIRED: "thread.run.step.expired",
}


def created_events(queued: Run) -> list[StreamEvent]:
    """How the stream of a new run begins."""
    return [StreamEvent("thread.run.created", queued), StreamEvent("thread.run.queued", queued)]


def resumed_events(queued: Run, step: RunStep) -> list[StreamEvent]:
    """How the stream of submitted tool outputs begins."""
    return [
        StreamEvent("thread.run.step.completed", step),
        StreamEvent("thread.run.queued", queued),
    ]


def started_events(run: RunRecord) -> list[StreamEvent]:
    """The run is at work."""
    return [StreamEvent("thread.run.in_progress", to_wire(run))]


def ended_events(before: RunRecord, ended: Ended) -> list[StreamEvent]:
    """How the stream ends; `before` is the run as it was at work."""
    events: list[StreamEvent] = []
    if ended.run.status is RunStatus.CANCELLED:
        cancelling = msgspec.structs.replace(before, status=RunStatus.CANCELLING)
        events.append(StreamEvent("thread.run.cancelling", to_wire(cancelling)))
    if ended.message is not None:
        name: EventName = (
            "thread.message.completed"
            if ended.message.incomplete_details is None
            else "thread.message.incomplete"
        )
        events.append(StreamEvent(name, ended.message))
    if ended.step is not None and ended.step.status in STEP_EVENTS:
        events.append(StreamEvent(STEP_EVENTS[ended.step.status], ended.step))
    events.append(
        StreamEvent(RUN_EVENTS[ended.run.status], to_wire(ended.run, _required_action(ended)))
    )
    return events


def unstarted_events(run: RunRecord) -> list[StreamEvent]:
    """How the stream of a run ends that was ended before it began."""
    return ended_events(run, Ended(run=run))


def _required_action(ended: Ended) -> RequiredAction | None:
    if ended.run.status is not RunStatus.REQUIRES_ACTION or ended.step is None:
        return None
    return required_action(ended.step)
