"""/v1/models: what is listed, the filters, and ids with slashes and colons in the path."""

from pathlib import Path
from urllib.parse import quote

import pytest

from ringside_proxy.settings.schema import ProviderSettings
from tests.api.rig import ECHO, UPSTREAM_MODEL, Caller, serving

KEYS = [
    "id",
    "object",
    "created",
    "owned_by",
    "provider",
    "supports",
    "context_window",
    "max_output_tokens",
    "pricing",
]


async def test_every_provider_that_is_on_and_every_slot_is_listed(api: Caller) -> None:
    """OpenAI's four keys come first; a slot also says what it resolves to."""
    answer = await api.get("/v1/models")

    models = {model["id"]: model for model in answer.json["data"]}
    assert {model["provider"] for model in models.values()} == {"sandbox", "openai"}
    assert list(models[ECHO]) == KEYS
    assert list(models["slot:warm"]) == [*KEYS, "resolves_to"]
    assert models["slot:warm"]["resolves_to"] == UPSTREAM_MODEL
    assert models["slot:fast"]["resolves_to"] == ECHO
    assert len(models) == len(answer.json["data"])


async def test_a_provider_that_is_off_is_not_listed(tmp_path: Path) -> None:
    """Only what can be called is offered; a slot onto what is off still shows where it leads."""
    providers = {"sandbox": ProviderSettings()}
    async with serving(tmp_path, providers=providers) as ringside:
        listed = (await ringside.developer.get("/v1/models")).json["data"]

    assert {model["owned_by"] for model in listed if model["id"].startswith("fc:")} == {"sandbox"}


@pytest.mark.parametrize("query", ["provider=openai", "provider=sandbox", "provider=nothing"])
async def test_models_are_filtered_by_provider(api: Caller, query: str) -> None:
    """A slot counts as a model of the provider that it leads to."""
    everything = (await api.get("/v1/models")).json["data"]
    provider = query.removeprefix("provider=")

    found = (await api.get(f"/v1/models?{query}")).json["data"]

    assert found == [model for model in everything if model["provider"] == provider]


@pytest.mark.parametrize(
    ("query", "supports"),
    [
        ("supports=embeddings", {"embeddings"}),
        ("supports=tools&supports=vision", {"tools", "vision"}),
        ("supports[]=tools&supports[]=reasoning", {"tools", "reasoning"}),
        ("supports=embeddings&supports=tools", {"embeddings", "tools"}),
        ("supports=telepathy", {"telepathy"}),
        ("supports=json_schema&provider=sandbox", {"json_schema"}),
    ],
)
async def test_models_are_filtered_by_everything_they_must_support(
    api: Caller, query: str, supports: set[str]
) -> None:
    """Repeated filters must all hold."""
    everything = (await api.get("/v1/models")).json["data"]

    found = (await api.get(f"/v1/models?{query}")).json["data"]

    assert found == [
        model
        for model in everything
        if supports <= set(model["supports"])
        and ("provider=" not in query or model["provider"] == "sandbox")
    ]


async def test_every_listed_model_is_found_by_its_id(api: Caller) -> None:
    """With its slashes and colons as they are, or percent-encoded."""
    listed = (await api.get("/v1/models")).json["data"]

    for model in listed:
        plain = await api.get(f"/v1/models/{model['id']}")
        encoded = await api.get(f"/v1/models/{quote(model['id'], safe='')}")
        assert plain.json == model
        assert encoded.json == model


@pytest.mark.parametrize(
    "name", ["x", "fc:openai/nothing", "fc:sandbox/echo/", "slot:nothing", "fc:", "ü", "a/b/c"]
)
async def test_an_unknown_model_is_404_in_openai_s_words(api: Caller, name: str) -> None:
    """The only not-found error with a parameter and a code."""
    answer = await api.get(f"/v1/models/{quote(name)}")

    assert answer.status == 404
    assert answer.error == {
        "message": f"The model '{name}' does not exist",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_clients_see_the_models_too(api: Caller, client_a: Caller) -> None:
    """Which models there are is no secret of developers."""
    assert (await client_a.get("/v1/models")).json == (await api.get("/v1/models")).json
