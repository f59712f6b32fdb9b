"""Prices as their sources list them, and how what the owner says is laid over what is known.

A source may leave a rate out. What an owner writes is merged field by field, with one rule that is
not obvious: whoever sets `input` replaces everything that is charged for input, also the cached
rate and the dearer rates of long requests, unless they are given too; the same holds for `output`.
A stale discount next to a new price would be neither the old contract nor the new one.
"""

from typing import Final

import msgspec

from ringside_proxy.domain.durations import MINUTE_MS
from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.money import PPM
from ringside_proxy.domain.pricing import Price, Rates, Tier

INPUT_RATES: Final = ("input", "cached_input", "cache_write", "cache_write_1h")
DAY_MINUTES: Final = 24 * 60
EPOCH_WEEKDAY: Final = 3
"""1 January 1970 was a Thursday; Monday is 0."""


class ListedRates(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-USD per million tokens; None where the source has no such rate."""

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None


class ListedTier(msgspec.Struct, frozen=True):
    """The rates of a whole request whose input is longer than `above` tokens."""

    above: int
    rates: ListedRates


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """What a source says that a model costs; `tiers` begin above 0 and rise."""

    tiers: tuple[ListedTier, ...] = (ListedTier(0, ListedRates()),)
    service_tiers: dict[str, tuple[ListedTier, ...]] = {}
    per_request_nano_usd: int = 0
    per_second_nano_usd: int = 0


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """A span of each day in UTC, `until` left out, that may pass midnight; Monday is day 0."""

    from_minute: int
    until_minute: int
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def hold(self, at_ms: int) -> bool:
        """Whether the moment is in them. The weekday is that of the moment."""
        days, minute = divmod(at_ms // MINUTE_MS, DAY_MINUTES)
        if (days + EPOCH_WEEKDAY) % 7 not in self.weekdays:
            return False
        if self.until_minute < self.from_minute:
            return minute >= self.from_minute or minute < self.until_minute
        return self.from_minute <= minute < self.until_minute


class DatedPrices(msgspec.Struct, frozen=True, kw_only=True):
    """A price list, since when it holds, and at which hours if not at all."""

    prices: PriceList
    since_ms: int = 0
    hours: Hours | None = None

    def hold(self, at_ms: int) -> bool:
        """Whether this is what is charged at the moment, unless a later one is too."""
        return self.since_ms <= at_ms and (self.hours is None or self.hours.hold(at_ms))


class PriceOverride(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner says about a price; None and empty: nothing.

    `like` names the model whose known price takes the place of this one's. `rates` are of the usual service, `tiers` of longer requests. `service_factors_ppm` makes the
    other classes of service out of the usual one. `discount_ppm` is taken off everything.
    """

    like: ModelRef | None = None
    rates: ListedRates = ListedRates()
    tiers: tuple[ListedTier, ...] = ()
    service_factors_ppm: dict[str, int] = {}
    per_request_nano_usd: int | None = None
    per_second_nano_usd: int | None = None
    discount_ppm: int = 0


def merged(known: PriceList, override: PriceOverride) -> PriceList:
    """What is known, with what the owner says over it."""
    tiers = _with_tiers(_with_rates(known.tiers, override.rates), override.tiers)
    if override.service_factors_ppm:
        service_tiers = {
            name: _scaled(tiers, factor_ppm)
            for name, factor_ppm in override.service_factors_ppm.items()
        }
    else:
        service_tiers = {
            name: _with_rates(given, override.rates) for name, given in known.service_tiers.items()
        }
    per_request = override.per_request_nano_usd
    if per_request is None:
        per_request = known.per_request_nano_usd
    per_second = override.per_second_nano_usd
    if per_second is None:
        per_second = known.per_second_nano_usd
    kept_ppm = PPM - override.discount_ppm
    return PriceList(
        tiers=_scaled(tiers, kept_ppm),
        service_tiers={name: _scaled(given, kept_ppm) for name, given in service_tiers.items()},
        per_request_nano_usd=_share(per_request, kept_ppm),
        per_second_nano_usd=_share(per_second, kept_ppm),
    )


def priced(prices: PriceList, source: str) -> Price | None:
    """The price that a list makes; None unless it says what input and output cost.

    Where a list has no rate for cached or written input, that costs what other input does. Where
    seconds are paid for, tokens may be free.
    """
    given = prices.tiers
    if prices.per_second_nano_usd:
        given = tuple(ListedTier(tier.above, _or_free(tier.rates)) for tier in given)
    tiers = _complete(given)
    service_tiers = {name: _complete(given) for name, given in prices.service_tiers.items()}
    if tiers is None:
        return None
    return Price(
        source=source,
        tiers=tiers,
        service_tiers={name: given for name, given in service_tiers.items() if given is not None},
        per_request_nano_usd=prices.per_request_nano_usd,
        per_second_nano_usd=prices.per_second_nano_usd,
    )


def _or_free(rates: ListedRates) -> ListedRates:
    return msgspec.structs.replace(rates, input=rates.input or 0, output=rates.output or 0)


def _complete(tiers: tuple[ListedTier, ...]) -> tuple[Tier, ...] | None:
    rates = [_whole(tier.rates) for tier in tiers]
    if None in rates:
        return None
    return tuple(
        Tier(tier.above, whole)
        for tier, whole in zip(tiers, rates, strict=True)
        if whole is not None
    )


def _whole(rates: ListedRates) -> Rates | None:
    if rates.input is None or rates.output is None:
        return None
    cached, write, write_1h = rates.cached_input, rates.cache_write, rates.cache_write_1h
    if write is None:
        write = rates.input
    return Rates(
        input=rates.input,
        cached_input=rates.input if cached is None else cached,
        cache_write=write,
        cache_write_1h=write if write_1h is None else write_1h,
        output=rates.output,
    )


def _with_rates(tiers: tuple[ListedTier, ...], given: ListedRates) -> tuple[ListedTier, ...]:
    """The tiers with what is given in each of them; those that then say the same are one."""
    replaced = {
        name: value for name, value in msgspec.structs.asdict(given).items() if value is not None
    }
    if "input" in replaced:
        replaced = dict.fromkeys(INPUT_RATES) | replaced
    changed = [
        ListedTier(tier.above, msgspec.structs.replace(tier.rates, **replaced)) for tier in tiers
    ]
    return tuple(
        tier
        for index, tier in enumerate(changed)
        if index == 0 or tier.rates != changed[index - 1].rates
    )


def _with_tiers(
    tiers: tuple[ListedTier, ...], given: tuple[ListedTier, ...]
) -> tuple[ListedTier, ...]:
    """The tiers, and the given ones over the rates that hold where each of them begins."""
    for tier in sorted(given, key=lambda tier: tier.above):
        below = [kept for kept in tiers if kept.above < tier.above]
        beside = [kept for kept in tiers if kept.above <= tier.above]
        beyond = [kept for kept in tiers if kept.above > tier.above]
        (made,) = _with_rates((beside[-1],), tier.rates)
        tiers = (*below, ListedTier(tier.above, made.rates), *beyond)
    return tiers


def _scaled(tiers: tuple[ListedTier, ...], factor_ppm: int) -> tuple[ListedTier, ...]:
    return tuple(
        ListedTier(
            tier.above,
            ListedRates(
                **{
                    name: None if rate is None else _share(rate, factor_ppm)
                    for name, rate in msgspec.structs.asdict(tier.rates).items()
                }
            ),
        )
        for tier in tiers
    )


def _share(amount: int, factor_ppm: int) -> int:
    """So many parts per million of an amount, rounded up."""
    return -(-amount * factor_ppm // PPM)
