"""List prices, computed by hand: a source that moves one of them is seen in review."""

from datetime import UTC, datetime

import pytest

from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.services.prices import PriceBook

PEAK = datetime(2026, 11, 23, 2, tzinfo=UTC)  # a Monday
QUIET = datetime(2026, 11, 23, 5, tzinfo=UTC)
SATURDAY = datetime(2026, 11, 21, 2, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)

PLAIN = {"input_tokens": 1000, "output_tokens": 100}
CACHED = PLAIN | {"cached_input_tokens": 600}
WRITTEN = PLAIN | {"cache_write_input_tokens": 400}


def long(tokens, **more):
    return {"input_tokens": tokens, "output_tokens": 100} | more


# USD per million tokens are micro-USD per token: 1,000 tokens at 2.50 USD are 2,500,000 nano-USD.
GOLDENS = [
    ("openai/gpt-5.4", PLAIN, {}, 2_500_000 + 1_500_000),
    ("openai/gpt-5.4", CACHED, {}, 1_000_000 + 150_000 + 1_500_000),
    ("openai/gpt-5.4", WRITTEN, {}, 2_500_000 + 1_500_000),
    ("openai/gpt-5.4", long(272_000), {}, 680_000_000 + 1_500_000),
    ("openai/gpt-5.4", long(272_001), {}, 1_360_005_000 + 2_250_000),
    ("openai/gpt-5.4", PLAIN, {"service_tier": "flex"}, 1_250_000 + 750_000),
    ("openai/gpt-5.4", PLAIN, {"service_tier": "priority"}, 5_000_000 + 3_000_000),
    ("openai/gpt-5.4", PLAIN, {"service_tier": "auto"}, 2_500_000 + 1_500_000),
    ("openai/gpt-6-sol", PLAIN, {}, 2_000_000 + 1_000_000),
    ("openai/gpt-6-sol", CACHED, {}, 800_000 + 120_000 + 1_000_000),
    ("openai/gpt-6-sol", WRITTEN, {}, 1_200_000 + 1_000_000 + 1_000_000),
    (
        "openai/gpt-6-sol",
        long(300_000, cached_input_tokens=1000),
        {},
        1_196_000_000 + 400_000 + 1_500_000,
    ),
    ("openai/gpt-6-sol", long(300_000), {"service_tier": "flex"}, 600_000_000 + 750_000),
    ("openai/gpt-4o", PLAIN, {}, 2_500_000 + 1_000_000),
    ("openai/gpt-4o", CACHED, {}, 1_000_000 + 750_000 + 1_000_000),
    ("openai/gpt-4o", PLAIN, {"service_tier": "priority"}, 4_250_000 + 1_700_000),
    ("openai/gpt-5-search-api", PLAIN, {}, 10_000_000 + 1_250_000 + 1_000_000),
    ("openai/text-embedding-3-small", {"input_tokens": 1000}, {}, 20_000),
    ("anthropic/claude-sonnet-5-5", PLAIN, {}, 2_000_000 + 1_000_000),
    ("anthropic/claude-sonnet-5-5", CACHED, {}, 800_000 + 60_000 + 1_000_000),
    (
        "anthropic/claude-sonnet-5-5",
        WRITTEN,
        {"cache_write_1h_tokens": 300},
        1_200_000 + 250_000 + 1_200_000 + 1_000_000,
    ),
    ("anthropic/claude-haiku-5-5", PLAIN, {}, 100_000 + 50_000),
    ("anthropic/claude-haiku-5-5", long(200_000), {}, 100_000_000 + 250_000),
    ("google/gemini-2.5-pro", PLAIN, {}, 1_250_000 + 1_000_000),
    ("google/gemini-2.5-pro", CACHED, {}, 500_000 + 75_000 + 1_000_000),
    ("google/gemini-2.5-pro", long(200_000), {}, 250_000_000 + 1_000_000),
    ("google/gemini-2.5-pro", long(200_001), {}, 500_002_500 + 1_500_000),
    ("google/gemini-4-argon", PLAIN, {}, 2_000_000 + 1_000_000),
    ("google/gemini-4-argon", PLAIN, {"at": DECEMBER}, 4_000_000 + 2_000_000),
    ("deepseek/deepseek-v4-pro", PLAIN, {}, 660_000 + 198_000),
    ("deepseek/deepseek-v4-pro", PLAIN, {"at": PEAK}, 1_320_000 + 396_000),
    ("deepseek/deepseek-v4-pro", PLAIN, {"at": SATURDAY}, 660_000 + 198_000),
    ("deepseek/deepseek-v4-pro", CACHED, {}, 264_000 + 13_200 + 198_000),
    ("mistral/mistral-large-latest", PLAIN, {}, 500_000 + 150_000),
    ("mistral/mistral-large-latest", CACHED, {}, 200_000 + 30_000 + 150_000),
    ("xai/grok-4.7", PLAIN, {}, 2_000_000 + 600_000),
    ("xai/grok-4.7", CACHED, {}, 800_000 + 300_000 + 600_000),
    ("xai/grok-4.7", long(200_000), {}, 800_000_000 + 1_200_000),
    ("groq/openai/gpt-oss-120b", CACHED, {}, 60_000 + 45_000 + 60_000),
    ("cohere/command-a-03-2025", PLAIN, {}, 2_500_000 + 1_000_000),
    (
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        WRITTEN,
        {},
        1_980_000 + 1_650_000 + 1_650_000,
    ),
    ("sambanova/Meta-Llama-3.3-70B-Instruct", PLAIN, {}, 600_000 + 120_000),
    ("azure/gpt-4.1", PLAIN, {}, 2_000_000 + 800_000),
    ("perplexity/perplexity/sonar", PLAIN, {}, 25_000_000 + 250_000 + 250_000),
]


@pytest.mark.parametrize(("name", "usage", "how", "nano_usd"), GOLDENS)
def test_list_price(name, usage, how, nano_usd):
    """What the call costs at the provider, to the nano-USD."""
    at = how.get("at", QUIET)
    options = {key: value for key, value in how.items() if key != "at"}

    price = PriceBook().find(ModelRef(*name.split("/", 1)), int(at.timestamp() * 1000))

    assert price
    assert price.cost_nano_usd(TokenUsage(**usage), **options) == nano_usd
