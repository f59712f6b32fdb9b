"""The bundled table of models: what each can do, how much it takes, and its list price.

It fills `GET /v1/models`, which never waits for a provider, and sizes prompts. Prices are for
showing: they are those of the lowest tier.
"""

import re
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.price_lists import DatedPrices, ListedRates, ListedTier, PriceList

NANO: Final = 10**9
SNAPSHOT_DATE: Final = "2026-11-21"
"""The day of the table."""
DATED_NAME: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")

Capability = Literal[
    "tools", "json_schema", "reasoning", "vision", "streaming", "embeddings", "prompt_caching"
]


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens; None where the model has no such price."""

    input: float
    cached_input: float | None
    cache_write: float | None
    output: float | None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as its provider names it. `created` is its release, in Unix seconds."""

    id: str
    created: int
    context_window: int | None
    max_output_tokens: int | None
    supports: tuple[Capability, ...]
    pricing: Pricing | None

    @property
    def prices(self) -> tuple[DatedPrices, ...]:
        """What it costs, for billing: the same in nano-USD; empty if nobody knows."""
        if self.pricing is None:
            return ()
        listed = {
            name: None if usd is None else int(Decimal(str(usd)) * NANO)
            for name, usd in msgspec.structs.asdict(self.pricing).items()
        }
        if "embeddings" in self.supports:
            listed["output"] = 0
        return (DatedPrices(prices=PriceList(tiers=(ListedTier(0, ListedRates(**listed)),))),)


def models(provider: str) -> tuple[Model, ...]:
    """The provider's models, newest families first; empty if the table has none."""
    return tuple(_table().get(provider, {}).values())


def find(provider: str, model: str) -> Model | None:
    """A model by its name, or by the name of one of its dated snapshots."""
    known = _table().get(provider, {})
    return known.get(model) or known.get(DATED_NAME.sub("", model))


@cache
def _table() -> dict[str, dict[str, Model]]:
    """Read once, at the first question."""
    bundled = files(__package__).joinpath("models.json").read_bytes()
    providers: dict[str, Any] = msgspec.json.decode(bundled)
    return {
        provider: {row.id: row for row in msgspec.convert(rows, list[Model])}
        for provider, rows in providers.items()
        if not provider.startswith("_")
    }
