"""Reading a conversation of OpenAI chat messages that has passed validation."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

Message = dict[str, Any]

PUNCTUATION: Final = ".,;:!?\"'()[]{}"
NO_WORDS: Final = ("text",)


def text_of(content: Any) -> str:
    """What a message's content says: its texts, and a note for everything that is none."""
    if isinstance(content, str):
        return content
    return "\n".join(_part_text(part) for part in content or [])


def _part_text(part: dict[str, Any]) -> str:
    match part["type"]:
        case "image_url":
            return f"[image: {part['image_url']['url']}]"
        case "input_audio":
            return f"[audio: {part['input_audio']['format']}]"
        case "file":
            return f"[file: {part['file'].get('filename') or part['file'].get('file_id')}]"
        case kind:
            return str(part[kind])


def system_text(messages: list[Message]) -> str:
    """Every instruction given, in order."""
    texts = [text_of(m["content"]) for m in messages if m["role"] in ("system", "developer")]
    return "\n\n".join(texts)


def last_user_text(messages: list[Message]) -> str:
    """The text of the last user message; empty if there is none."""
    texts = (text_of(m["content"]) for m in reversed(messages) if m["role"] == "user")
    return next(texts, "")


def words(text: str) -> Iterator[str]:
    """The words of `text` without end, the last one first: it tends to be the one that matters."""
    found = [word.strip(PUNCTUATION) for word in reversed(text.split())]
    return itertools.cycle([word for word in found if word] or NO_WORDS)


def _since_last_user(messages: list[Message]) -> list[Message]:
    after = itertools.takewhile(lambda message: message["role"] != "user", reversed(messages))
    return [*after][::-1]


def rounds_of_calls(messages: list[Message]) -> int:
    """How many times functions were called since the last user message."""
    return sum(1 for message in _since_last_user(messages) if message.get("tool_calls"))


def reports(messages: list[Message]) -> list[str]:
    """What each function called since the last user message returned."""
    names: dict[str, str] = {}
    found: list[str] = []
    for message in _since_last_user(messages):
        for call in message.get("tool_calls") or []:
            names[call["id"]] = call["function"]["name"]
        if message["role"] == "tool":
            found.append(f"{names[message['tool_call_id']]} returned {text_of(message['content'])}")
    return found
