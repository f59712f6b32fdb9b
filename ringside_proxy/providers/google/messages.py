"""OpenAI's messages as Gemini's `contents` and `systemInstruction`. Pure.

Turns of one role in a row become one, but the results of calls stay in a content of their own,
complete and in the order of the calls: that is how models before 3, whose calls have no ids, tell
them apart. The last word may not be the model's.
Source: https://github.com/googleapis/python-genai (Content and Part in types.py of 3.4.0) and
https://ai.google.dev/gemini-api/docs/file-input-methods, read 2026-11-21.
"""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.google.models import Family
from ringside_proxy.providers.google.state import NO_SIGNATURE, signatures_of
from ringside_proxy.providers.loose_json import call_arguments

Message = dict[str, Any]
Part = dict[str, Any]

SYSTEM_ROLES: Final = frozenset({"system", "developer"})
TEXT_KEYS: Final = {"text": "text", "refusal": "refusal"}
CONTINUE: Final[Part] = {"text": "Continue."}

DATA_URI: Final = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*?;base64,", re.ASCII)
MIME_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
}
MIME_TYPE_UNKNOWN: Final = "image/jpeg"
"""`mimeType` is required, and an address need not tell it."""


class Conversation(msgspec.Struct, frozen=True):
    """What of a request's body the messages make."""

    contents: list[dict[str, Any]]
    system: list[Part]


class _Turn(msgspec.Struct):
    """A content in the making; results carry the positions of their calls until they are sorted."""

    role: str
    is_results: bool
    parts: list[Part] = []
    positions: list[int] = []


class _Writer:
    """Writes one conversation for one family of models."""

    def __init__(self, family: Family, names: dict[str, str]) -> None:
        self._family = family
        self._names = names
        self._calls: dict[str, tuple[int, str]] = {}
        self._call_count = 0
        self.system: list[str] = []
        self.turns: list[_Turn] = []

    def take(self, message: Message, index: int) -> None:
        """Adds a message. Raises InvalidRequestError for what Gemini has no place for."""
        role = message.get("role")
        if role in SYSTEM_ROLES:
            self.system += [text for text in _texts(message, index) if text]
        elif role == "user":
            self._add("user", _user_parts(message, index))
        elif role == "assistant":
            self._add("model", self._answer_parts(message, index))
        elif role == "tool":
            self._take_result(message, index)
        else:
            raise _refused(f"a message of role '{role}'", index)

    def _add(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        last = self.turns[-1] if self.turns else None
        if last is None or last.role != role or last.is_results:
            self.turns.append(_Turn(role, False, list(parts)))
        else:
            last.parts.extend(parts)

    def _answer_parts(self, message: Message, index: int) -> list[Part]:
        signatures = signatures_of(message)
        texts = _texts(message, index) or [message.get("refusal") or ""]
        parts = signatures.text_parts("".join(texts))
        signed = dict(signatures.calls)
        calls = message.get("tool_calls") or []
        if calls and not signed and self._family.wants_signatures:
            signed = {0: NO_SIGNATURE}
        for position, call in enumerate(calls):
            part = self._call_part(call)
            if signature := signed.get(position):
                part["thoughtSignature"] = signature
            parts.append(part)
        if signatures.tail:
            parts.append({"text": "", "thoughtSignature": signatures.tail})
        return parts

    def _call_part(self, call: dict[str, Any]) -> Part:
        function = call["function"]
        name = self._names.get(function["name"], function["name"])
        told = {"name": name, "args": call_arguments(function.get("arguments"))}
        call_id = call.get("id") or ""
        self._calls[call_id] = (self._call_count, name)
        self._call_count += 1
        if self._family.has_call_ids and call_id:
            told["id"] = call_id
        return {"functionCall": told}

    def _take_result(self, message: Message, index: int) -> None:
        call_id = message.get("tool_call_id") or ""
        if call_id not in self._calls:
            raise InvalidRequestError(
                f"Invalid parameter: messages[{index}] has 'tool_call_id' '{call_id}', which no "
                "tool call before it has.",
                param=f"messages[{index}].tool_call_id",
            )
        position, name = self._calls[call_id]
        told: dict[str, Any] = {
            "name": name,
            "response": {"output": "".join(_texts(message, index))},
        }
        if self._family.has_call_ids:
            told["id"] = call_id
        if not self.turns or not self.turns[-1].is_results:
            self.turns.append(_Turn("user", True))
        turn = self.turns[-1]
        turn.parts.append({"functionResponse": told})
        turn.positions.append(position)


def conversation(messages: list[Message], family: Family, names: dict[str, str]) -> Conversation:
    """The messages as Gemini takes them; `names` gives functions the names that it takes.

    Raises InvalidRequestError for parts that it cannot take.
    """
    writer = _Writer(family, names)
    for index, message in enumerate(messages):
        writer.take(message, index)
    contents = [_content(turn) for turn in writer.turns]
    system = [{"text": "\n\n".join(writer.system)}] if writer.system else []
    if system and (not family.has_system or not contents):
        contents = _with_system(contents, system)
        system = []
    return Conversation(_in_order(contents), system)


def _content(turn: _Turn) -> dict[str, Any]:
    parts = turn.parts
    if turn.is_results:
        ordered = sorted(range(len(parts)), key=lambda i: turn.positions[i])
        parts = [parts[i] for i in ordered]
    return {"role": turn.role, "parts": parts}


def _with_system(contents: list[dict[str, Any]], system: list[Part]) -> list[dict[str, Any]]:
    """The system's words as the beginning of the first turn: there has to be one."""
    if contents and contents[0]["role"] == "user":
        return [{"role": "user", "parts": [*system, *contents[0]["parts"]]}, *contents[1:]]
    return [{"role": "user", "parts": system}, *contents]


def _in_order(contents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A call needs a turn before it, and the model does not answer itself."""
    prompt = {"role": "user", "parts": [CONTINUE]}
    if not contents:
        return [prompt]
    first, last = contents[0], contents[-1]
    if first["role"] == "model" and any("functionCall" in part for part in first["parts"]):
        contents = [prompt, *contents]
    return [*contents, prompt] if last["role"] == "model" else contents


def _texts(message: Message, index: int) -> list[str]:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return [content] if content else []
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in TEXT_KEYS:
            raise _refused(
                f"content of type '{kind}' in a message of role '{message['role']}'", index
            )
        texts.append(str(part.get(TEXT_KEYS[kind]) or ""))
    return texts


def _user_parts(message: Message, index: int) -> list[Part]:
    content = message.get("content")
    if content is None or isinstance(content, str):
        return [{"text": content}] if content else []
    parts: list[Part] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image_url":
            parts.append(_image(part.get("image_url"), index))
        elif kind == "text":
            parts += [{"text": part["text"]}] if part.get("text") else []
        else:
            raise _refused(f"content of type '{kind}'", index)
    return parts


def _image(image: Any, index: int) -> Part:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise _refused("an image without a url", index)
    if found := DATA_URI.match(url):
        return {"inlineData": {"mimeType": found[1], "data": url[found.end() :]}}
    if not url.startswith(("http://", "https://")):
        raise _refused("an image that is neither a base64 data URI nor an http(s) URL", index)
    try:
        ending = urlsplit(url).path.rpartition(".")[2].lower()
    except ValueError:
        ending = ""
    return {"fileData": {"mimeType": MIME_TYPES.get(ending, MIME_TYPE_UNKNOWN), "fileUri": url}}


def _refused(what: str, index: int) -> InvalidRequestError:
    return InvalidRequestError(
        f"Unsupported parameter: messages[{index}] holds {what}, which cannot be sent to Gemini: "
        "write text or image_url.",
        param=f"messages[{index}]",
        code="unsupported_parameter",
    )
