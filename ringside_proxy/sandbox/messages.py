"""Chat messages as strictly as OpenAI takes them: their shape, and that every call is answered."""

from typing import Any, Final

from ringside_proxy.sandbox.checks import (
    Check,
    anything,
    array,
    mapping,
    one_of,
    string,
    tagged,
    wrong_type,
)
from ringside_proxy.sandbox.errors import APIError, invalid

CALLS_MAX: Final = 128
NAME_CHARACTERS_MAX: Final = 64
NAME_PATTERN: Final = "[a-zA-Z0-9_-]+"

NAME: Final = string(is_empty_allowed=False, most=NAME_CHARACTERS_MAX, pattern=NAME_PATTERN)
TEXT: Final = string()
ID: Final = string(is_empty_allowed=False)


PARTS: Final[dict[str, Check]] = {
    "text": mapping({"type": anything, "text": TEXT}),
    "refusal": mapping({"type": anything, "refusal": TEXT}),
    "image_url": mapping(
        {
            "type": anything,
            "image_url": mapping({"url": ID}, {"detail": one_of("auto", "low", "high")}),
        }
    ),
    "input_audio": mapping(
        {
            "type": anything,
            "input_audio": mapping({"data": TEXT, "format": one_of("wav", "mp3")}),
        }
    ),
    "file": mapping(
        {
            "type": anything,
            "file": mapping({}, {"file_data": TEXT, "file_id": TEXT, "filename": TEXT}),
        }
    ),
}


def _content(*kinds: str) -> Check:
    parts = array(tagged({kind: PARTS[kind] for kind in kinds}))

    def check(value: Any, path: str) -> None:
        if value is None:
            raise _null_content(path)
        if not isinstance(value, str | list):
            raise wrong_type(path, "one of a string or array of objects", value)
        if isinstance(value, list):
            parts(value, path)

    return check


def _null_content(path: str) -> APIError:
    return invalid(
        "Invalid value for 'content': expected a string, got null.", path.replace("[", ".[")
    )


TOOL_CALL: Final = tagged(
    {
        "function": mapping(
            {
                "id": ID,
                "type": anything,
                "function": mapping({"name": NAME, "arguments": TEXT}),
            }
        )
    }
)

INSTRUCTIONS: Final = mapping({"role": anything, "content": _content("text")}, {"name": TEXT})
USER: Final = mapping(
    {"role": anything, "content": _content("text", "image_url", "input_audio", "file")},
    {"name": TEXT},
)
ASSISTANT: Final = mapping(
    {"role": anything},
    {
        "content": _content("text", "refusal"),
        "refusal": TEXT,
        "name": TEXT,
        "tool_calls": array(TOOL_CALL, most=CALLS_MAX),
        "annotations": anything,
        "audio": anything,
        "function_call": anything,
    },
)
TOOL: Final = mapping({"role": anything, "content": _content("text"), "tool_call_id": ID})


def _assistant(value: Any, path: str) -> None:
    ASSISTANT(value, path)
    if all(value.get(key) is None for key in ("content", "tool_calls", "refusal")):
        raise _null_content(f"{path}.content")


MESSAGES: Final = array(
    tagged(
        {
            "system": INSTRUCTIONS,
            "assistant": _assistant,
            "user": USER,
            "tool": TOOL,
            "developer": INSTRUCTIONS,
        },
        tag="role",
    )
)


def check_tool_answers(messages: list[dict[str, Any]]) -> None:
    """Raises APIError (400) unless every call is answered, once, right after it was made."""
    calls: dict[str, bool] = {}
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            _check_answer(message["tool_call_id"], calls, i)
            calls[message["tool_call_id"]] = True
        else:
            _check_all_answered(calls, i)
            calls = {call["id"]: False for call in message.get("tool_calls") or []}
    _check_all_answered(calls, len(messages) - 1)


def _check_answer(call_id: str, calls: dict[str, bool], i: int) -> None:
    if not calls:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding "
            "message with 'tool_calls'.",
            f"messages.[{i}].role",
        )
    if call_id not in calls:
        raise invalid(
            f"Invalid parameter: 'tool_call_id' of '{call_id}' not found in 'tool_calls' of "
            "previous message.",
            f"messages.[{i}].tool_call_id",
        )
    if calls[call_id]:
        raise invalid(f"Duplicate value for 'tool_call_id' of '{call_id}' in message[{i}]")


def _check_all_answered(calls: dict[str, bool], i: int) -> None:
    if unanswered := [call_id for call_id, is_answered in calls.items() if not is_answered]:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(unanswered),
            f"messages.[{i}].role",
        )
