"""The run step object; a step's status moves by the table, like a run's."""

from enum import StrEnum
from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.runs import (
    LastError,
    RequiredAction,
    RequiredToolCall,
    SubmitToolOutputs,
    ToolCallFunction,
)


class StepStatus(StrEnum):
    """Where a step is; there is no `queued`."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


STEP_ENDINGS: Final = frozenset(StepStatus) - {StepStatus.IN_PROGRESS}
"""A step opens in progress and ends once."""


class MessageCreation(msgspec.Struct, frozen=True):
    """Which message the step makes."""

    message_id: str


class MessageCreationDetails(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message_creation"
):
    """Details of a step that writes a message."""

    message_creation: MessageCreation


class StepFunction(msgspec.Struct, frozen=True, kw_only=True):
    """A called function; `output` is null until the caller submits it."""

    name: str
    arguments: str
    output: str | None = None


class StepToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A function call in a step."""

    id: str
    type: Literal["function"] = "function"
    function: StepFunction


class ToolCallsDetails(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_calls"
):
    """Details of a step that calls functions: all calls of one model turn."""

    tool_calls: list[StepToolCall] = []


class RunStep(msgspec.Struct, frozen=True, kw_only=True):
    """`thread.run.step`, field for field and in the order of the wire.

    `expired_at` and `metadata` were not on the real wire but the schema requires them;
    `expires_at` was on the wire and is not in the schema: the run's, null once it is terminal.
    """

    id: str
    object: Literal["thread.run.step"] = "thread.run.step"
    created_at: int
    run_id: str
    assistant_id: str
    thread_id: str
    type: Literal["message_creation", "tool_calls"]
    status: StepStatus = StepStatus.IN_PROGRESS
    cancelled_at: int | None = None
    completed_at: int | None = None
    expires_at: int | None = None
    expired_at: int | None = None
    failed_at: int | None = None
    last_error: LastError | None = None
    step_details: MessageCreationDetails | ToolCallsDetails
    usage: dict[str, Any] | None = None
    metadata: dict[str, str] = {}


def required_action(step: RunStep) -> RequiredAction | None:
    """What a run that stopped at `step` waits for: the outputs of all its calls."""
    if not isinstance(step.step_details, ToolCallsDetails):
        return None
    calls = [
        RequiredToolCall(
            id=call.id, function=ToolCallFunction(call.function.name, call.function.arguments)
        )
        for call in step.step_details.tool_calls
    ]
    return RequiredAction(submit_tool_outputs=SubmitToolOutputs(calls))
