import json
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    InvalidRequestError,
)
from ringside_proxy.providers.cohere.adapter import Cohere
from ringside_proxy.providers.cohere.messages import NAME, cohere_names
from ringside_proxy.providers.cohere.schemas import lowered
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    HTTPRequest,
    Support,
)
from tests.providers.streams import drained, no_new_id, sdk_extras, transcripts

COHERE = Cohere()
CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/", api_key="co-test-key")
USER = {"role": "user", "content": "Hi."}
ANY_REQUEST = CompletionRequest(model="m", messages=[USER])
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def tool(name: str = "get_weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": CITY, **more}}


def called(*calls: tuple[str, str, str], **more: Any) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ],
        **more,
    }


def asking(*messages: Any, model: str = "command-a-03-2025", **params: Any) -> CompletionRequest:
    return CompletionRequest(
        model=model, messages=list(messages or (USER,)), params=params, is_stream=True
    )


def built(*messages: Any, **params: Any) -> HTTPRequest:
    return COHERE.build_request(asking(*messages, **params), CREDENTIALS)


def sent(*messages: Any, **params: Any) -> dict[str, Any]:
    """What goes out beside the model, the messages and `stream`."""
    body = orjson.loads(built(*messages, **params).body)
    return {k: v for k, v in body.items() if k not in ("model", "messages", "stream")}


def told(*messages: Any, **params: Any) -> list[dict[str, Any]]:
    messages_out: list[dict[str, Any]] = orjson.loads(built(*messages, **params).body)["messages"]
    return messages_out


@pytest.mark.parametrize("path", transcripts("cohere", "request.json"), ids=lambda path: path.name)
def test_request_is_what_cohere_takes(path):
    """The body that goes out equals the recorded one, key for key."""
    recorded = json.loads(path.read_text())

    request = COHERE.build_request(
        msgspec.convert(recorded["asked"], CompletionRequest), CREDENTIALS
    )

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded["dropped"]
    assert request.url == "http://127.0.0.1:1/v2/chat"
    assert request.headers == {
        "content-type": "application/json",
        "authorization": "Bearer co-test-key",
    }


@pytest.mark.parametrize(
    ("params", "fields", "dropped"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}, ()),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}, ()),
        ({"temperature": 0.2, "seed": 7}, {"temperature": 0.2, "seed": 7}, ()),
        ({"temperature": 1.3, "top_p": 1, "top_k": 900}, {"temperature": 1.0, "p": 0.99, "k": 500}, ()),
        ({"top_p": 0}, {"p": 0.01}, ()),
        ({"frequency_penalty": 1.5}, {"frequency_penalty": 1.0}, ()),
        ({"presence_penalty": -1, "frequency_penalty": -0.5}, {}, ("frequency_penalty", "presence_penalty")),
        ({"stop": "END"}, {"stop_sequences": ["END"]}, ()),
        ({"stop": list("abcdef")}, {"stop_sequences": list("abcde")}, ("stop",)),
        ({"n": 1, "logprobs": False, "user": "u", "metadata": {"a": "b"}, "store": True}, {}, ()),
        ({"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 2}}, {}, ("logit_bias", "logprobs", "top_logprobs")),
        ({"response_format": {"type": "text"}, "tool_choice": "auto", "seed": None}, {}, ()),
        ({"parallel_tool_calls": False, "service_tier": "flex"}, {}, ("parallel_tool_calls", "service_tier")),
        ({"documents": ["d"], "priority": 3, "safety_mode": "STRICT"}, {"documents": ["d"], "priority": 3}, ("safety_mode",)),
        ({"safety_mode": "STRICT", "citation_options": {"mode": "OFF"}}, {"safety_mode": "STRICT", "citation_options": {"mode": "OFF"}}, ()),
    ],
)  # fmt: skip
def test_parameters_map_by_the_table(params, fields, dropped):
    """Each is sent under Cohere's name, within its range, or left out and named."""
    assert sent(**params) == fields
    assert built(**params).dropped_params == dropped


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
    ],
)
def test_the_impossible_is_refused(params, param):
    """What can neither be sent nor left out is the caller's error."""
    with pytest.raises(InvalidRequestError) as caught:
        built(**params)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize(
    ("choice", "names", "word"),
    [
        ("auto", ["a", "b"], None),
        ("required", ["a", "b"], "REQUIRED"),
        ("none", ["a", "b"], "NONE"),
        ({"type": "function", "function": {"name": "b"}}, ["b"], "REQUIRED"),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool("a")]}},
            ["a"],
            "REQUIRED",
        ),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("a")]}}, ["a"], None),
        ({"type": "unheard_of"}, ["a", "b"], None),
    ],
)  # fmt: skip
def test_tool_choice_has_cohere_words(choice, names, word):
    """A named function is the only one that is sent, and must be called."""
    fields = sent(tools=[tool("a"), tool("b")], tool_choice=choice)

    assert [t["function"]["name"] for t in fields["tools"]] == names
    assert fields.get("tool_choice") == word


def test_tools_are_strict_all_or_none():
    """`strict` is a word of the whole request, and only for functions with a required parameter."""
    strict = tool("a", strict=True)
    bare = {"type": "function", "function": {"name": "b", "strict": True}}

    assert sent(tools=[strict])["strict_tools"] is True
    assert "strict" not in sent(tools=[strict])["tools"][0]["function"]
    assert "strict_tools" not in sent(tools=[strict, tool("b")])
    assert "strict_tools" not in sent(tools=[strict, bare])
    assert sent(tools=[bare])["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {},
    }
    wide = {f"p{n}": {"type": "string"} for n in range(201)}
    parameters = {"type": "object", "properties": wide, "required": ["p0"]}
    assert "strict_tools" not in sent(tools=[tool("a", strict=True, parameters=parameters)])


def test_function_names_are_identifiers_and_come_back():
    """Names that Cohere refuses get another, one to one; the caller sees its own."""
    given_names = ["get_weather", "get-weather", "2nd", "größe", "get.weather"]
    request = asking(
        USER, called(("c1", "old-name", "{}")), tools=[tool(name) for name in given_names]
    )
    names = cohere_names(request)

    assert set(names) == {*given_names, "old-name"}
    assert names["get_weather"] == "get_weather"
    assert len(set(names.values())) == len(names)
    assert all(NAME.fullmatch(alias) for alias in names.values())
    body = orjson.loads(COHERE.build_request(request, CREDENTIALS).body)
    assert [t["function"]["name"] for t in body["tools"]] == [names[n] for n in given_names]
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "old_name"

    start = {"id": "x", "type": "function", "function": {"name": names["get-weather"]}}
    event = {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": start}}}
    (opened,) = COHERE.stream_decoder(request, no_new_id).feed(
        b"data: " + orjson.dumps(event) + b"\n\n"
    )
    assert opened.name == "get-weather"


@given(st.lists(st.text(max_size=8), max_size=12))
def test_function_names_are_always_one_to_one(given_names):
    """Whatever the names are."""
    names = cohere_names(asking(tools=[tool(name) for name in given_names]))

    assert set(names) == set(given_names)
    assert len(set(names.values())) == len(names)
    assert all(NAME.fullmatch(alias) for alias in names.values())


@pytest.mark.parametrize(
    ("message", "out"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "a\nb"},
        ),
        (
            {"role": "user", "name": "Al", "content": [
                {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            ]},
            {"role": "user", "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            ]},
        ),
        ({"role": "assistant", "content": None, "refusal": "No."}, {"role": "assistant", "content": "No."}),
        (
            called(("c1", "f", ""), content="Let me see."),
            {"role": "assistant", "tool_plan": "Let me see.", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ]},
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "22C"}]},
            {"role": "tool", "tool_call_id": "c1", "content": "22C"},
        ),
    ],
)  # fmt: skip
def test_messages_map_by_the_table(message, out):
    """Each in Cohere's shape, without what it does not know."""
    assert told(message, USER)[0] == out


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_the_last_word_is_the_users(role):
    """Cohere answers nobody else; a chat that is none of hers goes on all the same."""
    assert [message["role"] for message in told({"role": role, "content": "x"})] == [role, "user"]


def test_message_that_says_nothing_is_left_out():
    """An empty answer is refused by Cohere and says nothing to the model."""
    assert told(USER, {"role": "assistant", "content": ""}, USER) == [USER, USER]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "image_url", "image_url": {}}]},
        {"role": "function", "name": "f", "content": "x"},
        {"role": "assistant", "content": None, "function_call": {"name": "f"}},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {}}]},
        {"role": "user", "content": ["bare"]},
    ],
)
def test_message_that_cannot_be_told_is_refused(message):
    """Rather than telling the model something else."""
    with pytest.raises(InvalidRequestError) as caught:
        told(message)

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")


def test_tool_plan_goes_back_with_its_calls():
    """What the stream gives as state stands, as it was, in the next request."""
    (path,) = (p for p in transcripts("cohere", "sse") if p.stem == "tool_call")
    deltas = drained(COHERE.stream_decoder(ANY_REQUEST, no_new_id), [path.read_bytes()])
    (state,) = (delta["StateDelta"]["state"] for delta in deltas if "StateDelta" in delta)

    answer = called(("get_weather_x2", "get_weather", '{"city":"Oslo"}'), provider_state=state)
    assert told(USER, answer)[1]["tool_plan"] == "I will look up Oslo."
    both = told(USER, answer | {"content": "Wait."})[1]
    assert both["tool_plan"] == "I will look up Oslo.\n\nWait."
    assert "content" not in both
    assert "tool_plan" not in told(USER, answer | {"provider_state": ["foreign"]})[1]


@pytest.mark.parametrize(
    ("params", "out"),
    [
        ({"reasoning_effort": "none"}, {"type": "disabled"}),
        ({"reasoning_effort": "minimal"}, {"type": "enabled", "token_budget": 1024}),
        ({"reasoning_effort": "low"}, {"type": "enabled", "token_budget": 2048}),
        ({"reasoning_effort": "medium"}, {"type": "enabled"}),
        ({"reasoning_effort": "high"}, {"type": "enabled"}),
        ({"reasoning_effort": "xhigh"}, {"type": "enabled"}),
        ({"reasoning_effort": "max"}, {"type": "enabled"}),
        ({"thinking_budget": 0}, {"type": "disabled"}),
        ({"thinking_budget": -1}, {"type": "enabled"}),
        ({"thinking_budget": 300, "reasoning_effort": "none"}, {"type": "enabled", "token_budget": 300}),
        ({"thinking": {"type": "disabled"}, "thinking_budget": 300}, {"type": "disabled"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 400}}, {"type": "enabled", "token_budget": 400}),
        ({"thinking": {"type": "adaptive"}}, {"type": "enabled"}),
        ({"thinking_budget": 5000, "max_tokens": 4000}, {"type": "enabled", "token_budget": 3000}),
        ({"reasoning_effort": "low", "max_tokens": 800}, {"type": "enabled", "token_budget": 400}),
    ],
)  # fmt: skip
def test_reasoning_knobs_become_thinking(params, out):
    """The most explicit knob wins, and some of the limit is left for the answer."""
    request = built(model="command-a-reasoning-08-2025", **params)

    assert orjson.loads(request.body)["thinking"] == out
    assert request.dropped_params == ()


def test_model_that_cannot_think_is_not_asked_to():
    """The knob is named as dropped; to ask for none is to ask for what happens anyway."""
    assert "thinking" not in sent(reasoning_effort="high")
    assert built(reasoning_effort="high").dropped_params == ("reasoning_effort",)
    assert built(reasoning_effort="none").dropped_params == ()


def test_schema_goes_out_lowered():
    """Without the keywords that Cohere refuses, and with a required property in every object."""
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1},
            "inner": {"type": "object", "properties": {"d": {"type": "string", "format": "email"}}},
            "list": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "date"}},
        },
        "required": ["minimum"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}

    fields = sent({"role": "user", "content": "Some JSON."}, response_format=wanted)

    assert fields["response_format"] == {
        "type": "json_object",
        "json_schema": {
            "type": "object",
            "properties": {
                "minimum": {"type": "integer"},
                "inner": {
                    "type": "object",
                    "properties": {"d": {"type": "string"}},
                    "required": ["d"],
                },
                "list": {"type": "array", "items": {"type": "string", "format": "date"}},
            },
            "required": ["minimum"],
        },
    }


def test_json_is_asked_for_in_words_too():
    """Without the word, the model may write blanks until its limit."""
    out = told(USER, response_format={"type": "json_object"})

    assert out == [{"role": "system", "content": "Answer in JSON."}, USER]
    said = {"role": "user", "content": "Some json."}
    assert told(said, response_format={"type": "json_object"}) == [said]


@pytest.mark.parametrize(
    ("schema", "has_format"),
    [
        ({"type": "object", "additionalProperties": {"type": "string"}}, True),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"anyOf": [{"type": "string"}]}, False),
    ],
)
def test_schema_that_cannot_be_sent_stands_in_the_prompt(schema, has_format):
    """As an object's, if the answer has to be one at all."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    request = built(response_format=wanted)

    body = orjson.loads(request.body)
    assert orjson.dumps(schema).decode() in body["messages"][0]["content"]
    assert body.get("response_format") == ({"type": "json_object"} if has_format else None)
    assert request.dropped_params == (() if has_format else ("response_format",))


def test_format_is_not_sent_beside_tools():
    """Cohere refuses the two together; the words stay."""
    request = built(tools=[tool()], response_format={"type": "json_object"}, safety_mode="STRICT")

    body = orjson.loads(request.body)
    assert "response_format" not in body
    assert body["messages"][0] == {"role": "system", "content": "Answer in JSON."}
    assert request.dropped_params == ("response_format", "safety_mode")


def test_endless_schema_is_not_sent():
    """Nor does it exhaust the stack."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(500):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}

    assert lowered(schema) is None


@pytest.mark.parametrize(
    ("model", "tools", "choice", "sees", "reasons", "schema"),
    [
        ("command-a-03-2025", Support.NATIVE, Support.NATIVE, False, False, True),
        ("command-a-plus-05-2026", Support.NATIVE, Support.NATIVE, True, True, True),
        ("command-a-reasoning-08-2025", Support.NATIVE, Support.NATIVE, False, True, True),
        ("command-a-vision-07-2025", Support.EMULATED, Support.EMULATED, True, False, False),
        ("command-a-translate-08-2025", Support.EMULATED, Support.EMULATED, False, False, False),
        ("command-r7b-12-2024", Support.NATIVE, Support.NATIVE, False, False, True),
        ("command-r-plus-08-2024", Support.NATIVE, Support.EMULATED, False, False, True),
        ("command-r", Support.NATIVE, Support.EMULATED, False, False, True),
        ("command", Support.EMULATED, Support.EMULATED, False, False, False),
        ("north-mini-code", Support.NATIVE, Support.NATIVE, False, False, True),
    ],
)
def test_capabilities_are_the_models(model, tools, choice, sees, reasons, schema):
    """What a model does by itself; a schema never goes together with tools."""
    able = COHERE.capabilities(model)

    assert able.tools is tools
    assert {able.tool_choice_none, able.tool_choice_required, able.tool_choice_named} == {choice}
    assert able.single_tool_call is Support.EMULATED
    assert (able.image_urls, able.image_data, able.reasoning) == (sees, sees, reasons)
    assert (able.json_object, able.json_schema) == (schema, schema)
    assert not able.json_schema_with_tools


def test_cohere_s_own_types_know_what_goes_out():
    """Every field and message, judged by the vendor's SDK."""
    cohere = pytest.importorskip("cohere")
    import inspect

    from pydantic import TypeAdapter

    known = set(inspect.signature(cohere.ClientV2.chat_stream).parameters) | {"stream"}
    message_types = {
        "system": cohere.SystemChatMessageV2,
        "user": cohere.UserChatMessageV2,
        "assistant": cohere.AssistantChatMessageV2,
        "tool": cohere.ToolChatMessageV2,
    }
    for path in transcripts("cohere", "request.json"):
        body = json.loads(path.read_text())["sent"]
        assert set(body) <= known
        for message in body["messages"]:
            assert sdk_extras(message_types[message["role"]].model_validate(message)) == []
        for one in body.get("tools", ()):
            assert sdk_extras(cohere.ToolV2.model_validate(one)) == []
        if "thinking" in body:
            assert sdk_extras(cohere.Thinking.model_validate(body["thinking"])) == []
        if "response_format" in body:
            TypeAdapter(cohere.JsonObjectResponseFormatV2).validate_python(body["response_format"])
