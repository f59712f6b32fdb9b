"""The customer object."""

from typing import Literal

import msgspec

BudgetSource = Literal["api", "config", "default"]


class CustomerRateLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What this customer alone is limited to; null: what the configuration says of all."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class CustomerPeriod(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's month; amounts are USD, `remaining_usd` is null without a cap."""

    period: str
    starts_at: int
    ends_at: int
    spent_usd: float
    reserved_usd: float
    remaining_usd: float | None
    requests: int
    input_tokens: int
    output_tokens: int


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """`customer`, field for field and in the order of the wire."""

    id: str
    object: Literal["customer"] = "customer"
    created_at: int
    name: str | None
    metadata: dict[str, str]
    monthly_budget_usd: float | None
    budget_source: BudgetSource | None
    rate_limits: CustomerRateLimits
    current_period: CustomerPeriod
