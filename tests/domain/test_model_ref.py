import pytest

from ringside_proxy.domain.errors import InvalidModelError
from ringside_proxy.domain.model_ref import ModelRef, parse

PROVIDERS = ("openai", "anthropic", "xai", "huggingface", "openrouter")
SLOTS = ("fast", "smart", "a/b")


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("fc:openai/gpt-4o", ModelRef("openai", "gpt-4o")),
        ("fc:openrouter/meta-llama/llama-3.3", ModelRef("openrouter", "meta-llama/llama-3.3")),
        ("fc:huggingface/a/b/c/d:fast", ModelRef("huggingface", "a/b/c/d:fast")),
        ("fc:openai//x", ModelRef("openai", "/x")),
        ("fc:openai/x/", ModelRef("openai", "x/")),
        ("fc:openai/fc:xai/grok", ModelRef("openai", "fc:xai/grok")),
        ("fc:openai/ft:gpt-4o:org::id", ModelRef("openai", "ft:gpt-4o:org::id")),
        ("fc:openai/modèle", ModelRef("openai", "modèle")),
        ("slot:fast", "fast"),
        ("slot:a/b", "a/b"),
    ],
)
def test_model_name_is_cut_at_the_first_slash_only(name, parsed):
    """The provider ends at the first slash; whatever follows is the provider's own name."""
    assert parse(name, PROVIDERS, SLOTS) == parsed


@pytest.mark.parametrize("name", ["fc:openai/gpt-4o", "fc:huggingface/org/model", "fc:xai//"])
def test_model_ref_reads_as_it_was_named(name):
    """A parsed name, written again, is the name."""
    assert str(parse(name, PROVIDERS, SLOTS)) == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gpt-4o",
            "Invalid model 'gpt-4o': a model needs its provider. Use 'fc:<provider>/<model>', "
            "for example 'fc:openai/gpt-4o', or 'slot:<alias>'.",
        ),
        (
            "openai/gpt-4o",
            "Invalid model 'openai/gpt-4o': a model needs its provider. Use "
            "'fc:<provider>/<model>', for example 'fc:openai/openai/gpt-4o', or 'slot:<alias>'.",
        ),
        (
            "fc:openai",
            "Invalid model 'fc:openai': write 'fc:<provider>/<model>', "
            "for example 'fc:openai/gpt-4o-mini'.",
        ),
        (
            "fc:openai/",
            "Invalid model 'fc:openai/': write 'fc:<provider>/<model>', "
            "for example 'fc:openai/gpt-4o-mini'.",
        ),
        (
            "fc:anthropc/claude",
            "Unknown provider 'anthropc' in model 'fc:anthropc/claude'. Did you mean: 'anthropic'.",
        ),
        (
            "fc:open/x",
            "Unknown provider 'open' in model 'fc:open/x'. Did you mean: 'openai', 'openrouter'.",
        ),
        (
            "fc:zzzz/x",
            "Unknown provider 'zzzz' in model 'fc:zzzz/x'. "
            "Known: 'anthropic', 'huggingface', 'openai', 'openrouter', 'xai'.",
        ),
        (
            "fc:/x",
            "Unknown provider '' in model 'fc:/x'. "
            "Known: 'anthropic', 'huggingface', 'openai', 'openrouter', 'xai'.",
        ),
        (
            "slot:fsat",
            "Unknown slot 'fsat' in model 'slot:fsat'. Did you mean: 'slot:fast', 'slot:smart'.",
        ),
        (
            "slot:",
            "Unknown slot '' in model 'slot:'. Known: 'slot:a/b', 'slot:fast', 'slot:smart'.",
        ),
    ],
)
def test_wrong_model_name_is_refused_with_the_remedy(name, message):
    """The refusal says what to write instead, with the nearest known names, best first."""
    with pytest.raises(InvalidModelError) as refusal:
        parse(name, PROVIDERS, SLOTS)

    assert refusal.value.message == message
    assert (refusal.value.param, refusal.value.code) == ("model", "invalid_model")


def test_unknown_slot_says_when_there_is_none():
    """Without any slot the refusal does not point at an empty list."""
    with pytest.raises(InvalidModelError, match=r"Known: none configured\.$"):
        parse("slot:fast", PROVIDERS, ())
