"""Classes of service that no price is known of: their calls are booked at the usual price, and told."""

import logging
from typing import Final

from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.pricing import CONFIG, Price
from ringside_proxy.providers.usage import known_tier
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

USUAL: Final = frozenset({"auto", "default", "standard", "standard_only", "on_demand"})
"""What providers call the class that their list prices are of, or leave the choice of to themselves."""
TOLD_MAX: Final = 1024
"""Callers choose models, and far ends names: there is no end of them."""


class UnpricedTiers:
    """Tells of each class of service of a model once."""

    def __init__(self) -> None:
        self._told: set[tuple[ModelRef, str]] = set()

    def note(self, ref: ModelRef, price: Price | None, tier: str | None) -> None:
        """An answer of this class was booked at this price."""
        tier = known_tier(tier)
        if tier is None or tier in USUAL or price is None or tier in price.service_tiers:
            return
        if (ref, tier) in self._told or len(self._told) == TOLD_MAX:
            return
        self._told.add((ref, tier))
        remedy = "" if price.source == CONFIG else f"; see prices.{ref}.service_tiers"
        logger.warning(
            "a class of service is booked at the usual price, its own is not known%s",
            remedy,
            extra=fields(provider=ref.provider, model=ref.model, code=tier),
        )
