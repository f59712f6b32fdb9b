"""What a run tells whoever streams it."""

from typing import Any, Literal

import msgspec

EventName = Literal[
    "thread.created",
    "thread.run.created",
    "thread.run.queued",
    "thread.run.in_progress",
    "thread.run.requires_action",
    "thread.run.completed",
    "thread.run.incomplete",
    "thread.run.failed",
    "thread.run.cancelling",
    "thread.run.cancelled",
    "thread.run.expired",
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.run.step.delta",
    "thread.run.step.completed",
    "thread.run.step.failed",
    "thread.run.step.cancelled",
    "thread.run.step.expired",
    "thread.message.created",
    "thread.message.in_progress",
    "thread.message.delta",
    "thread.message.completed",
    "thread.message.incomplete",
    "error",
]


class StreamEvent(msgspec.Struct, frozen=True):
    """An event's name and its payload, a wire object or a delta."""

    name: EventName
    data: Any


def message_delta(message_id: str, part: dict[str, Any]) -> StreamEvent:
    """A fragment of a message's content; `part` carries its `index`."""
    return StreamEvent(
        "thread.message.delta",
        {"id": message_id, "object": "thread.message.delta", "delta": {"content": [part]}},
    )


def step_delta(step_id: str, call: dict[str, Any]) -> StreamEvent:
    """A fragment of a function call; `call` carries its `index`."""
    details = {"type": "tool_calls", "tool_calls": [call]}
    return StreamEvent(
        "thread.run.step.delta",
        {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}},
    )
