"""What OpenAI refuses is refused, with its status, words, parameter and code."""

from typing import Any

import aiohttp
import orjson
import pytest

from ringside_proxy.sandbox.errors import APIError
from ringside_proxy.sandbox.requests import parse_chat

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f"}}
OPEN_OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}


def call(*ids: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": call_id, "type": "function", "function": function} for call_id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def answer(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


def tool(**function: Any) -> list[dict[str, Any]]:
    return [{"type": "function", "function": function}]


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": schema, "strict": True},
    }


UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. The following tool_call_ids did not have response messages: "
)
ORPHAN = (
    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message "
    "with 'tool_calls'."
)
TOO_FEW = "Expected an array with minimum length 1, but got an empty array instead."
CLOSED = "In context=(), 'additionalProperties' is required to be supplied and to be false."

MESSAGES = [
    (
        [],
        f"Invalid 'messages': empty array. {TOO_FEW}",
        "messages",
        "empty_array",
    ),
    (
        "hi",
        "Invalid type for 'messages': expected an array, but got a string instead.",
        "messages",
        "invalid_type",
    ),
    (
        ["hi"],
        "Invalid type for 'messages[0]': expected an object, but got a string instead.",
        "messages[0]",
        "invalid_type",
    ),
    (
        [{"content": "hi"}],
        "Missing required parameter: 'messages[0].role'.",
        "messages[0].role",
        "missing_required_parameter",
    ),
    (
        [{"role": "boss", "content": "hi"}],
        "Invalid value: 'boss'. Supported values are: "
        "'system', 'assistant', 'user', 'tool', and 'developer'.",
        "messages[0].role",
        "invalid_value",
    ),
    (
        [USER, {"role": "user"}],
        "Missing required parameter: 'messages[1].content'.",
        "messages[1].content",
        "missing_required_parameter",
    ),
    (
        [{"role": "user", "content": None}],
        "Invalid value for 'content': expected a string, got null.",
        "messages.[0].content",
        None,
    ),
    (
        [{"role": "assistant", "content": None}],
        "Invalid value for 'content': expected a string, got null.",
        "messages.[0].content",
        None,
    ),
    (
        [{"role": "user", "content": 5}],
        "Invalid type for 'messages[0].content': "
        "expected one of a string or array of objects, but got an integer instead.",
        "messages[0].content",
        "invalid_type",
    ),
    (
        [{"role": "user", "content": []}],
        f"Invalid 'messages[0].content': empty array. {TOO_FEW}",
        "messages[0].content",
        "empty_array",
    ),
    (
        [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}],
        "Invalid value: 'image_url'. Supported values are: 'text'.",
        "messages[0].content[0].type",
        "invalid_value",
    ),
    (
        [{"role": "user", "content": [{"type": "text", "text": 1}]}],
        "Invalid type for 'messages[0].content[0].text': "
        "expected a string, but got an integer instead.",
        "messages[0].content[0].text",
        "invalid_type",
    ),
    (
        [{**USER, "provider_state": {}}],
        "Unknown parameter: 'messages[0].provider_state'.",
        "messages[0].provider_state",
        "unknown_parameter",
    ),
    (
        [USER, {"role": "assistant", "content": "x", "tool_calls": []}],
        f"Invalid 'messages[1].tool_calls': empty array. {TOO_FEW}",
        "messages[1].tool_calls",
        "empty_array",
    ),
    ([USER, call("call_x")], f"{UNANSWERED}call_x", "messages.[1].role", None),
    (
        [USER, call("call_x", "call_y"), answer("call_y"), USER],
        f"{UNANSWERED}call_x",
        "messages.[3].role",
        None,
    ),
    ([USER, call("a", "b"), USER], f"{UNANSWERED}a, b", "messages.[2].role", None),
    ([USER, answer("call_x")], ORPHAN, "messages.[1].role", None),
    (
        [USER, call("a"), answer("a"), USER, answer("a")],
        ORPHAN,
        "messages.[4].role",
        None,
    ),
    (
        [USER, call("a"), answer("b")],
        "Invalid parameter: 'tool_call_id' of 'b' not found in 'tool_calls' of previous message.",
        "messages.[2].tool_call_id",
        None,
    ),
    (
        [USER, call("a"), answer("a"), answer("a")],
        "Duplicate value for 'tool_call_id' of 'a' in message[3]",
        None,
        None,
    ),
]

PARAMETERS = [
    ({"foo": 1}, "Unrecognized request argument supplied: foo", None, None),
    ({"foo": 1, "bar": 1}, "Unrecognized request arguments supplied: bar, foo", None, None),
    (
        {"model": None},
        "Missing required parameter: 'model'.",
        "model",
        "missing_required_parameter",
    ),
    (
        {"messages": None},
        "Missing required parameter: 'messages'.",
        "messages",
        "missing_required_parameter",
    ),
    (
        {"model": 4},
        "Invalid type for 'model': expected a string, but got an integer instead.",
        "model",
        "invalid_type",
    ),
    (
        {"temperature": 3},
        "Invalid 'temperature': decimal above maximum value. "
        "Expected a value <= 2, but got 3 instead.",
        "temperature",
        "decimal_above_max_value",
    ),
    (
        {"temperature": -0.5},
        "Invalid 'temperature': decimal below minimum value. "
        "Expected a value >= 0, but got -0.5 instead.",
        "temperature",
        "decimal_below_min_value",
    ),
    (
        {"temperature": True},
        "Invalid type for 'temperature': expected a decimal, but got a boolean instead.",
        "temperature",
        "invalid_type",
    ),
    (
        {"max_tokens": 0},
        "Invalid 'max_tokens': integer below minimum value. "
        "Expected a value >= 1, but got 0 instead.",
        "max_tokens",
        "integer_below_min_value",
    ),
    (
        {"max_tokens": 1.5},
        "Invalid type for 'max_tokens': expected an integer, but got a decimal instead.",
        "max_tokens",
        "invalid_type",
    ),
    (
        {"max_tokens": 5, "max_completion_tokens": 5},
        "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        "max_tokens",
        "invalid_parameter_combination",
    ),
    (
        {"n": 2},
        "Invalid 'n': integer above maximum value. Expected a value <= 1, but got 2 instead.",
        "n",
        "integer_above_max_value",
    ),
    (
        {"stop": ["a", "b", "c", "d", "e"]},
        "Invalid 'stop': array too long. Expected an array with maximum length 4, "
        "but got an array with length 5 instead.",
        "stop",
        "array_above_max_length",
    ),
    (
        {"stop": ""},
        "Invalid 'stop': empty string. Expected a string with minimum length 1, "
        "but got an empty string instead.",
        "stop",
        "empty_string",
    ),
    (
        {"reasoning_effort": "huge"},
        "Invalid value: 'huge'. Supported values are: "
        "'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'.",
        "reasoning_effort",
        "invalid_value",
    ),
    (
        {"stream": "yes"},
        "Invalid type for 'stream': expected a boolean, but got a string instead.",
        "stream",
        "invalid_type",
    ),
    (
        {"stream_options": {"include_usage": True}},
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        "stream_options",
        None,
    ),
    (
        {"functions": []},
        "Unsupported parameter: 'functions' is not supported with this model.",
        "functions",
        "unsupported_parameter",
    ),
    (
        {"logprobs": True},
        "Unsupported parameter: 'logprobs' is not supported with this model.",
        "logprobs",
        "unsupported_parameter",
    ),
    (
        {"metadata": {"a": "b"}},
        "The 'metadata' parameter is only allowed when 'store' is enabled.",
        "metadata",
        None,
    ),
    (
        {"store": True, "metadata": {str(i): "" for i in range(17)}},
        "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, "
        "but got an object with 17 properties instead.",
        "metadata",
        "object_above_max_properties",
    ),
]

FUNCTIONS = [
    ({"tools": []}, f"Invalid 'tools': empty array. {TOO_FEW}", "tools", "empty_array"),
    (
        {"tools": [TOOL] * 129},
        "Invalid 'tools': array too long. Expected an array with maximum length 128, "
        "but got an array with length 129 instead.",
        "tools",
        "array_above_max_length",
    ),
    (
        {"tools": [{"type": "file_search"}]},
        "Invalid value: 'file_search'. Supported values are: 'function'.",
        "tools[0].type",
        "invalid_value",
    ),
    (
        {"tools": tool(name="get weather")},
        "Invalid 'tools[0].function.name': string does not match pattern. "
        "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        "tools[0].function.name",
        "invalid_value",
    ),
    (
        {"tools": tool(name="f" * 65)},
        "Invalid 'tools[0].function.name': string too long. Expected a string with maximum "
        "length 64, but got a string with length 65 instead.",
        "tools[0].function.name",
        "string_above_max_length",
    ),
    (
        {"tools": tool(name="f", parameters={"type": "string"})},
        "Invalid schema for function 'f': schema must be a JSON Schema of 'type: \"object\"', "
        "got 'type: \"string\"'.",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tools": tool(name="f", parameters=OPEN_OBJECT, strict=True)},
        f"Invalid schema for function 'f': {CLOSED}",
        "tools[0].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"tool_choice": "auto"},
        "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' "
        "are specified.",
        "tool_choice",
        None,
    ),
    (
        {"parallel_tool_calls": True},
        "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when "
        "'tools' are specified.",
        "parallel_tool_calls",
        None,
    ),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "Tool choice 'g' not found in 'tools' parameter.",
        "tool_choice",
        None,
    ),
    (
        {"tools": [TOOL], "tool_choice": "any"},
        "Invalid value: 'any'. Supported values are: 'none', 'auto', and 'required'.",
        "tool_choice",
        "invalid_value",
    ),
    (
        {"response_format": {"type": "xml"}},
        "Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'.",
        "response_format.type",
        "invalid_value",
    ),
    (
        {"response_format": {"type": "json_schema"}},
        "Missing required parameter: 'response_format.json_schema'.",
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    (
        {"response_format": {"type": "json_object"}},
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
        "'json_object'.",
        "messages",
        None,
    ),
    (
        {"response_format": strict(OPEN_OBJECT)},
        f"Invalid schema for response_format 's': {CLOSED}",
        "response_format",
        None,
    ),
    (
        {"response_format": strict({**OPEN_OBJECT, "additionalProperties": False})},
        "Invalid schema for response_format 's': In context=(), 'required' is required to be "
        "supplied and to be an array including every key in properties. Missing 'a'.",
        "response_format",
        None,
    ),
    (
        {"response_format": strict({"type": "array", "items": OPEN_OBJECT})},
        "Invalid schema for response_format 's': In context=('items',), 'additionalProperties' "
        "is required to be supplied and to be false.",
        "response_format",
        None,
    ),
    (
        {"response_format": strict({"allOf": [{}]})},
        "Invalid schema for response_format 's': In context=(), 'allOf' is not permitted.",
        "response_format",
        None,
    ),
]

REFUSED = [({"messages": messages}, *rest) for messages, *rest in MESSAGES] + PARAMETERS + FUNCTIONS


@pytest.mark.parametrize(("change", "message", "param", "code"), REFUSED)
def test_a_request_that_openai_refuses_is_refused(
    change: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    """One change to a good request gives one error."""
    with pytest.raises(APIError) as refusal:
        parse_chat(orjson.dumps({"model": "echo", "messages": [USER], **change}))

    error = refusal.value
    assert (error.status, error.message, error.param, error.code) == (400, message, param, code)


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": None, "tools": None, "stop": None},
        {"temperature": 2, "top_p": 0.5, "seed": 7, "user": "u", "logprobs": False, "n": 1},
        {"tools": tool(name="f", parameters={}, strict=None, description=None)},
        {"tools": tool(name="f", parameters=OPEN_OBJECT)},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}},
        {"response_format": strict({"type": "object", "additionalProperties": False})},
        {"store": True, "metadata": {"a": "b"}},
        {"messages": [USER, call("a", "b"), answer("b"), answer("a"), USER]},
        {"messages": [USER, {"role": "assistant", "content": None, "refusal": "no"}]},
        {"messages": [{"role": "developer", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [USER, {"role": "assistant", "content": "x", "tool_calls": None}]},
        {"messages": [{"role": "user", "content": ""}]},
    ],
)
def test_a_request_that_openai_takes_is_taken(change: dict[str, Any]) -> None:
    """Null is the same as absent; schemas that are not strict may be open."""
    request = parse_chat(orjson.dumps({"model": "echo", "messages": [USER], **change}))

    assert request.model == "echo"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff",
        b'{"model": "\\ud800"}',
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    http: aiohttp.ClientSession, body: bytes
) -> None:
    """Also one nested beyond use."""
    for path in (CHAT, "/v1/embeddings"):
        async with http.post(path, data=body) as response:
            assert response.status == 400
            assert (await response.json())["error"]["type"] == "invalid_request_error"


async def test_an_unknown_model_is_a_404(http: aiohttp.ClientSession) -> None:
    """OpenAI's words and code."""
    async with http.post(CHAT, json={"model": "gpt-4", "messages": [USER]}) as response:
        assert response.status == 404
        assert (await response.json())["error"] == {
            "message": "The model 'gpt-4' does not exist",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }


async def test_the_embeddings_model_does_not_chat(http: aiohttp.ClientSession) -> None:
    """It is known, and it is said why it cannot be used."""
    async with http.post(CHAT, json={"model": "embed", "messages": [USER]}) as response:
        assert response.status == 404
        assert "not a chat model" in (await response.json())["error"]["message"]
