"""OpenAI's messages and function names as Cohere takes them. Pure.

Source: https://docs.cohere.com/v2/reference/chat and
https://docs.cohere.com/v2/docs/tool-use-usage-patterns, read 2026-11-21.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from ringside_proxy.providers.native_request import Message, part_text, refused, text_of
from ringside_proxy.providers.types import CompletionRequest

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")

TOOL_PLAN: Final = "tool_plan"
"""The one piece of state: what the model said it would do, before it called."""

CONTINUE: Final[Message] = {"role": "user", "content": "Continue."}

Names = dict[str, str]


def cohere_names(request: CompletionRequest) -> Names:
    """Every function's name in the request → its name at Cohere, one to one, always the same.

    Cohere's names are identifiers; OpenAI's may hold `-` and begin with a digit.
    """
    given = dict.fromkeys(_names(request))
    names = {name: name for name in given if NAME.fullmatch(name)}
    taken = set(names)
    for name in given:
        if name in names:
            continue
        alias = _identifier(name)
        if alias in taken:
            alias = f"{alias}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        while alias in taken:
            alias += "_"
        names[name] = alias
        taken.add(alias)
    return names


def cohere_messages(messages: list[Message], names: Names) -> list[Message]:
    """The conversation. Raises InvalidRequestError for what Cohere cannot be told."""
    told = [said for message in messages if (said := _message(message, names)) is not None]
    # The last word has to be the user's, or a tool's.
    is_owed = not told or told[-1]["role"] not in ("user", "tool")
    return [*told, CONTINUE] if is_owed else told


def _names(request: CompletionRequest) -> Iterable[str]:
    for tool in request.params.get("tools") or ():
        yield str((tool.get("function") or {}).get("name", ""))
    for message in request.messages:
        for call in message.get("tool_calls") or ():
            yield str((call.get("function") or {}).get("name", ""))


def _identifier(name: str) -> str:
    alias = NOT_IN_NAMES.sub("_", name)
    return alias if NAME.fullmatch(alias) else f"_{alias}"


def _message(message: Message, names: Names) -> Message | None:
    match message["role"]:
        case "system" | "developer":
            return {"role": "system", "content": text_of(message)}
        case "user":
            return {"role": "user", "content": _user_content(message)}
        case "assistant":
            return _answer(message, names)
        case "tool":
            return {
                "role": "tool",
                "tool_call_id": message["tool_call_id"],
                "content": text_of(message),
            }
        case role:
            raise refused(f"messages of the role '{role}': send tool_calls and 'tool' messages")


def _user_content(message: Message) -> Any:
    content = message.get("content")
    if not isinstance(content, list):
        return text_of(message)
    if not any(_is_image(part) for part in content):
        return text_of(message)
    return [
        _image(part) if _is_image(part) else {"type": "text", "text": part_text(part)}
        for part in content
    ]


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def _image(part: Any) -> Message:
    image = part["image_url"]
    detail = {"detail": image["detail"]} if image.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": image["url"], **detail}}


def _answer(message: Message, names: Names) -> Message | None:
    """An answer of the model. One that calls has no content, not even null: its words are the plan."""
    if message.get("function_call"):
        raise refused("an assistant message with 'function_call': send 'tool_calls'")
    text = text_of(message)
    calls = [_call(call, names) for call in message.get("tool_calls") or ()]
    if not calls:
        return {"role": "assistant", "content": text} if text else None
    state = message.get("provider_state")
    kept = state.get(TOOL_PLAN) if isinstance(state, dict) else None
    plan = "\n\n".join(words for words in (kept, text) if isinstance(words, str) and words)
    return {"role": "assistant", "tool_calls": calls, **({TOOL_PLAN: plan} if plan else {})}


def _call(call: Message, names: Names) -> Message:
    if "function" not in call:
        raise refused(f"a tool call of type '{call.get('type')}'")
    function = call["function"]
    return {
        "id": call["id"],
        "type": "function",
        "function": {
            "name": names[str(function.get("name", ""))],
            "arguments": function.get("arguments") or "{}",
        },
    }
