"""In which order a run's events come: one table.

A stream begins with a created run (after its thread, if that was made too) or, when outputs were
submitted, with the tool step that they completed. Then comes one model turn: a message step if
there is text, then a step with all function calls. Inside out: a message ends before its step, a
step before the run. Each phase is a phrase, so that a refusal reads as a sentence.

The symbols are event names without `thread.`; a step's carry its type, an incomplete message's its
reason: both decide what may follow. Source: recorded streams of the real service, and for the
failing paths OpenAI's own SDKs, which abort on any other order.
"""

from typing import Any

from tests.conformance.faults import NonConformance

BEGIN = "nothing has been sent"
THREAD_CREATED = "only the thread is created"
RUN_CREATED = "the run is created"
RESUMED = "the tool step has its outputs"
QUEUED = "the run is queued"
RUNNING = "the run is in progress and nothing is open"
MESSAGE_STEP_CREATED = "the message step is created"
MESSAGE_STEP_OPEN = "the message step is open and has no message"
MESSAGE_CREATED = "the message is created"
MESSAGE_OPEN = "the message is being written"
WRITTEN = "the message is completed and its step is open"
AFTER_MESSAGE = "the message step is completed"
TOOL_STEP_CREATED = "the tool step is created"
TOOL_STEP_OPEN = "the tool step is open and has no calls"
CALLING = "calls are being written"
CUT_BY_LIMIT = "the message is cut short and its step is open"
CUT_BY_FAILURE = "the message broke off and its step is open"
CUT_BY_EXPIRY = "the message ran out of time and its step is open"
LIMIT_REACHED = "the step of the message cut short is completed"
FAILING = "the message step failed"
CALLS_FAILED = "the tool step failed"
EXPIRING = "the open step expired"
CANCELLING_MESSAGE = "the run is cancelling and its message is open"
CANCELLING_MESSAGE_STEP = "the run is cancelling and its message step is open"
CANCELLING_CALLS = "the run is cancelling and its tool step is open"
CANCELLING = "the run is cancelling and nothing is open"
ENDED = "the run is over, or waits for outputs"
FAULTED = "an error was sent"
CLOSED = "the stream is done"

RUN_ENDINGS = {
    "run.completed": ENDED,
    "run.incomplete": ENDED,
    "run.failed": ENDED,
    "run.expired": ENDED,
    "run.cancelling": CANCELLING,
}

UNDER_WAY: dict[str, dict[str, str]] = {
    THREAD_CREATED: {"run.created": RUN_CREATED},
    RUN_CREATED: {"run.queued": QUEUED},
    RESUMED: {"run.queued": QUEUED},
    QUEUED: {"run.in_progress": RUNNING, "run.cancelling": CANCELLING, "run.expired": ENDED},
    RUNNING: {
        "message_step.created": MESSAGE_STEP_CREATED,
        "tool_step.created": TOOL_STEP_CREATED,
        **RUN_ENDINGS,
    },
    MESSAGE_STEP_CREATED: {"message_step.in_progress": MESSAGE_STEP_OPEN},
    MESSAGE_STEP_OPEN: {"message.created": MESSAGE_CREATED},
    MESSAGE_CREATED: {"message.in_progress": MESSAGE_OPEN},
    MESSAGE_OPEN: {
        "message.delta": MESSAGE_OPEN,
        "message.completed": WRITTEN,
        "message.incomplete max_tokens": CUT_BY_LIMIT,
        "message.incomplete content_filter": CUT_BY_LIMIT,
        "message.incomplete run_failed": CUT_BY_FAILURE,
        "message.incomplete run_expired": CUT_BY_EXPIRY,
        "run.cancelling": CANCELLING_MESSAGE,
    },
    WRITTEN: {"message_step.completed": AFTER_MESSAGE},
    AFTER_MESSAGE: {"tool_step.created": TOOL_STEP_CREATED, **RUN_ENDINGS},
    TOOL_STEP_CREATED: {"tool_step.in_progress": TOOL_STEP_OPEN},
    TOOL_STEP_OPEN: {"tool_step.delta": CALLING},
    CALLING: {
        "tool_step.delta": CALLING,
        "run.requires_action": ENDED,
        "tool_step.failed": CALLS_FAILED,
        "tool_step.expired": EXPIRING,
        "run.cancelling": CANCELLING_CALLS,
    },
    CUT_BY_LIMIT: {"message_step.completed": LIMIT_REACHED},
    LIMIT_REACHED: {"run.incomplete": ENDED},
    CUT_BY_FAILURE: {"message_step.failed": FAILING},
    FAILING: {"run.failed": ENDED},
    # Calls that a limit cut short are as useless as calls that broke off.
    CALLS_FAILED: {"run.failed": ENDED, "run.incomplete": ENDED},
    CUT_BY_EXPIRY: {"message_step.expired": EXPIRING},
    EXPIRING: {"run.expired": ENDED},
    CANCELLING_MESSAGE: {"message.incomplete run_cancelled": CANCELLING_MESSAGE_STEP},
    CANCELLING_MESSAGE_STEP: {"message_step.cancelled": CANCELLING},
    CANCELLING_CALLS: {"tool_step.cancelled": CANCELLING},
    CANCELLING: {"run.cancelled": ENDED},
}

ORDER: dict[str, dict[str, str]] = {
    BEGIN: {
        "thread.created": THREAD_CREATED,
        "run.created": RUN_CREATED,
        "tool_step.completed": RESUMED,
    },
    # A fault of the server may show at any time between the first byte and the run's end.
    **{phase: {**following, "error": FAULTED} for phase, following in UNDER_WAY.items()},
    ENDED: {"done": CLOSED},
    FAULTED: {"done": CLOSED},
    CLOSED: {},
}

STEP_NAMES = {"message_creation": "message_step", "tool_calls": "tool_step"}


def symbol(event: str, payload: dict[str, Any]) -> str:
    """The event as the table knows it."""
    if event == "thread.created":
        return event
    name = event.removeprefix("thread.")
    if name == "message.incomplete":
        return f"{name} {(payload['incomplete_details'] or {}).get('reason')}"
    if name.startswith("run.step."):
        details = payload["delta"].get("step_details") if name.endswith("delta") else payload
        kind = (details or {}).get("type", "")
        return f"{STEP_NAMES.get(kind, 'step')}.{name.removeprefix('run.step.')}"
    return name


def next_phase(phase: str, sign: str) -> str:
    """The phase after an event. Raises NonConformance, with what could have come instead."""
    following = ORDER[phase]
    if sign not in following:
        expected = ", ".join(following) or "nothing"
        raise NonConformance(f"{sign} is out of order: {phase}; expected: {expected}")
    return following[sign]
