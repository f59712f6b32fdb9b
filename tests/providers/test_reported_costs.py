"""What providers say a call cost, in whole nano-USD, or nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.reported_costs import (
    COST_USD_MAX,
    NANO_PER_USD,
    READERS,
    reported_cost_nano_usd,
)


@pytest.mark.parametrize(
    ("provider", "usage", "nano_usd"),
    [
        ("openrouter", '{"cost": 0.00014}', 140_000),
        ("openrouter", '{"cost": 0.1}', 100_000_000),
        ("openrouter", '{"cost": 1.5e-10}', 1),
        ("openrouter", '{"cost": 0, "is_byok": false}', 0),
        (
            "openrouter",
            '{"cost": 0.0001, "is_byok": true, "cost_details": {"upstream_inference_cost": 0.002}}',
            2_100_000,
        ),
        ("openrouter", '{"cost": 0.0001, "is_byok": true, "cost_details": null}', None),
        ("xai", '{"cost_in_usd_ticks": 37756000}', 3_775_600),
        ("xai", '{"cost_in_usd_ticks": 1}', 1),
        ("xai", '{"cost_in_usd_ticks": 0}', 0),
        ("perplexity", '{"cost": {"currency": "USD", "total_cost": 0.0062}}', 6_200_000),
        ("perplexity", '{"cost": 0.0062}', None),
        ("openai", '{"cost": 0.1}', None),
        ("openrouter", '{"cost": -0.1}', None),
        ("openrouter", '{"cost": "0.1"}', None),
        ("openrouter", '{"cost": true}', None),
        ("openrouter", '{"cost": NaN}', None),
        ("openrouter", '{"cost": Infinity}', None),
        ("openrouter", '{"cost": 1e300}', None),
        ("openrouter", '{"cost": 10000.01}', None),
        ("openrouter", f'{{"cost": 1{"0" * 4000}}}', None),
        ("openrouter", "{}", None),
        ("xai", '{"cost_in_usd_ticks": 1.5}', None),
        ("xai", '{"cost_in_usd_ticks": true}', None),
        ("xai", '{"cost_in_usd_ticks": -10}', None),
    ],
)
def test_a_reported_cost_is_read_exactly_or_not_at_all(provider, usage, nano_usd):
    """To the nano-USD, rounded up; what cannot be a cost is none."""
    assert reported_cost_nano_usd(provider, json.loads(usage)) == nano_usd


@given(
    st.sampled_from(sorted(READERS)),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.dictionaries(
            st.sampled_from(
                [
                    "cost",
                    "total_cost",
                    "cost_in_usd_ticks",
                    "is_byok",
                    "cost_details",
                    "upstream_inference_cost",
                ]
            ),
            inner,
        ),
    ).filter(lambda usage: isinstance(usage, dict)),
)
def test_no_usage_makes_an_impossible_cost(provider, usage):
    """Whatever a provider sends, the ledger gets a bounded whole number or nothing."""
    cost = reported_cost_nano_usd(provider, usage)

    assert cost is None or (type(cost) is int and 0 <= cost <= COST_USD_MAX * NANO_PER_USD)


def test_only_providers_report_costs():
    """A row of the table that names no provider would never be asked."""
    assert set(READERS) <= set(PROVIDERS)
