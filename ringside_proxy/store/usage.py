"""What was consumed: a row for each attempt at a provider, and sums by day."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.store.tx import Tx

INSERT: Final = (
    "INSERT INTO usage_records (id, created_ms, day, customer, token, kind, model, "
    "requested_model, provider, thread_id, run_id, step_id, request_id, attempt, input_tokens, "
    "cached_input_tokens, cache_write_input_tokens, output_tokens, reasoning_tokens, estimated, "
    "provider_cost_nano, markup_nano, price_source, service_tier, raw) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
ADD_TO_DAY: Final = (
    "INSERT INTO usage_days (day, customer, model, kind, provider, requests, estimated_requests, "
    "input_tokens, cached_input_tokens, cache_write_input_tokens, output_tokens, "
    "reasoning_tokens, provider_cost_nano, markup_nano) "
    "VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (day, customer, model, kind) DO UPDATE SET "
    "requests = requests + 1, "
    "estimated_requests = estimated_requests + excluded.estimated_requests, "
    "input_tokens = input_tokens + excluded.input_tokens, "
    "cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens, "
    "cache_write_input_tokens = cache_write_input_tokens + excluded.cache_write_input_tokens, "
    "output_tokens = output_tokens + excluded.output_tokens, "
    "reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, "
    "provider_cost_nano = provider_cost_nano + excluded.provider_cost_nano, "
    "markup_nano = markup_nano + excluded.markup_nano"
)
COSTS_OF_RUN: Final = "SELECT provider_cost_nano, markup_nano FROM usage_records WHERE run_id = ?"

NOBODY: Final = ""
"""Whom sums are under that belong to no customer."""

RAW_BYTES_MAX: Final = 8 * 1024
"""Of the provider's own counts; the longest that is documented takes under 1 KiB."""

_encode = msgspec.json.Encoder().encode


class Consumed(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt consumed, and what it cost; without a price the costs are None.

    `raw`: the counts as the provider gave them. Beyond RAW_BYTES_MAX they are not kept: the books
    must not grow by what a provider makes up.
    """

    usage: TokenUsage
    provider_cost_nano: int | None
    markup_nano: int | None
    price_source: str | None
    service_tier: str | None = None
    raw: Any = None

    @property
    def cost_nano(self) -> int:
        """What is charged; 0 if nobody knows the price."""
        return (self.provider_cost_nano or 0) + (self.markup_nano or 0)


def record(
    tx: Tx, usage_id: str, day: str, call: Call, consumed: Consumed, step_id: str | None
) -> None:
    """Book an attempt. Raises sqlite3.IntegrityError if it is booked already."""
    tx.announce("usage")
    used = consumed.usage
    tokens = (
        used.input_tokens,
        used.cached_input_tokens,
        used.cache_write_input_tokens,
        used.output_tokens,
        used.reasoning_tokens,
    )
    tx.run(
        INSERT,
        usage_id,
        tx.now_ms,
        day,
        call.customer,
        call.token,
        call.kind,
        call.model,
        call.requested_model,
        call.provider,
        call.thread_id,
        call.run_id,
        step_id,
        call.request_id,
        call.attempt,
        *tokens,
        used.is_estimated,
        consumed.provider_cost_nano,
        consumed.markup_nano,
        consumed.price_source,
        consumed.service_tier,
        _raw(consumed),
    )
    tx.run(
        ADD_TO_DAY,
        day,
        call.customer or NOBODY,
        call.model,
        call.kind,
        call.provider,
        used.is_estimated,
        *tokens,
        consumed.provider_cost_nano or 0,
        consumed.markup_nano or 0,
    )


def _raw(consumed: Consumed) -> bytes | None:
    written = None if consumed.raw is None else _encode(consumed.raw)
    return None if written is None or len(written) > RAW_BYTES_MAX else written


def cost_of_run(tx: Tx, run_id: str) -> int | None:
    """What a run has cost so far; None if the price of any of its calls is unknown."""
    costs = tx.all(COSTS_OF_RUN, run_id)
    if any(cost is None for cost, _ in costs):
        return None
    total: int = sum(cost + (added or 0) for cost, added in costs)
    return total
