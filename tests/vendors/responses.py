"""The vendors on the Responses dialect: OpenAI, xAI and Perplexity's Agent API.

Source: https://platform.openai.com/docs/api-reference/responses/create, https://docs.x.ai/docs and
https://docs.perplexity.ai/api-reference/agent-post, read 2026-11-21.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

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
from tests.vendors.chat_rules import efforts_of
from tests.vendors.typed import problems

Body = dict[str, Any]
LOW: Final = ("low", "medium", "high")
OUTPUT_TOKENS_MIN: Final = 16


class Rules(NamedTuple):
    """One vendor."""

    path: str
    types: str
    fields: frozenset[str]
    untyped: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset({"user", "assistant", "system", "developer"})
    efforts: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    """By the beginning of a model's name; a model without a row takes any."""
    hosted: frozenset[str] = frozenset()
    """The vendor's own tools."""


COMMON: Final = frozenset(
    {"model", "input", "instructions", "max_output_tokens", "tools", "tool_choice", "stream"}
    | {"parallel_tool_calls", "reasoning", "store", "temperature", "top_p", "previous_response_id"}
)
RULES: Final = {
    "openai": Rules(
        path="/responses",
        types="openai.types.responses.response_create_params:ResponseCreateParamsStreaming",
        fields=COMMON
        | {"text", "include", "service_tier", "prompt_cache_key", "prompt_cache_options"}
        | {"prompt_cache_retention", "safety_identifier", "truncation", "metadata"}
        | {"stream_options"},
        efforts={
            "o1-pro": LOW,
            "o3-pro": LOW,
            "gpt-5-pro": ("high",),
            "gpt-5.2-pro": ("medium", "high", "xhigh"),
            "gpt-5.2": ("none", *LOW, "xhigh"),
            "gpt-5.6": ("none", *LOW, "xhigh", "max"),
            "gpt-6-astra": (*LOW, "xhigh", "max"),
        },
    ),
    "xai": Rules(
        path="/responses",
        types="openai.types.responses.response_create_params:ResponseCreateParamsStreaming",
        fields=COMMON | {"text", "include", "prompt_cache_key"},
        roles=frozenset({"user", "assistant", "system"}),
        efforts={
            "grok-4.3": ("none", *LOW),
            "grok-4.5": LOW,
            "grok-4.6": (*LOW, "xhigh"),
            "grok-4.7": (*LOW, "xhigh"),
            "grok-4.20": (),
            "grok-4-1-fast": (),
        },
    ),
    "perplexity": Rules(
        path="/agent",
        types="perplexity.types.response_create_params:ResponseCreateParamsStreaming",
        fields=COMMON
        | {"models", "preset", "response_format", "stream_options", "max_steps", "max_tool_calls"}
        | {"background", "metadata"},
        untyped=frozenset({"temperature", "top_p", "tool_choice", "parallel_tool_calls"}),
        efforts={"": ("minimal", *LOW, "xhigh")},
        hosted=frozenset(
            {"web_search", "fetch_url", "people_search", "finance_search", "sandbox", "mcp"}
        ),
    ),
}


def judge(vendor: str, asked: Asked, key: str) -> None:
    """Raises Refused for what the vendor would refuse in a response."""
    rules = RULES[vendor]
    require(
        asked.method == "POST" and asked.path == rules.path, "404 page not found", Kind.NOT_FOUND
    )
    require_key(asked, "authorization", key)
    body = asked.body
    require(isinstance(body, dict), "could not parse the JSON body")
    for name, value in body.items():
        require(name in rules.fields, f'invalid request body: json: unknown field "{name}"')
        require(value is not None and value != [], f"'{name}': empty")
    _model(vendor, body)
    require(body.get("store") is False, "This fake keeps nothing: 'store' is true by default.")
    _items(vendor, body["input"], rules)
    _tools(vendor, body, rules)
    _knobs(body, rules)
    _format(vendor, body)
    typed = body
    if vendor == "xai" and "tools" in body:  # judged by OpenAI's types, which demand this word
        typed = body | {"tools": [tool | {"strict": None} for tool in body["tools"]]}
    found = problems(typed, rules.types)
    lacking = {f"{name}: unknown field" for name in rules.untyped}
    require_known([text for text in found if text.removeprefix("$.") not in lacking])


def _model(vendor: str, body: Body) -> None:
    model = body.get("model", "")
    require(body.get("input"), "Missing required parameter: 'input'.")
    is_preset = vendor == "perplexity" and body.get("preset") in ("fast", *LOW, "xhigh")
    require(model or is_preset, "Missing required parameter: 'model'.")
    require("no-such-model" not in model, "", Kind.NOT_FOUND)
    if vendor == "perplexity" and model:
        require("/" in model, f"model '{model}' is not supported", Kind.NOT_FOUND)
        is_bounded = "max_output_tokens" in body or not model.startswith("anthropic/")
        require(is_bounded, "max_output_tokens is required for anthropic models")
    is_chat_only = vendor == "openai" and model.startswith(("gpt-4", "gpt-3.5"))
    require(not (is_chat_only and "reasoning" in body), "Unsupported parameter: 'reasoning.effort'")
    limit = body.get("max_output_tokens", OUTPUT_TOKENS_MIN)
    least = 1 if vendor == "xai" else OUTPUT_TOKENS_MIN
    require(limit >= least, f"Invalid 'max_output_tokens': integer below minimum value, {limit}")


def _items(vendor: str, items: list[Body], rules: Rules) -> None:
    called: list[str] = []
    answered: list[str] = []
    for before, item in zip([{}, *items], items, strict=False):
        kind = item.get("type", "message")
        if kind == "message":
            require(item.get("role") in rules.roles, f"unknown role {item.get('role')}")
            open_calls = {*called} - {*answered}
            require(not open_calls, f"No tool output found for function call {open_calls}.")
        elif kind == "function_call":
            called.append(item["call_id"])
        elif kind == "function_call_output":
            is_known = item["call_id"] in called and item["call_id"] not in answered
            require(is_known, f"No tool call found for function call output {item['call_id']}.")
            answered.append(item["call_id"])
            require(vendor != "perplexity" or item.get("name"), "output without its name")
        else:
            require(kind == "reasoning", f"unknown item {kind}")
        is_led = before.get("type") != "reasoning" or kind in (
            "message",
            "function_call",
            "reasoning",
        )
        require(
            is_led, "Item of type 'reasoning' was provided without its required following item."
        )
    require(not items or items[-1].get("type") != "reasoning", "reasoning without its item")
    require({*called} == {*answered}, "No tool output found for a function call.")
    require(not {"cache_control", "provider_state"} & {*keys(items)}, "unknown field in an item")


def _tools(vendor: str, body: Body, rules: Rules) -> None:
    tools = body.get("tools", [])
    names = set()
    for tool in tools:
        if tool.get("type") in rules.hosted:
            continue
        require(tool.get("type") == "function", f"unknown tool type {tool.get('type')}")
        names.add(tool.get("name"))
        known = {"type", "name", "description", "parameters"}
        known |= {"strict"} if vendor != "xai" else set()
        require(not tool.keys() - known, f"unknown fields {tool.keys() - known} in a tool")
        reserved = tool.get("name") in rules.hosted
        require(not reserved, f"function name {tool.get('name')} is reserved")
    choice = body.get("tool_choice", "auto")
    require(tools or choice == "auto", "tool_choice without tools")
    if isinstance(choice, dict):
        require(choice.get("name") in names, "tool_choice names no tool")
        require(vendor != "perplexity" or "type" not in choice, 'json: unknown field "type"')


def _knobs(body: Body, rules: Rules) -> None:
    effort = (body.get("reasoning") or {}).get("effort")
    words = efforts_of(rules.efforts, body.get("model", ""))
    if effort is not None and words is not None:
        require(effort in words, f"Unsupported value: 'reasoning.effort' does not take {effort}.")


def _format(vendor: str, body: Body) -> None:
    if vendor == "perplexity":
        wanted = body.get("response_format")
        require(
            wanted is None or wanted.get("type") == "json_schema", "response_format: unsupported"
        )
        return
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_object":
        require(mentions(body["input"], "json"), "Response input must contain the word 'json'.")
    if vendor == "openai" and wanted.get("strict"):
        for part in objects(wanted["schema"]):
            is_closed = part.get("additionalProperties") is False
            require(is_closed, "Invalid schema for response_format: additionalProperties")
