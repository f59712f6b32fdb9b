"""What the API lets through is built or refused, whatever stands in the keys that nobody looked at.

A chat's body goes on to its provider with all its keys; those of other shapes than an adapter
thinks of are the caller's error, not the proxy's.
"""

import random
from typing import Any

import orjson
import pytest

from ringside_proxy.api import bodies, decode_domain
from ringside_proxy.api.decode import decode_open_body
from ringside_proxy.domain.errors import InvalidRequestError, RingsideError
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import CompletionRequest, Credentials

MODELS: dict[str, tuple[str, ...]] = {
    "anthropic": ("claude-sonnet-4-5", "claude-opus-5", "claude-3-haiku", "claude-sonnet-5-5"),
    "azure": ("gpt-5", "gpt-35-turbo"),
    "bedrock": ("anthropic.claude-sonnet-4-5", "mistral.mistral-large", "amazon.nova-pro"),
    "cohere": ("command-a", "command-a-reasoning"),
    "google": ("gemini-2.5-flash", "gemini-3-pro", "gemma-3"),
    "groq": ("openai/gpt-oss-20b", "qwen/qwen3-32b"),
    "mistral": ("mistral-large-latest", "magistral-medium"),
    "openai": ("gpt-5", "gpt-4o", "o1", "gpt-4"),
    "openrouter": ("openai/gpt-5", "anthropic/claude"),
    "replicate": ("meta/llama", "openai/gpt-5"),
    "xai": ("grok-4.5", "grok-4-1-fast"),
}
TARGETS = [(name, model) for name in PROVIDERS for model in MODELS.get(name, ("model",))]
CREDENTIALS = Credentials(
    base_url="http://provider.test",
    api_key="k",
    options={"region": "us-east-1", "access_key_id": "a", "secret_access_key": "b"},
)
BODIES = 150

CALL: Any = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}
SCHEMA: Any = {"type": "object", "properties": {"a": {"type": "string"}}}
MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "JSON"}]},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://[::1"}}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
    {"role": "user", "content": [{"type": "file", "file": {}}]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "ok"},
]
PARAMS: dict[str, list[Any]] = {
    "tools": [[{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], []],
    "tool_choice": ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}],
    "response_format": [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        {"type": "json_schema", "json_schema": {"name": "n"}},
    ],
    "stop": ["x", "", [], [" "]],
    "thinking": [{"type": "enabled"}, {"type": "adaptive"}, {"type": "?"}],
    "thinking_budget": [-1, 0, 1024],
    "reasoning_effort": ["none", "low", "max"],
    "max_tokens": [1, 100_000],
    "logit_bias": [{"1": 1}],
}
MESSAGE_KEYS = (
    *("name", "refusal", "text", "content", "function_call", "audio", "cache_control", "type"),
    *("provider_state", "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks"),
    *("extra_content", "file_id", "file_data", "filename", "detail", "signature", "prefix"),
)
SCHEMA_KEYS = (
    *("$ref", "$defs", "anyOf", "allOf", "enum", "const", "required", "format", "pattern", "items"),
    *("additionalProperties", "properties", "type", "minimum", "default", "title", "not", "strict"),
    *("description", "budget_tokens", "effort", "cache_control"),
)
PARAM_KEYS = (
    *("audio", "modalities", "prediction", "web_search_options", "functions", "function_call"),
    *("metadata", "store", "verbosity", "cache_control", "cached_content", "top_k", "provider"),
    *("safety_settings", "documents", "citation_options", "safety_mode", "priority", "options"),
    *("keep_alive", "reasoning", "prompt", "system_prompt", "prompt_cache_key", "thinking"),
)


def anything(source: random.Random, depth: int = 3) -> Any:
    """Any JSON value."""
    kinds: list[Any] = [None, True, -1, 1.5, "", "x"]
    if depth:
        kinds.append([anything(source, depth - 1) for _ in range(source.randrange(3))])
        keys = (
            "type",
            "call_id",
            "id",
            "chars",
            "blocks",
            "text",
            "calls",
            "thinking",
            "signature",
        )
        kinds.append({source.choice(keys): anything(source, depth - 1) for _ in range(2)})
    return source.choice(kinds)


def sprinkled(source: random.Random, value: Any, keys: tuple[str, ...]) -> Any:
    """A copy with values of any kind under some keys that it did not have, at every depth."""
    if isinstance(value, list):
        return [sprinkled(source, item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    copy = {key: sprinkled(source, item, keys) for key, item in value.items()}
    if source.random() < 0.3:
        copy.setdefault(source.choice(keys), anything(source))
    return copy


def body(source: random.Random) -> bytes:
    """A chat that is in order as far as the API looks."""
    messages = [source.choice(MESSAGES) for _ in range(source.randrange(1, 5))]
    given = {key: source.choice(PARAMS[key]) for key in PARAMS if source.random() < 0.25}
    given |= {key: anything(source) for key in PARAM_KEYS if source.random() < 0.05}
    told = {"model": "m", "messages": sprinkled(source, messages, MESSAGE_KEYS)}
    return orjson.dumps(sprinkled(source, given, SCHEMA_KEYS) | told)


@pytest.mark.parametrize(("provider", "model"), TARGETS)
def test_what_the_api_lets_through_is_built_or_refused(provider, model):
    """No shape of what is only passed on breaks an adapter."""
    source = random.Random(f"{provider}/{model}")
    built = 0
    for _ in range(BODIES):
        raw = body(source)
        try:
            read, params = decode_open_body(raw, bodies.ChatCompletion)
            decode_domain.refuse_chat_tools(read.tools)
            messages = params.pop("messages")
            request = CompletionRequest(model=model, messages=messages, params=params)
            PROVIDERS[provider].build_request(request, CREDENTIALS)
            built += 1
        except RingsideError:
            pass
        except Exception as error:
            raise AssertionError(f"{raw.decode()} broke the adapter") from error

    assert built > 0


USER: Any = {"role": "user", "content": "Hi"}
THOUGHT: Any = {"type": "reasoning", "encrypted_content": "x", "call_id": {}}
CALLING: Any = {"role": "assistant", "content": None, "tool_calls": [CALL]}
IN_JSON: Any = {"response_format": {"type": "json_object"}}
ODD_FORMAT: Any = {"type": "object", "properties": {"a": {"type": "string", "format": {}}}}


@pytest.mark.parametrize(
    ("provider", "messages", "params"),
    [
        ("xai", [USER, CALLING | {"provider_state": [THOUGHT]}], {}),
        (
            "xai",
            [USER, CALLING | {"provider_state": [{"type": "function_call", "call_id": []}]}],
            {},
        ),
        (
            "xai",
            [{"role": "assistant", "content": [{"type": "text", "text": "", "refusal": [1]}]}],
            {},
        ),
        (
            "openai",
            [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}, "text": 1}]}],
            IN_JSON,
        ),
        (
            "cohere",
            [USER],
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": ODD_FORMAT},
                }
            },
        ),
        ("replicate", [USER, {"role": "user", "content": "", "refusal": [1]}], {}),
    ],
    ids=["thought", "state", "refusal", "text", "format", "foreign-key"],
)
def test_keys_that_were_not_looked_at_may_hold_anything(provider, messages, params):
    """Each was a server error once; it is built, or refused as the caller's error."""
    request = CompletionRequest(model="command-a", messages=messages, params=params)

    try:
        built = PROVIDERS[provider].build_request(request, CREDENTIALS)
    except InvalidRequestError:
        return
    assert orjson.loads(built.body)
