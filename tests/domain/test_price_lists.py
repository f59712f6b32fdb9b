"""What the owner says about a price, laid over what is known; and prices that hold at times."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.price_lists import (
    DatedPrices,
    Hours,
    ListedRates,
    ListedTier,
    PriceList,
    PriceOverride,
    merged,
    priced,
)
from ringside_proxy.domain.pricing import Rates, Tier
from ringside_proxy.domain.usage import TokenUsage

BASE = ListedRates(input=2_500, cached_input=250, cache_write=3_125, output=15_000)
LONG = ListedRates(input=5_000, cached_input=500, cache_write=6_250, output=22_500)
FLEX = ListedRates(input=1_250, cached_input=125, cache_write=1_563, output=7_500)
KNOWN = PriceList(
    tiers=(ListedTier(0, BASE), ListedTier(272_000, LONG)),
    service_tiers={"flex": (ListedTier(0, FLEX),)},
    per_request_nano_usd=7,
)
NOTHING = PriceList()

rates = st.builds(
    ListedRates,
    **dict.fromkeys(ListedRates.__struct_fields__, st.none() | st.integers(0, 10**13)),
)
overrides = st.builds(
    PriceOverride,
    rates=rates,
    tiers=st.lists(
        st.builds(ListedTier, st.integers(1, 10**6), rates), max_size=3, unique_by=lambda t: t.above
    ).map(tuple),
    service_factors_ppm=st.dictionaries(st.sampled_from(["flex", "fast"]), st.integers(0, 10**8)),
    per_request_nano_usd=st.none() | st.integers(0, 10**9),
    per_second_nano_usd=st.none() | st.integers(0, 10**9),
    discount_ppm=st.integers(0, 10**6),
)


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def test_nothing_said_changes_nothing():
    """An empty row of the configuration is no price of its own."""
    assert merged(KNOWN, PriceOverride()) == KNOWN


@pytest.mark.parametrize(
    ("said", "tiers", "flex"),
    [
        (
            ListedRates(output=9_000),
            [(0, {"output": 9_000}), (272_000, {"output": 9_000})],
            {"output": 9_000},
        ),
        (
            ListedRates(cached_input=100),
            [(0, {"cached_input": 100}), (272_000, {"cached_input": 100})],
            {"cached_input": 100},
        ),
        (
            ListedRates(input=1_000),
            [
                (0, {"input": 1_000, "cached_input": None, "cache_write": None}),
                (272_000, {"input": 1_000, "cached_input": None, "cache_write": None}),
            ],
            {"input": 1_000, "cached_input": None, "cache_write": None},
        ),
        (
            ListedRates(input=1_000, cached_input=50),
            [
                (0, {"input": 1_000, "cached_input": 50, "cache_write": None}),
                (272_000, {"input": 1_000, "cached_input": 50, "cache_write": None}),
            ],
            {"input": 1_000, "cached_input": 50, "cache_write": None},
        ),
    ],
)
def test_a_new_base_price_drops_what_hung_on_the_old_one(said, tiers, flex):
    """`input` replaces the cached rates and what long or flexible input costs; `output` likewise."""
    made = merged(KNOWN, PriceOverride(rates=said))

    known = {0: BASE, 272_000: LONG}
    assert made.tiers == tuple(
        ListedTier(above, msgspec.structs.replace(known[above], **changed))
        for above, changed in tiers
    )
    assert made.service_tiers["flex"] == (ListedTier(0, msgspec.structs.replace(FLEX, **flex)),)


def test_tiers_that_cost_the_same_are_one():
    """Whoever sets both directions has no tiers left."""
    made = merged(KNOWN, PriceOverride(rates=ListedRates(input=1_000, output=2_000)))

    assert made.tiers == (ListedTier(0, ListedRates(input=1_000, output=2_000)),)
    assert made.service_tiers["flex"] == made.tiers


def test_said_tiers_stand_over_the_rates_below_them():
    """A tier says what changes from its bound on; the other rates go on."""
    said = PriceOverride(
        rates=ListedRates(input=1_000),
        tiers=(
            ListedTier(500_000, ListedRates(output=40_000)),
            ListedTier(100_000, ListedRates(input=2_000, cached_input=200)),
        ),
    )

    assert merged(KNOWN, said).tiers == (
        ListedTier(0, ListedRates(input=1_000, output=15_000)),
        ListedTier(100_000, ListedRates(input=2_000, cached_input=200, output=15_000)),
        ListedTier(272_000, ListedRates(input=1_000, output=22_500)),
        ListedTier(500_000, ListedRates(input=1_000, output=40_000)),
    )


def test_service_tiers_are_made_of_the_usual_price():
    """Factors replace the known classes of service, and are rounded up."""
    said = PriceOverride(service_factors_ppm={"priority": 2_000_000, "slow": 333_333})

    made = merged(KNOWN, said).service_tiers

    assert list(made) == ["priority", "slow"]
    assert made["priority"][1].rates.output == 45_000
    assert made["slow"][0].rates.input == 834


def test_a_discount_is_taken_off_everything_last():
    """Off what was said, off tiers and services, off the fee."""
    said = PriceOverride(rates=ListedRates(output=1_000), discount_ppm=100_000)

    made = merged(KNOWN, said)

    assert made.tiers[0].rates == ListedRates(
        input=2_250, cached_input=225, cache_write=2_813, output=900
    )
    assert made.tiers[1].rates.input == 4_500
    assert made.service_tiers["flex"][0].rates.input == 1_125
    assert made.per_request_nano_usd == 7  # 6.3, rounded up


@given(overrides)
def test_tiers_always_begin_at_nothing_and_rise(override):
    """Whatever is said, a request of any length has exactly one price."""
    for tiers in (made := merged(KNOWN, override)).tiers, *made.service_tiers.values():
        bounds = [tier.above for tier in tiers]
        assert bounds[0] == 0
        assert bounds == sorted(set(bounds))


def test_missing_rates_of_input_cost_what_input_costs():
    """No price for a cache is no discount, and an hour's cache costs at least a short one's."""
    price = priced(PriceList(tiers=(ListedTier(0, ListedRates(input=5, output=7)),)), "config")
    written = priced(
        PriceList(tiers=(ListedTier(0, ListedRates(input=5, cache_write=6, output=7)),)), "config"
    )

    assert price
    assert price.tiers == (
        Tier(0, Rates(input=5, cached_input=5, cache_write=5, cache_write_1h=5, output=7)),
    )
    assert written
    assert written.tiers[0].rates.cache_write_1h == 6


def test_seconds_may_be_all_that_is_paid_for():
    """Tokens that nobody named a price of are free then; those that have one cost it too."""
    seconds = PriceOverride(per_second_nano_usd=1_400_000, discount_ppm=500_000)
    known = PriceOverride(rates=ListedRates(output=2_000_000), per_second_nano_usd=100)

    alone, beside = priced(merged(NOTHING, seconds), "c"), priced(merged(NOTHING, known), "c")

    used = TokenUsage(input_tokens=10, output_tokens=5)
    assert alone is not None
    assert beside is not None
    assert alone.beforehand is beside.beforehand is None
    assert alone.cost_nano_usd(used, machine_us=1_500_000) == 1_050_000
    assert beside.cost_nano_usd(used, machine_us=1) == 10 + 1  # 100 millionths are rounded up


@pytest.mark.parametrize(
    "rates",
    [ListedRates(), ListedRates(input=1), ListedRates(output=1), ListedRates(cache_write=1)],
)
def test_half_a_price_is_no_price(rates):
    """What is not known never counts as nothing."""
    assert priced(PriceList(tiers=(ListedTier(0, rates),)), "config") is None


@pytest.mark.parametrize(
    ("hours", "moment", "holds"),
    [
        ((60, 240), "2026-11-20T01:00:00", True),
        ((60, 240), "2026-11-20T03:59:59.999", True),
        ((60, 240), "2026-11-20T04:00:00", False),
        ((60, 240), "2026-11-20T00:59:59.999", False),
        ((60, 240), "2026-11-21T02:00:00", False),  # a Saturday
        ((60, 240), "2026-11-23T02:00:00", True),  # a Monday
        ((1380, 60), "2026-11-20T23:30:00", True),
        ((1380, 60), "2026-11-20T00:59:00", True),
        ((1380, 60), "2026-11-20T01:00:00", False),
    ],
)
def test_hours_are_utc_on_their_weekdays(hours, moment, holds):
    """The first minute counts, the last does not; a span may pass midnight."""
    span = Hours(from_minute=hours[0], until_minute=hours[1], weekdays=(0, 1, 2, 3, 4))

    assert span.hold(at(moment)) is holds


def test_a_price_holds_from_its_day_on():
    """Not a millisecond before."""
    dated = DatedPrices(prices=NOTHING, since_ms=at("2026-12-01T00:00:00"))

    assert not dated.hold(at("2026-12-01T00:00:00") - 1)
    assert dated.hold(at("2026-12-01T00:00:00"))
