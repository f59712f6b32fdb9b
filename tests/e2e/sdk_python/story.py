"""Words that several suites use: what to send, and how to read what came."""

from itertools import groupby
from typing import Any

import openai

VERSION = tuple(int(part) for part in openai.__version__.split("."))
POLL_MS = 20

LONG_TEXT = " ".join(f"word{n}" for n in range(200))

PREFIX = ["thread.run.created", "thread.run.queued", "thread.run.in_progress"]
TEXT = [
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
    "thread.message.delta",
]
TEXT_DONE = [*TEXT, "thread.message.completed", "thread.run.step.completed"]
CALLS = [
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.run.step.delta",
    "thread.run.requires_action",
]
RESUMED = ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]


def squeezed(names: list[str]) -> list[str]:
    """The names with runs of the same name (deltas, mostly) as one."""
    return [name for name, _ in groupby(names)]


def same(one: Any, other: Any) -> bool:
    """Whether two objects are the same on the wire; they differ in their request's id."""
    return bool(one.to_dict() == other.to_dict())


def text_of(message: Any) -> str:
    """The text of a message, all its parts."""
    return "".join(part.text.value for part in message.content if part.type == "text")


def pending_calls(run: Any) -> list[Any]:
    """The calls that `run` waits for."""
    assert run.status == "requires_action"
    return run.required_action.submit_tool_outputs.tool_calls


def outputs_for(run: Any) -> list[dict[str, str]]:
    """An output for each pending call, last call first: the order is free."""
    return [
        {"tool_call_id": call.id, "output": f"{call.function.name} says 22C"}
        for call in reversed(pending_calls(run))
    ]
