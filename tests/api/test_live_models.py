"""/v1/models through a real proxy, beside providers that list their models."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ringside_proxy.providers.listings import LISTINGS
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.settings.prices import PriceSettings
from ringside_proxy.settings.schema import DeploymentSettings, ProviderSettings, SlotSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import Ringside, serving
from tests.catalogue.providers import SOURCES
from tests.providers.lists import ANSWERS

NINETEEN = sorted(SOURCES)


class Lists:
    """Every provider's list under a path of its own, and with which headers each was asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, str]] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        """The provider's list."""
        provider = request.path.split("/")[1]
        self.asked[provider] = {name.lower(): value for name, value in request.headers.items()}
        return web.json_response(ANSWERS[provider][0])


@pytest.fixture
async def lists() -> AsyncIterator[Lists]:
    """A server of lists."""
    served = Lists()
    app = web.Application()
    app.router.add_get("/{path:.*}", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def ringside(tmp_path: Path, lists: Lists) -> AsyncIterator[Ringside]:
    """A proxy with all nineteen providers."""
    providers = {
        name: ProviderSettings(api_key=Secret(f"k-{name}"), base_url=f"{lists.url}/{name}")
        for name in NINETEEN
    }
    slots = {"new": SlotSettings(model="fc:openai/gpt-77")}
    prices = {"fc:openai/gpt-77": PriceSettings(input_nano_usd=10**9, output_nano_usd=2 * 10**9)}
    async with serving(tmp_path, providers=providers, slots=slots, prices=prices) as served:
        yield served


async def listed(ringside: Ringside, query: str = "") -> dict[str, Any]:
    rows = (await ringside.developer.get(f"/v1/models{query}")).json["data"]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


async def test_all_nineteen_are_listed_before_any_provider_was_asked(
    ringside: Ringside, lists: Lists
) -> None:
    """Out of the table; of Ollama only what is installed can be known."""
    models = await listed(ringside)

    assert {row["provider"] for row in models.values()} == set(NINETEEN) - {"ollama"} | {"openai"}
    assert len(models) > 1500
    assert lists.asked == {}


async def test_models_that_a_provider_lists_appear(ringside: Ringside, lists: Lists) -> None:
    """With what its list says, with its key and nobody else's, and without the list's prices."""
    await ringside.proxy.services.models.live.refresh()
    models = await listed(ringside)

    assert set(lists.asked) == set(LISTINGS)
    for provider, headers in lists.asked.items():
        keys = " ".join(headers.values())
        assert f"k-{provider}" in keys
        assert not [name for name in NINETEEN if name != provider and f"k-{name} " in keys + " "]
        for model in ANSWERS[provider][1]:
            row = models[f"fc:{provider}/{model.id}"]
            assert row["created"] == model.created
            assert row["context_window"] == model.context_window or model.context_window is None
    assert models["fc:openrouter/acme/model-9"] == {
        "id": "fc:openrouter/acme/model-9",
        "object": "model",
        "created": 1_789_000_000,
        "owned_by": "openrouter",
        "provider": "openrouter",
        "supports": ["tools", "json_schema", "reasoning", "vision", "streaming"],
        "context_window": 200_000,
        "max_output_tokens": 64_000,
        "pricing": None,
    }


async def test_a_new_model_costs_what_the_configuration_says(ringside: Ringside) -> None:
    """And as long as nobody says, its price is null, not 0."""
    await ringside.proxy.services.models.live.refresh()
    models = await listed(ringside)

    assert models["fc:openai/gpt-77"]["pricing"] == {
        "input": 1,
        "cached_input": None,
        "cache_write": None,
        "output": 2,
    }
    assert models["slot:new"]["resolves_to"] == "fc:openai/gpt-77"
    assert models["slot:new"]["pricing"] == models["fc:openai/gpt-77"]["pricing"]
    assert models["fc:anthropic/claude-nova-9"]["pricing"] is None
    tuned = models["fc:openai/ft:gpt-4.1-2025-04-14:acme::abc"]
    assert (tuned["pricing"]["input"], tuned["context_window"]) == (3, 1_047_576)
    assert models["fc:ollama/qwen9:8b"]["pricing"]["output"] == 0


async def test_what_a_list_says_is_found_by_the_filters_and_by_id(ringside: Ringside) -> None:
    """Like everything else."""
    await ringside.proxy.services.models.live.refresh()

    found = await listed(ringside, "?provider=ollama&supports=reasoning")
    alone = await ringside.developer.get("/v1/models/fc:huggingface/acme/model-9:groq")

    assert list(found) == ["fc:ollama/qwen9:8b"]
    assert alone.json["supports"] == ["tools", "streaming"]


async def test_a_list_decides_nothing_but_what_is_shown(ringside: Ringside, lists: Lists) -> None:
    """A model that its provider does not list stays listed: aliases are on no list."""
    before = await listed(ringside, "?provider=anthropic")

    await ringside.proxy.services.models.live.refresh()

    assert set(before) < set(await listed(ringside, "?provider=anthropic"))


async def test_azure_lists_the_owner_s_deployments(tmp_path: Path, lists: Lists) -> None:
    """With the facts and the price of the model behind each, and nothing that is not deployed."""
    azure = ProviderSettings(
        api_key=Secret("k"),
        base_url=lists.url,
        deployments={
            "mine": DeploymentSettings(base_model="gpt-4.1"),
            "odd": DeploymentSettings(base_model="gpt-unheard-of"),
        },
    )
    async with serving(tmp_path, providers={"azure": azure}, slots={}) as ringside:
        models = await listed(ringside)
        snapshot = ringside.proxy.services.live_config.snapshot
        route = snapshot.router.route("fc:azure/mine")
        price = snapshot.prices.find(route.ref, 1_795_262_400_000)

    assert list(models) == ["fc:azure/mine", "fc:azure/odd"]
    assert models["fc:azure/mine"]["pricing"]["output"] == 8
    assert models["fc:azure/mine"]["context_window"] == 1_047_576
    assert models["fc:azure/odd"]["pricing"] is None
    assert route.facts is not None
    assert route.facts.max_output_tokens == 32_768
    assert price is not None
    assert price.tiers[0].rates.output == 8 * 10**9


def test_the_nineteen_are_the_providers() -> None:
    """All but the sandbox, which lists its own."""
    assert {*NINETEEN, "sandbox"} == set(PROVIDERS)
