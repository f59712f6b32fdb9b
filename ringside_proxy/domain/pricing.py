"""What a model call costs, and the most that one can cost: integers, never floats.

Rates are nano-USD per million tokens, which is what a price in USD per million tokens is with nine
decimals: every list price is exact. A cost is summed in that unit and rounded up once, to whole
nano-USD, per call.

A long request is dearer at some models: from one token above a tier's bound on, all of its tokens
cost the tier's rates. What a call may cost is therefore bounded by the dearest tier that its input
can reach, and within a tier by the dearest rate of its kind, so that whatever the provider counts
as cached, written to a cache or neither, no usage within the given lengths costs more than
`input_bound_nano_usd` and `output_nano_usd` together.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from ringside_proxy.domain.usage import TokenUsage

TOKENS_PER_RATE: Final = 1_000_000
"""A rate is what so many tokens cost."""
OUTPUT_TOKENS_UNLIMITED: Final = 10**12
"""What any money affords where output costs nothing."""


CONFIG: Final = "config"
"""The source of a price that the owner's configuration gives."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD per million tokens of each kind. `output` includes reasoning."""

    input: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    output: int


class Tier(msgspec.Struct, frozen=True):
    """The rates of a whole request whose input is longer than `above` tokens."""

    above: int
    rates: Rates


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one model costs at one moment.

    `source` says who says so, and stands in each usage row. `tiers` begin with the one above 0
    tokens, which also serves an empty request, and rise. `service_tiers` are the tiers of a
    provider's other classes of service by its own name (`flex`, `priority`); one that is not there
    costs what the usual one does.
    """

    source: str
    tiers: tuple[Tier, ...]
    service_tiers: dict[str, tuple[Tier, ...]] = {}
    per_request_nano_usd: int = 0
    per_second_nano_usd: int = 0

    @property
    def beforehand(self) -> "Price | None":
        """The price as far as it is known before the call; None if it depends on how long that takes."""
        return None if self.per_second_nano_usd else self

    def cost_nano_usd(
        self,
        usage: TokenUsage,
        *,
        service_tier: str | None = None,
        cache_write_1h_tokens: int = 0,
        machine_us: int = 0,
    ) -> int:
        """What a call with this usage costs, rounded up.

        `cache_write_1h_tokens` is the part of the cache writes that is kept for an hour. Parts
        that together are more than the whole are cut to it. `machine_us` are the microseconds that
        the provider's machine was at work.
        """
        rates = self._rates(usage.input_tokens, service_tier)
        cached = min(usage.cached_input_tokens, usage.input_tokens)
        written = min(usage.cache_write_input_tokens, usage.input_tokens - cached)
        written_1h = min(cache_write_1h_tokens, written)
        cost = (
            (usage.input_tokens - cached - written) * rates.input
            + cached * rates.cached_input
            + (written - written_1h) * rates.cache_write
            + written_1h * rates.cache_write_1h
            + usage.output_tokens * rates.output
            + machine_us * self.per_second_nano_usd  # a millionth of it each, as with tokens
        )
        return self.per_request_nano_usd + _rounded_up(cost)

    def input_bound_nano_usd(
        self,
        input_tokens_max: int,
        *,
        service_tier: str | None = None,
        may_write_cache_1h: bool = False,
    ) -> int:
        """The most that a request of so many input tokens can cost before its first output."""
        rate = max(
            max(
                rates.input,
                rates.cached_input,
                rates.cache_write,
                rates.cache_write_1h if may_write_cache_1h else 0,
            )
            for rates in self._reachable(input_tokens_max, service_tier)
        )
        return self.per_request_nano_usd + _rounded_up(input_tokens_max * rate)

    def output_nano_usd(
        self, output_tokens: int, *, input_tokens_max: int, service_tier: str | None = None
    ) -> int:
        """The most that so many output tokens can cost after so many input tokens."""
        return _rounded_up(output_tokens * self._output_rate(input_tokens_max, service_tier))

    def output_tokens_affordable(
        self, nano_usd: int, *, input_tokens_max: int, service_tier: str | None = None
    ) -> int:
        """How many output tokens the money is enough for, whatever tier the input reaches."""
        rate = self._output_rate(input_tokens_max, service_tier)
        if rate == 0:
            return OUTPUT_TOKENS_UNLIMITED
        return max(nano_usd, 0) * TOKENS_PER_RATE // rate

    def bounding(self, service_tiers: Iterable[str | None]) -> "Price":
        """The price that is never below what a call of any of these classes of service costs."""
        every = [self._tiers(name) for name in service_tiers]
        if all(tiers is self.tiers for tiers in every):
            return self
        starts = sorted({tier.above for tiers in every for tier in tiers})
        return Price(
            source=self.source,
            tiers=tuple(Tier(start, _dearest(every, start)) for start in starts),
            per_request_nano_usd=self.per_request_nano_usd,
            per_second_nano_usd=self.per_second_nano_usd,
        )

    def _output_rate(self, input_tokens_max: int, service_tier: str | None) -> int:
        return max(rates.output for rates in self._reachable(input_tokens_max, service_tier))

    def _tiers(self, service_tier: str | None) -> tuple[Tier, ...]:
        return self.service_tiers.get(service_tier or "", self.tiers)

    def _rates(self, input_tokens: int, service_tier: str | None) -> Rates:
        return self._reachable(input_tokens, service_tier)[-1]

    def _reachable(self, input_tokens_max: int, service_tier: str | None) -> list[Rates]:
        """The rates that a request of at most so many tokens can be billed at, lowest tier first."""
        tiers = self._tiers(service_tier)
        if len(tiers) == 1:
            return [tiers[0].rates]
        first, *higher = tiers
        return [first.rates, *[tier.rates for tier in higher if tier.above < input_tokens_max]]


def _dearest(every: list[tuple[Tier, ...]], above: int) -> Rates:
    """The dearest rate of each kind where a tier begins."""
    rates = [[tier.rates for tier in tiers if tier.above <= above][-1] for tiers in every]
    return Rates(
        **{name: max(getattr(each, name) for each in rates) for name in Rates.__struct_fields__}
    )


def _rounded_up(cost: int) -> int:
    """Whole nano-USD of a sum of tokens times rates."""
    return -(-cost // TOKENS_PER_RATE)
