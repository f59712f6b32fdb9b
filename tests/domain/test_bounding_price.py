"""A price for bounds: at every length and kind the dearest of several classes of service."""

from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.pricing import Price, Rates, Tier
from ringside_proxy.domain.usage import TokenUsage

RATES = st.builds(
    Rates, **dict.fromkeys(Rates.__struct_fields__, st.integers(min_value=0, max_value=10**10))
)


@st.composite
def tiers(draw):
    """Tiers as a price has them: the first above nothing, the rest rising."""
    starts = sorted({0, *draw(st.lists(st.integers(1, 1000), max_size=3))})
    return tuple(Tier(start, draw(RATES)) for start in starts)


@given(
    usual=tiers(),
    others=st.dictionaries(st.sampled_from(["flex", "priority"]), tiers()),
    input_tokens=st.integers(0, 2000),
    cached=st.integers(0, 2000),
    written=st.integers(0, 2000),
    output_tokens=st.integers(0, 2000),
)
def test_no_class_costs_more(usual, others, input_tokens, cached, written, output_tokens):
    """Neither what a call costs, nor what it may cost."""
    price = Price(source="test", tiers=usual, service_tiers=others, per_request_nano_usd=3)
    usage = TokenUsage(
        input_tokens=input_tokens,
        cached_input_tokens=cached,
        cache_write_input_tokens=written,
        output_tokens=output_tokens,
    )

    bound = price.bounding({None, *others})

    most = bound.input_bound_nano_usd(input_tokens) + bound.output_nano_usd(
        output_tokens, input_tokens_max=input_tokens
    )
    for name in (None, *others):
        assert price.cost_nano_usd(usage, service_tier=name) <= most
        assert price.input_bound_nano_usd(
            input_tokens, service_tier=name
        ) <= bound.input_bound_nano_usd(input_tokens)


def test_the_usual_class_alone_is_the_price_itself():
    """Nothing is made anew for what most calls ask."""
    price = Price(source="test", tiers=(Tier(0, Rates(**RATE)),))

    assert price.bounding({None}) is price
    assert price.bounding({None, "unknown"}) is price


RATE = dict.fromkeys(Rates.__struct_fields__, 1)
