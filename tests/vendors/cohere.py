"""Cohere's chat and embeddings, v2.

Source: https://docs.cohere.com/v2/reference/chat, https://docs.cohere.com/v2/reference/embed and the
types of cohere 7.3.1, read 2026-11-21.
"""

import inspect
import re
from typing import Any, Final

from tests.vendors.asked import (
    Asked,
    Kind,
    keys,
    mentions,
    objects,
    require,
    require_key,
    require_known,
)
from tests.vendors.chat import pairs
from tests.vendors.typed import loaded, problems

Body = dict[str, Any]
MESSAGES: Final = {
    "system": "cohere:SystemChatMessageV2",
    "user": "cohere:UserChatMessageV2",
    "assistant": "cohere:AssistantChatMessageV2",
    "tool": "cohere:ToolChatMessageV2",
}
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RANGES: Final = {
    "temperature": (0, 1),
    "p": (0.01, 0.99),
    "k": (0, 500),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
}
TOOLLESS: Final = ("command-a-vision", "command-a-translate", "c4ai-aya")
REASONING: Final = ("command-a-reasoning", "command-a-plus")
SEEING: Final = ("command-a-vision", "command-a-plus", "c4ai-aya-vision")
LIMITS: Final = frozenset(
    {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "multipleOf"}
)
TEXTS_MAX: Final = 96
STOPS_MAX: Final = 5


def judge(asked: Asked, key: str) -> None:
    """Raises Refused for what Cohere would refuse."""
    require(asked.method == "POST" and asked.path == "/v2/chat", "page not found", Kind.NOT_FOUND)
    require_key(asked, "authorization", key)
    body = asked.body
    require(isinstance(body, dict), "invalid json")
    known = {*inspect.signature(loaded("cohere:ClientV2").chat_stream).parameters} | {"stream"}
    for name, value in body.items():
        require(name in known - {"self", "request_options"}, f"unknown field: parameter '{name}'")
        require(value is not None, f"{name}: null")
    require(body.get("messages"), "messages must not be empty")
    require("no-such-model" not in body["model"], "", Kind.NOT_FOUND)
    for message in body["messages"]:
        _message(message, body["model"])
    pairs(body["messages"])
    require(
        body["messages"][-1]["role"] in ("user", "tool"), "the last message must be user or tool"
    )
    require(not {"cache_control", "provider_state"} & {*keys(body)}, "unknown field")
    for name, (low, high) in RANGES.items():
        require(low <= body.get(name, low) <= high, f"{name} must be between {low} and {high}")
    require(len(body.get("stop_sequences", ())) <= STOPS_MAX, "too many stop_sequences")
    _tools(body)
    _format(body)
    if "thinking" in body:
        require(body["model"].startswith(REASONING), "thinking is not supported by this model")
        require_known(problems(body["thinking"], "cohere:Thinking"))


def _message(message: Body, model: str) -> None:
    role = message.get("role")
    require(role in MESSAGES, f"unknown role {role}")
    require_known(problems(message, MESSAGES[str(role)]))
    is_null = "content" in message and message["content"] is None
    require(not is_null, "content: null is not a string")
    has_both = role == "assistant" and message.get("tool_calls") and "content" in message
    require(not has_both, "an assistant message with tool_calls says its text in tool_plan")
    if role == "assistant":
        says = message.get("content") or message.get("tool_calls")
        require(says, "all elements in history must have a message")
    parts = message["content"] if isinstance(message.get("content"), list) else []
    sees = any(part["type"] == "image_url" for part in parts)
    require(not sees or model.startswith(SEEING), "image input is not supported by this model")


def _tools(body: Body) -> None:
    tools = body.get("tools")
    require(tools is None or tools, "tools must not be empty")
    tools = tools or []
    require(not tools or not body["model"].startswith(TOOLLESS), "tools are not supported")
    for tool in tools:
        require_known(problems(tool, "cohere:ToolV2"))
        require(NAME.fullmatch(tool["function"]["name"]), "invalid tool name")
        if body.get("strict_tools"):
            parameters = tool["function"].get("parameters", {})
            require(parameters.get("required"), "strict tools need a required parameter each")
    choice = body.get("tool_choice")
    require(choice in (None, "REQUIRED", "NONE"), f"invalid tool_choice {choice}")
    require(choice is None or tools, "tool_choice without tools")


def _format(body: Body) -> None:
    wanted = body.get("response_format")
    if wanted is None:
        return
    require_known(problems(wanted, "cohere:JsonObjectResponseFormatV2"))
    require("tools" not in body and "documents" not in body, "response_format with tools")
    require(
        mentions(body["messages"], "json"), "This fake asks to be told of JSON, or it may loop."
    )
    schema = wanted.get("json_schema")
    if schema is not None:
        require(schema.get("type") == "object", "the top level of a schema must be an object")
        require(schema.get("required"), "a schema must have at least one required field")
        for part in objects(schema):
            inner = [p for p in part.get("properties", {}).values() if isinstance(p, dict)]
            refused = {word for p in inner for word in LIMITS & p.keys()}
            require(not refused, f"unsupported schema fields {refused}")


def judge_embeddings(asked: Asked, key: str) -> None:
    """Raises Refused for what Cohere would refuse in texts to embed."""
    require(asked.path == "/v2/embed", "page not found", Kind.NOT_FOUND)
    require_key(asked, "authorization", key)
    body = asked.body
    known = {*inspect.signature(loaded("cohere:ClientV2").embed).parameters}
    unknown = body.keys() - (known - {"self", "request_options"})
    require(not unknown, f"unknown field: {unknown}")
    require(body.get("input_type"), "input_type is required")
    require(0 < len(body["texts"]) <= TEXTS_MAX, "at most 96 texts")
    require(
        "output_dimension" not in body or "v4" in body["model"], "output_dimension: unsupported"
    )
