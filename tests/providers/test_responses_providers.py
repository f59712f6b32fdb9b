"""OpenAI, xAI and Perplexity where each goes its own way."""

from base64 import b64encode

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.adapter import OpenAICompatible
from ringside_proxy.providers.openai import OPENAI_BY_REQUEST
from ringside_proxy.providers.registry import relays
from ringside_proxy.providers.responses.perplexity import PERPLEXITY
from ringside_proxy.providers.responses.stream import ResponsesStreamDecoder
from ringside_proxy.providers.responses.xai import XAI
from ringside_proxy.providers.types import (
    EmbeddingsRequest,
    Provider,
    Support,
)
from tests.providers.responses_rig import CREDENTIALS, FLAT, REASONING, TOOLS, asked, body


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("sonar", {"model": "perplexity/sonar", "tools": [{"type": "web_search"}]}),
        ("perplexity/sonar", {"model": "perplexity/sonar", "tools": [{"type": "web_search"}]}),
        ("sonar-pro", {"preset": "low"}),
        ("sonar-reasoning-pro", {"preset": "low"}),
        ("sonar-deep-research", {"preset": "medium"}),
        ("fast", {"preset": "fast"}),
        ("xhigh", {"preset": "xhigh"}),
        ("openai/gpt-5.4", {"model": "openai/gpt-5.4"}),
        ("anthropic/claude-x", {"model": "anthropic/claude-x", "max_output_tokens": 8192}),
    ],
)
def test_perplexitys_models_have_their_names(model, sent):
    """Presets, the retired sonar names, search where it belongs, and the limit that is demanded."""
    written = body("perplexity", model=model)

    keys = ("model", "preset", "tools", "max_output_tokens")
    assert {key: written[key] for key in keys if key in written} == sent


def test_perplexity_does_not_search_when_a_function_is_demanded():
    """A search would count as the tool that had to be called."""
    written = body("perplexity", {"tools": TOOLS, "tool_choice": "required"}, model="sonar")

    assert written["tools"] == FLAT["perplexity"]
    assert body("perplexity", {"tools": TOOLS}, model="sonar")["tools"][-1] == {
        "type": "web_search"
    }


def test_perplexity_embeds_in_batches_of_signed_bytes():
    """More texts than a call takes are several calls; their vectors come in the order of the texts."""
    texts = [f"t{n}" for n in range(513)]
    given = EmbeddingsRequest(
        model="pplx-embed-v1-4b",
        input=texts,
        params={"dimensions": 2, "encoding_format": "base64", "user": "u"},
    )

    first, second = PERPLEXITY.build_embeddings_requests(given, CREDENTIALS)

    assert first.url == "http://127.0.0.1:1/v1/embeddings"
    assert orjson.loads(second.body) == {
        "model": "pplx-embed-v1-4b",
        "encoding_format": "base64_int8",
        "dimensions": 2,
        "input": ["t512"],
    }
    rows = [
        {"index": 1, "embedding": b64encode(bytes([1, 128])).decode()},
        {"index": 0, "embedding": b64encode(bytes([127, 255])).decode()},
    ]
    answer = orjson.dumps({"data": rows, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    embeddings = PERPLEXITY.parse_embeddings(answer)
    assert embeddings.vectors == [[127, -1], [1, -128]]
    assert embeddings.usage == TokenUsage(input_tokens=3)
    assert embeddings.raw_usage == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize("answer", [b"", b"{}", b'{"data":[{"embedding":"\xc3\xa9"}]}'])
def test_unusable_embeddings_are_a_bad_reply(answer):
    """What is not in Perplexity's shape is said to be so."""
    with pytest.raises(ProviderBadReplyError):
        PERPLEXITY.parse_embeddings(answer)


def test_embeddings_are_refused_where_there_are_none():
    """Tokens at Perplexity, anything at xAI."""
    with pytest.raises(InvalidRequestError):
        PERPLEXITY.build_embeddings_requests(
            EmbeddingsRequest(model="m", input=[[1, 2]]), CREDENTIALS
        )
    with pytest.raises(InvalidRequestError):
        XAI.build_embeddings_requests(EmbeddingsRequest(model="m", input="x"), CREDENTIALS)
    with pytest.raises(ProviderBadReplyError):
        XAI.parse_embeddings(b"{}")


EFFORT = {"reasoning_effort": "low"}
FUNCTIONS = {"tools": TOOLS}


@pytest.mark.parametrize(
    ("model", "params", "is_needed"),
    [
        ("gpt-4.1", FUNCTIONS, False),
        ("gpt-4o", FUNCTIONS | EFFORT, False),
        ("gpt-5", FUNCTIONS, False),
        ("gpt-5.1", FUNCTIONS | EFFORT, False),
        ("gpt-5.2", FUNCTIONS, False),
        ("gpt-5.2", FUNCTIONS | EFFORT, True),
        ("gpt-5.2", EFFORT, False),
        ("gpt-5.2-chat-latest", FUNCTIONS, False),
        ("gpt-5.5", FUNCTIONS, True),
        ("gpt-5.6-sol", {}, False),
        ("gpt-5.6-sol", FUNCTIONS, True),
        ("gpt-5.6-sol", FUNCTIONS | {"reasoning_effort": "none"}, False),
        ("gpt-5.6-sol", FUNCTIONS | {"thinking": {"type": "disabled"}}, False),
        ("gpt-5.6-sol", {"reasoning_effort": "max"}, True),
        ("gpt-6-luna-2026-09-01", FUNCTIONS, True),
        ("gpt-6-astra", FUNCTIONS | {"reasoning_effort": "none"}, True),
        ("gpt-6-astra", {"tools": None}, False),
        ("gpt-6-astra", {"tools": [{"type": "custom", "custom": {"name": "c"}}]}, False),
        ("gpt-5.2-pro", {}, True),
        ("gpt-5-pro-2025-10-06", {}, True),
        ("o3-pro", {}, True),
        ("gpt-5.1-codex-max", {}, True),
        ("gpt-5.2-professional", {}, False),
        ("ft:gpt-4.1:acme-pro::x-codex", FUNCTIONS, False),
    ],
)
def test_openai_is_asked_where_it_answers(model, params, is_needed):
    """Request and decoder go the same way: Responses where chat completions refuses, else chat."""
    request = asked(model, params)

    path = OPENAI_BY_REQUEST.build_request(request, CREDENTIALS).url.rpartition("/v1/")[2]
    decoder = OPENAI_BY_REQUEST.stream_decoder(request, lambda prefix: prefix)

    assert path == ("responses" if is_needed else "chat/completions")
    assert isinstance(decoder, ResponsesStreamDecoder) == is_needed
    assert relays(OPENAI_BY_REQUEST, request) != is_needed


def test_chat_completions_is_not_told_the_state():
    """A conversation that changes sides leaves behind what the other one cannot read."""
    message = {"role": "assistant", "content": "Hi", "provider_state": [REASONING]}

    sent = OPENAI_BY_REQUEST.build_request(asked("gpt-5.6-sol", {}, [message]), CREDENTIALS)

    assert b"provider_state" not in sent.body
    assert b"encrypted" not in sent.body


@pytest.mark.parametrize("provider", [OPENAI_BY_REQUEST, XAI, PERPLEXITY], ids=lambda p: p.name)
def test_rows_are_whole_providers(provider: Provider):
    """Facts and capabilities are there."""
    assert provider.base_url is not None
    assert provider.base_url.startswith("https://")
    assert provider.docs_url.startswith("https://")
    assert provider.speaks_openai is (provider.name == "openai")
    assert provider.capabilities("any").tools is Support.NATIVE


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        (OPENAI_BY_REQUEST, "gpt-5.6-sol", {"json_schema": True, "json_object": True}),
        (OPENAI_BY_REQUEST, "gpt-5.2-pro", {"json_schema": False, "json_object": False}),
        (XAI, "grok-4.6", {"json_object": True, "json_schema_with_tools": True, "reasoning": True}),
        (XAI, "grok-4.20-non-reasoning", {"reasoning": False, "image_urls": True}),
        (XAI, "grok-build-0.1", {"image_urls": False, "image_data": False}),
        (PERPLEXITY, "sonar", {"json_object": False, "json_schema": True, "image_urls": True}),
    ],
)
def test_capabilities(provider: Provider, model, expected):
    """What a model does by itself, where it is not what the others do."""
    able = msgspec.to_builtins(provider.capabilities(model))

    assert {key: able[key] for key in expected} == expected
    assert able["single_tool_call"] == able["tool_choice_named"] == "native"


def test_openai_passes_the_rest_to_its_chat_row():
    """Embeddings and facts are those of chat completions."""
    chat = OPENAI_BY_REQUEST.chat
    given = EmbeddingsRequest(model="text-embedding-3-small", input="x")

    assert isinstance(chat, OpenAICompatible)
    assert OPENAI_BY_REQUEST.has_embeddings
    assert OPENAI_BY_REQUEST.build_embeddings_requests(
        given, CREDENTIALS
    ) == chat.build_embeddings_requests(given, CREDENTIALS)
    answer = b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":1,"total_tokens":1}}'
    assert OPENAI_BY_REQUEST.parse_embeddings(answer).vectors == [[0.5]]
