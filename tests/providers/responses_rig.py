"""What the tests of the Responses dialect share: the three rows, and a request to them."""

from typing import Any

import orjson

from ringside_proxy.providers.openai import RESPONSES
from ringside_proxy.providers.responses.adapter import Responses
from ringside_proxy.providers.responses.perplexity import PERPLEXITY
from ringside_proxy.providers.responses.xai import XAI
from ringside_proxy.providers.types import CompletionRequest, Credentials

CREDENTIALS = Credentials(
    base_url="http://127.0.0.1:1/v1/",
    api_key="sk-test-key",
    options={"organization": "org-1", "project": "proj-1"},
)
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "description": "F", "parameters": PARAMETERS, "strict": True},
        "cache_control": {"type": "ephemeral"},
    },
    {"type": "function", "function": {"name": "g"}},
]
USER = {"role": "user", "content": "Hi."}
SCHEMA = {
    "name": "answer",
    "schema": {"type": "object", "additionalProperties": False},
    "strict": True,
}
FORMAT = {"type": "json_schema", "json_schema": SCHEMA}
MODELS = {"openai": "gpt-5.6-sol", "xai": "grok-4.6", "perplexity": "openai/gpt-5.4"}
ROWS: dict[str, Responses] = {"openai": RESPONSES, "xai": XAI, "perplexity": PERPLEXITY}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"city":1}'}}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}


def asked(
    model: str, params: dict[str, Any] | None = None, messages: list[dict[str, Any]] | None = None
) -> CompletionRequest:
    return CompletionRequest(
        model=model, messages=messages or [USER], params=params or {}, is_stream=True
    )


def body(
    name: str,
    params: dict[str, Any] | None = None,
    messages: list[dict[str, Any]] | None = None,
    model: str | None = None,
) -> dict[str, Any]:
    request = asked(model or MODELS[name], params, messages)
    return orjson.loads(ROWS[name].build_request(request, CREDENTIALS).body)


def items(name: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    return body(name, messages=list(messages))["input"]


FLAT = {
    "openai": [
        {
            "type": "function",
            "name": "f",
            "description": "F",
            "parameters": PARAMETERS,
            "strict": True,
        },
        {
            "type": "function",
            "name": "g",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    ],
}
FLAT["perplexity"] = FLAT["openai"]
FLAT["xai"] = [{k: v for k, v in tool.items() if k != "strict"} for tool in FLAT["openai"]]
