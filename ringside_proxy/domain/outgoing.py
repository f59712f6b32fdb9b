"""What is told to others, and the shape of what they are told.

Thin on purpose: ids, states, usage and cost; no prompt and no answer.
"""

from typing import Any, Literal

import msgspec

EventType = Literal[
    "run.completed",
    "run.failed",
    "run.requires_action",
    "run.cancelled",
    "run.incomplete",
    "customer.created",
    "customer.budget_warning",
    "customer.budget_exceeded",
    "wallet.low",
    "wallet.exhausted",
    "webhook.ping",
]


class BudgetEventData(msgspec.Struct, frozen=True, kw_only=True):
    """`customer.budget_warning` and `customer.budget_exceeded`; amounts are USD."""

    customer: str
    period: str
    monthly_budget_usd: float
    spent_usd: float
    reserved_usd: float
    threshold: float | None = None


class RunEventData(msgspec.Struct, frozen=True, kw_only=True):
    """`run.…`: how a run stands. `reason` says why it is not completed."""

    run_id: str
    thread_id: str
    assistant_id: str
    customer: str | None
    status: str
    reason: str | None
    model: str
    usage: dict[str, Any] | None
    cost_usd: float | None
    metadata: dict[str, str]
