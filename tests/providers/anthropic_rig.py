"""Questions for Anthropic, as its tests put them."""

from typing import Any

import orjson

from ringside_proxy.providers.anthropic.adapter import Anthropic
from ringside_proxy.providers.types import CompletionRequest, Credentials, HTTPRequest

ANTHROPIC = Anthropic()
CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/v1/", api_key="sk-ant-test-key")
BUDGET = "claude-sonnet-4-5-20250929"
BUDGET_AND_EFFORT = "claude-opus-4-5"
BOTH_WAYS = "claude-sonnet-4-6"
ADAPTIVE = "claude-sonnet-5"
BETWEEN_TOOLS = "claude-sonnet-5-5"
ALWAYS_ON = "claude-opus-5-5"

HI = [{"role": "user", "content": "Hi."}]
F = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FORCED = {"tools": [F], "tool_choice": "required"}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
STATE = {"blocks": [THOUGHT, {"type": "tool_use"}]}
EPHEMERAL = {"type": "ephemeral"}
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


def call(call_id: str = "call_1", arguments: str = '{"a":1}', **fields: Any) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function, **fields}


def called(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls or [call()]), **fields}


def result(content: Any = "4C", call_id: str = "call_1", **fields: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **fields}


def built(messages: Any = HI, model: str = ADAPTIVE, **params: Any) -> HTTPRequest:
    request = CompletionRequest(model=model, messages=messages, params=params, is_stream=True)
    return ANTHROPIC.build_request(request, CREDENTIALS)


def sent(messages: Any = HI, model: str = ADAPTIVE, **params: Any) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(built(messages, model, **params).body)
    return body


def turns(*messages: dict[str, Any], model: str = ADAPTIVE) -> list[tuple[str, Any]]:
    return [(turn["role"], turn["content"]) for turn in sent(list(messages), model)["messages"]]


def text(words: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **fields}


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
