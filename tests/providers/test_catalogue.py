import pytest

from ringside_proxy.providers import catalogue
from ringside_proxy.providers.registry import PROVIDERS


@pytest.mark.parametrize("model", catalogue.models("openai"), ids=lambda model: model.id)
def test_row_makes_sense(model):
    """A row says what its model is for, and no price or limit contradicts another."""
    is_embedding = "embeddings" in model.supports

    assert is_embedding != ("streaming" in model.supports)
    assert len(set(model.supports)) == len(model.supports)
    assert 1_670_000_000 < model.created < 1_800_000_000
    assert model.context_window
    assert (model.max_output_tokens is None) == is_embedding
    assert model.pricing
    assert (model.pricing.output is None) == is_embedding
    cached = model.pricing.cached_input
    assert (cached is not None) == ("prompt_caching" in model.supports)
    assert cached is None or cached < model.pricing.input


def test_models_are_found_by_name_and_by_snapshot():
    """A dated snapshot is its family's model, unless it has a row of its own."""
    for name, expected in {
        "gpt-4o": "gpt-4o",
        "gpt-4o-2024-08-06": "gpt-4o",
        "gpt-4o-2024-05-13": "gpt-4o-2024-05-13",
    }.items():
        found = catalogue.find("openai", name)
        assert found
        assert found.id == expected

    assert catalogue.find("openai", "gpt-4o-clone") is None
    assert catalogue.find("acme", "gpt-4o") is None
    assert catalogue.models("acme") == ()


def test_only_providers_have_models():
    """The notices beside the table are no provider, and every table has its row."""
    assert set(catalogue._table()) <= set(PROVIDERS)
