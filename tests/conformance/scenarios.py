"""Streams as the real service sent them: every order of events that a run may show.

A scenario is a list of (event, payload); `stream_bytes` and `chat_bytes` put one on the wire.
"""

from typing import Any

from tests.conformance.samples import (
    CALL_ID,
    MESSAGE_ID,
    NOW,
    SECOND_CALL_ID,
    TEXT,
    TOOL_STEP_ID,
    Json,
    answered_calls,
    compact,
    cut_message,
    error_body,
    message,
    message_step,
    run,
    thread,
    tool_step,
    written_message,
)

Events = list[tuple[str, Any]]


def _text_delta(value: str, **first: Any) -> tuple[str, Json]:
    content = [{"index": 0, "type": "text", "text": {"value": value, **first}}]
    delta = {"id": MESSAGE_ID, "object": "thread.message.delta", "delta": {"content": content}}
    return ("thread.message.delta", delta)


def _call_delta(index: int, function: Json, **first: Any) -> tuple[str, Json]:
    fragment = {"index": index, **first, "type": "function", "function": function}
    details = {"type": "tool_calls", "tool_calls": [fragment]}
    delta = {
        "id": TOOL_STEP_ID,
        "object": "thread.run.step.delta",
        "delta": {"step_details": details},
    }
    return ("thread.run.step.delta", delta)


def _first_call_delta(index: int, call_id: str) -> tuple[str, Json]:
    function = {"name": "get_current_weather", "arguments": "", "output": None}
    return _call_delta(index, function, id=call_id)


PREFIX: Events = [
    ("thread.run.created", run("queued")),
    ("thread.run.queued", run("queued")),
    ("thread.run.in_progress", run("in_progress")),
]
TEXT_BLOCK: Events = [
    ("thread.run.step.created", message_step()),
    ("thread.run.step.in_progress", message_step()),
    ("thread.message.created", message()),
    ("thread.message.in_progress", message()),
    _text_delta(TEXT[0], annotations=[]),
    *(_text_delta(text) for text in TEXT[1:]),
]
TEXT_ENDED: Events = [
    ("thread.message.completed", written_message()),
    ("thread.run.step.completed", message_step("completed")),
]
CALL_BLOCK: Events = [
    ("thread.run.step.created", tool_step()),
    ("thread.run.step.in_progress", tool_step()),
    _first_call_delta(0, CALL_ID),
    _call_delta(0, {"arguments": '{"location"'}),
    _call_delta(0, {"arguments": ':"Rome"}'}),
    _first_call_delta(1, SECOND_CALL_ID),
    _call_delta(1, {"arguments": '{"location":"Oslo"}'}),
]
RUN_COMPLETED: Events = [("thread.run.completed", run("completed"))]
ACTION_REQUIRED: Events = [("thread.run.requires_action", run("requires_action"))]
RUN_FAILED: Events = [("thread.run.failed", run("failed"))]
RUN_CANCELLED: Events = [("thread.run.cancelled", run("cancelled"))]
CANCELLING: Events = [("thread.run.cancelling", run("cancelling"))]
RESUMED: Events = [
    (
        "thread.run.step.completed",
        tool_step("completed", step_details=answered_calls("sunny", "rain")),
    ),
    ("thread.run.queued", run("queued", started_at=NOW)),
    ("thread.run.in_progress", run("in_progress", started_at=NOW + 2)),
]
SERVER_FAULT: Events = [("error", error_body(message="Something broke.", type="server_error"))]


def _cut(reason: str, step_status: str, run_status: str) -> Events:
    return [
        ("thread.message.incomplete", cut_message(reason)),
        (f"thread.run.step.{step_status}", message_step(step_status)),
        (f"thread.run.{run_status}", run(run_status)),
    ]


def _refusal_delta(text: str) -> tuple[str, Json]:
    content = [{"index": 0, "type": "refusal", "refusal": text}]
    delta = {"id": MESSAGE_ID, "object": "thread.message.delta", "delta": {"content": content}}
    return ("thread.message.delta", delta)


SCENARIOS: dict[str, Events] = {
    "text": [*PREFIX, *TEXT_BLOCK, *TEXT_ENDED, *RUN_COMPLETED],
    "create_and_run": [
        ("thread.created", thread()),
        *PREFIX,
        *TEXT_BLOCK,
        *TEXT_ENDED,
        *RUN_COMPLETED,
    ],
    "refusal": [
        *PREFIX,
        *TEXT_BLOCK[:4],
        _refusal_delta("I can't"),
        _refusal_delta(" help with that."),
        (
            "thread.message.completed",
            written_message()
            | {"content": [{"type": "refusal", "refusal": "I can't help with that."}]},
        ),
        ("thread.run.step.completed", message_step("completed")),
        *RUN_COMPLETED,
    ],
    "empty_message": [
        *PREFIX,
        *TEXT_BLOCK[:4],
        ("thread.message.completed", written_message() | {"content": []}),
        ("thread.run.step.completed", message_step("completed")),
        *RUN_COMPLETED,
    ],
    "function_call": [*PREFIX, *CALL_BLOCK, *ACTION_REQUIRED],
    "text_then_calls": [*PREFIX, *TEXT_BLOCK, *TEXT_ENDED, *CALL_BLOCK, *ACTION_REQUIRED],
    "outputs_then_text": [*RESUMED, *TEXT_BLOCK, *TEXT_ENDED, *RUN_COMPLETED],
    "incomplete": [*PREFIX, *TEXT_BLOCK, *_cut("max_tokens", "completed", "incomplete")],
    "filtered": [
        *PREFIX,
        *TEXT_BLOCK,
        *_cut("content_filter", "completed", "incomplete")[:-1],
        ("thread.run.incomplete", run("incomplete", incomplete_details=None)),
    ],
    "incomplete_calls": [
        *PREFIX,
        *CALL_BLOCK,
        ("thread.run.step.failed", tool_step("failed", step_details=answered_calls(None, None))),
        ("thread.run.incomplete", run("incomplete")),
    ],
    "failed_before_output": [*PREFIX, *RUN_FAILED],
    "failed_in_message": [*PREFIX, *TEXT_BLOCK, *_cut("run_failed", "failed", "failed")],
    "failed_in_call": [
        *PREFIX,
        *CALL_BLOCK,
        ("thread.run.step.failed", tool_step("failed", step_details=answered_calls(None, None))),
        *RUN_FAILED,
    ],
    "cancelled_before_output": [*PREFIX, *CANCELLING, *RUN_CANCELLED],
    "cancelled_in_message": [
        *PREFIX,
        *TEXT_BLOCK,
        *CANCELLING,
        *_cut("run_cancelled", "cancelled", "cancelled"),
    ],
    "cancelled_in_call": [
        *PREFIX,
        *CALL_BLOCK,
        *CANCELLING,
        (
            "thread.run.step.cancelled",
            tool_step("cancelled", step_details=answered_calls(None, None)),
        ),
        *RUN_CANCELLED,
    ],
    "expired_in_message": [*PREFIX, *TEXT_BLOCK, *_cut("run_expired", "expired", "expired")],
    "expired_in_call": [
        *PREFIX,
        *CALL_BLOCK,
        ("thread.run.step.expired", tool_step("expired", step_details=answered_calls(None, None))),
        ("thread.run.expired", run("expired")),
    ],
    "server_fault": [*PREFIX, *TEXT_BLOCK, *SERVER_FAULT],
}
"""Every sequence of events that a stream may be, without its `done`."""


def stream_bytes(events: Events) -> bytes:
    """The frames of `events` and of `done`."""
    frames = [f"event: {event}\ndata: {compact(payload)}\n\n" for event, payload in events]
    return ("".join(frames) + "event: done\ndata: [DONE]\n\n").encode()


def chat_chunk(*choices: Json, **fields: Any) -> Json:
    return {
        "id": "chatcmpl-9xY2",
        "object": "chat.completion.chunk",
        "created": NOW,
        "model": "gpt-4o",
        "choices": list(choices),
    } | fields


def chat_choice(delta: Json, finish_reason: str | None = None, index: int = 0) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def chat_call(index: int, arguments: str, **first: Any) -> Json:
    """A fragment of a call; `first` holds the id and name of a call's first one."""
    function = {key: first.pop(key) for key in ("name",) if key in first}
    return {"index": index, **first, "function": {**function, "arguments": arguments}}


CHAT_CHUNKS: list[Json] = [
    chat_chunk(chat_choice({"role": "assistant", "content": None})),
    chat_chunk(
        chat_choice({"tool_calls": [chat_call(0, "", id=CALL_ID, type="function", name="f")]})
    ),
    chat_chunk(chat_choice({"tool_calls": [chat_call(0, '{"x":1}')]})),
    chat_chunk(
        chat_choice(
            {"tool_calls": [chat_call(1, "", id=SECOND_CALL_ID, type="function", name="g")]}
        )
    ),
    chat_chunk(chat_choice({"tool_calls": [chat_call(1, "{}")]})),
    chat_chunk(chat_choice({}, "tool_calls")),
    chat_chunk(usage={"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}),
]


def chat_bytes(chunks: list[Json]) -> bytes:
    frames = [f"data: {compact(chunk)}\n\n" for chunk in chunks]
    return ("".join(frames) + "data: [DONE]\n\n").encode()
