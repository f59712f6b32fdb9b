"""Gemini's parameters, tools and schemas; capabilities; embeddings."""

from typing import Any

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.types import Capabilities, EmbeddingsRequest, Support
from tests.providers.google_calls import (
    BASE,
    CITY,
    CREDENTIALS,
    HELLO,
    V2_0,
    V2_5,
    V3,
    answer,
    built,
    called,
    config,
    function,
    result,
    sent,
)


@pytest.mark.parametrize(
    ("model", "given", "expected", "dropped"),
    [
        (V3, {"temperature": 0, "top_p": 0.5, "top_k": 3}, {"temperature": 0, "topP": 0.5, "topK": 3}, ()),
        ("gemini-3.6-flash", {"temperature": 0, "seed": 1}, {"seed": 1}, ("temperature",)),
        ("gemini-3.8-flash", {"top_p": 1}, {}, ("top_p",)),
        ("gemini-3.5-flash-lite", {"top_k": 1}, {}, ("top_k",)),
        (V3, {"presence_penalty": 1, "frequency_penalty": 0}, {}, ("presence_penalty",)),
        (V2_5, {"frequency_penalty": 1}, {}, ("frequency_penalty",)),
        (V2_0, {"presence_penalty": 1}, {"presencePenalty": 1}, ()),
        (V3, {"stop": "x"}, {"stopSequences": ["x"]}, ()),
        (V3, {"stop": list("abcdef")}, {"stopSequences": list("abcde")}, ("stop",)),
        (V3, {"seed": 2**31 + 5}, {"seed": 5}, ()),
        (V3, {"max_tokens": 5}, {"maxOutputTokens": 5}, ()),
        (V3, {"max_tokens": 5, "max_completion_tokens": 6}, {"maxOutputTokens": 6}, ()),
        (V3, {"logprobs": True, "top_logprobs": 2}, {}, ("logprobs", "top_logprobs")),
        (V3, {"logprobs": False, "logit_bias": {}, "n": 1, "parallel_tool_calls": True}, {}, ()),
        (V3, {"logit_bias": {"5": 1}, "verbosity": "low"}, {}, ("logit_bias", "verbosity")),
        (V3, {"response_format": {"type": "text"}}, {}, ()),
        (V3, {"stop": None, "temperature": None, "tools": [], "tool_choice": "none"}, {}, ()),
    ],
)  # fmt: skip
def test_numbers_have_googles_names(model, given, expected, dropped):
    """What a family refuses or ignores is left out and named."""
    assert config(model, **given) == (expected, dropped)


@pytest.mark.parametrize(
    ("model", "knob", "expected"),
    [
        (V3, {"reasoning_effort": "none"}, "minimal"),
        (V3, {"reasoning_effort": "xhigh"}, "high"),
        ("gemini-3.1-pro-preview", {"reasoning_effort": "minimal"}, "low"),
        ("gemini-3.7-flash", {"reasoning_effort": "none"}, "low"),
        ("gemini-4-argon", {"reasoning_effort": "max"}, "high"),
        ("gemini-flash-latest", {"reasoning_effort": "medium"}, "medium"),
        (V3, {"thinking_budget": 2000, "reasoning_effort": "high"}, "low"),
        (V3, {"thinking_budget": 0}, "minimal"),
        (V3, {"thinking_budget": -1}, None),
        (V3, {"thinking": {"type": "enabled", "budget_tokens": 9000}}, "high"),
        (V3, {"thinking": {"type": "disabled"}}, "minimal"),
        (V3, {"thinking": {"type": "adaptive"}, "reasoning_effort": "low"}, "low"),
        (V2_5, {"reasoning_effort": "none"}, 0),
        (V2_5, {"reasoning_effort": "max"}, 24_576),
        ("gemini-2.5-pro", {"reasoning_effort": "none"}, 128),
        ("gemini-2.5-pro", {"reasoning_effort": "xhigh"}, 32_768),
        ("gemini-2.5-flash-lite", {"thinking_budget": 5}, 512),
        (V2_5, {"thinking_budget": -1}, -1),
        (V2_5, {"thinking": {"type": "enabled", "budget_tokens": 1500}}, 1500),
    ],
)
def test_thinking_is_a_level_or_a_budget(model, knob, expected):
    """From 3 on a level, at 2.5 a budget, never both; thoughts are shown where there are any."""
    thinking = config(model, **knob)[0]["thinkingConfig"]

    if expected == 0:
        assert thinking == {"thinkingBudget": 0}
    elif isinstance(expected, int):
        assert thinking == {"thinkingBudget": expected, "includeThoughts": True}
    else:
        level = {} if expected is None else {"thinkingLevel": expected}
        assert thinking == {**level, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "knob", "dropped"),
    [
        (V2_0, {"reasoning_effort": "low"}, ("reasoning_effort",)),
        (V2_0, {"reasoning_effort": "none"}, ()),
        (V2_0, {"thinking_budget": 0}, ()),
        (V3, {"reasoning_effort": "ultra"}, ("reasoning_effort",)),
        (V3, {"thinking": "on"}, ("thinking",)),
    ],
)
def test_thinking_that_cannot_be_had_is_named(model, knob, dropped):
    """A model that does not think refuses to be told how."""
    assert config(model, **knob) == ({}, dropped)


@pytest.mark.parametrize(
    "params",
    [
        {"n": 2},
        {"audio": {"voice": "alloy"}},
        {"modalities": ["text", "audio"]},
        {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
    ],
)
def test_what_cannot_be_dropped_is_refused(params):
    """Dropping these would answer another question."""
    with pytest.raises(InvalidRequestError) as caught:
        built(**params)

    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == next(iter(params))


@pytest.mark.parametrize(
    ("tier", "expected", "dropped"),
    [
        ("auto", None, ()),
        ("default", "standard", ()),
        ("flex", "flex", ()),
        ("priority", "priority", ()),
        ("scale", None, ("service_tier",)),
    ],
)
def test_service_tiers_have_googles_names(tier, expected, dropped):
    """The tier is said outside of the generation's configuration."""
    assert sent(service_tier=tier).get("serviceTier") == expected
    assert built(service_tier=tier).dropped_params == dropped


def test_cached_content_is_passed_through():
    """An explicit cache of the owner's is used by its name."""
    assert sent(cached_content="cachedContents/x")["cachedContent"] == "cachedContents/x"


@pytest.mark.parametrize(
    ("choice", "strict", "model", "expected"),
    [
        (None, False, V3, {"mode": "AUTO"}),
        ("auto", False, V3, {"mode": "AUTO"}),
        ("auto", True, V3, {"mode": "VALIDATED"}),
        ("auto", True, V2_0, {"mode": "AUTO"}),
        ("none", True, V3, {"mode": "NONE"}),
        ("required", False, V3, {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            False,
            V3,
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            False,
            V3,
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choice_has_googles_modes(choice, strict, model, expected):
    """All of OpenAI's choices are native; `strict` asks for calls that keep to their schema."""
    body = sent(model=model, tools=[function(strict=strict)], tool_choice=choice)

    assert body["toolConfig"] == {"functionCallingConfig": expected}


def test_choice_without_tools():
    """Nothing to choose is not said; a choice that asks for a tool is left for Google to refuse."""
    assert "toolConfig" not in sent(tool_choice="auto")
    assert sent(tool_choice="required")["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


def test_single_call_is_not_googles():
    """Gemini cannot be held to one call: it is named, and kept around the adapter."""
    request = built(tools=[function()], parallel_tool_calls=False)

    assert request.dropped_params == ("parallel_tool_calls",)
    assert Google().capabilities(V3).single_tool_call is Support.EMULATED


def test_functions_are_declared():
    """The schema goes as JSON schema; no parameters are said by leaving it out."""
    tools = [
        function("a", CITY | {"additionalProperties": False}, description="A"),
        function("b", {"type": "object", "properties": {}, "additionalProperties": False}),
        {"type": "function", "function": {"name": "c"}, "cache_control": {"type": "ephemeral"}},
        function("d", {"$ref": "#/$defs/x", "$defs": {"x": CITY}}),
    ]

    assert sent(tools=tools)["tools"][0]["functionDeclarations"] == [
        {
            "name": "a",
            "description": "A",
            "parametersJsonSchema": CITY | {"additionalProperties": False},
        },
        {"name": "b", "description": ""},
        {"name": "c", "description": ""},
        {
            "name": "d",
            "description": "",
            "parametersJsonSchema": {"$ref": "#/$defs/x", "$defs": {"x": CITY}},
        },
    ]


def test_names_are_made_lawful_everywhere_alike():
    """Google wants a letter first; declaration, choice, call and result say the same."""
    body = sent(
        HELLO,
        answer(called("x", "1a")),
        result("x"),
        tools=[function("1a"), function("-b")],
        tool_choice={"type": "function", "function": {"name": "-b"}},
    )

    names = [declared["name"] for declared in body["tools"][0]["functionDeclarations"]]
    parts = [part for content in body["contents"] for part in content["parts"]]
    assert names == ["_1a", "_-b"]
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["_-b"]
    assert [p["functionCall"]["name"] for p in parts if "functionCall" in p] == ["_1a"]
    assert [p["functionResponse"]["name"] for p in parts if "functionResponse" in p] == ["_1a"]


SCHEMA = {
    "$schema": "x",
    "$id": "y",
    "title": "T",
    "type": "object",
    "properties": {
        "title": {"type": "string", "title": "t", "examples": ["e"]},
        "kind": {"const": "k", "enum": ["k", "l"]},
        "n": {"type": ["integer", "null"], "exclusiveMinimum": 0, "maximum": 5},
        "any": {"anyOf": [{"$ref": "#/$defs/D", "discriminator": {}}]},
    },
    "required": ["title"],
    "additionalProperties": False,
    "$defs": {"D": {"type": "object", "title": "D", "default": {"title": "kept"}}},
}
LOWERED = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "kind": {"enum": ["k"]},
        "n": {"type": ["integer", "null"], "maximum": 5},
        "any": {"anyOf": [{"$ref": "#/$defs/D"}]},
    },
    "required": ["title"],
    "additionalProperties": False,
    "$defs": {"D": {"type": "object", "default": {"title": "kept"}}},
}


def test_schemas_are_lowered():
    """Keywords that Google refuses go; properties of the same name, and data, stay."""
    named = {"name": "x", "schema": SCHEMA, "strict": True}
    body = sent(
        response_format={"type": "json_schema", "json_schema": named},
        tools=[function(parameters=SCHEMA)],
    )

    assert body["generationConfig"]["responseJsonSchema"] == LOWERED
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == LOWERED


@pytest.mark.parametrize("model", [V3, V2_5])
def test_json_is_asked_for(model):
    """An object has a type, a schema too; before 3 neither goes with tools."""
    wanted = {"type": "json_object"}
    without = {"type": "json_schema", "json_schema": {"name": "x"}}
    with_tools = config(model, response_format=wanted, tools=[function()])

    assert config(model, response_format=wanted) == ({"responseMimeType": "application/json"}, ())
    assert config(model, response_format=without) == ({"responseMimeType": "application/json"}, ())
    expected: Any = ({"responseMimeType": "application/json"}, ())
    assert with_tools == (expected if model == V3 else ({}, ("response_format",)))


def test_json_too_deep_to_be_written_is_refused():
    """A caller's schema past what can be encoded is the caller's error."""
    schema: Any = CITY
    for _ in range(300):
        schema = {"properties": {"a": schema}}

    with pytest.raises(InvalidRequestError, match="nested too deeply"):
        built(tools=[function(parameters=schema)])


# Capabilities


@pytest.mark.parametrize(
    ("model", "without"),
    [
        ("gemini-4-carbon", ()),
        ("gemini-3.1-pro-preview", ()),
        ("gemini-pro-latest", ()),
        ("models/gemini-3.5-flash", ()),
        ("gemini-2.5-pro", ("json_schema_with_tools",)),
        ("gemini-2.5-flash-lite", ("json_schema_with_tools",)),
        (V2_0, ("json_schema_with_tools", "image_urls", "reasoning", "prompt_caching")),
    ],
)
def test_models_are_able(model, without):
    """What each generation does by itself."""
    flags = (
        "json_object", "json_schema", "json_schema_with_tools", "image_urls", "image_data",
        "reasoning", "prompt_caching",
    )  # fmt: skip
    able = Google().capabilities(model)

    assert [flag for flag in flags if not getattr(able, flag)] == list(without)
    choices = (able.tool_choice_none, able.tool_choice_required, able.tool_choice_named)
    assert {able.tools, *choices} == {Support.NATIVE}
    assert able.single_tool_call is Support.EMULATED


def test_unproven_models_claim_nothing():
    """A flag says no until it was found in the documentation; who chats is offered tools in words."""
    assert Google().capabilities("gemma-3-27b-it") == Capabilities(tools=Support.EMULATED)
    assert Google().capabilities("gemini-embedding-001") == Capabilities()


# Embeddings


def embeddings(given: Any, **params: Any) -> list[dict[str, Any]]:
    request = EmbeddingsRequest(model="gemini-embedding-001", input=given, params=params)
    requests = Google().build_embeddings_requests(request, CREDENTIALS)
    url = f"{BASE}/models/gemini-embedding-001:batchEmbedContents"
    assert {request.url for request in requests} == {url}
    return [orjson.loads(request.body) for request in requests]


def test_embeddings_are_asked_for_by_the_hundred():
    """Google takes a hundred inputs a call; they stay in order."""
    bodies = embeddings([str(i) for i in range(201)], dimensions=768, encoding_format="base64")

    asked = [item for body in bodies for item in body["requests"]]
    assert [len(body["requests"]) for body in bodies] == [100, 100, 1]
    assert [item["content"]["parts"][0]["text"] for item in asked] == [str(i) for i in range(201)]
    assert asked[0] == {
        "model": "models/gemini-embedding-001",
        "content": {"parts": [{"text": "0"}]},
        "outputDimensionality": 768,
    }
    assert embeddings("one")[0]["requests"][0]["content"] == {"parts": [{"text": "one"}]}


@pytest.mark.parametrize("given", [[], [1, 2], [[1, 2]], None, ["a", 1]])
def test_embeddings_are_of_text(given):
    """Tokens are OpenAI's own."""
    with pytest.raises(InvalidRequestError, match="texts, not tokens") as caught:
        embeddings(given)

    assert caught.value.param == "input"


def test_embeddings_are_of_length_one():
    """As OpenAI's are; usage comes with them if it was told."""
    body = b'{"embeddings":[{"values":[0.6,0.8]},{"values":[3,4]},{"values":[0,0]}],"usageMetadata":{"promptTokenCount":4}}'

    told = Google().parse_embeddings(body)

    assert told.vectors == [[0.6, 0.8], [0.6, 0.8], [0, 0]]
    assert (told.usage, told.raw_usage) == (TokenUsage(input_tokens=4), {"promptTokenCount": 4})
    assert Google().parse_embeddings(b'{"embeddings":[]}').usage is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"embeddings":[{"values":["x"]}]}', b"\xff"])
def test_embeddings_that_are_none_are_a_bad_reply(body):
    """An answer in another shape is the provider's fault."""
    with pytest.raises(ProviderBadReplyError):
        Google().parse_embeddings(body)
