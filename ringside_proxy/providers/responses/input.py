"""Chat messages to the input items of the Responses dialect.

An answer of the model comes back in the order in which the model gave it: its reasoning stands
before the message or call that it led to, or the provider refuses it. That order, and what only
the provider can read, is the answer's `provider_state`: a list of

- `{"type": "reasoning", …}`: the item itself, with its encrypted content;
- `{"type": "message", "chars", "phase"?}`: that many characters of the answer's text;
- `{"type": "function_call", "call_id", "thought_signature"?}`: one of its calls.

Source: https://platform.openai.com/docs/guides/reasoning,
https://docs.x.ai/docs/api-reference#create-new-response and
https://docs.perplexity.ai/api-reference/agent-post, read 2026-11-21.
"""

from typing import Any

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.loose_json import text_in

Item = dict[str, Any]
Message = dict[str, Any]


class InputForm(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider takes in its input items beyond what all of them take."""

    has_developer_role: bool = True
    has_image_detail: bool = True
    has_files: bool = False
    part_extras: frozenset[str] = frozenset()
    """Fields of content parts that it knows by the name they come with."""
    names_outputs: bool = False
    """A call's output repeats its function's name and its thought signature."""


def input_items(messages: list[Message], form: InputForm) -> list[Item]:
    """The conversation as input items. Raises InvalidRequestError for audio and for old functions."""
    items: list[Item] = []
    called: dict[str, Item] = {}
    for message in messages:
        match message["role"]:
            case "assistant":
                answer = _answer(message)
                called |= {
                    item["call_id"]: item for item in answer if item["type"] == "function_call"
                }
                items += answer
            case "tool":
                items.append(_output(message, called, form))
            case "function":
                raise _unsupported("a 'function' message: send tool_calls and 'tool' messages.")
            case "developer" if not form.has_developer_role:
                items.append(_message("system", _content(message, form)))
            case role:
                items.append(_message(role, _content(message, form)))
    return items


def _message(role: str, content: Any, phase: str | None = None) -> Item:
    item = {"type": "message", "role": role, "content": content}
    return item | {"phase": phase} if phase else item


def _content(message: Message, form: InputForm) -> Any:
    content = message.get("content")
    if not isinstance(content, list):
        return content or ""
    return [_part(part, form) for part in content]


def _part(part: dict[str, Any], form: InputForm) -> dict[str, Any]:
    extras = {name: part[name] for name in form.part_extras if part.get(name) is not None}
    kind = part.get("type")
    match kind:
        case "text":
            return {"type": "input_text", "text": part["text"], **extras}
        case "image_url":
            image = part["image_url"]
            detail = {"detail": image.get("detail") or "auto"} if form.has_image_detail else {}
            return {"type": "input_image", "image_url": image["url"], **detail, **extras}
        case "file" if form.has_files:
            return {"type": "input_file", **part["file"], **extras}
        case _:
            raise _unsupported(f"a content part of type '{kind}'.")


def _output(message: Message, called: dict[str, Item], form: InputForm) -> Item:
    call_id = message["tool_call_id"]
    item = {
        "type": "function_call_output",
        "call_id": call_id,
        "output": _plain(message.get("content")),
    }
    if form.names_outputs and (call := called.get(call_id)):
        item |= {key: call[key] for key in ("name", "thought_signature") if key in call}
    return item


def _answer(message: Message) -> list[Item]:
    """An answer of the model, each piece where `provider_state` says."""
    if message.get("function_call"):
        raise _unsupported("an assistant message with 'function_call': send 'tool_calls'.")
    text = _plain(message.get("content")) + (message.get("refusal") or "")
    calls = {call["id"]: _call(call) for call in message.get("tool_calls") or ()}
    state = message.get("provider_state")
    entries = [e for e in state if isinstance(e, dict)] if isinstance(state, list) else []
    if text and sum(_chars(entry) for entry in entries) != len(text):
        # Not the text that the state was written for: it stands first, and the rest as it was.
        entries = [{"type": "message", "chars": len(text)}, *(e for e in entries if not _chars(e))]
    entries += [{"type": "function_call", "call_id": call_id} for call_id in calls]
    return _placed(entries, text, calls)


def _placed(entries: list[Item], text: str, calls: dict[str, Item]) -> list[Item]:
    """The pieces in their order; reasoning whose message or call is gone goes with it."""
    items: list[Item] = []
    thoughts: list[Item] = []
    for entry in entries:
        piece: Item | None = None
        match entry.get("type"):
            case "reasoning":
                thoughts.append(entry)
                continue
            case "message":
                said, text = text[: _chars(entry)], text[_chars(entry) :]
                piece = _message("assistant", said, entry.get("phase")) if said else None
            case "function_call":
                piece = calls.pop(text_in(entry, "call_id"), None)
                if piece and (signature := entry.get("thought_signature")):
                    piece |= {"thought_signature": signature}
            case _:
                pass
        if piece:
            items += [*thoughts, piece]
        thoughts = []
    return items


def _call(call: dict[str, Any]) -> Item:
    if "function" not in call:
        raise _unsupported(f"a tool call of type '{call.get('type')}'.")
    function = call["function"]
    return {
        "type": "function_call",
        "call_id": call["id"],
        "name": function["name"],
        "arguments": function.get("arguments") or "{}",
    }


def _chars(entry: Item) -> int:
    chars = entry.get("chars")
    return chars if entry.get("type") == "message" and isinstance(chars, int) else 0


def _plain(content: Any) -> str:
    """The words of a content that may come in parts."""
    if not isinstance(content, list):
        return content if isinstance(content, str) else ""
    return "".join(text_in(part, "text") or text_in(part, "refusal") for part in content)


def _unsupported(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"This model does not take {what}", param="messages", code="unsupported_parameter"
    )
