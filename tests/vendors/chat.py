"""The vendors on OpenAI's chat dialect, who refuse what each of them refuses."""

import re
from typing import Any, Final

from tests.vendors.asked import Asked, Kind, Refused, mentions, require, require_key, require_known
from tests.vendors.chat_rules import EXTRA, RULES, ChatRules, efforts_of
from tests.vendors.typed import problems

CHAT: Final = "/chat/completions"
NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
TOOLS_MAX: Final = 128
PARTS: Final = {"text": {"type", "text"}, "image_url": {"type", "image_url"}}
FILES: Final = {"file": {"type", "file"}, "input_audio": {"type", "input_audio"}}


def judge(vendor: str, asked: Asked, key: str) -> None:
    """Raises Refused for what the vendor would refuse in a chat completion."""
    rules = RULES[vendor]
    require(asked.method == "POST" and asked.path == CHAT, "Unknown request URL", Kind.NOT_FOUND)
    require_key(asked, rules.key_header, key)
    body = asked.body
    require(isinstance(body, dict), "We could not parse the JSON body of your request.")
    _fields(vendor, body, rules)
    require("no-such-model" not in body["model"], "", Kind.NOT_FOUND)
    for message in body["messages"]:
        _message(message, rules, body["model"])
    pairs(body["messages"])
    _tools(body, rules)
    _format(body, rules)
    _knobs(body, rules)
    for check in EXTRA.get(vendor, ()):
        check(body)
    _types(body, rules)


def _fields(vendor: str, body: dict[str, Any], rules: ChatRules) -> None:
    for name in ("model", "messages"):
        require(body.get(name), f"Missing required parameter: '{name}'.")
    known = rules.fields | rules.limits
    for name, value in body.items():
        if name not in known:
            words = (
                "Extra inputs are not permitted"
                if vendor == "mistral"
                else "Unrecognized request argument supplied"
            )
            raise Refused(f"{words}: {name}", param=name)
        require(value is not None, f"{name}: null is not allowed")
        require(value != [], f"Invalid '{name}': empty array.")
    require(
        len(rules.limits & body.keys()) < 2,
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
    )
    require(
        "stream_options" not in body or body.get("stream"),
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    )
    stops = body.get("stop") if isinstance(body.get("stop"), list) else []
    require(len(stops) <= rules.stops_max, "Invalid 'stop': array too long.")


def _message(message: dict[str, Any], rules: ChatRules, model: str) -> None:
    role = message.get("role")
    roles = {"system", "user", "assistant", "tool"}
    if rules.developer and model.startswith(rules.developer):
        roles.add("developer")
    require(role in roles, f"unknown variant `{role}`, expected one of {sorted(roles)}")
    unknown = message.keys() - rules.message_fields
    require(not unknown, f"Additional properties are not allowed: {sorted(unknown)} in messages")
    require("name" not in message or role in rules.named, "property 'name' is unsupported")
    require(message.get("tool_calls") != [], "Invalid 'tool_calls': empty array.")
    if role != "assistant":
        require(message.get("content") is not None, "Invalid 'content': expected a string")
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        _part(part, rules)


def _part(part: dict[str, Any], rules: ChatRules) -> None:
    known = PARTS | (FILES if "audio" in rules.message_fields else {})
    # Mistral's reasoning comes back as a part of the answer it belonged to.
    if part.get("type") == "thinking" and "prompt_mode" in rules.fields:
        return
    require(part.get("type") in known, f"Invalid value: '{part.get('type')}'.")
    extra = {"cache_control"} if rules.takes_cache_control else set()
    unknown = part.keys() - known[part["type"]] - extra
    require(not unknown, f"Unknown parameter in a content part: {sorted(unknown)}")


def pairs(messages: list[dict[str, Any]]) -> None:
    """Every call is answered right after it, and nothing else is."""
    waiting: set[str] = set()
    all_ids = [call["id"] for m in messages for call in m.get("tool_calls") or ()]
    require(len({*all_ids}) == len(all_ids), f"Duplicate tool call ids: {all_ids}")
    for message in messages:
        if message["role"] == "tool":
            require(
                message.get("tool_call_id") in waiting,
                "messages with role 'tool' must be a response to a preceding message with "
                "'tool_calls'.",
            )
            waiting.discard(message["tool_call_id"])
            continue
        require(not waiting, f"tool_call_ids did not have response messages: {sorted(waiting)}")
        waiting = {call["id"] for call in message.get("tool_calls") or ()}
    require(not waiting, f"tool_call_ids did not have response messages: {sorted(waiting)}")


def _tools(body: dict[str, Any], rules: ChatRules) -> None:
    tools = body.get("tools", [])
    require(len(tools) <= TOOLS_MAX, f"Invalid 'tools': array too long, {len(tools)}.")
    for name in ("tool_choice", "parallel_tool_calls"):
        require(tools or name not in body, f"'{name}' is only allowed when 'tools' are specified.")
    for tool in tools:
        require(tool.get("type") == "function", "tools: only functions are supported")
        unknown = tool.keys() - {"type", "function"}
        require(not unknown or rules.takes_cache_control, f"Unknown parameter: {sorted(unknown)}")
        function = tool.get("function") or {}
        require(NAME.fullmatch(str(function.get("name"))), "Invalid 'tools[0].function.name'.")
        require(rules.takes_strict or "strict" not in function, "Extra inputs: strict")
    names = {tool["function"]["name"] for tool in tools}
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and "function" in choice:
        require(choice["function"].get("name") in names, "tool_choice: no such tool")


def _format(body: dict[str, Any], rules: ChatRules) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    kind = wanted.get("type")
    require(kind in rules.formats, "This response_format type is unavailable now")
    require(
        rules.format_with_tools or not body.get("tools"),
        "json mode cannot be combined with tool/function calling",
    )
    if kind == "json_object" and rules.needs_json_word:
        require(
            mentions(body["messages"], "json"),
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'.",
        )


def _knobs(body: dict[str, Any], rules: ChatRules) -> None:
    effort = body.get("reasoning_effort")
    if effort is None:
        return
    words = efforts_of(rules.efforts or {}, body["model"])
    require(words is not None, "Unrecognized request argument supplied: reasoning_effort")
    require(
        effort in (words or ()), f"Unsupported value: 'reasoning_effort' does not take {effort}"
    )


def _types(body: dict[str, Any], rules: ChatRules) -> None:
    kind = rules.types
    if kind.startswith("together"):
        body = _as_together_types_it(body)
    if not body.get("stream"):
        kind = kind.replace("ParamsStreaming", "ParamsNonStreaming")
    found = problems(body, kind)
    lacking = {f"{name}: unknown field" for name in rules.untyped}
    require_known([text for text in found if text.rpartition(".")[2] not in lacking])


def _as_together_types_it(body: dict[str, Any]) -> dict[str, Any]:
    """Its types number the calls of an answer and know no choice by name; its reference does."""
    messages = [
        message | {"tool_calls": [call | {"index": i} for i, call in enumerate(calls)]}
        if (calls := message.get("tool_calls"))
        else message
        for message in body["messages"]
    ]
    told = body | {"messages": messages}
    if isinstance(body.get("tool_choice"), dict):
        del told["tool_choice"]
    return told
