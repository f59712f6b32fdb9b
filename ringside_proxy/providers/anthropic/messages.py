"""OpenAI's messages and tools as Anthropic's. Pure.

`cache_control` is kept where it stands: on parts, messages, calls and tools.
Source: https://platform.claude.com/docs/en/api/messages and
https://platform.claude.com/docs/en/build-with-claude/prompt-caching, read 2026-11-21.
"""

import hashlib
import re
from typing import Any, Final

from ringside_proxy.providers.anthropic.models import Family
from ringside_proxy.providers.anthropic.state import replayed, state_of, thinking_blocks
from ringside_proxy.providers.loose_json import call_arguments
from ringside_proxy.providers.native_request import refused

Block = dict[str, Any]
Message = dict[str, Any]

MARK: Final = "cache_control"
DATA_URI: Final = re.compile(r"data:([\w/+.-]+)(?:;[\w=.+-]+)*;base64,", re.IGNORECASE)
IMAGE_TYPES: Final = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
PDF: Final = "application/pdf"
CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FILLER: Final = "."
"""Stands before an answer that nobody asked for: the first message has to be the user's."""
CONTINUE: Final = "Continue."
"""An answer that stands last is one to be completed, which newer models refuse."""
SYSTEM: Final = ("system", "developer")


def system_and_turns(
    messages: list[Message], family: Family
) -> tuple[list[Block], list[dict[str, Any]]]:
    """What the system says apart, and the turns: the user's first and last, roles alternating."""
    last_user = last_user_index(messages)
    system: list[Block] = []
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        match message["role"]:
            case "user":
                _add(turns, "user", _content(message))
            case "assistant":
                # Thinking is bound to its turn: once that is over it says nothing any more.
                state = state_of(message) if i > last_user else None
                _add(turns, "assistant", _answer(message, state))
            case "tool":
                _add(turns, "user", [_result(message)])
            case _ if family.has_system_turns and _may_speak(turns, messages[i + 1 :]):
                _add(turns, "system", _content(message))
            case _:
                system += _content(message)
    _complete(turns)
    return system, turns


def last_user_index(messages: list[Message]) -> int:
    """Where the turn that goes on began."""
    return max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)


def has_all_thinking(messages: list[Message]) -> bool:
    """Whether every call of the turn that goes on comes with the thinking that led to it."""
    return all(
        thinking_blocks(state_of(m))
        for m in messages[last_user_index(messages) + 1 :]
        if m.get("tool_calls")
    )


def called_tools(messages: list[Message]) -> list[Message]:
    """Tools for the calls in the history: without any, a history that speaks of them is refused."""
    names = dict.fromkeys(
        call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()
    )
    return [{"type": "function", "function": {"name": name}} for name in names]


def marked(block: Block, source: Any) -> Block:
    """The block, with the mark for the cache that its source carries."""
    mark = source.get(MARK) if isinstance(source, dict) else None
    return block | {MARK: mark} if isinstance(mark, dict) else block


def text_blocks(text: Any) -> list[Block]:
    """A text as a block; blank ones are refused."""
    return [{"type": "text", "text": text}] if isinstance(text, str) and text.strip() else []


def _may_speak(turns: list[dict[str, Any]], following: list[Message]) -> bool:
    """The system may speak after the user, but not between the results of calls."""
    next_role = next((m["role"] for m in following if m["role"] not in SYSTEM), None)
    return bool(turns) and turns[-1]["role"] in ("user", "system") and next_role != "tool"


def _add(turns: list[dict[str, Any]], role: str, blocks: list[Block]) -> None:
    if not blocks:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += blocks
    else:
        turns.append({"role": role, "content": blocks})


def _complete(turns: list[dict[str, Any]]) -> None:
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": text_blocks(FILLER)})
    if turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": text_blocks(CONTINUE)})
    for turn in turns:
        if turn["role"] == "user":  # results of calls stand before everything else
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")


def _content(message: Message) -> list[Block]:
    """Texts, images and documents; the message's own mark goes on the last of them."""
    content = message.get("content")
    if isinstance(content, list):
        is_user = message["role"] in ("user", "tool")
        blocks = [block for part in content for block in _part(part, is_user=is_user)]
    else:
        blocks = text_blocks(content)
    if blocks:
        blocks[-1] = marked(blocks[-1], message)
    return blocks


def _part(part: Any, *, is_user: bool) -> list[Block]:
    match part:
        case {"type": "text", "text": text} | {"type": "refusal", "refusal": text}:
            blocks = text_blocks(text)
        case {"type": "image_url", "image_url": {"url": str() as url}} if is_user:
            blocks = [_image(url)]
        case {"type": "file", "file": {"file_data": str() as data, **rest}} if is_user:
            blocks = [_document(data, rest.get("filename"))]
        case {"type": kind}:
            raise refused(f"content of type '{kind}' in this place: write text, or image_url")
        case _:
            raise refused("content parts without a type: write text")
    return [marked(block, part) for block in blocks]


def _image(url: str) -> Block:
    if url.lower().startswith(("https://", "http://")):
        return {"type": "image", "source": {"type": "url", "url": url}}
    head = DATA_URI.match(url)
    media_type = IMAGE_TYPES.get(head[1].lower()) if head else None
    if head is None or media_type is None:
        raise refused("images other than JPEG, PNG, GIF and WebP: by address, or as a data URI")
    source = {"type": "base64", "media_type": media_type, "data": url[head.end() :]}
    return {"type": "image", "source": source}


def _document(data: str, name: Any) -> Block:
    head = DATA_URI.match(data)
    if head is None or head[1].lower() != PDF:
        raise refused("files other than PDF, as a data URI in file_data")
    source = {"type": "base64", "media_type": PDF, "data": data[head.end() :]}
    title = {"title": name} if isinstance(name, str) and name else {}
    return {"type": "document", "source": source, **title}


def _answer(message: Message, state: Any) -> list[Block]:
    """What the model said: its thinking, its words, its calls, in the order it said them."""
    said = _content(message) or text_blocks(message.get("refusal"))
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    return replayed(state, said, calls) if calls else said


def _call(call: Message) -> Block:
    function = call["function"]
    block = {
        "type": "tool_use",
        "id": call_id(call["id"]),
        "name": function["name"],
        "input": call_arguments(function.get("arguments")),
    }
    return marked(block, call)


def _result(message: Message) -> Block:
    """A call's result; a mark inside goes on the whole, where it is known to be taken."""
    block: Block = {"type": "tool_result", "tool_use_id": call_id(message["tool_call_id"])}
    content = _content(message)
    mark = next((inner[MARK] for inner in reversed(content) if MARK in inner), None)
    told = [{key: value for key, value in b.items() if key != MARK} for b in content]
    if isinstance(message.get("content"), str) and told:
        block["content"] = told[0]["text"]
    elif told:
        block["content"] = told
    return marked(block, {MARK: mark})


def call_id(given: str) -> str:
    """A call's id, or one made of it that is taken: the same for the call and its result."""
    if CALL_ID.fullmatch(given):
        return given
    return "call_" + hashlib.sha256(given.encode()).hexdigest()[:24]
