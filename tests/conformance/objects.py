"""What recorded traffic shows of the objects, beyond the published schema.

Every value has passed its schema before it comes here; these are the facts the schema leaves open:
which keys, in which order, what is null in which status. Facts are tables; `check_object` reads
them by the value's own `object`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.conformance.faults import require, require_keys

Json = dict[str, Any]

KEYS: dict[str, tuple[str, ...]] = {
    "assistant": (
        *("id", "object", "created_at", "name", "description", "model", "instructions", "tools"),
        *("top_p", "temperature", "reasoning_effort", "tool_resources", "metadata"),
        "response_format",
    ),
    "thread": ("id", "object", "created_at", "metadata", "tool_resources"),
    "thread.message": (
        *("id", "object", "created_at", "assistant_id", "thread_id", "run_id", "status"),
        *("incomplete_details", "incomplete_at", "completed_at", "role", "content"),
        *("attachments", "metadata"),
    ),
    "thread.run": (
        *("id", "object", "created_at", "assistant_id", "thread_id", "status", "started_at"),
        *("expires_at", "cancelled_at", "failed_at", "completed_at", "required_action"),
        *("last_error", "model", "instructions", "tools", "tool_resources", "metadata"),
        *("temperature", "top_p", "reasoning_effort", "max_completion_tokens"),
        *("max_prompt_tokens", "truncation_strategy", "incomplete_details", "usage"),
        *("response_format", "tool_choice", "parallel_tool_calls"),
    ),
    "thread.run.step": (
        *("id", "object", "created_at", "run_id", "assistant_id", "thread_id", "type", "status"),
        *("cancelled_at", "completed_at", "expires_at", "failed_at", "last_error"),
        *("step_details", "usage"),
    ),
}
STEP_KEYS_OF_THE_SCHEMA = ("expired_at", "metadata")
"""Required by the schema, never on the real wire: a step has them, at a place of its choice."""

PREFIXES = {
    "assistant": "asst",
    "thread": "thread",
    "thread.message": "msg",
    "thread.run": "run",
    "thread.run.step": "step",
    "assistant_id": "asst",
    "thread_id": "thread",
    "run_id": "run",
}
ID_TAIL = re.compile(r"[A-Za-z0-9]{24}")
CALL_ID = re.compile(r"call_\w+", re.ASCII)

EPOCH_S_MAX = 10_000_000_000
"""Year 2286. What is later was meant in milliseconds."""
METADATA_PAIRS_MAX = 16
METADATA_KEY_CHARS_MAX = 64
METADATA_VALUE_CHARS_MAX = 512

ACTIVE_RUN = frozenset({"queued", "in_progress", "requires_action", "cancelling"})
TERMINAL_RUN = frozenset({"completed", "failed", "incomplete", "cancelled", "expired"})
ENDED_STEP = frozenset({"completed", "failed", "cancelled", "expired"})

SET_IN: dict[str, dict[str, frozenset[str]]] = {
    "thread.run": {
        "expires_at": ACTIVE_RUN,
        "cancelled_at": frozenset({"cancelled"}),
        "failed_at": frozenset({"failed"}),
        "completed_at": frozenset({"completed", "incomplete"}),
        "required_action": frozenset({"requires_action"}),
        "last_error": frozenset({"failed"}),
        "usage": TERMINAL_RUN,
    },
    "thread.run.step": {
        "cancelled_at": frozenset({"cancelled"}),
        "completed_at": frozenset({"completed"}),
        "expired_at": frozenset({"expired"}),
        "failed_at": frozenset({"failed"}),
        "last_error": frozenset({"failed"}),
        "usage": ENDED_STEP,
    },
    "thread.message": {
        "incomplete_details": frozenset({"incomplete"}),
        "incomplete_at": frozenset({"incomplete"}),
        "completed_at": frozenset({"completed"}),
    },
}
"""In which statuses a key has a value; in all others it is null."""
OPEN_QUESTIONS = frozenset({("required_action", "cancelling")})
"""Cancelling "changes the status only", so what the run waited for may still be shown."""

INNER_KEYS = {"last_error": ("code", "message"), "incomplete_details": ("reason",)}
USAGE_KEYS = (
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("prompt_token_details", "completion_tokens_details"),
)
USAGE_DETAILS = {
    "prompt_token_details": ("cached_tokens", "prompt_tokens"),
    "completion_tokens_details": ("reasoning_tokens", "completion_tokens"),
}
"""Where a part of a count stands, and what it is a part of."""
PART_KEYS = {
    "text": ("value", "annotations"),
    "image_url": ("url", "detail"),
    "image_file": ("file_id", "detail"),
}


def check_object(value: Json, at: str) -> None:
    """Raise NonConformance if a list, an object or a deletion is not as it was recorded."""
    kind = value["object"]
    if "data" in value:
        check_list(value, at)
    elif kind.endswith(".deleted"):
        require_keys(value, ("id", "object", "deleted"), at)
        _check_id(value["id"], PREFIXES[kind.removesuffix(".deleted")], f"{at}.id")
        require(value["deleted"] is True, f"{at}.deleted: not true")
    else:
        _check_keys(value, kind, at)
        _check_ids(value, kind, at)
        _check_times(value, at)
        _check_metadata(value["metadata"], f"{at}.metadata")
        _check_set_in(value, SET_IN.get(kind, {}), at)
        OWN_FACTS[kind](value, at)


def check_list(value: Json, at: str) -> None:
    """Raise NonConformance if a page's envelope does not agree with its data."""
    require_keys(value, ("object", "data", "first_id", "last_id", "has_more"), at)
    require(value["object"] == "list", f"{at}.object: {value['object']!r} is not 'list'")
    ids = [item["id"] for item in value["data"]]
    require(len(set(ids)) == len(ids), f"{at}.data: an id stands twice")
    for key, position in (("first_id", 0), ("last_id", -1)):
        expected = ids[position] if ids else None
        require(value[key] == expected, f"{at}.{key}: {value[key]!r}, data says {expected!r}")
    for index, item in enumerate(value["data"]):
        check_object(item, f"{at}.data[{index}]")


def check_calls(calls: list[Json], function_keys: tuple[str, ...], at: str) -> None:
    """Raise NonConformance if complete function calls are not of the wire's shape."""
    for index, call in enumerate(calls):
        place = f"{at}[{index}]"
        require_keys(call, ("id", "type", "function"), place)
        require(bool(CALL_ID.fullmatch(call["id"])), f"{place}.id: {call['id']!r} is no call id")
        require_keys(call["function"], function_keys, f"{place}.function")
    ids = [call["id"] for call in calls]
    require(len(set(ids)) == len(ids), f"{at}: a call id stands twice")


def _check_keys(value: Json, kind: str, at: str) -> None:
    extra = STEP_KEYS_OF_THE_SCHEMA if kind == "thread.run.step" else ()
    missing = [key for key in extra if key not in value]
    require(not missing, f"{at}: missing key {', '.join(missing)}")
    recorded = {key: item for key, item in value.items() if key not in extra}
    require_keys(recorded, KEYS[kind], at)
    for key, inner in INNER_KEYS.items():
        if value.get(key) is not None:
            require_keys(value[key], inner, f"{at}.{key}")


def _check_ids(value: Json, kind: str, at: str) -> None:
    _check_id(value["id"], PREFIXES[kind], f"{at}.id")
    for key in ("assistant_id", "thread_id", "run_id"):
        if value.get(key) is not None:
            _check_id(value[key], PREFIXES[key], f"{at}.{key}")


def _check_id(value: str, prefix: str, at: str) -> None:
    head, _, tail = value.partition("_")
    is_id = head == prefix and ID_TAIL.fullmatch(tail) is not None
    require(is_id, f"{at}: {value!r} is no id of the form {prefix}_ and 24 letters or digits")


def _check_times(value: Json, at: str) -> None:
    for key, time in value.items():
        if key.endswith("_at") and time is not None:
            require(type(time) is int, f"{at}.{key}: {time!r} is not an integer")
            require(0 <= time < EPOCH_S_MAX, f"{at}.{key}: {time} is not in seconds")
            require(time >= value["created_at"], f"{at}.{key}: {time} lies before created_at")


def _check_metadata(metadata: Json | None, at: str) -> None:
    require(metadata is not None, f"{at}: null; an empty one is {{}}")
    require(len(metadata or {}) <= METADATA_PAIRS_MAX, f"{at}: more pairs than may be stored")
    for key, item in (metadata or {}).items():
        fits = len(key) <= METADATA_KEY_CHARS_MAX and len(item) <= METADATA_VALUE_CHARS_MAX
        require(fits, f"{at}.{key}: longer than may be stored")


def _check_set_in(value: Json, table: Mapping[str, frozenset[str]], at: str) -> None:
    status = value.get("status")
    for key, statuses in table.items():
        if (key, status) in OPEN_QUESTIONS:
            continue
        if status in statuses:
            require(value[key] is not None, f"{at}.{key}: null, status is {status}")
        else:
            require(value[key] is None, f"{at}.{key}: must be null, status is {status}")


def _check_assistant(value: Json, at: str) -> None:
    _check_model_settings(value, at)


def _check_thread(value: Json, at: str) -> None:
    require(value["tool_resources"] is not None, f"{at}.tool_resources: null; none is {{}}")


def _check_run(value: Json, at: str) -> None:
    _check_model_settings(value, at)
    status = value["status"]
    if status in {"in_progress", "requires_action", "completed", "incomplete"}:
        require(value["started_at"] is not None, f"{at}.started_at: null, status is {status}")
    if status != "incomplete":
        require(value["incomplete_details"] is None, f"{at}.incomplete_details: must be null")
    require(type(value["parallel_tool_calls"]) is bool, f"{at}.parallel_tool_calls: no boolean")
    require(value["tool_choice"] is not None, f"{at}.tool_choice: null; the default is auto")
    require(value["truncation_strategy"] is not None, f"{at}.truncation_strategy: null")
    require_keys(
        value["truncation_strategy"], ("type", "last_messages"), f"{at}.truncation_strategy"
    )
    _check_required_action(value["required_action"], f"{at}.required_action")
    _check_usage(value["usage"], f"{at}.usage")


def _check_required_action(action: Json | None, at: str) -> None:
    if action is None:
        return
    require_keys(action, ("type", "submit_tool_outputs"), at)
    calls = action["submit_tool_outputs"]["tool_calls"]
    require(bool(calls), f"{at}: no calls to answer")
    check_calls(calls, ("name", "arguments"), f"{at}.submit_tool_outputs.tool_calls")


def _check_model_settings(value: Json, at: str) -> None:
    """What an assistant and a run share: tools and the model's parameters, echoed."""
    for key in ("temperature", "top_p"):
        require(not isinstance(value[key], int), f"{at}.{key}: {value[key]}; the wire says 1.0")
    for key in ("tool_resources", "response_format"):
        require(value[key] is not None, f"{at}.{key}: null")
    for index, tool in enumerate(value["tools"]):
        if tool["type"] == "function":
            _check_function(tool["function"], f"{at}.tools[{index}].function")


def _check_function(function: Json, at: str) -> None:
    require("parameters" in function, f"{at}: missing key parameters; none given is echoed too")
    require(type(function.get("strict")) is bool, f"{at}.strict: no boolean; the default is false")


def _check_step(value: Json, at: str) -> None:
    details = value["step_details"]
    require(details["type"] == value["type"], f"{at}.step_details.type: step is {value['type']}")
    require_keys(details, ("type", value["type"]), f"{at}.step_details")
    if value["status"] == "in_progress":
        require(value["expires_at"] is not None, f"{at}.expires_at: null, the run is active")
    if value["type"] == "message_creation":
        message_id = details["message_creation"]["message_id"]
        _check_id(message_id, "msg", f"{at}.step_details.message_creation.message_id")
    else:
        _check_step_calls(details["tool_calls"], value["status"], f"{at}.step_details.tool_calls")
    _check_usage(value["usage"], f"{at}.usage")


def _check_step_calls(calls: list[Json], status: str, at: str) -> None:
    check_calls(calls, ("name", "arguments", "output"), at)
    is_completed = status == "completed"
    require(bool(calls) or not is_completed, f"{at}: completed without a call")
    for index, call in enumerate(calls):
        has_output = call["function"]["output"] is not None
        fault = "null" if is_completed else "not null"
        require(
            has_output == is_completed, f"{at}[{index}].function.output: {fault}, step {status}"
        )


def _check_message(value: Json, at: str) -> None:
    is_own = value["run_id"] is not None
    require(is_own == (value["assistant_id"] is not None), f"{at}: run_id or assistant_id alone")
    if is_own:
        require(value["role"] == "assistant", f"{at}.role: a run's message is the assistant's")
    else:
        require(value["status"] == "completed", f"{at}.status: no run, so it is completed")
        same = value["completed_at"] == value["created_at"]
        require(same, f"{at}.completed_at: no run, so it is created_at")
    require(value["attachments"] is not None, f"{at}.attachments: null; none is []")
    for index, part in enumerate(value["content"]):
        _check_part(part, f"{at}.content[{index}]")


def _check_part(part: Json, at: str) -> None:
    kind = part["type"]
    require_keys(part, ("type", kind), at)
    if kind in PART_KEYS:
        require_keys(part[kind], PART_KEYS[kind], f"{at}.{kind}")


def _check_usage(usage: Json | None, at: str) -> None:
    if usage is None:
        return
    require_keys(usage, USAGE_KEYS, at)
    for key, (detail, whole) in USAGE_DETAILS.items():
        require_keys(usage[key], (detail,), f"{at}.{key}")
        part, limit = usage[key][detail], usage[whole]
        is_count = type(part) is int and type(limit) is int and 0 <= part <= limit
        require(is_count, f"{at}.{key}.{detail}: {part!r} of {limit!r} is no count of tokens")
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    require(usage["total_tokens"] == total, f"{at}.total_tokens: is not {total}")


OWN_FACTS: dict[str, Callable[[Json, str], None]] = {
    "assistant": _check_assistant,
    "thread": _check_thread,
    "thread.message": _check_message,
    "thread.run": _check_run,
    "thread.run.step": _check_step,
}
