from typing import Any

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import InvalidModelError, InvalidRequestError
from ringside_proxy.providers.chat.adapter import azure_base_url
from ringside_proxy.providers.chat.rows import AZURE, MISTRAL, OPENAI
from ringside_proxy.providers.registry import PROVIDERS, provider_named, with_deployments
from ringside_proxy.providers.types import CompletionRequest, Credentials, EmbeddingsRequest

CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/v1", api_key="sk-test")
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
MESSAGES = [{"role": "user", "content": "Hi"}]


def sent(model: str = "gpt-4o", **params: Any) -> dict[str, Any]:
    """The parameters that reach OpenAI."""
    request = CompletionRequest(model=model, messages=MESSAGES, params=params)
    body = orjson.loads(OPENAI.build_request(request, CREDENTIALS).body)
    assert (body.pop("model"), body.pop("messages")) == (model, MESSAGES)
    return body


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 5}),
        ({"max_completion_tokens": 6}, {"max_completion_tokens": 6}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_completion_tokens": 6}),
        ({"max_tokens": None, "max_completion_tokens": None}, {}),
    ],
)
def test_output_limit_has_one_name(given, limit):
    """Both names are understood, the newer one wins, and the provider's own is sent."""
    assert sent(**given) == limit


def test_other_limit_name_is_the_rows_business():
    """A provider that knows `max_tokens` alone gets that."""
    request = CompletionRequest(model="m", messages=[], params={"max_completion_tokens": 6})

    body = orjson.loads(MISTRAL.build_request(request, CREDENTIALS).body)

    assert body == {"model": "m", "messages": [], "max_tokens": 6}


def test_unknown_and_empty_parameters_stay_here():
    """What the row does not allow, nulls and empty lists are not sent; zero and false are."""
    given = {"top_k": 5, "metadata": {}, "seed": None, "tools": [], "stop": [], "temperature": 0}

    assert sent(**given, n=2, logprobs=False) == {"temperature": 0, "n": 2, "logprobs": False}


def test_forced_choice_without_tools_is_left_to_the_provider():
    """Dropping it would answer another question than the caller asked."""
    assert sent(tool_choice="required") == {"tool_choice": "required"}
    assert sent(tool_choice="none", parallel_tool_calls=False) == {}


SAMPLING = {"temperature": 0.2, "top_p": 0.5, "presence_penalty": 1, "logit_bias": {"5": 1}}


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ("gpt-4o", SAMPLING | {"stop": "x"}, SAMPLING | {"stop": "x"}),
        ("gpt-5-chat-latest", SAMPLING, SAMPLING),
        ("gpt-5", SAMPLING | {"stop": "x", "seed": 1}, {"seed": 1}),
        ("gpt-5-mini-2025-08-07", SAMPLING, {}),
        ("o1", SAMPLING | {"stop": "x"}, {"stop": "x"}),
        ("o3", SAMPLING | {"stop": "x"}, {}),
        ("gpt-5.1", SAMPLING, SAMPLING),
        ("gpt-5.1", SAMPLING | {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ("gpt-5.1-chat-latest", SAMPLING, {}),
        ("gpt-5.5", SAMPLING, {}),
        (
            "gpt-5.5",
            SAMPLING | {"reasoning_effort": "none"},
            SAMPLING | {"reasoning_effort": "none"},
        ),
        ("gpt-6-astra", SAMPLING, {}),
    ],
)
def test_reasoning_models_get_what_they_take(model, given, expected):
    """Assistants carry a temperature by default; a model that reasons would refuse the whole call."""
    assert sent(model, **given) == expected


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gpt-4o", None, None),
        ("gpt-5", "high", "high"),
        ("gpt-5.1", "high", "high"),
        ("gpt-5.4", None, "none"),
        ("gpt-5.6-sol", None, "none"),
        ("gpt-6-sol", "high", "none"),
        ("gpt-6.1-terra", "low", "none"),
        ("gpt-6.1-sol", "high", "high"),
    ],
)
def test_tools_work_where_chat_completions_can(model, effort, expected):
    """From 5.2 on OpenAI takes tools here only with reasoning off; a model that cannot is left be."""
    body = sent(model, tools=TOOLS, reasoning_effort=effort)

    assert body.get("reasoning_effort") == expected
    assert body["tools"] == TOOLS


def test_route_comes_from_the_credentials():
    """The base URL, the key and the organisation are the owner's."""
    credentials = Credentials(
        base_url="https://gateway.example/openai/v1/",
        api_key=None,
        options={"organization": "org-1", "project": "proj_1"},
    )

    [request] = OPENAI.build_embeddings_requests(
        EmbeddingsRequest(model="m", input="x", params={"encoding_format": "base64"}), credentials
    )

    assert request.url == "https://gateway.example/openai/v1/embeddings"
    assert request.headers == {
        "content-type": "application/json",
        "OpenAI-Organization": "org-1",
        "OpenAI-Project": "proj_1",
    }
    assert orjson.loads(request.body) == {"model": "m", "input": "x", "encoding_format": "base64"}


def test_provider_without_embeddings_says_so():
    """The caller is told what to use instead."""
    row = msgspec.structs.replace(OPENAI, name="acme", embeddings_path=None)

    with pytest.raises(InvalidRequestError, match="acme offers no embeddings: use another"):
        row.build_embeddings_requests(EmbeddingsRequest(model="m", input="x"), CREDENTIALS)


def test_unknown_provider_is_an_invalid_model():
    """A name that other versions may serve is refused with what this one serves."""
    assert provider_named("openai") is PROVIDERS["openai"]
    with pytest.raises(InvalidModelError, match=r"'acme' is not served .* 'openai'.* 'sandbox'"):
        provider_named("acme")


@pytest.mark.parametrize(
    ("model", "given", "dropped"),
    [
        ("gpt-5", {"temperature": 1, "top_p": 1.0}, ()),
        ("gpt-5", {"temperature": 0.2, "stop": "x", "seed": 1}, ("temperature", "stop")),
        ("gpt-4o", {"temperature": 0.2, "reasoning_effort": "high"}, ("reasoning_effort",)),
        ("gpt-4o", {"user": "u", "metadata": {"a": "b"}, "store": True}, ()),
        ("gpt-4o", {"tool_choice": "none", "parallel_tool_calls": False}, ()),
        ("gpt-4o", {"max_tokens": 5, "max_completion_tokens": 6, "tools": []}, ()),
        ("gpt-5.4", {"tools": TOOLS, "reasoning_effort": "high"}, ("reasoning_effort",)),
        ("gpt-5.4", {"tools": TOOLS, "reasoning_effort": "none"}, ()),
        ("gpt-5", {"thinking_budget": 2048}, ()),
        ("gpt-4o", {"thinking": {"type": "enabled", "budget_tokens": 2048}}, ("thinking",)),
        ("gpt-5", {"thinking_budget": 2048, "reasoning_effort": "high"}, ("reasoning_effort",)),
        ("gpt-4o", {"top_k": 5}, ("top_k",)),
    ],
)
def test_what_is_left_behind_is_named(model, given, dropped):
    """By OpenAI's name; not what says nothing, nor what is none of the provider's business."""
    request = CompletionRequest(model=model, messages=MESSAGES, params=given)

    assert OPENAI.build_request(request, CREDENTIALS).dropped_params == dropped


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("o3", "none", "low"),
        ("o3", "max", "high"),
        ("gpt-5", "none", "minimal"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.2-chat-latest", "high", None),
        ("gpt-4.1", "low", None),
        ("gpt-7", "max", "max"),
    ],
)
def test_effort_is_a_word_that_the_model_knows(model, effort, expected):
    """The nearest one, none where it is fixed; a model that is not known yet gets the caller's own."""
    assert sent(model, reasoning_effort=effort).get("reasoning_effort") == expected


def test_own_keys_never_leave():
    """Neither the state of an answer nor another provider's cache marks reach OpenAI."""
    part = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}
    request = CompletionRequest(
        model="gpt-4o",
        messages=[
            {"role": "user", "content": [part]},
            {"role": "assistant", "content": "y", "provider_state": {"reasoning": "z"}},
        ],
        params={"tools": [TOOLS[0] | {"cache_control": {"type": "ephemeral"}}]},
    )

    body = orjson.loads(OPENAI.build_request(request, CREDENTIALS).body)

    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "x"}]},
        {"role": "assistant", "content": "y"},
    ]
    assert body["tools"] == TOOLS


@pytest.mark.parametrize(
    ("endpoint", "base_url"),
    [
        ("https://x.openai.azure.com", "https://x.openai.azure.com/openai/v1"),
        ("https://x.openai.azure.com/", "https://x.openai.azure.com/openai/v1"),
        ("https://x.openai.azure.com/openai/v1/", "https://x.openai.azure.com/openai/v1"),
    ],
)
def test_azure_endpoint_is_a_resource_or_its_base(endpoint, base_url):
    """The portal shows the one, its samples the other."""
    assert azure_base_url(endpoint) == base_url


def test_azure_deployment_is_its_model():
    """The deployment's name is what is called; the model behind it decides what it takes."""
    azure = with_deployments(AZURE, {"mine": "gpt-5", "old": "gpt-35-turbo"})
    request = CompletionRequest(model="mine", messages=MESSAGES, params={"temperature": 0.2})

    built = azure.build_request(request, Credentials(base_url="https://x/openai/v1", api_key="k"))

    assert orjson.loads(built.body) == {"model": "mine", "messages": MESSAGES}
    assert built.dropped_params == ("temperature",)
    assert built.headers["api-key"] == "k"
    assert azure.capabilities("mine").reasoning
    assert not azure.capabilities("old").json_schema
    assert with_deployments(OPENAI, {}) is OPENAI
