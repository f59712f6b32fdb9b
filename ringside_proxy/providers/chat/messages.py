"""Messages as the providers on OpenAI's dialect want them, where that is not as OpenAI does. Pure.

Source: the vendors' API references and SDK types (named with each row), read 2026-11-21.
"""

import hashlib
import re
import string
from typing import Any, Final, Literal

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.loose_json import objects_of, text_in

Message = dict[str, Any]
ReplayField = Literal["reasoning_content", "reasoning", "reasoning_details", "thinking"]

ANSWER_IN_JSON: Final = "Answer in JSON."
ANSWER_IN_SCHEMA: Final = "Answer in JSON that meets this JSON schema: "

PROVIDER_STATE: Final = "provider_state"
MESSAGE_KEYS: Final = ("role", "content", "name", "tool_calls", "tool_call_id")
"""What every dialect knows; a key that it does not know is fatal at some."""
OPENAI_KEYS: Final = frozenset({*MESSAGE_KEYS, "refusal", "audio", "function_call"})
"""What OpenAI knows, too; what an answer here says beside it (`reasoning_content`) it refuses."""
CALL_KEYS: Final = frozenset({"id", "type", "function", "custom"})
TEXT_PARTS: Final = {"text": "text", "refusal": "refusal"}
BRIDGE: Final[Message] = {"role": "assistant", "content": "OK."}
CONTINUE: Final[Message] = {"role": "user", "content": "Continue."}

ALNUM9: Final = re.compile(r"[a-zA-Z0-9]{9}")
BASE62: Final = string.digits + string.ascii_letters


class MessageRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider wants its messages."""

    is_openai: bool = False
    """All of OpenAI's keys and parts are known, and no others."""
    developer_prefixes: tuple[str, ...] = ()
    """Models that know the role `developer`; for others it is `system`."""
    merges_system: bool = False
    """Only a leading system message is safe: later ones join it."""
    flattens_text: bool = True
    """Content that is a list of texts alone becomes one text."""
    named_roles: tuple[str, ...] = ("system", "developer", "user", "assistant", "tool")
    """Roles whose `name` is taken."""
    null_content: Literal["null", "empty", "omit"] = "null"
    """What stands for the missing content of a message that calls."""
    has_strict_order: bool = False
    """A user may not speak right after a tool, and nobody else last."""
    tool_ids: Literal["any", "alnum9"] = "any"
    has_image_detail: bool = True
    keeps_cache_control: bool = False
    replay: ReplayField | None = None
    """Where the reasoning of an earlier answer goes."""
    replay_is_required: bool = False
    """An answer without it is refused once there are tools: an empty one stands in."""


def adapted(
    messages: list[Message], rules: MessageRules, model: str, *, reasons_with_tools: bool
) -> list[Message]:
    """The messages as `model` takes them. Raises InvalidRequestError for parts it cannot."""
    if rules.is_openai:
        return [_plain(message) for message in messages]
    is_owed = rules.replay_is_required and reasons_with_tools
    told = [_message(message, rules, model, is_owed=is_owed) for message in messages]
    told = [message for message in told if _says_something(message)]
    if rules.merges_system:
        told = _with_one_system(told)
    return _in_order(told) if rules.has_strict_order else told


def instructed(messages: list[Message], instruction: str) -> list[Message]:
    """The messages with an instruction at the end of their leading system text."""
    if messages and messages[0]["role"] in ("system", "developer"):
        first, *rest = messages
        match first.get("content"):
            case str() as text:
                return [first | {"content": f"{text}\n\n{instruction}"}, *rest]
            case list() as parts:
                return [first | {"content": [*parts, {"type": "text", "text": instruction}]}, *rest]
            case _:
                pass
    return [{"role": "system", "content": instruction}, *messages]


def mention_json(messages: list[Message]) -> bool:
    """Whether any text says JSON, without which some providers refuse to write it."""
    return any("json" in text.lower() for message in messages for text in _texts(message))


def _plain(message: Message) -> Message:
    """A message without nulls, empty lists and foreign keys; a missing `content` means something."""
    plain = {
        key: value
        for key, value in message.items()
        if key == "content" or (key in OPENAI_KEYS and value is not None and value != [])
    }
    if isinstance(plain.get("content"), list):
        plain["content"] = [_without_cache_control(part) for part in plain["content"]]
    if "tool_calls" in plain:
        plain["tool_calls"] = [
            {key: value for key, value in call.items() if key in CALL_KEYS}
            for call in plain["tool_calls"]
        ]
    return plain


def _message(message: Message, rules: MessageRules, model: str, *, is_owed: bool) -> Message:
    told = {key: message[key] for key in MESSAGE_KEYS if message.get(key) not in (None, [])}
    role = told["role"]
    if role == "developer" and not model.startswith(rules.developer_prefixes):
        told["role"] = "system"
    if role not in rules.named_roles:
        told.pop("name", None)
    content = _content(message, rules)
    if content is not None or rules.null_content == "null":
        told["content"] = content
    elif rules.null_content == "empty":
        told["content"] = ""
    if "tool_calls" in told:
        told["tool_calls"] = [_call(call, rules) for call in told["tool_calls"]]
    if "tool_call_id" in told:
        told["tool_call_id"] = _tool_id(told["tool_call_id"], rules)
    if role == "assistant" and rules.replay is not None:
        _replay(told, message, rules.replay, is_owed=is_owed)
    return told


def _content(message: Message, rules: MessageRules) -> Any:
    content = message.get("content")
    if isinstance(content, list):
        parts = [_part(part, rules) for part in content]
        if rules.flattens_text and all(part["type"] == "text" for part in parts):
            return "\n".join(part["text"] for part in parts)
        return parts
    # A refusal has no place of its own elsewhere: it is what was said.
    return content if content else message.get("refusal") or content


def _part(part: Any, rules: MessageRules) -> Message:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXT_PARTS:
        told: Message = {"type": "text", "text": part[TEXT_PARTS[kind]]}
    elif kind == "image_url":
        image = part["image_url"]
        if not rules.has_image_detail and isinstance(image, dict):
            image = {key: value for key, value in image.items() if key != "detail"}
        told = {"type": "image_url", "image_url": image}
    else:
        raise InvalidRequestError(
            f"Content of type '{kind}' cannot be sent to this model: write text or image_url.",
            param="messages",
            code="unsupported_parameter",
        )
    if rules.keeps_cache_control and part.get("cache_control"):
        told["cache_control"] = part["cache_control"]
    return told


def _without_cache_control(part: Any) -> Any:
    if isinstance(part, dict) and "cache_control" in part:
        return {key: value for key, value in part.items() if key != "cache_control"}
    return part


def _call(call: Message, rules: MessageRules) -> Message:
    function = call.get("function") or {}
    return {
        "id": _tool_id(call.get("id"), rules),
        "type": "function",
        "function": {
            "name": function.get("name", ""),
            "arguments": function.get("arguments") or "{}",
        },
    }


def _tool_id(call_id: Any, rules: MessageRules) -> Any:
    """The id, or for those that want nine letters and digits, always the same nine for it."""
    if rules.tool_ids == "any" or ALNUM9.fullmatch(str(call_id)):
        return call_id
    number = int.from_bytes(hashlib.sha256(str(call_id).encode()).digest(), "big")
    digits = ""
    for _ in range(9):
        number, rest = divmod(number, len(BASE62))
        digits += BASE62[rest]
    return digits


def _replay(told: Message, message: Message, field: ReplayField, *, is_owed: bool) -> None:
    """Gives an earlier answer back the reasoning that came with it, as it was kept or is given."""
    state = message.get(PROVIDER_STATE)
    kept = state.get(field) if isinstance(state, dict) else None
    if field == "thinking":
        if isinstance(kept, list) and kept:
            text = told.get("content") or ""
            said = [{"type": "text", "text": text}] if isinstance(text, str) and text else []
            told["content"] = [*kept, *(said if isinstance(text, str) else text)]
    elif kept:
        told[field] = kept
    elif is_owed:
        given = message.get("reasoning_content")
        told[field] = given if isinstance(given, str) else ""


def _says_something(message: Message) -> bool:
    if message["role"] != "assistant":
        return True
    return bool(message.get("content") or message.get("tool_calls"))


def _with_one_system(messages: list[Message]) -> list[Message]:
    """All system text in one message at the start, in its order."""
    system = [message for message in messages if message["role"] == "system"]
    if len(system) < 2 and messages[:1] == system[:1]:
        return messages
    text = "\n\n".join(text for message in system for text in _texts(message))
    rest = [message for message in messages if message["role"] != "system"]
    return [{"role": "system", "content": text}, *rest] if system else rest


def _in_order(messages: list[Message]) -> list[Message]:
    """With a word of the assistant between a tool and the user, who or which always is the last."""
    ordered: list[Message] = []
    for message in messages:
        if message["role"] == "user" and ordered and ordered[-1]["role"] == "tool":
            ordered.append(BRIDGE)
        ordered.append(message)
    if ordered and ordered[-1]["role"] not in ("user", "tool"):
        ordered.append(CONTINUE)
    return ordered


def _texts(message: Message) -> list[str]:
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    return [text for part in objects_of(content) if (text := text_in(part, "text"))]


def schema_text(schema: Any) -> str:
    """A schema as the model is told it."""
    return orjson.dumps(schema).decode()
