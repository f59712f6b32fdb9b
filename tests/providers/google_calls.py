"""Calls to Gemini as tests write them; every body is judged by Google's own types where they are."""

from typing import Any

import orjson

from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.types import CompletionRequest, Credentials

BASE = "http://127.0.0.1:1/v1beta"
CREDENTIALS = Credentials(base_url=f"{BASE}/", api_key="test-key")
V3, V2_5, V2_0 = "gemini-3.5-flash", "gemini-2.5-flash", "gemini-2.0-flash"
HELLO = {"role": "user", "content": "Hi"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def function(name: str = "f", parameters: Any = CITY, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **fields}}


def called(call_id: str, name: str = "f", arguments: str = '{"a":1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def answer(*calls: dict[str, Any], content: Any = None, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields}
    return message | ({"tool_calls": list(calls)} if calls else {})


def result(call_id: str, content: Any = "ok") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def built(*messages: dict[str, Any], model: str = V3, **params: Any) -> Any:
    request = CompletionRequest(
        model=model, messages=list(messages) or [HELLO], params=params, is_stream=True
    )
    return Google().build_request(request, CREDENTIALS)


def sent(*messages: dict[str, Any], model: str = V3, **params: Any) -> dict[str, Any]:
    """The body that goes out; every one of them has to be of Google's own types."""
    body: dict[str, Any] = orjson.loads(built(*messages, model=model, **params).body)
    check_types(body)
    return body


def contents(*messages: dict[str, Any], model: str = V3) -> list[tuple[str, list[Any]]]:
    body = sent(*messages, model=model)
    return [(content["role"], content["parts"]) for content in body["contents"]]


def config(model: str = V3, **params: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What reaches `generationConfig`, and what was dropped."""
    request = built(model=model, **params)
    check_types(body := orjson.loads(request.body))
    return body.get("generationConfig", {}), request.dropped_params


def check_types(body: dict[str, Any]) -> None:
    """Judges a body with Google's own SDK, where it is installed; it refuses unknown fields."""
    try:
        from google.genai import types
    except ImportError:
        return
    shapes = {
        "contents": types.Content,
        "tools": types.Tool,
        "systemInstruction": types.Content,
        "toolConfig": types.ToolConfig,
        "generationConfig": types.GenerationConfig,
    }
    for key, value in body.items():
        if key in shapes:
            for item in value if isinstance(value, list) else [value]:
                shapes[key].model_validate(item)
        else:
            assert key in {"serviceTier", "cachedContent"}
    if "serviceTier" in body:
        assert body["serviceTier"] in {tier.value for tier in types.ServiceTier}
