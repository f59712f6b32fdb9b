"""What is asked of Anthropic: each parameter, by model."""

from pathlib import Path

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.providers.anthropic.models import FAMILIES, family_of
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    EmbeddingsRequest,
    Support,
)
from tests.providers.anthropic_rig import (
    ADAPTIVE,
    ALWAYS_ON,
    ANTHROPIC,
    BETWEEN_TOOLS,
    BOTH_WAYS,
    BUDGET,
    BUDGET_AND_EFFORT,
    CREDENTIALS,
    EPHEMERAL,
    FORCED,
    HI,
    SCHEMA,
    F,
    built,
    called,
    result,
    schema_format,
    sent,
)
from tests.providers.streams import transcripts

REQUESTS = transcripts("anthropic", "request.json")


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_request_is_what_anthropic_takes(path: Path):
    """The body that goes out equals the recorded one, key for key."""
    recorded = orjson.loads(path.read_bytes())
    asked = msgspec.convert(recorded["asked"], CompletionRequest)

    request = ANTHROPIC.build_request(asked, CREDENTIALS)

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded.get("dropped", [])


@pytest.mark.parametrize("base_url", ["http://h", "http://h/", "http://h/v1", "http://h/v1/"])
def test_request_goes_to_messages_with_the_pinned_version(base_url):
    """The address may hold the version of the path or not; the key travels in its own header."""
    request = ANTHROPIC.build_request(
        CompletionRequest(model=ADAPTIVE, messages=HI),
        Credentials(base_url=base_url, api_key="sk-ant-test-key"),
    )

    assert request.url == "http://h/v1/messages"
    assert request.headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-ant-test-key",
    }


@pytest.mark.parametrize(
    ("model", "params", "limit"),
    [
        (ADAPTIVE, {}, 16_384),
        (ADAPTIVE, {"max_tokens": 5}, 5),
        (ADAPTIVE, {"max_tokens": 5, "max_completion_tokens": 6}, 6),
        (ADAPTIVE, {"max_tokens": 1_000_000}, 128_000),
        (BUDGET, {"max_tokens": 1_000_000}, 64_000),
        ("claude-3-haiku-20240307", {}, 4096),
        (BUDGET, {"reasoning_effort": "high"}, 16_384 + 8192),
    ],
)
def test_limit_is_always_sent_and_never_above_the_models(model, params, limit):
    """`max_tokens` has a default, the newer name wins, and what is above the maximum is cut."""
    assert sent(model=model, **params)["max_tokens"] == limit


def test_tools_become_functions_with_an_object_for_input():
    """Name, description and schema; parameters that are missing are those of no parameters."""
    plain = {"type": "function", "function": {"name": "g"}, "cache_control": EPHEMERAL}
    full = {
        "type": "function",
        "function": {"name": "f", "description": "F", "parameters": SCHEMA, "strict": True},
    }

    assert sent(tools=[full, plain])["tools"] == [
        {"name": "f", "description": "F", "input_schema": SCHEMA, "strict": True},
        {
            "name": "g",
            "input_schema": {"type": "object", "properties": {}},
            "cache_control": EPHEMERAL,
        },
    ]


def test_strict_is_left_out_where_it_would_be_refused():
    """No more strict tools than may be; none at models, and for schemas, that cannot be strict."""
    strict = {"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}
    opened = {"name": "f", "parameters": {"type": "object"}, "strict": True}

    assert sum("strict" in tool for tool in sent(tools=[strict] * 21)["tools"]) == 20
    assert "strict" not in sent(model="claude-opus-4-1", tools=[strict])["tools"][0]
    assert "strict" not in sent(tools=[{"type": "function", "function": opened}])["tools"][0]


@pytest.mark.parametrize(
    ("params", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, None),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f"},
        ),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        (
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_tool_choice_in_anthropics_words(params, choice):
    """Each choice has its type; a single call is asked for inside it, except with `none`."""
    request = built(tools=[F], **params)

    assert orjson.loads(request.body).get("tool_choice") == choice
    assert request.dropped_params == ()


def test_allowed_tools_are_the_only_ones_sent():
    """A choice among some tools leaves only those."""
    other = {"type": "function", "function": {"name": "g"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}

    body = sent(tools=[F, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})

    assert [tool["name"] for tool in body["tools"]] == ["g"]
    assert body["tool_choice"] == {"type": "any"}


@pytest.mark.parametrize("model", [BETWEEN_TOOLS, ALWAYS_ON, "claude-fable-5-2", "claude-new-9"])
def test_forced_choice_is_never_sent_to_a_model_that_refuses_it(model):
    """Such a choice is made up for around the adapter; here it is dropped, and named."""
    request = built(model=model, **FORCED)

    assert "tool_choice" not in orjson.loads(request.body)
    assert request.dropped_params == ("tool_choice",)


@pytest.mark.parametrize(
    ("model", "params", "thinking", "effort"),
    [
        (ADAPTIVE, {}, None, None),
        (ADAPTIVE, {"reasoning_effort": "none"}, {"type": "disabled"}, None),
        (ADAPTIVE, {"reasoning_effort": "minimal"}, "adaptive", "low"),
        (ADAPTIVE, {"reasoning_effort": "xhigh"}, "adaptive", "xhigh"),
        (ADAPTIVE, {"thinking_budget": 0}, {"type": "disabled"}, None),
        (ADAPTIVE, {"thinking_budget": -1}, "adaptive", None),
        (ADAPTIVE, {"thinking_budget": 9000}, "adaptive", "high"),
        (ADAPTIVE, {"thinking_budget": 90_000}, "adaptive", "max"),
        (ADAPTIVE, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, "adaptive", "low"),
        (
            ADAPTIVE,
            {"thinking": {"type": "adaptive", "display": "omitted"}, "reasoning_effort": "low"},
            {"type": "adaptive", "display": "omitted"},
            "low",
        ),
        (
            ADAPTIVE,
            {"thinking": {"type": "disabled"}, "reasoning_effort": "max"},
            {"type": "disabled"},
            "high",
        ),
        (BETWEEN_TOOLS, {"reasoning_effort": "none"}, {"type": "between_tools"}, None),
        (BETWEEN_TOOLS, {"thinking": {"type": "disabled"}}, {"type": "between_tools"}, None),
        (ADAPTIVE, {"thinking": {"type": "between_tools"}}, {"type": "disabled"}, None),
        (ALWAYS_ON, {"reasoning_effort": "none"}, None, "low"),
        (ALWAYS_ON, {"reasoning_effort": "max"}, "adaptive", "max"),
        ("claude-new-9", {"reasoning_effort": "medium"}, "adaptive", "medium"),
        (BOTH_WAYS, {"reasoning_effort": "none"}, None, None),
        (BOTH_WAYS, {"reasoning_effort": "xhigh"}, "adaptive", "max"),
        (BOTH_WAYS, {"thinking_budget": 2000}, {"type": "enabled", "budget_tokens": 2000}, None),
        (BUDGET, {"reasoning_effort": "none"}, None, None),
        (
            BUDGET,
            {"reasoning_effort": "minimal"},
            {"type": "enabled", "budget_tokens": 1024},
            None,
        ),
        (
            BUDGET,
            {"reasoning_effort": "high"},
            {"type": "enabled", "budget_tokens": 16_384},
            None,
        ),
        (
            BUDGET,
            {"reasoning_effort": "max", "max_tokens": 4000},
            {"type": "enabled", "budget_tokens": 3000},
            None,
        ),
        (BUDGET, {"thinking_budget": 5}, {"type": "enabled", "budget_tokens": 1024}, None),
        (
            BUDGET,
            {"thinking": {"type": "enabled", "budget_tokens": 3000, "display": "omitted"}},
            {"type": "enabled", "budget_tokens": 3000, "display": "omitted"},
            None,
        ),
        (
            BUDGET,
            {"thinking": {"type": "adaptive"}},
            {"type": "enabled", "budget_tokens": 8192},
            None,
        ),
        (
            BUDGET_AND_EFFORT,
            {"reasoning_effort": "max"},
            {"type": "enabled", "budget_tokens": 32_768},
            "high",
        ),
        (BUDGET_AND_EFFORT, {"reasoning_effort": "low", **FORCED}, None, "low"),
    ],
)
def test_reasoning_is_told_as_the_model_takes_it(model, params, thinking, effort):
    """The most explicit wish wins, in the shape and the words that the model knows."""
    request = built(model=model, **params)
    body = orjson.loads(request.body)

    if thinking == "adaptive":
        thinking = {"type": "adaptive", "display": "summarized"}
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort
    assert request.dropped_params == ()


@pytest.mark.parametrize(
    ("model", "messages", "params"),
    [
        (BUDGET, HI, {"reasoning_effort": "low", **FORCED}),
        (BUDGET, HI, {"reasoning_effort": "low", "max_tokens": 1024}),
        (BUDGET, [*HI, called(), result()], {"reasoning_effort": "low", "tools": [F]}),
        ("claude-3-5-haiku-20241022", HI, {"reasoning_effort": "low"}),
        (ADAPTIVE, HI, {"reasoning_effort": "a lot"}),
    ],
)
def test_reasoning_that_would_be_refused_is_dropped(model, messages, params):
    """A budget beside a forced choice, above the limit, or after calls without their thinking."""
    request = built(messages, model, **params)

    assert not orjson.loads(request.body).keys() & {"thinking", "output_config"}
    assert request.dropped_params == ("reasoning_effort",)


@pytest.mark.parametrize(
    ("model", "params", "told", "dropped"),
    [
        (BUDGET, {"temperature": 0}, {"temperature": 0}, ()),
        (BUDGET, {"temperature": 1.7}, {"temperature": 1}, ()),
        (BUDGET, {"top_p": 0.5, "top_k": 3}, {"top_p": 0.5, "top_k": 3}, ()),
        (BUDGET, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}, ("top_p",)),
        (
            "claude-sonnet-4-20250514",
            {"temperature": 0.5, "top_p": 0.5},
            {"temperature": 0.5, "top_p": 0.5},
            (),
        ),
        (BUDGET, {"temperature": 0.5, "reasoning_effort": "low"}, {}, ("temperature",)),
        (BOTH_WAYS, {"temperature": 0.5}, {"temperature": 0.5}, ()),
        (BOTH_WAYS, {"temperature": 0.5, "reasoning_effort": "low"}, {}, ("temperature",)),
        ("claude-opus-4-7", {"temperature": 0.5, "top_p": 0.5}, {}, ("temperature", "top_p")),
        (ADAPTIVE, {"temperature": 1, "top_p": 1.0}, {}, ()),
        ("claude-new-9", {"temperature": 0.5, "top_k": 3}, {}, ("temperature", "top_k")),
        (ADAPTIVE, {"stop": "a"}, {"stop_sequences": ["a"]}, ()),
        (ADAPTIVE, {"stop": ["a", "\n", "b"]}, {"stop_sequences": ["a", "b"]}, ()),
        (ADAPTIVE, {"stop": "\n"}, {}, ("stop",)),
        (ADAPTIVE, {"service_tier": "auto"}, {}, ()),
        (ADAPTIVE, {"service_tier": "priority"}, {"service_tier": "auto"}, ()),
        (ADAPTIVE, {"service_tier": "default"}, {"service_tier": "standard_only"}, ()),
        (ADAPTIVE, {"service_tier": "flex"}, {}, ("service_tier",)),
        (ADAPTIVE, {"cache_control": EPHEMERAL}, {"cache_control": EPHEMERAL}, ()),
        (
            ADAPTIVE,
            {"seed": 1, "presence_penalty": 1, "frequency_penalty": 0, "logit_bias": {"1": 1}},
            {},
            ("logit_bias", "presence_penalty", "seed"),
        ),
        (ADAPTIVE, {"user": "c1", "metadata": {"a": "b"}, "store": True}, {}, ()),
        (ADAPTIVE, {"logprobs": True, "top_logprobs": 2}, {}, ("logprobs", "top_logprobs")),
        (ADAPTIVE, {"n": 1, "modalities": ["text"], "parallel_tool_calls": False}, {}, ()),
        (ADAPTIVE, {"tool_choice": "required"}, {}, ("tool_choice",)),
    ],
)
def test_other_params_go_out_or_are_named(model, params, told, dropped):
    """What the model takes is sent by its name there; what it does not is dropped, and named."""
    request = built(model=model, **params)
    body = orjson.loads(request.body)

    own = body.keys() - {"model", "max_tokens", "messages", "stream", "thinking", "output_config"}
    assert {name: body[name] for name in own} == told
    assert request.dropped_params == dropped


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools"),
    ],
)
def test_what_can_neither_be_sent_nor_dropped_is_refused(params, param):
    """Several choices and audio are the caller's mistake at this provider."""
    with pytest.raises(InvalidRequestError) as refusal:
        built(**params)

    assert (refusal.value.code, refusal.value.param) == ("unsupported_parameter", param)


def test_schema_goes_out_lowered():
    """A schema is a format to be decoded in, beside tools too."""
    body = sent(response_format=schema_format(SCHEMA), tools=[F])

    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert "system" not in body


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (ADAPTIVE, schema_format({"type": "object", "additionalProperties": {"type": "string"}})),
        ("claude-opus-4-1", schema_format(SCHEMA)),
        (ADAPTIVE, {"type": "json_schema", "json_schema": {"name": "x"}}),
    ],
)
def test_schema_that_cannot_be_sent_is_said(model, wanted):
    """Open maps, and schemas at models that know none, are told in the system's words."""
    request = built([{"role": "system", "content": "A"}, *HI], model, response_format=wanted)
    body = orjson.loads(request.body)

    assert "output_config" not in body
    assert [block["text"][:16] for block in body["system"]] == ["A", "Answer with JSON"] or (
        body["system"][1]["text"] == "Answer with one JSON object and nothing else."
    )
    assert request.dropped_params == ()


@pytest.mark.parametrize(
    ("model", "forced", "schema", "reasons"),
    [
        *((name, family.can_be_forced, None, None) for name, family in FAMILIES.items()),
        ("claude-opus-5-20260801", True, True, True),
        ("claude-opus-5-5-20260922", False, True, True),
        ("claude-opus-4-1-20250805", True, False, True),
        ("claude-3-5-sonnet-latest", True, False, False),
        ("claude-opus-9", False, True, True),
    ],
)
def test_capabilities_by_model(model, forced, schema, reasons):
    """Everything is native but a forced choice at the newest and JSON without a schema."""
    able = ANTHROPIC.capabilities(model)

    assert able.tools is able.tool_choice_none is able.single_tool_call is Support.NATIVE
    expected = Support.NATIVE if forced else Support.EMULATED
    assert able.tool_choice_required is able.tool_choice_named is expected
    assert not able.json_object
    assert able.image_urls
    assert able.image_data
    assert able.prompt_caching
    if schema is not None:
        assert able.json_schema is able.json_schema_with_tools is schema
        assert able.reasoning is reasons


@pytest.mark.parametrize(
    ("model", "same_as"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("Claude-Opus-5", "claude-opus-5"),
    ],
)
def test_snapshot_is_its_model(model, same_as):
    """A date at the end of a name changes nothing."""
    assert family_of(model) == FAMILIES[same_as]


def test_there_are_no_embeddings():
    """Asking for embeddings says where to find some."""
    with pytest.raises(InvalidRequestError) as refusal:
        ANTHROPIC.build_embeddings_requests(EmbeddingsRequest(model="m", input="x"), CREDENTIALS)
    with pytest.raises(ProviderBadReplyError):
        ANTHROPIC.parse_embeddings(b"{}")

    assert refusal.value.code == "unsupported_endpoint"
    assert not ANTHROPIC.has_embeddings
