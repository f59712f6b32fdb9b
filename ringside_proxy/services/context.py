"""What the model is shown: a thread's items as chat messages, cut to what fits. Pure."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ringside_proxy.domain import tokens
from ringside_proxy.domain.items import (
    FunctionCallBody,
    FunctionCallOutputBody,
    InputImage,
    InputText,
    Item,
    ItemPart,
    MessageBody,
    OutputText,
    Refusal,
)
from ringside_proxy.domain.messages import MessageStatus
from ringside_proxy.providers.chat.messages import PROVIDER_STATE

UNANSWERED: Final = "The function was not run: the run ended before its output was submitted."
IMAGE_TOKENS: Final = 1100
"""An upper guess for one image; providers count by size, which is not known here."""

NO_STATES: Final[Mapping[str, Any]] = MappingProxyType({})

ChatMessage = dict[str, Any]
Turn = list[Item]


def chat_messages(
    instructions: str | None, items: list[Item], states: Mapping[str, Any] = NO_STATES
) -> list[ChatMessage]:
    """Instructions and items as an OpenAI chat: every call is followed by its output.

    `states` holds, by the first call of a turn, what its provider wants back with it.

    A turn's text and calls become one assistant message. A call whose output never came is
    answered with a stub, because providers refuse a chat with an open call.
    """
    messages: list[ChatMessage] = []
    if instructions:
        messages.append({"role": "system", "content": instructions})
    open_calls: list[str] = []
    open_step: str | None = None
    for item in items:
        body = item.body
        if isinstance(body, FunctionCallOutputBody):
            if item.call_id in open_calls:
                open_calls.remove(item.call_id)
                messages.append(_tool_message(item.call_id, body.output))
        elif isinstance(body, FunctionCallBody):
            if item.status is MessageStatus.COMPLETED and item.call_id is not None:
                is_next_turn = item.step_id != open_step or item.call_id in open_calls
                if open_calls and (is_next_turn or messages[-1]["role"] == "tool"):
                    _give_up(messages, open_calls)
                _add_call(messages, item.call_id, body)
                if item.call_id in states:
                    messages[-1][PROVIDER_STATE] = states[item.call_id]
                open_calls.append(item.call_id)
                open_step = item.step_id
        else:
            _give_up(messages, open_calls)
            messages.extend(_message(item, body))
    _give_up(messages, open_calls)
    return messages


def turns(items: list[Item]) -> list[Turn]:
    """Items in groups that may only be dropped together, oldest first.

    A message begins a turn; the calls and outputs that follow it belong to it.
    """
    groups: list[Turn] = []
    for item in items:
        if isinstance(item.body, MessageBody) or not groups:
            groups.append([])
        groups[-1].append(item)
    return groups


def newest_turns(items: list[Item], tokens_max: int) -> list[Item]:
    """The newest whole turns that fit `tokens_max`, always with the last one."""
    kept: list[Turn] = []
    room = tokens_max
    for turn in reversed(turns(items)):
        room -= estimate(turn)
        if room < 0 and kept:
            break
        kept.append(turn)
    return [item for turn in reversed(kept) for item in turn]


def estimate(items: list[Item]) -> int:
    """About how many prompt tokens the items are."""
    return sum(tokens.TOKENS_PER_MESSAGE + _estimate_item(item) for item in items)


def estimate_request(messages: list[ChatMessage], tools: list[Any]) -> int:
    """About how many prompt tokens a whole request is; an image is one, however it is given."""
    images = 0

    def counted(part: Any) -> Any:
        nonlocal images
        if not isinstance(part, dict) or part.get("type") != "image_url":
            return part
        images += 1
        return None

    told = [
        message | {"content": [counted(part) for part in content]}
        if isinstance(content := message.get("content"), list)
        else message
        for message in messages
    ]
    text = json.dumps(told, ensure_ascii=False) + (
        json.dumps(tools, ensure_ascii=False) if tools else ""
    )
    return tokens.estimate(text) + images * IMAGE_TOKENS


def _estimate_item(item: Item) -> int:
    match item.body:
        case MessageBody(content=content):
            return sum(_estimate_part(part) for part in content)
        case FunctionCallBody(name=name, arguments=arguments):
            return tokens.estimate(name) + tokens.estimate(arguments)
        case FunctionCallOutputBody(output=output):
            return tokens.estimate(output)


def _estimate_part(part: ItemPart) -> int:
    match part:
        case InputText(text=text) | OutputText(text=text) | Refusal(refusal=text):
            return tokens.estimate(text)
        case InputImage():
            return IMAGE_TOKENS


def _tool_message(call_id: str | None, output: str) -> ChatMessage:
    return {"role": "tool", "tool_call_id": call_id, "content": output}


def _give_up(messages: list[ChatMessage], open_calls: list[str]) -> None:
    """Answer the calls whose outputs will not come: nobody may speak before they are answered."""
    messages.extend(_tool_message(call_id, UNANSWERED) for call_id in open_calls)
    open_calls.clear()


def _add_call(messages: list[ChatMessage], call_id: str, body: FunctionCallBody) -> None:
    call = {
        "id": call_id,
        "type": "function",
        "function": {"name": body.name, "arguments": body.arguments or "{}"},
    }
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _message(item: Item, body: MessageBody) -> list[ChatMessage]:
    if item.role == "user":
        return [{"role": "user", "content": _user_content(body.content)}]
    text = "".join(part.text for part in body.content if isinstance(part, InputText | OutputText))
    refusal = "".join(part.refusal for part in body.content if isinstance(part, Refusal))
    if text:
        return [{"role": "assistant", "content": text}]
    if refusal:
        return [{"role": "assistant", "content": None, "refusal": refusal}]
    return []


def _user_content(content: list[ItemPart]) -> str | list[dict[str, Any]]:
    if len(content) == 1 and isinstance(content[0], InputText):
        return content[0].text
    return [_user_part(part) for part in content]


def _user_part(part: ItemPart) -> dict[str, Any]:
    match part:
        case InputImage(image_url=url, detail=detail):
            return {"type": "image_url", "image_url": {"url": url, "detail": detail}}
        case InputText(text=text) | OutputText(text=text) | Refusal(refusal=text):
            return {"type": "text", "text": text}
