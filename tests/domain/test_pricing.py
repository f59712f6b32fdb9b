"""Costs are exact to the nano-USD, and no usage passes the bound that was held for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.pricing import (
    OUTPUT_TOKENS_UNLIMITED,
    Price,
    Rates,
    Tier,
)
from ringside_proxy.domain.usage import TokenUsage

CHEAP = Rates(
    input=2_500_000_000,
    cached_input=250_000_000,
    cache_write=3_125_000_000,
    cache_write_1h=5_000_000_000,
    output=15_000_000_000,
)
LONG = Rates(
    input=5_000_000_000,
    cached_input=500_000_000,
    cache_write=6_250_000_000,
    cache_write_1h=10_000_000_000,
    output=22_500_000_000,
)
FLEX = Rates(
    input=1_250_000_000,
    cached_input=125_000_000,
    cache_write=1_562_500_000,
    cache_write_1h=2_500_000_000,
    output=7_500_000_000,
)
PRICE = Price(
    source="config",
    tiers=(Tier(0, CHEAP), Tier(272_000, LONG)),
    service_tiers={"flex": (Tier(0, FLEX),)},
    per_request_nano_usd=5_000_000,
)
FREE = Rates(input=0, cached_input=0, cache_write=0, cache_write_1h=0, output=0)

rates = st.builds(Rates, **dict.fromkeys(Rates.__struct_fields__, st.integers(0, 10**13)))
counts = st.integers(0, 2_000_000)


@st.composite
def tiers(draw):
    """Rising tiers whose rates need not rise with them."""
    bounds = sorted(draw(st.sets(st.integers(1, 1_000_000), max_size=3)))
    return tuple(Tier(above, draw(rates)) for above in [0, *bounds])


prices = st.builds(
    Price,
    source=st.just("catalogue"),
    tiers=tiers(),
    service_tiers=st.dictionaries(st.sampled_from(["flex", "priority"]), tiers()),
    per_request_nano_usd=st.integers(0, 10**10),
)


@pytest.mark.parametrize(
    ("usage", "options", "nano_usd"),
    [
        ({}, {}, 0),
        ({"input_tokens": 1000, "output_tokens": 100}, {}, 2_500_000 + 1_500_000),
        ({"input_tokens": 1000, "cached_input_tokens": 600}, {}, 1_000_000 + 150_000),
        ({"input_tokens": 1000, "cache_write_input_tokens": 400}, {}, 1_500_000 + 1_250_000),
        (
            {"input_tokens": 1000, "cache_write_input_tokens": 400},
            {"cache_write_1h_tokens": 300},
            1_500_000 + 312_500 + 1_500_000,
        ),
        ({"output_tokens": 10, "reasoning_tokens": 8}, {}, 150_000),
        ({"input_tokens": 272_000, "output_tokens": 1}, {}, 680_000_000 + 15_000),
        ({"input_tokens": 272_001, "output_tokens": 1}, {}, 1_360_005_000 + 22_500),
        ({"input_tokens": 1000}, {"service_tier": "flex"}, 1_250_000),
        ({"input_tokens": 300_000}, {"service_tier": "flex"}, 375_000_000),
        ({"input_tokens": 1000}, {"service_tier": "unheard-of"}, 2_500_000),
        ({"input_tokens": 10, "cached_input_tokens": 99}, {}, 2_500),
    ],
)
def test_a_cost_is_exact(usage, options, nano_usd):
    """Each kind of token at its rate, a long request whole at the higher tier, the fee on top."""
    assert PRICE.cost_nano_usd(TokenUsage(**usage), **options) == nano_usd + 5_000_000


def test_a_cost_is_rounded_up_once():
    """Three kinds of a third of a nano-USD each are one nano-USD, not three."""
    third = Rates(
        input=333_334, cached_input=333_333, cache_write=0, cache_write_1h=0, output=333_333
    )
    price = Price(source="config", tiers=(Tier(0, third),))

    usage = TokenUsage(input_tokens=2, cached_input_tokens=1, output_tokens=1)

    assert price.cost_nano_usd(usage) == 1
    assert price.cost_nano_usd(TokenUsage(output_tokens=1)) == 1


@given(st.data(), prices, counts, counts, st.sampled_from([None, "flex", "priority", "auto"]))
def test_no_usage_costs_more_than_its_bound(data, price, input_max, output_max, service_tier):
    """Whatever was cached, written or reached of the tiers, within the lengths that were held."""
    input_tokens = data.draw(st.integers(0, input_max))
    written_1h = data.draw(st.sampled_from([0, 7, input_tokens]))
    usage = TokenUsage(
        input_tokens=input_tokens,
        cached_input_tokens=data.draw(st.integers(0, input_tokens)),
        cache_write_input_tokens=data.draw(st.integers(0, input_tokens)),
        output_tokens=data.draw(st.integers(0, output_max)),
    )

    cost = price.cost_nano_usd(usage, service_tier=service_tier, cache_write_1h_tokens=written_1h)

    bound = price.input_bound_nano_usd(
        input_max, service_tier=service_tier, may_write_cache_1h=written_1h > 0
    ) + price.output_nano_usd(output_max, input_tokens_max=input_max, service_tier=service_tier)
    assert cost <= bound


@given(prices, st.integers(-(10**9), 10**15), counts)
def test_what_is_affordable_is_the_most_that_is(price, nano_usd, input_max):
    """So many output tokens cost no more than the money, and one more would."""
    tokens = price.output_tokens_affordable(nano_usd, input_tokens_max=input_max)

    if tokens != OUTPUT_TOKENS_UNLIMITED:
        affordable, beyond = (
            price.output_nano_usd(count, input_tokens_max=input_max)
            for count in (tokens, tokens + 1)
        )
        assert affordable <= max(nano_usd, 0) < beyond


def test_free_output_is_without_limit():
    """Local models cost nothing: any balance, an empty one too, affords them."""
    price = Price(source="local", tiers=(Tier(0, FREE),))

    assert price.output_tokens_affordable(0, input_tokens_max=9) == OUTPUT_TOKENS_UNLIMITED
    assert price.input_bound_nano_usd(10**6) == 0
