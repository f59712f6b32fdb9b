"""Requests as strictly as OpenAI takes them: what is not right is a 400 in OpenAI's words."""

import json
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.sandbox import conversation
from ringside_proxy.sandbox.checks import (
    Check,
    anything,
    array,
    boolean,
    decimal,
    free_mapping,
    integer,
    is_mapping,
    mapping,
    one_of,
    string,
    tagged,
    wrong_type,
)
from ringside_proxy.sandbox.errors import APIError, invalid, missing
from ringside_proxy.sandbox.messages import ID, MESSAGES, NAME, TEXT, check_tool_answers
from ringside_proxy.sandbox.script import OUTPUT_TOKENS_MAX
from ringside_proxy.sandbox.strict_schemas import strict_problem
from ringside_proxy.sandbox.tokens import count

TOOLS_MAX: Final = 128
STOPS_MAX: Final = 4
METADATA_KEYS_MAX: Final = 16
METADATA_CHARACTERS_MAX: Final = 512


def _parameters_problem(function: dict[str, Any]) -> str | None:
    parameters = function.get("parameters") or {}
    if parameters and parameters.get("type") != "object":
        kind = parameters.get("type")
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."
    return strict_problem(parameters) if function.get("strict") else None


FUNCTION: Final = mapping(
    {"name": NAME},
    {"description": TEXT, "parameters": free_mapping, "strict": boolean},
)


def _function(value: Any, path: str) -> None:
    FUNCTION(value, path)
    if problem := _parameters_problem(value):
        raise invalid(
            f"Invalid schema for function '{value['name']}': {problem}",
            f"{path}.parameters",
            "invalid_function_parameters",
        )


TOOLS: Final = array(
    tagged({"function": mapping({"type": anything, "function": _function})}), most=TOOLS_MAX
)


def _tool_choice(value: Any, path: str) -> None:
    if isinstance(value, str):
        one_of("none", "auto", "required")(value, path)
    else:
        tagged({"function": mapping({"type": anything, "function": mapping({"name": NAME})})})(
            value, path
        )


SCHEMA_FORMAT: Final = mapping(
    {"name": NAME},
    {"schema": free_mapping, "strict": boolean, "description": TEXT},
)


def _schema_format(value: Any, path: str) -> None:
    SCHEMA_FORMAT(value, path)
    problem = strict_problem(value.get("schema") or {}) if value.get("strict") else None
    if problem:
        raise invalid(
            f"Invalid schema for response_format '{value['name']}': {problem}", "response_format"
        )


RESPONSE_FORMAT: Final = tagged(
    {
        "text": mapping({"type": anything}),
        "json_object": mapping({"type": anything}),
        "json_schema": mapping({"type": anything, "json_schema": _schema_format}),
    }
)


def _stop(value: Any, path: str) -> None:
    if isinstance(value, str):
        ID(value, path)
    else:
        array(ID, most=STOPS_MAX)(value, path)


def _metadata(value: Any, path: str) -> None:
    free_mapping(value, path)
    if len(value) > METADATA_KEYS_MAX:
        raise invalid(
            f"Invalid '{path}': too many properties. Expected an object with at most "
            f"{METADATA_KEYS_MAX} properties, but got an object with {len(value)} "
            "properties instead.",
            path,
            "object_above_max_properties",
        )
    for key, element in value.items():
        string(most=METADATA_CHARACTERS_MAX)(element, f"{path}.{key}")


PARAMETERS: Final[dict[str, Check]] = {
    "model": string(is_empty_allowed=False),
    "messages": MESSAGES,
    "temperature": decimal(0, 2),
    "top_p": decimal(0, 1),
    "frequency_penalty": decimal(-2, 2),
    "presence_penalty": decimal(-2, 2),
    "max_tokens": integer(1),
    "max_completion_tokens": integer(1),
    "n": integer(1, 1),
    "stop": _stop,
    "seed": integer(),
    "stream": boolean,
    "stream_options": mapping({}, {"include_usage": boolean, "include_obfuscation": boolean}),
    "tools": TOOLS,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": boolean,
    "response_format": RESPONSE_FORMAT,
    "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "verbosity": one_of("low", "medium", "high"),
    "service_tier": one_of("auto", "default", "flex", "scale", "priority", "fast"),
    "logit_bias": free_mapping,
    "logprobs": boolean,
    "modalities": array(one_of("text")),
    "metadata": _metadata,
    "store": boolean,
    "user": TEXT,
    "safety_identifier": TEXT,
    "prompt_cache_key": TEXT,
    "prompt_cache_options": free_mapping,
    "prompt_cache_retention": one_of("in_memory", "24h"),
}

NOT_SIMULATED: Final = frozenset(
    {
        "audio",
        "function_call",
        "functions",
        "moderation",
        "prediction",
        "top_logprobs",
        "web_search_options",
    }
)
"""Parameters that OpenAI knows, for models other than these."""


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """A function that may be called."""

    name: str
    parameters: dict[str, Any]


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A valid chat completion request."""

    model: str
    messages: list[dict[str, Any]]
    callable_functions: list[Function]
    answer_schema: dict[str, Any] | None
    tokens_max: int
    stops: tuple[str, ...]
    prompt_tokens: int
    is_stream: bool
    includes_usage: bool


def parse_chat(data: bytes) -> ChatRequest:
    """The request that a body holds. Raises APIError (400)."""
    body = read_json(data)
    refuse_unknown(body, PARAMETERS.keys() | NOT_SIMULATED)
    for name in ("model", "messages"):
        if name not in body:
            raise missing(name)
    for name, value in body.items():
        if name in NOT_SIMULATED or (name == "logprobs" and value is True):
            raise _unsupported(name)
        PARAMETERS[name](value, name)
    _check_combinations(body)
    check_tool_answers(body["messages"])
    return _chat_request(body)


def read_json(data: bytes) -> dict[str, Any]:
    """A body's parameters; null is the same as absent. Raises APIError (400)."""
    try:
        body = orjson.loads(data)
        orjson.dumps(body)  # refuses what is nested too deeply to be worked on
    except (orjson.JSONDecodeError, orjson.JSONEncodeError) as error:
        raise invalid(f"We could not parse the JSON body of your request: {error}.") from error
    if not is_mapping(body):
        raise wrong_type("body", "an object", body)
    return {name: value for name, value in body.items() if value is not None}


def refuse_unknown(body: dict[str, Any], known: Any) -> None:
    """Raises APIError (400) naming the parameters that do not exist."""
    if unknown := sorted(body.keys() - known):
        plural = "s" if len(unknown) > 1 else ""
        raise invalid(f"Unrecognized request argument{plural} supplied: {', '.join(unknown)}")


def _unsupported(name: str) -> APIError:
    return invalid(
        f"Unsupported parameter: '{name}' is not supported with this model.",
        name,
        "unsupported_parameter",
    )


def _check_combinations(body: dict[str, Any]) -> None:
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in body and "tools" not in body:
            raise invalid(
                f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.",
                name,
            )
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
            "max_tokens",
            "invalid_parameter_combination",
        )
    if "stream_options" in body and not body.get("stream"):
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            "stream_options",
        )
    if "metadata" in body and not body.get("store"):
        raise invalid(
            "The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata"
        )
    _check_forced_tool(body)
    _check_json_is_mentioned(body)


def _check_forced_tool(body: dict[str, Any]) -> None:
    name = _forced_name(body)
    if name is not None and name not in [tool["function"]["name"] for tool in body["tools"]]:
        raise invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")


def _check_json_is_mentioned(body: dict[str, Any]) -> None:
    if body.get("response_format", {}).get("type") != "json_object":
        return
    texts = (conversation.text_of(message.get("content")) for message in body["messages"])
    if not any("json" in text.lower() for text in texts):
        raise invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of "
            "type 'json_object'.",
            "messages",
        )


def _forced_name(body: dict[str, Any]) -> str | None:
    choice = body.get("tool_choice")
    return str(choice["function"]["name"]) if is_mapping(choice) else None


def _chat_request(body: dict[str, Any]) -> ChatRequest:
    stop = body.get("stop", [])
    schema_format = body.get("response_format", {}).get("json_schema")
    return ChatRequest(
        model=body["model"],
        messages=body["messages"],
        callable_functions=_callable_functions(body),
        answer_schema=None if schema_format is None else schema_format.get("schema") or {},
        tokens_max=body.get("max_completion_tokens") or body.get("max_tokens") or OUTPUT_TOKENS_MAX,
        stops=(stop,) if isinstance(stop, str) else tuple(stop),
        prompt_tokens=_prompt_tokens(body),
        is_stream=body.get("stream", False),
        includes_usage=body.get("stream_options", {}).get("include_usage") or False,
    )


def _callable_functions(body: dict[str, Any]) -> list[Function]:
    forced, is_parallel = _forced_name(body), body.get("parallel_tool_calls", True)
    if body.get("tool_choice") == "none":
        return []
    functions = [tool["function"] for tool in body.get("tools", [])]
    wanted = [f for f in functions if forced is None or f["name"] == forced]
    return [
        Function(name=f["name"], parameters=f.get("parameters") or {})
        for f in (wanted if is_parallel else wanted[:1])
    ]


def _prompt_tokens(body: dict[str, Any]) -> int:
    """Every text, call, function and schema that was sent."""
    texts = [json.dumps(body[key]) for key in ("tools", "response_format") if key in body]
    for message in body["messages"]:
        texts.append(conversation.text_of(message.get("content")))
        texts.append(message.get("refusal") or "")
        for call in message.get("tool_calls") or []:
            texts += [call["function"]["name"], call["function"]["arguments"]]
    return sum(map(count, texts))
