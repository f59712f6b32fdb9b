"""A run: one table says how its status moves.

    queued ─► in_progress ─► completed | failed | incomplete
      ▲           │  ├─────► cancelling ─► cancelled
      │           ▼  │            ▲
      └── requires_action ────────┘      (any active status) ─► expired

While a run is active its thread is locked. Everything else here is derived from the table.
Source: OpenAI's run lifecycle, from its published schema and recorded traffic, read 2026-11-21.
"""

from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.errors import RunStateError
from ringside_proxy.domain.tools import Tool


class RunStatus(StrEnum):
    """Where a run is; the words of the wire."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    REQUIRES_ACTION = "requires_action"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class RunEvent(StrEnum):
    """What can happen to a run."""

    START = "start"
    REQUIRE_ACTION = "require_action"
    SUBMIT_OUTPUTS = "submit_outputs"
    COMPLETE = "complete"
    FAIL = "fail"
    RUN_OUT = "run_out"
    CANCEL = "cancel"
    STOP = "stop"
    EXPIRE = "expire"


S, E = RunStatus, RunEvent

RUN_TRANSITIONS: Final[dict[RunStatus, dict[RunEvent, RunStatus]]] = {
    S.QUEUED: {
        E.START: S.IN_PROGRESS,
        E.CANCEL: S.CANCELLING,
        E.FAIL: S.FAILED,
        E.EXPIRE: S.EXPIRED,
    },
    S.IN_PROGRESS: {
        E.REQUIRE_ACTION: S.REQUIRES_ACTION,
        E.COMPLETE: S.COMPLETED,
        E.FAIL: S.FAILED,
        E.RUN_OUT: S.INCOMPLETE,
        E.CANCEL: S.CANCELLING,
        E.EXPIRE: S.EXPIRED,
    },
    S.REQUIRES_ACTION: {
        E.SUBMIT_OUTPUTS: S.QUEUED,
        E.CANCEL: S.CANCELLING,
        E.EXPIRE: S.EXPIRED,
    },
    S.CANCELLING: {E.STOP: S.CANCELLED, E.EXPIRE: S.EXPIRED},
    S.COMPLETED: {},
    S.FAILED: {},
    S.INCOMPLETE: {},
    S.CANCELLED: {},
    S.EXPIRED: {},
}

TERMINAL: Final = frozenset(status for status, out in RUN_TRANSITIONS.items() if not out)
ACTIVE: Final = frozenset(RUN_TRANSITIONS) - TERMINAL

REFUSALS: Final[dict[RunEvent, str]] = {
    E.SUBMIT_OUTPUTS: 'Runs in status "{status}" do not accept tool outputs.',
    E.CANCEL: "Cannot cancel run with status '{status}'.",
}
"""OpenAI's words, matched by programs in the wild."""


def next_status(status: RunStatus, event: RunEvent) -> RunStatus:
    """Where `event` leads from `status`. Raises RunStateError, in OpenAI's words if it has any."""
    target = RUN_TRANSITIONS[status].get(event)
    if target is None:
        refusal = REFUSALS.get(event, f"A run in status '{{status}}' cannot {event.value}.")
        raise RunStateError(refusal.format(status=status.value))
    return target


class LastError(msgspec.Struct, frozen=True):
    """Why a run or step failed."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class RunIncompleteDetails(msgspec.Struct, frozen=True):
    """Which limit ended a run."""

    reason: Literal["max_completion_tokens", "max_prompt_tokens"]


class TruncationStrategy(msgspec.Struct, frozen=True):
    """How much of the thread the model is shown."""

    type: Literal["auto", "last_messages"] = "auto"
    last_messages: int | None = None


class ToolCallFunction(msgspec.Struct, frozen=True):
    """A function's name and its arguments as the JSON text that the model wrote."""

    name: str
    arguments: str


class RequiredToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that waits for its output."""

    id: str
    type: Literal["function"] = "function"
    function: ToolCallFunction


class SubmitToolOutputs(msgspec.Struct, frozen=True):
    """The calls that must all be answered in one request."""

    tool_calls: list[RequiredToolCall]


class RequiredAction(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller has to do before the run goes on."""

    type: Literal["submit_tool_outputs"] = "submit_tool_outputs"
    submit_tool_outputs: SubmitToolOutputs


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """`thread.run`, field for field and in the order of the wire. Times are Unix seconds."""

    id: str
    object: Literal["thread.run"] = "thread.run"
    created_at: int
    assistant_id: str
    thread_id: str
    status: RunStatus
    started_at: int | None = None
    expires_at: int | None = None
    cancelled_at: int | None = None
    failed_at: int | None = None
    completed_at: int | None = None
    required_action: RequiredAction | None = None
    last_error: LastError | None = None
    model: str
    instructions: str | None = None
    tools: list[Tool] = []
    tool_resources: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    reasoning_effort: str | None = None
    max_completion_tokens: int | None = None
    max_prompt_tokens: int | None = None
    truncation_strategy: TruncationStrategy = TruncationStrategy()
    incomplete_details: RunIncompleteDetails | None = None
    usage: dict[str, Any] | None = None
    response_format: Any = "auto"
    tool_choice: Any = "auto"
    parallel_tool_calls: bool = True


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot a run keeps: later changes to its assistant do not touch it.

    The wire's fields first, then what is never echoed: `call_max_tokens` bounds each model call,
    `seed` goes to the provider.
    """

    model: str
    instructions: str | None = None
    tools: list[Tool] = []
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    reasoning_effort: str | None = None
    max_completion_tokens: int | None = None
    max_prompt_tokens: int | None = None
    truncation_strategy: TruncationStrategy = TruncationStrategy()
    response_format: Any = "auto"
    tool_choice: Any = "auto"
    parallel_tool_calls: bool = True
    call_max_tokens: int | None = None
    seed: int | None = None
