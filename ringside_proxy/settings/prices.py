"""What models cost, where the owner knows better than the bundled table."""

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ringside_proxy.domain.model_facts import Capability
from ringside_proxy.settings.field_types import Model, Name, PositiveInt, PriceNanoUSD
from ringside_proxy.settings.problems import Problem

RATE_KEYS: Final = {
    "input_nano_usd": "input",
    "cached_input_nano_usd": "cached_input",
    "cache_write_nano_usd": "cache_write",
    "cache_write_1h_nano_usd": "cache_write_1h",
    "output_nano_usd": "output",
}
NO_FACTS: Final = {"context": None, "max_output": None, "supports": None}
LISTED: Final = "fc:openai/gpt-4o-mini"


class ListedRateSettings(msgspec.Struct, frozen=True, kw_only=True, rename=RATE_KEYS):
    """USD per million tokens; null: as it is known."""

    input_nano_usd: Annotated[PriceNanoUSD | None, Meta(description="Input.", examples=[0.15])] = (
        None
    )
    cached_input_nano_usd: Annotated[
        PriceNanoUSD | None, Meta(description="Input read from a cache.", examples=[0.075])
    ] = None
    cache_write_nano_usd: Annotated[
        PriceNanoUSD | None, Meta(description="Input written to a cache.", examples=[0.1875])
    ] = None
    cache_write_1h_nano_usd: Annotated[
        PriceNanoUSD | None, Meta(description="The same, kept for an hour.", examples=[0.3])
    ] = None
    output_nano_usd: Annotated[PriceNanoUSD | None, Meta(description="Output.", examples=[0.6])] = (
        None
    )


class PriceTierSettings(ListedRateSettings, frozen=True, kw_only=True, rename=RATE_KEYS):
    """What longer requests cost."""

    above: Annotated[
        PositiveInt,
        Meta(
            description="A request with more input tokens than this costs the following, whole.",
            examples=[272000],
        ),
    ]


class PriceSettings(
    ListedRateSettings,
    frozen=True,
    kw_only=True,
    rename=RATE_KEYS
    | {
        "service_factors_ppm": "service_tiers",
        "per_request_nano_usd": "per_request",
        "per_second_nano_usd": "per_second",
        "discount_ppm": "discount_percent",
    },
):
    """What a model costs, per million tokens, and what it takes; what is not given stays as known."""

    tiers: Annotated[
        tuple[PriceTierSettings, ...], Meta(description="What longer requests cost.")
    ] = ()
    service_factors_ppm: Annotated[
        dict[
            Annotated[Name, Meta(examples=["flex"])],
            Annotated[int, Meta(ge=0, le=100 * 10**6, extra={"unit": "factor"})],
        ],
        Meta(
            description="The provider's other classes of service, as factors of the usual price.",
            examples=[{"flex": 0.5, "priority": 2}],
        ),
    ] = {}
    per_request_nano_usd: Annotated[
        PriceNanoUSD | None, Meta(description="USD per request, on top.", examples=[0.005])
    ] = None
    per_second_nano_usd: Annotated[
        PriceNanoUSD | None,
        Meta(
            description="USD per second of the provider's machine, on top (replicate).",
            examples=[0.0014],
        ),
    ] = None
    like: Annotated[
        Model | None,
        Meta(description="Start from the built-in price of this model.", examples=[LISTED]),
    ] = None
    discount_ppm: Annotated[
        int,
        Meta(ge=0, le=10**6, description="Taken off everything.", extra={"unit": "percent"}),
    ] = 0
    context: Annotated[
        PositiveInt | None,
        Meta(description="Tokens that prompt and answer may have together.", examples=[128000]),
    ] = None
    max_output: Annotated[
        PositiveInt | None, Meta(description="Tokens of the longest answer.", examples=[16384])
    ] = None
    supports: Annotated[
        tuple[Capability, ...] | None,
        Meta(description="What the model can do.", examples=[["tools", "json_schema"]]),
    ] = None

    @property
    def says_price(self) -> bool:
        """Whether any of it is about the price: that it stays as it is known, if nothing is said."""
        nothing = PriceSettings()
        return self == nothing or msgspec.structs.replace(self, **NO_FACTS) != nothing

    @property
    def says_facts(self) -> bool:
        """Whether any of it is about what the model takes and can do."""
        told = (self.like, *(getattr(self, name) for name in NO_FACTS))
        return any(each is not None for each in told)

    def faults(self) -> Iterator[Problem]:
        """What is wrong between the keys."""
        bounds = [tier.above for tier in self.tiers]
        for index, above in enumerate(bounds):
            if above in bounds[:index]:
                yield Problem(f"tiers[{index}].above", f"{above} is there twice", "remove one")
