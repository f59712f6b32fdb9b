"""How Bedrock's families are asked: parameters, reasoning, and what each can do."""

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.anthropic.params import ANSWER_IN_SCHEMA
from ringside_proxy.providers.bedrock.models import FAMILIES, family_of
from ringside_proxy.providers.types import Support
from tests.providers.test_bedrock import (
    BEDROCK,
    CLAUDE,
    GLM,
    GPT,
    GPT_OSS,
    GROK,
    HI,
    LLAMA,
    MISTRAL,
    NEW_CLAUDE,
    NEWEST_CLAUDE,
    NOVA,
    NOVA_2,
    F,
    built,
    extra,
    sent,
)


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        (CLAUDE, {"max_tokens": 5}, {"maxTokens": 5}),
        (CLAUDE, {"max_tokens": 5, "max_completion_tokens": 6}, {"maxTokens": 6}),
        (CLAUDE, {"temperature": 2, "top_p": None}, {"temperature": 1}),
        (CLAUDE, {"temperature": 0, "top_p": 0.5}, {"temperature": 0}),
        (NOVA, {"temperature": 0, "top_p": 0.5}, {"temperature": 0, "topP": 0.5}),
        (NEW_CLAUDE, {"temperature": 0, "top_p": 0.5}, {}),
        (CLAUDE, {"stop": "x"}, {"stopSequences": ["x"]}),
        (CLAUDE, {"stop": ["x", " ", ""]}, {"stopSequences": ["x"]}),
        (GROK, {"stop": ["x"], "temperature": 1}, {}),
        (GPT, {"stop": ["x"], "top_p": 1}, {}),
    ],
)
def test_inference_parameters_are_those_the_family_takes(model, params, expected):
    """Ranges are Converse's; what the model would refuse is left out."""
    assert sent(HI, model, **params).get("inferenceConfig", {}) == expected


@pytest.mark.parametrize(
    ("model", "params", "expected"),
    [
        (NOVA, {}, {}),
        (NOVA, {"reasoning_effort": "high"}, {}),
        (
            CLAUDE,
            {"reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        (
            CLAUDE,
            {"reasoning_effort": "high", "max_tokens": 4000},
            {"thinking": {"type": "enabled", "budget_tokens": 3999}},
        ),
        (CLAUDE, {"reasoning_effort": "high", "max_tokens": 1024}, {}),
        (CLAUDE, {"reasoning_effort": "none"}, {}),
        (
            CLAUDE,
            {"thinking": {"type": "enabled", "budget_tokens": 3000}, "reasoning_effort": "low"},
            {"thinking": {"type": "enabled", "budget_tokens": 3000}},
        ),
        (CLAUDE, {"thinking": {"type": "disabled"}, "reasoning_effort": "high"}, {}),
        (
            CLAUDE,
            {"thinking_budget": 100},
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        (
            NEW_CLAUDE,
            {"reasoning_effort": "xhigh"},
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "xhigh"},
            },
        ),
        (
            NEW_CLAUDE,
            {"thinking": {"type": "adaptive", "display": "omitted"}},
            {"thinking": {"type": "adaptive", "display": "omitted"}},
        ),
        (NEW_CLAUDE, {"thinking_budget": 0}, {"thinking": {"type": "disabled"}}),
        (NEWEST_CLAUDE, {"reasoning_effort": "none"}, {}),
        (
            "anthropic.claude-sonnet-5-5",
            {"reasoning_effort": "none"},
            {"thinking": {"type": "between_tools"}},
        ),
        (
            "anthropic.claude-opus-4-6-v1",
            {"reasoning_effort": "xhigh"},
            {
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "max"},
            },
        ),
        (GPT_OSS, {"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
        (GPT_OSS, {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        (GPT, {"reasoning_effort": "none"}, {"reasoning": {"effort": "none"}}),
        (GROK, {"reasoning_effort": "none"}, {"reasoning": {"effort": "low"}}),
        (GLM, {"reasoning_effort": "low"}, {"reasoning_effort": "high"}),
        (GLM, {"reasoning_effort": "none"}, {"reasoning_effort": "none"}),
        (
            NOVA_2,
            {"reasoning_effort": "high"},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}},
        ),
        (
            NOVA_2,
            {"reasoning_effort": "high", "max_tokens": 500},
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
        ),
        (NOVA_2, {"reasoning_effort": "none"}, {"reasoningConfig": {"type": "disabled"}}),
    ],
)
def test_reasoning_is_asked_for_in_the_familys_words(model, params, expected):
    """Never in words that it does not know, and never beyond the limit that was paid for."""
    assert extra(model, **params) == expected


def test_thinking_by_budget_rules_out_sampling_and_force():
    """Claude refuses both together; a forced call skips the thinking."""
    thinking = built(HI, CLAUDE, temperature=0.3, reasoning_effort="low")
    forced = built(HI, CLAUDE, tools=[F], tool_choice="required", reasoning_effort="low")

    assert orjson.loads(thinking.body)["inferenceConfig"] == {"maxTokens": 2048 + 8192}
    assert thinking.dropped_params == ("temperature",)
    assert forced.dropped_params == ("reasoning_effort",)


def test_what_is_not_sent_is_named():
    """By OpenAI's names; what is only the proxy's business is not said to be missing."""
    request = built(
        HI,
        NEW_CLAUDE,
        temperature=1,
        seed=1,
        logit_bias={"1": 2},
        presence_penalty=0.5,
        logprobs=True,
        user="customer_42",
        metadata={"a": "customer_42"},
        store=True,
        n=1,
        stop=[],
        service_tier="auto",
        tool_choice="none",
        response_format={"type": "text"},
    )

    assert request.dropped_params == (
        "logit_bias",
        "logprobs",
        "presence_penalty",
        "seed",
        "temperature",
    )
    assert b"customer_42" not in request.body


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
    ],
)
def test_what_cannot_be_dropped_is_refused(params, param):
    """Another answer than was asked for is no answer."""
    with pytest.raises(InvalidRequestError) as caught:
        sent(HI, **params)

    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


def test_tier_and_guardrail_are_passed():
    """The caller's service tier, and what the owner has set for all calls."""
    options = {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}
    body = orjson.loads(built(HI, options=options, service_tier="flex").body)

    assert body["serviceTier"] == {"type": "flex"}
    assert body["guardrailConfig"] == options["guardrailConfig"]


# ---- capabilities


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        (CLAUDE, "tools none required named single data reasoning caching"),
        (NEWEST_CLAUDE, "tools none single data reasoning caching"),
        ("anthropic.claude-opus-6-v1:0", "tools none single data reasoning caching"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "tools none required named single data"),
        (NOVA, "tools required named data caching"),
        ("eu.amazon.nova-micro-v1:0", "tools required named caching"),
        (NOVA_2, "tools required named data reasoning caching"),
        (GPT_OSS, "tools reasoning"),
        (GROK, "tools required reasoning"),
        (LLAMA, "tools data"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "tools"),
        (MISTRAL, "tools"),
        ("us.deepseek.r1-v1:0", ""),
        ("amazon.titan-text-express-v1", ""),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
            "tools required named data caching",
        ),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/a1b2c3", "tools"),
        ("brand.new-model", "tools"),
    ],
)
def test_capabilities_follow_the_family(model, flags):
    """The region and the ARN around a name do not matter; what is not known is not claimed."""
    able = BEDROCK.capabilities(model)

    found = {
        "tools": able.tools is Support.NATIVE,
        "none": able.tool_choice_none is Support.NATIVE,
        "required": able.tool_choice_required is Support.NATIVE,
        "named": able.tool_choice_named is Support.NATIVE,
        "single": able.single_tool_call is Support.NATIVE,
        "data": able.image_data,
        "reasoning": able.reasoning,
        "caching": able.prompt_caching,
    }
    assert " ".join(name for name, has in found.items() if has) == flags


@pytest.mark.parametrize("prefix", FAMILIES)
def test_no_family_sees_by_address(prefix):
    """Converse takes bytes alone, and knows JSON by its schema alone."""
    able = family_of(prefix).abilities

    assert {able.image_urls, able.json_object, able.json_schema_with_tools} == {False}


SCHEMA = {
    "type": "object",
    "properties": {"degrees": {"type": "integer", "minimum": -90}},
    "required": ["degrees"],
}


def schema_format(schema, **fields):
    return {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema, **fields}}


def test_schema_goes_out_as_a_text():
    """As far as the decoder takes it; the rest is for the model to read."""
    request = built(HI, CLAUDE, response_format=schema_format(SCHEMA, description="Of a city."))

    config = orjson.loads(request.body)["outputConfig"]["textFormat"]
    told = config["structure"]["jsonSchema"]
    assert config["type"] == "json_schema"
    assert (told["name"], told["description"]) == ("weather", "Of a city.")
    assert orjson.loads(told["schema"]) == {
        "type": "object",
        "properties": {"degrees": {"type": "integer", "description": "{minimum: -90}"}},
        "required": ["degrees"],
        "additionalProperties": False,
    }
    assert request.dropped_params == ()


def test_schema_that_no_decoder_takes_is_said_in_words():
    """An open map has no closed form."""
    body = sent(HI, CLAUDE, response_format=schema_format({"type": "object"}))

    assert "outputConfig" not in body
    assert body["system"] == [{"text": ANSWER_IN_SCHEMA + '{"type":"object"}'}]


@pytest.mark.parametrize("model", [NEW_CLAUDE, NEWEST_CLAUDE, NOVA, LLAMA])
def test_schema_is_sent_to_nobody_else(model):
    """What is not known to be held to one is asked in words, around the adapter."""
    request = built(HI, model, response_format=schema_format(SCHEMA))

    assert b"outputConfig" not in request.body
    assert request.dropped_params == ("response_format",)
