"""The price book: what each model costs, by the configuration first and the bundled table else."""

from collections.abc import Mapping
from typing import Final

import msgspec

from ringside_proxy.domain.model_facts import ByName, FactsOverride
from ringside_proxy.domain.model_ref import ModelRef, stored
from ringside_proxy.domain.price_lists import (
    DatedPrices,
    ListedRates,
    ListedTier,
    PriceList,
    PriceOverride,
    merged,
    priced,
)
from ringside_proxy.domain.pricing import CONFIG, Price
from ringside_proxy.providers import catalogue
from ringside_proxy.settings.prices import ListedRateSettings, PriceSettings

LOCAL: Final = ("ollama", "sandbox")
"""Providers whose models run on the owner's machine: they cost nothing."""
FREE: Final = DatedPrices(
    prices=PriceList(
        tiers=(
            ListedTier(
                0,
                ListedRates(input=0, cached_input=0, cache_write=0, cache_write_1h=0, output=0),
            ),
        )
    )
)
MODELS_KEPT_MAX: Final = 1024
"""Names whose prices are at hand; callers choose names, so there is no end of them."""

LOCAL_SOURCE: Final = "local"


class _Dated(msgspec.Struct, frozen=True):
    when: DatedPrices
    price: Price | None


class PriceBook:
    """What models cost under one configuration: a new configuration makes a new book.

    `overrides` are what the owner wrote, by its name (`ByName`).
    `behind` says which model stands behind a name of the owner's own.
    """

    def __init__(
        self,
        overrides: Mapping[str, PriceOverride] | None = None,
        behind: Mapping[ModelRef, ModelRef] | None = None,
    ) -> None:
        self._said = ByName(overrides or {})
        self._behind = behind or {}
        self._kept: dict[ModelRef, tuple[_Dated, ...]] = {}

    def find(self, ref: ModelRef, at_ms: int) -> Price | None:
        """What a call that starts now costs; None if nobody knows."""
        dated = self._kept.get(ref)
        if dated is None:
            dated = self._compiled(ref)
            if len(self._kept) >= MODELS_KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            self._kept[ref] = dated
        holding = [one.price for one in dated if one.when.hold(at_ms)]
        return holding[-1] if holding else None

    def rates(
        self, ref: ModelRef, known: tuple[DatedPrices, ...], at_ms: int
    ) -> ListedRates | None:
        """What the owner or else the table, which says `known`, lists for short requests now."""
        override, known = self._said.find(ref), _or_free(ref, known)
        if override is not None:
            known = _merged(_known(override.like) if override.like else known, override)
        listed = None
        for one in known:
            if one.hold(at_ms):
                listed = one.prices.tiers[0].rates
        if listed is None or listed.input is None or listed.output is None:
            return None
        return listed

    def _compiled(self, ref: ModelRef) -> tuple[_Dated, ...]:
        override = self._said.find(ref)
        if override is None:
            known, source = _known(self._behind.get(ref, ref)), _source(ref)
        else:
            known = _merged(_known(override.like or self._behind.get(ref, ref)), override)
            source = CONFIG
        return tuple(_Dated(one, priced(one.prices, source)) for one in known)


def overrides(prices: Mapping[str, PriceSettings]) -> dict[str, PriceOverride]:
    """What the configuration says about prices; a row that says nothing of them is none."""
    return {
        name: PriceOverride(
            like=stored(given.like) if given.like is not None else None,
            rates=_rates(given),
            tiers=tuple(ListedTier(tier.above, _rates(tier)) for tier in given.tiers),
            service_factors_ppm=given.service_factors_ppm,
            per_request_nano_usd=given.per_request_nano_usd,
            per_second_nano_usd=given.per_second_nano_usd,
            discount_ppm=given.discount_ppm,
        )
        for name, given in prices.items()
        if given.says_price
    }


def facts(prices: Mapping[str, PriceSettings]) -> dict[str, FactsOverride]:
    """What it says about what models take and can do."""
    return {
        name: FactsOverride(
            like=stored(given.like) if given.like is not None else None,
            context_window=given.context,
            max_output_tokens=given.max_output,
            supports=given.supports,
        )
        for name, given in prices.items()
        if given.says_facts
    }


def _rates(given: ListedRateSettings) -> ListedRates:
    return ListedRates(
        input=given.input_nano_usd,
        cached_input=given.cached_input_nano_usd,
        cache_write=given.cache_write_nano_usd,
        cache_write_1h=given.cache_write_1h_nano_usd,
        output=given.output_nano_usd,
    )


def _merged(known: tuple[DatedPrices, ...], override: PriceOverride) -> tuple[DatedPrices, ...]:
    """What is known at each time, with what the owner says over it."""
    return tuple(
        msgspec.structs.replace(one, prices=merged(one.prices, override))
        for one in known or (DatedPrices(prices=PriceList()),)
    )


def _known(ref: ModelRef) -> tuple[DatedPrices, ...]:
    model = catalogue.find(ref.provider, ref.model)
    return _or_free(ref, model.prices if model is not None else ())


def _or_free(ref: ModelRef, known: tuple[DatedPrices, ...]) -> tuple[DatedPrices, ...]:
    return (FREE,) if ref.provider in LOCAL else known


def _source(ref: ModelRef) -> str:
    return LOCAL_SOURCE if ref.provider in LOCAL else catalogue.source(ref.provider)
