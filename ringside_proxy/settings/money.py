"""What may be spent: budgets, rate limits, the wallet."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated, Literal
from zoneinfo import available_timezones

import msgspec
from msgspec import Meta

from ringside_proxy.domain.ledger import is_timezone
from ringside_proxy.domain.money import NANO_PER_USD
from ringside_proxy.settings.field_types import CustomerID, NanoUSD, PositiveInt
from ringside_proxy.settings.problems import Problem, shown


class CustomerBudgetSettings(
    msgspec.Struct, frozen=True, kw_only=True, rename={"monthly_nano_usd": "monthly_usd"}
):
    """What one customer may spend."""

    monthly_nano_usd: Annotated[
        NanoUSD | None, Meta(description="Cap per month; null: none.", examples=[50])
    ] = None


class BudgetSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"default_monthly_nano_usd": "default_monthly_usd"},
):
    """What customers may spend."""

    default_monthly_nano_usd: Annotated[
        NanoUSD | None,
        Meta(description="Cap per customer and month; null: none.", examples=[20]),
    ] = None
    timezone: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^[A-Za-z0-9_+/-]{1,64}$", extra={"expects": "a name such as UTC"}),
        ],
        Meta(description="Where a month begins."),
    ] = "UTC"
    max_output_tokens: Annotated[
        PositiveInt, Meta(description="Longest answer of a capped customer's call.")
    ] = 16384
    warn_at: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=1)], ...],
        Meta(description="Shares of the cap at which customer.budget_warning is sent."),
    ] = (0.8,)
    unknown_price: Annotated[
        Literal["refuse", "allow"],
        Meta(description="Whether a capped customer may use a model without a known price."),
    ] = "refuse"
    customers: Annotated[
        dict[CustomerID, CustomerBudgetSettings],
        Meta(description="Caps by customer; one set over the API wins."),
    ] = {}

    def faults(self) -> Iterator[Problem]:
        """What is wrong that only this machine can tell."""
        if not is_timezone(self.timezone):
            what = f"{shown(self.timezone)} is no time zone that this machine knows"
            yield Problem("timezone", what, _timezone_remedy(self.timezone))


class RateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much one caller may ask for."""

    requests_per_minute: Annotated[
        PositiveInt | None,
        Meta(
            description="Requests to OpenAI's endpoints; reading runs and their steps, and"
            " cancelling a run, are free. null: no limit.",
            examples=[600],
        ),
    ] = None
    tokens_per_minute: Annotated[
        PositiveInt | None,
        Meta(
            description="Tokens of model calls, prompts and answers; null: no limit.",
            examples=[100000],
        ),
    ] = None
    concurrent_runs: Annotated[
        PositiveInt | None,
        Meta(
            description="Runs that have not ended, those that wait for tool outputs included; null:"
            " no limit.",
            examples=[20],
        ),
    ] = None


class RateLimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much callers may ask for."""

    developer: Annotated[RateSettings, Meta(description="Per developer token.")] = RateSettings()
    customer: Annotated[
        RateSettings,
        Meta(
            description="Per customer: what its client tokens ask for, and what names it as `user`."
            " A limit set over the API wins."
        ),
    ] = RateSettings()
    client_token: Annotated[RateSettings, Meta(description="Per client token.")] = RateSettings()


class WalletSettings(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename={"low_balance_nano_usd": "low_balance_usd", "markup_ppm": "markup_percent"},
):
    """Prepaid credit for the whole proxy."""

    enabled: Annotated[bool, Meta(description="Refuse calls when the wallet is empty.")] = False
    low_balance_nano_usd: Annotated[NanoUSD, Meta(description="Below this wallet.low is sent.")] = (
        10 * NANO_PER_USD
    )
    markup_ppm: Annotated[
        int,
        Meta(
            ge=0, le=10**7, description="Added to the providers' cost.", extra={"unit": "percent"}
        ),
    ] = 0


def _timezone_remedy(name: str) -> str:
    known = available_timezones()
    if not known:
        return "write UTC, or install the time zone database (package tzdata)"
    near = get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else "write a name such as Europe/Zurich"
