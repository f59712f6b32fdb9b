"""The bundled table: every row makes sense, and names find their models."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from ringside_proxy.domain.price_lists import priced
from ringside_proxy.providers import catalogue
from ringside_proxy.providers.registry import PROVIDERS
from tests.catalogue.providers import SOURCES

FREE = "openrouter"
"""Where models that cost nothing are named so."""
NANO = 10**9


def rows(provider):
    return catalogue._table(provider).rows


def every_price():
    for provider in SOURCES:
        for row in rows(provider):
            for dated in catalogue._model(row).prices:
                yield provider, row, dated


@pytest.mark.parametrize("provider", SOURCES)
def test_every_provider_has_models(provider):
    """Each with a name of its own; Ollama's are those that are installed, known but not listed."""
    names = [row.id.lower() for row in rows(provider)]

    assert names
    assert len(set(names)) == len(names)
    assert bool(catalogue.models(provider)) == (provider != "ollama")


@pytest.mark.parametrize("provider", SOURCES)
def test_rows_make_sense(provider):
    """A row is for text or for embeddings, and no limit contradicts another."""
    for row in rows(provider):
        is_embedding = "embeddings" in row.supports
        assert is_embedding != ("streaming" in row.supports), row.id
        assert len(set(row.supports)) == len(row.supports), row.id
        assert row.created == 0 or 1_200_000_000 < row.created < 1_830_000_000, row.id
        assert row.context_window is None or 256 <= row.context_window <= 20_000_000, row.id
        assert row.max_output_tokens is None or 256 <= row.max_output_tokens <= 20_000_000, row.id
        assert not (is_embedding and row.max_output_tokens), row.id


def test_prices_make_sense():
    """Nothing is negative, absurd or free by accident, and a cache's rate is below that of input."""
    for provider, row, dated in every_price():
        for tiers in (dated.prices.tiers, *dated.prices.service_tiers.values()):
            bounds = [tier.above for tier in tiers]
            assert bounds[0] == 0, row.id
            assert bounds == sorted(set(bounds)), row.id
            for tier in tiers:
                rates = tier.rates
                assert 0 < rates.input <= 200 * NANO or row.id.endswith(":free"), row.id
                assert rates.output is None or 0 <= rates.output <= 700 * NANO, row.id
                assert (rates.cached_input or 0) <= 1.1 * rates.input, row.id
                assert (rates.cache_write or rates.input) >= rates.input, row.id
        assert dated.prices.per_request_nano_usd <= NANO // 10, row.id
        assert provider == FREE or not row.id.endswith(":free"), row.id


def test_longer_requests_are_never_cheaper():
    """So that the price of the highest tier in reach bounds all of them."""
    for _, row, dated in every_price():
        rates = [tier.rates for tier in dated.prices.tiers]
        for lower, higher in pairwise(rates):
            assert lower.input <= higher.input, row.id
            assert (lower.output or 0) <= (higher.output or 0), row.id


@pytest.mark.parametrize("provider", set(SOURCES) - {"ollama"})
def test_what_is_offered_has_a_price_as_a_rule(provider):
    """At HuggingFace only where a partner is named."""
    models = catalogue.models(provider)
    if provider == "huggingface":
        models = tuple(model for model in models if ":" in model.id)

    known = [model for model in models if model.prices and priced(model.prices[0].prices, "x")]

    assert len(known) >= 0.85 * len(models)


@pytest.mark.parametrize(
    ("provider", "name", "found"),
    [
        ("openai", "gpt-4o", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "gpt-6-sol-2026-09-22", "gpt-6-sol"),
        ("openai", "gpt-5.4-20260305", "gpt-5.4"),
        ("openai", "gpt-5.4-mini-2031-01-01", "gpt-5.4-mini"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org::abc", "ft:gpt-4o-mini"),
        ("openai", "ft:gpt-4.1-2025-04-14:org::abc", "ft:gpt-4.1-2025-04-14"),
        ("openai", "gpt-5.9", None),
        ("openai", "gpt-4o-clone", None),
        ("openai", "my-gpt-4o", None),
        ("openai", "", None),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("google", "gemini-2.5-pro-preview-06-05", "gemini-2.5-pro"),
        ("google", "gemini-2.5-pro-preview-tts", None),
        ("fireworks", "accounts/fireworks/models/glm-4p6", "glm-4p6"),
        ("fireworks", "glm-4p6", "glm-4p6"),
        ("azure", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("azure", "gpt-5.5-pro", "gpt-5.5-pro"),
        ("azure", "o3-pro", "o3-pro"),
        ("openrouter", "openai/gpt-4.1", "openai/gpt-4.1"),
        ("huggingface", "openai/gpt-oss-120b:groq", "openai/gpt-oss-120b:groq"),
        ("bedrock", "us.anthropic.claude-opus-5-v1:0", "anthropic.claude-opus-5"),
        ("acme", "gpt-4o", None),
        ("../openai", "gpt-4o", None),
    ],
)
def test_names_find_their_models(provider, name, found):
    """By id, by snapshot, by tuning, by region; what only looks alike is unknown."""
    model = catalogue.find(provider, name)

    assert (model and model.id) == found


@pytest.mark.parametrize("provider", SOURCES)
def test_every_offered_model_is_found_by_its_id(provider):
    """As itself: what is listed has the price that is billed."""
    for model in catalogue.models(provider):
        assert catalogue.find(provider, model.id) == model


def test_an_announced_price_holds_from_its_day():
    """In UTC, not a millisecond before."""
    argon = catalogue.find("google", "gemini-4-argon")
    first_ms = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)

    holding = [
        [dated.prices.tiers[0].rates.input for dated in argon.prices if dated.hold(at_ms)][-1]
        for at_ms in (first_ms - 1, first_ms)
    ]

    assert holding == [2 * NANO, 4 * NANO]


def test_models_come_newest_first():
    """Those whose release nobody knows come last."""
    for provider in SOURCES:
        released = [model.created for model in catalogue.models(provider)]
        assert released == sorted(released, reverse=True)


def test_names_without_end_do_not_fill_the_memory():
    """Callers choose names."""
    for number in range(catalogue.NAMES_KEPT_MAX + 100):
        catalogue.find("cerebras", f"x{number}")

    assert catalogue.find.cache_info().currsize == catalogue.NAMES_KEPT_MAX


def test_only_providers_have_models():
    """Each file is a provider's, beside the notices."""
    folder = catalogue.files(catalogue.__package__).joinpath("models")

    names = {path.name for path in folder.iterdir()}

    assert names == {f"{provider}.json" for provider in SOURCES} | {"NOTICES.md"}
    assert set(SOURCES) <= set(PROVIDERS)
