"""Whether a stream is OpenAI's: frames to the byte, events in order, payloads that agree.

    events = check_run_stream(raw)      # the whole body of a streamed run
    chunks = check_chat_stream(raw)     # the whole body of a streamed chat completion

`RunStreamChecker` does the same event by event, for whoever has no bytes.
"""

from collections.abc import Callable
from typing import Any

from tests.conformance.completions import check_chat_stream
from tests.conformance.deltas import MessageParts, ToolCalls
from tests.conformance.faults import NonConformance, parse_json, require, require_keys
from tests.conformance.frames import run_frames
from tests.conformance.objects import ACTIVE_RUN, check_object
from tests.conformance.run_order import BEGIN, CLOSED, RESUMED, next_phase, symbol
from tests.conformance.schema import check_error
from tests.conformance.spec import event_schemas, validate

__all__ = ["NonConformance", "RunStreamChecker", "check_chat_stream", "check_run_stream"]

Json = dict[str, Any]

DONE = "[DONE]"
STATUS_OF_CREATED = {
    "thread.run.created": "queued",
    "thread.run.step.created": "in_progress",
    "thread.message.created": "in_progress",
}
"""Of every other event the last word of its name is the status inside."""
MOVING = frozenset(
    {"status", "started_at", "expires_at", "cancelled_at", "failed_at", "completed_at"}
    | {"required_action", "last_error", "incomplete_details", "usage", "metadata"}
)
"""What may change in a run; the rest is a snapshot from its creation."""
FIXED_IN_STEP = ("id", "created_at", "type")
FIXED_IN_MESSAGE = ("id", "created_at", "role", "metadata")


def check_run_stream(raw: bytes) -> list[tuple[str, object]]:
    """Each event of a run's stream with its payload. Raises NonConformance at the first fault."""
    checker = RunStreamChecker()
    events = [(event, checker.feed(event, data)) for event, data in run_frames(raw)]
    checker.finish()
    return events


class RunStreamChecker:
    """Follows one stream of a run; every method raises NonConformance at a fault."""

    def __init__(self) -> None:
        self._number = -1
        self._phase = BEGIN
        self._is_resumed = False
        self._ids: dict[str, str] = {}
        self._used: set[str] = set()
        self._run: Json = {}
        self._step: Json = {}
        self._message: Json = {}
        self._cut: Json | None = None
        self._parts = MessageParts()
        self._calls = ToolCalls()

    def feed(self, event: str, data: str) -> object:
        """The payload of the next event."""
        self._number += 1
        at = f"event {self._number} {event}"
        payload = self._payload(event, data, at)
        try:
            self._phase = next_phase(self._phase, symbol(event, payload))
        except NonConformance as fault:
            raise NonConformance(f"{at}: {fault}") from None
        self._is_resumed = self._is_resumed or self._phase == RESUMED
        handler = HANDLERS.get(event)
        if handler is not None:
            handler(self, payload, at)
        return payload if event != "done" else DONE

    def finish(self) -> None:
        """The stream has ended."""
        require(self._phase == CLOSED, f"the stream ends without done: {self._phase}")

    def _payload(self, event: str, data: str, at: str) -> Json:
        require(event in event_schemas(), f"{at}: no such event")
        schema = event_schemas()[event]
        if schema is None:
            require(data == DONE, f"{at}: data is {data!r}, not {DONE}")
            return {}
        payload: Json = parse_json(data, at)
        validate(schema, payload, at)
        if event == "error":
            check_error(payload, at)
        elif event.endswith(".delta"):
            require_keys(payload, ("id", "object", "delta"), at)
        else:
            self._check_status(event, payload, at)
            check_object(payload, at)
        return payload

    def _check_status(self, event: str, payload: Json, at: str) -> None:
        if "status" in payload:
            expected = STATUS_OF_CREATED.get(event, event.rpartition(".")[2])
            found = payload["status"]
            require(found == expected, f"{at}.status: {found}; the event says {expected}")

    def _bind(self, at: str, **ids: str) -> None:
        """One stream has one run, thread and assistant."""
        for name, value in ids.items():
            known = self._ids.setdefault(name, value)
            require(value == known, f"{at}: {name} {value} is not the stream's {known}")

    def _bind_part(self, payload: Json, at: str) -> None:
        self._bind(at, **{key: payload[key] for key in ("run_id", "thread_id", "assistant_id")})

    def _take(self, object_id: str, at: str) -> None:
        require(object_id not in self._used, f"{at}: {object_id} was created before")
        self._used.add(object_id)

    # --- the thread and the run

    def _on_thread(self, thread: Json, at: str) -> None:
        self._bind(at, thread_id=thread["id"])

    def _on_run(self, run: Json, at: str) -> None:
        self._bind(at, run_id=run["id"], thread_id=run["thread_id"])
        self._bind(at, assistant_id=run["assistant_id"])
        for key in (key for key in run if self._run and key not in MOVING):
            require(run[key] == self._run[key], f"{at}.{key}: changed; a run is a snapshot")
        if self._run and run["status"] in ACTIVE_RUN:
            is_same = run["expires_at"] == self._run["expires_at"]
            require(is_same, f"{at}.expires_at: moved; it counts from creation")
        if run["status"] == "queued":
            has_started = run["started_at"] is not None
            require(has_started == self._is_resumed, f"{at}.started_at: {run['started_at']}")
        is_kept = run["started_at"] is not None or self._run.get("started_at") is None
        require(is_kept, f"{at}.started_at: null, but the run had started")
        if run["status"] == "incomplete" and self._cut == {"reason": "max_tokens"}:
            has_reason = run["incomplete_details"] is not None
            require(has_reason, f"{at}.incomplete_details: null, a limit cut the message")
        self._run = run

    def _on_requires_action(self, run: Json, at: str) -> None:
        self._on_run(run, at)
        required = run["required_action"]["submit_tool_outputs"]["tool_calls"]
        require(required == self._calls.calls, f"{at}: required_action is not the streamed calls")

    # --- steps

    def _on_step_created(self, step: Json, at: str) -> None:
        self._bind_part(step, at)
        self._take(step["id"], at)
        require(step["step_details"].get("tool_calls", []) == [], f"{at}: calls before any delta")
        is_runs = step["expires_at"] == self._run["expires_at"]
        require(is_runs, f"{at}.expires_at: {step['expires_at']} is not the run's")
        self._step = step

    def _on_step_in_progress(self, step: Json, at: str) -> None:
        require(step == self._step, f"{at}: differs from its created event")

    def _on_step_delta(self, payload: Json, at: str) -> None:
        self._check_open(payload, self._step, "step", at)
        self._calls.add(payload["delta"], at)

    def _on_step_ended(self, step: Json, at: str) -> None:
        self._bind_part(step, at)
        if not self._step:  # opened in an earlier stream; its outputs have come
            self._take(step["id"], at)
            return
        self._check_open(step, self._step, "step", at)
        for key in FIXED_IN_STEP:
            require(step[key] == self._step[key], f"{at}.{key}: changed")
        is_kept = step["expires_at"] in (None, self._step["expires_at"])
        require(is_kept, f"{at}.expires_at: changed")
        if step["type"] == "message_creation":
            same = step["step_details"] == self._step["step_details"]
            require(same, f"{at}.step_details: another message")
        else:
            self._check_broken_calls(step, at)
        self._step = {}

    def _check_broken_calls(self, step: Json, at: str) -> None:
        """Calls that were never whole are shown as far as they came, or not at all."""
        calls = [
            {**call, "function": {key: call["function"][key] for key in ("name", "arguments")}}
            for call in step["step_details"]["tool_calls"]
        ]
        require(calls in ([], self._calls.calls), f"{at}: the calls are not the streamed ones")

    # --- the message

    def _on_message_created(self, message: Json, at: str) -> None:
        self._bind_part(message, at)
        announced = self._step["step_details"]["message_creation"]["message_id"]
        require(message["id"] == announced, f"{at}.id: the step announced {announced}")
        require(message["content"] == [], f"{at}.content: not [] before the first delta")
        self._take(message["id"], at)
        self._message = message

    def _on_message_in_progress(self, message: Json, at: str) -> None:
        require(message == self._message, f"{at}: differs from its created event")

    def _on_message_delta(self, payload: Json, at: str) -> None:
        self._check_open(payload, self._message, "message", at)
        self._parts.add(payload["delta"], at)

    def _on_message_ended(self, message: Json, at: str) -> None:
        self._bind_part(message, at)
        self._check_open(message, self._message, "message", at)
        for key in FIXED_IN_MESSAGE:
            require(message[key] == self._message[key], f"{at}.{key}: changed")
        require(message["content"] == self._parts.parts, f"{at}.content: not what was streamed")
        self._cut = message["incomplete_details"]

    def _check_open(self, payload: Json, opened: Json, noun: str, at: str) -> None:
        is_open = payload["id"] == opened["id"]
        require(is_open, f"{at}: {payload['id']} is not the open {noun} {opened['id']}")


RUN_EVENTS = (
    *("thread.run.created", "thread.run.queued", "thread.run.in_progress", "thread.run.completed"),
    *("thread.run.incomplete", "thread.run.failed", "thread.run.cancelling"),
    *("thread.run.cancelled", "thread.run.expired"),
)
STEP_ENDINGS = (
    *("thread.run.step.completed", "thread.run.step.failed", "thread.run.step.cancelled"),
    "thread.run.step.expired",
)
HANDLERS: dict[str, Callable[[RunStreamChecker, Json, str], None]] = {
    "thread.created": RunStreamChecker._on_thread,
    **dict.fromkeys(RUN_EVENTS, RunStreamChecker._on_run),
    "thread.run.requires_action": RunStreamChecker._on_requires_action,
    "thread.run.step.created": RunStreamChecker._on_step_created,
    "thread.run.step.in_progress": RunStreamChecker._on_step_in_progress,
    "thread.run.step.delta": RunStreamChecker._on_step_delta,
    **dict.fromkeys(STEP_ENDINGS, RunStreamChecker._on_step_ended),
    "thread.message.created": RunStreamChecker._on_message_created,
    "thread.message.in_progress": RunStreamChecker._on_message_in_progress,
    "thread.message.delta": RunStreamChecker._on_message_delta,
    "thread.message.completed": RunStreamChecker._on_message_ended,
    "thread.message.incomplete": RunStreamChecker._on_message_ended,
}
"""`error` and `done` say nothing about an object."""
