"""OpenAI's messages as Ollama takes them. Pure.

Source: https://docs.ollama.com/api/chat and https://docs.ollama.com/capabilities/tool-calling,
read 2026-11-21.
"""

from typing import Any, Final

from ringside_proxy.providers.loose_json import call_arguments
from ringside_proxy.providers.native_request import Message, part_text, refused, text_of
from ringside_proxy.providers.ollama.stream import THINKING

BASE64: Final = ";base64,"


def ollama_messages(messages: list[Message]) -> list[Message]:
    """The conversation. Raises InvalidRequestError for what Ollama cannot be told."""
    told: list[Message] = []
    called: dict[str, str] = {}
    for message in messages:
        match message["role"]:
            case "system" | "developer":
                told.append({"role": "system", "content": text_of(message)})
            case "user":
                told.append(_user(message))
            case "assistant":
                answer = _answer(message)
                calls = answer.get("tool_calls", ())
                called |= {call["id"]: call["function"]["name"] for call in calls}
                if calls or answer["content"]:
                    told.append(answer)
            case "tool":
                told.append(_result(message, called))
            case role:
                raise refused(f"messages of the role '{role}': send tool_calls and 'tool' messages")
    return told


def _user(message: Message) -> Message:
    """Words and images apart, as the server wants them."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    images = [_image(part) for part in parts if _is_image(part)]
    if not images:
        return {"role": "user", "content": text_of(message)}
    words = "\n".join(part_text(part) for part in parts if not _is_image(part))
    return {"role": "user", "content": words, "images": images}


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "image_url"


def _image(part: Any) -> str:
    """The image itself: Ollama takes neither an address nor the beginning of a data URI."""
    url = str(part["image_url"]["url"])
    if not url.startswith("data:") or BASE64 not in url:
        raise refused("images by address: send them as base64 data URIs")
    return url.partition(BASE64)[2]


def _answer(message: Message) -> Message:
    if message.get("function_call"):
        raise refused("an assistant message with 'function_call': send 'tool_calls'")
    answer: Message = {"role": "assistant", "content": text_of(message)}
    if calls := message.get("tool_calls"):
        answer["tool_calls"] = [_call(call) for call in calls]
    state = message.get("provider_state")
    if isinstance(state, dict) and isinstance(thoughts := state.get(THINKING), str) and thoughts:
        answer["thinking"] = thoughts
    return answer


def _call(call: Message) -> Message:
    if "function" not in call:
        raise refused(f"a tool call of type '{call.get('type')}'")
    function = call["function"]
    return {
        "id": call["id"],
        "function": {
            "name": function.get("name", ""),
            "arguments": call_arguments(function.get("arguments")),
        },
    }


def _result(message: Message, called: dict[str, str]) -> Message:
    call_id = message["tool_call_id"]
    result = {"role": "tool", "content": text_of(message), "tool_call_id": call_id}
    return result | {"tool_name": called[call_id]} if call_id in called else result
