"""OpenAI's messages and tools as Converse's, by what the model's family takes. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, by
the service model of botocore 1.44.5, read 2026-11-21.
"""

import hashlib
import re
from typing import Any, Final

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.bedrock.models import Family
from ringside_proxy.providers.loose_json import call_arguments, object_in
from ringside_proxy.providers.types import Capabilities, Support

Block = dict[str, Any]

CACHE_POINTS_MAX: Final = 4
CACHE_TTLS: Final = ("5m", "1h")
DATA_URI: Final = re.compile(
    r"data:image/(png|jpe?g|gif|webp)(?:;[\w=.+-]+)*;base64,", re.IGNORECASE
)
CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MISTRAL_CALL_ID: Final = re.compile(r"[a-zA-Z0-9]{9}")
FILLER: Final[Block] = {"text": "."}
"""Stands for the message that has to be between two, or at the beginning."""
CONTINUE: Final[Block] = {"text": "Continue."}
"""An answer may not be asked for right after an answer."""
UNMARKED: Final = Family(abilities=Capabilities())
NO_RESULT: Final[Block] = {"text": "(empty)"}


class CachePoints:
    """Marks what is to be cached: at most four marks, and only where the family knows them."""

    def __init__(self, family: Family) -> None:
        self._left = CACHE_POINTS_MAX if family.abilities.prompt_caching else 0
        self._has_ttl = family.is_claude

    def after(self, marked: Any) -> list[Block]:
        """The cache point that follows `marked`, if it asks for one with `cache_control`."""
        control = marked.get("cache_control") if isinstance(marked, dict) else None
        if not isinstance(control, dict) or self._left == 0:
            return []
        self._left -= 1
        point = {"type": "default"}
        if self._has_ttl and control.get("ttl") in CACHE_TTLS:
            point["ttl"] = control["ttl"]
        return [{"cachePoint": point}]


def tool_specs(tools: list[dict[str, Any]], family: Family, points: CachePoints) -> list[Block]:
    """Function tools as Converse has them."""
    specs: list[Block] = []
    for tool in tools:
        function = tool["function"]
        spec = {
            "name": function["name"],
            "description": function.get("description") or function["name"],
            "inputSchema": {
                "json": function.get("parameters") or {"type": "object", "properties": {}}
            },
        }
        specs.append({"toolSpec": spec})
        if family.caches_tools:
            specs += points.after(tool)
    return specs


def called_tools(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tools for the calls in the history: without any, Converse refuses what speaks of them."""
    names = dict.fromkeys(
        call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()
    )
    return [{"type": "function", "function": {"name": name}} for name in names]


def system_blocks(messages: list[dict[str, Any]], points: CachePoints) -> list[Block]:
    """What the system says, wherever in the conversation it does."""
    blocks: list[Block] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            blocks += _content(message, points)
    return blocks


def conversation(
    messages: list[dict[str, Any]], family: Family, points: CachePoints
) -> list[dict[str, Any]]:
    """The turns: user first and last, roles alternating, all results of a turn's calls together."""
    last_user = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        match message["role"]:
            case "user":
                _add(turns, "user", _content(message, points), family)
            case "assistant":
                # Reasoning is bound to its turn: once that is over it may not be sent again.
                state = message.get("provider_state") if i > last_user else None
                _add(turns, "assistant", _answer(message, state, family, points), family)
            case "tool":
                _add(turns, "user", [_result(message, family)], family)
                turns[-1]["content"] += points.after(message)
            case _:
                pass  # what the system says stands apart
    if not turns or turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": [FILLER]})
    if turns[-1]["role"] != "user":
        turns.append({"role": "user", "content": [CONTINUE]})
    return turns


def replayed(messages: list[dict[str, Any]]) -> bool:
    """Whether every call of the turn that goes on comes with the reasoning that led to it."""
    last_user = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    return all(
        _reasoning(m.get("provider_state"))
        for m in messages[last_user + 1 :]
        if m.get("tool_calls")
    )


def _add(turns: list[dict[str, Any]], role: str, blocks: list[Block], family: Family) -> None:
    if not blocks:
        return
    last = turns[-1] if turns else None
    if last is None or last["role"] != role:
        turns.append({"role": role, "content": blocks})
    elif family.has_lone_results and _is_result(last["content"][-1]) != _is_result(blocks[0]):
        turns.append({"role": "assistant", "content": [FILLER]})
        turns.append({"role": role, "content": blocks})
    else:
        last["content"] += blocks


def _is_result(block: Block) -> bool:
    return "toolResult" in block


def _content(message: dict[str, Any], points: CachePoints) -> list[Block]:
    """Texts and images; blank texts are refused, so they are left out."""
    content = message.get("content")
    if not isinstance(content, list):
        blocks = _text(content)
        return blocks + points.after(message) if blocks else []
    parts: list[Block] = []
    for part in content:
        if blocks := _part(part):
            parts += blocks + points.after(part)
    return parts


def _part(part: Any) -> list[Block]:
    if isinstance(part, str):
        return _text(part)
    match part.get("type"):
        case "text" | "input_text" | "output_text":
            return _text(part.get("text"))
        case "refusal":
            return _text(part.get("refusal"))
        case "image_url":
            return [_image(part)]
        case kind:
            raise _unsupported(f"Bedrock takes no message parts of type '{kind}'.")


def _text(text: Any) -> list[Block]:
    return [{"text": text}] if isinstance(text, str) and text.strip() else []


def _image(part: dict[str, Any]) -> Block:
    given = part.get("image_url")
    url = given.get("url") if isinstance(given, dict) else given
    head = DATA_URI.match(url) if isinstance(url, str) else None
    if not isinstance(url, str) or head is None:
        raise _unsupported("Bedrock takes images as PNG, JPEG, GIF or WebP data, not by address.")
    form = head[1].lower().replace("jpg", "jpeg")
    return {"image": {"format": form, "source": {"bytes": url[head.end() :]}}}


def _answer(
    message: dict[str, Any], state: Any, family: Family, points: CachePoints
) -> list[Block]:
    """What the model said: its reasoning, its words, its calls, in this order."""
    said = _content(message, points) or _text(message.get("refusal"))
    calls = [_call(call, family) for call in message.get("tool_calls") or ()]
    reasoning = [{"reasoningContent": block} for block in _reasoning(state)] if calls else []
    return reasoning + said + calls


def _reasoning(state: Any) -> list[Block]:
    blocks = state.get("reasoning") if isinstance(state, dict) else None
    return blocks if isinstance(blocks, list) else []


def _call(call: dict[str, Any], family: Family) -> Block:
    function = call["function"]
    if family.abilities.tools is not Support.NATIVE:
        return {"text": f"{function['name']}({function.get('arguments', '')})"}
    arguments = call_arguments(function.get("arguments"))
    use = {"toolUseId": call_id(call["id"], family), "name": function["name"], "input": arguments}
    return {"toolUse": use}


def _result(message: dict[str, Any], family: Family) -> Block:
    content = _content(message, CachePoints(UNMARKED))  # a mark goes after the result, not inside
    if family.is_mistral and family.abilities.tools is Support.NATIVE:
        text = "\n".join(block.get("text", "") for block in content)
        said = object_in(text)
        content = [{"json": {"result": text} if said is None else said}]
    if family.abilities.tools is not Support.NATIVE:
        return {"text": "\n".join(block.get("text", "") for block in content or [NO_RESULT])}
    use_id = call_id(message["tool_call_id"], family)
    return {"toolResult": {"toolUseId": use_id, "content": content or [NO_RESULT]}}


def call_id(given: str, family: Family) -> str:
    """A call's id, or one made of it that the family takes: the same for the call and its result."""
    if family.is_mistral:
        fits = MISTRAL_CALL_ID.fullmatch(given)
        return given if fits else hashlib.sha256(given.encode()).hexdigest()[:9]
    fits = CALL_ID.fullmatch(given)
    return given if fits else "call_" + hashlib.sha256(given.encode()).hexdigest()[:24]


def _unsupported(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, param="messages", code="unsupported_parameter")
