"""The providers' own model lists: how they are asked for, and what is read out of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.providers.listings import LISTINGS, MODELS_MAX, NAME_CHARS_MAX
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Credentials
from tests.providers.lists import ANSWERS, OPENAI

KEY = "k-listing"


@pytest.mark.parametrize("provider", LISTINGS)
def test_a_list_is_read(provider):
    """Names, limits, abilities and dates, in the order of the list; and nothing that is no model."""
    answer, models = ANSWERS[provider]

    page = LISTINGS[provider].parse(provider, json.dumps(answer).encode())

    assert list(page.models) == models
    assert page.next == {}


def test_every_list_has_its_sample():
    """Those that are not read are said to be so where the table stands."""
    assert set(ANSWERS) == set(LISTINGS)
    assert set(PROVIDERS) - set(LISTINGS) == {"azure", "bedrock", "replicate", "sandbox"}


@pytest.mark.parametrize("provider", LISTINGS)
def test_the_request_goes_to_the_configured_address(provider):
    """With the key where the provider wants it, and without one if there is none."""
    base_url = PROVIDERS[provider].base_url
    assert base_url

    keyed = LISTINGS[provider].request(Credentials(base_url=f"{base_url}/", api_key=KEY), {})
    open_ = LISTINGS[provider].request(Credentials(base_url=base_url), {"a": "b c"})

    expected = {
        "anthropic": ("/v1/models?limit=1000", "x-api-key", KEY),
        "google": ("/models?pageSize=1000", "x-goog-api-key", KEY),
        "cohere": ("/v1/models?page_size=1000", "authorization", f"Bearer {KEY}"),
        "ollama": ("/api/tags", "authorization", f"Bearer {KEY}"),
    }
    path, header, value = expected.get(provider, ("/models", "authorization", f"Bearer {KEY}"))
    assert keyed.method == "GET"
    assert keyed.url == base_url + path
    assert keyed.headers[header] == value
    assert header not in open_.headers
    assert open_.url.endswith("a=b+c")


def test_anthropic_s_address_may_name_the_version():
    """As for its completions."""
    request = LISTINGS["anthropic"].request(Credentials(base_url="http://x/v1"), {})

    assert request.url == "http://x/v1/models?limit=1000"


@pytest.mark.parametrize(
    ("provider", "answer", "following"),
    [
        ("anthropic", {"data": [], "has_more": True, "last_id": "m"}, {"after_id": "m"}),
        ("anthropic", {"data": [], "has_more": True, "last_id": None}, {}),
        ("google", {"models": [], "nextPageToken": "t"}, {"pageToken": "t"}),
        ("cohere", {"models": [], "next_page_token": "t"}, {"page_token": "t"}),
        (
            "openrouter",
            {"data": [], "links": {"next": "https://elsewhere.example/x?offset=500&limit=500"}},
            {"offset": "500", "limit": "500"},
        ),
        ("openai", {"data": [], "has_more": True, "last_id": "m"}, {}),
    ],
)
def test_the_next_page_is_asked_for(provider, answer, following):
    """By the provider's own mark; of an address only what it asks for, so that no key goes there."""
    assert LISTINGS[provider].parse(provider, json.dumps(answer).encode()).next == following


def test_a_next_page_without_an_address_is_none():
    """The list ends there, and those of the other providers are read."""
    answer = {"data": [], "links": {"next": "http://[::1"}}

    assert LISTINGS["openrouter"].parse("openrouter", json.dumps(answer).encode()).next == {}


@pytest.mark.parametrize("provider", LISTINGS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"7", b'"x"', b"{}", b'{"data": 7}'])
def test_what_is_no_list_is_refused(provider, body):
    """With the provider's name, and without what it sent."""
    with pytest.raises(ProviderBadReplyError, match=f"{provider} sent no list of models"):
        LISTINGS[provider].parse(provider, body)


ANYTHING: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *[
                        "id",
                        "name",
                        "model",
                        "data",
                        "models",
                        "providers",
                        "provider",
                        "capabilities",
                    ],
                    *["architecture", "input_modalities", "output_modalities", "status", "created"],
                    *[
                        "supported_parameters",
                        "supportedGenerationMethods",
                        "endpoints",
                        "features",
                    ],
                    *[
                        "created_at",
                        "modified_at",
                        "context_length",
                        "type",
                        "top_provider",
                        "links",
                    ],
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.sampled_from(sorted(LISTINGS)), st.lists(ANYTHING, max_size=4))
def test_no_row_breaks_the_list(provider, rows):
    """Whatever a row holds, it is read or left out, and what is read is of the right kind."""
    body = json.dumps({"data": rows, "models": rows}).encode()

    for model in LISTINGS[provider].parse(provider, body).models:
        assert isinstance(model.id, str)
        assert 0 < len(model.id) <= NAME_CHARS_MAX
        assert model.context_window is None or model.context_window > 0
        assert isinstance(model.created, int)


def test_a_list_without_end_is_cut():
    """A provider cannot fill the memory."""
    rows = [{"id": f"m{number}"} for number in range(MODELS_MAX + 10)]

    page = LISTINGS["openai"].parse("openai", json.dumps({"data": rows}).encode())

    assert len(page.models) == MODELS_MAX


# ------------------------------------------------------------------------------- the vendors' types


def test_the_samples_are_what_the_vendors_types_say():
    """So that what is read out of them is what the providers send."""
    import cohere
    import ollama
    from anthropic.types import ModelInfo
    from cerebras.cloud.sdk.types.model_list_response import ModelMetadataList
    from google.genai import types as google
    from groq.types import ModelListResponse
    from mistralai.client.models import BaseModelCard
    from openai.types import Model
    from openrouter.components import ModelArchitecture, TopProviderInfo
    from sambanova.types import ModelsResponse

    assert [Model.model_validate(row).id for row in OPENAI["data"]]
    assert ModelMetadataList.model_validate(OPENAI).data[0].created
    assert ModelListResponse.model_validate(ANSWERS["groq"][0]).data[0].id
    assert ModelInfo.construct(**ANSWERS["anthropic"][0]["data"][0]).max_tokens == 128_000
    assert google.Model.model_fields["input_token_limit"].alias == "inputTokenLimit"
    listed = cohere.ListModelsResponse.model_validate(ANSWERS["cohere"][0])
    assert listed.models[0].features[1] == "json_schema"
    card = BaseModelCard.model_validate(ANSWERS["mistral"][0]["data"][0])
    assert card.capabilities.function_calling
    assert card.max_context_length == 262_144
    row = ANSWERS["openrouter"][0]["data"][0]
    assert ModelArchitecture.model_validate(row["architecture"] | {"modality": None})
    assert TopProviderInfo.model_validate(row["top_provider"]).max_completion_tokens == 64_000
    assert ModelsResponse.model_validate(ANSWERS["sambanova"][0]).data[0].context_length == 131_072
    assert ollama.ListResponse.model_validate(ANSWERS["ollama"][0]).models[0].model == "qwen9:8b"
