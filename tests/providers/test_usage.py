import pytest

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.usage import TOKENS_MAX, token_usage

BASE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def used(cached: int = 0, write: int = 0, output: int = 20, reasoning: int = 0) -> TokenUsage:
    return TokenUsage(
        input_tokens=100,
        cached_input_tokens=cached,
        cache_write_input_tokens=write,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, used()),
        ({"prompt_tokens_details": {"cached_tokens": 64}}, used(cached=64)),
        ({"prompt_tokens_details": None, "num_cached_tokens": 64}, used(cached=64)),
        ({"prompt_token_details": {"cached_tokens": 64}}, used(cached=64)),
        ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}, used(cached=64)),
        ({"cached_tokens": 64}, used(cached=64)),
        ({"prompt_tokens_details": {"cached_tokens": 400}}, used(cached=100)),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, used()),
        ({"prompt_tokens_details": {"cached_tokens": True}}, used()),
        ({"prompt_tokens_details": {"cache_write_tokens": 30}}, used(write=30)),
        (
            {"prompt_tokens_details": {"cached_tokens": 80, "cache_write_tokens": 30}},
            used(cached=80, write=20),
        ),
        ({"completion_tokens_details": {"reasoning_tokens": 15}}, used(reasoning=15)),
        ({"completion_tokens_details": {"reasoning_tokens": 50}}, used(reasoning=20)),
        (
            {"completion_tokens_details": {"reasoning_tokens": 50}, "total_tokens": 170},
            used(output=70, reasoning=50),
        ),
        (
            {"prompt_tokens_details": {"cached_tokens": 400}, "total_tokens": 520},
            TokenUsage(input_tokens=500, cached_input_tokens=400, output_tokens=20),
        ),
        (
            {
                "prompt_tokens_details": {"cached_tokens": 400},
                "completion_tokens_details": {"reasoning_tokens": 50},
                "total_tokens": 570,
            },
            TokenUsage(
                input_tokens=500, cached_input_tokens=400, output_tokens=70, reasoning_tokens=50
            ),
        ),
    ],
)
def test_usage_is_normalised(extra, expected):
    """Cached and written tokens are inside the input, reasoning inside the output, everywhere."""
    assert token_usage(BASE | extra) == expected


@pytest.mark.parametrize("wrong", [-1, TOKENS_MAX + 1, 1.5, "9", None, True, [9], {}])
@pytest.mark.parametrize("key", ["prompt_tokens", "completion_tokens"])
def test_usage_that_cannot_be_true_is_missing(key, wrong):
    """A count that is no count would be billed: the whole report is treated as not given."""
    assert token_usage(BASE | {key: wrong}) is None


@pytest.mark.parametrize("reported", [None, {}, [], "much", 7, {"completion_tokens": 5}])
def test_no_usage_is_missing(reported):
    """Whatever stands where usage should be, it is never an exception."""
    assert token_usage(reported) is None


def test_embeddings_have_no_output():
    """An embeddings answer names the prompt alone."""
    assert token_usage({"prompt_tokens": 8, "total_tokens": 8}) == TokenUsage(input_tokens=8)
