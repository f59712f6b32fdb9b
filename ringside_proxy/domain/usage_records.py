"""The usage.record object: one attempt at a provider that consumed tokens."""

from typing import Literal

import msgspec

from ringside_proxy.domain.ledger import CallKind


class UsageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`usage.record`, field for field and in the order of the wire.

    `sequence` has no gaps. Amounts are USD, null if nobody knew the price.
    """

    id: str
    object: Literal["usage.record"] = "usage.record"
    sequence: int
    created_at: int
    customer: str | None
    token: str
    kind: CallKind
    model: str
    requested_model: str
    provider: str
    thread_id: str | None
    run_id: str | None
    step_id: str | None
    request_id: str | None
    input_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float | None
    provider_cost_usd: float | None
    markup_usd: float | None
    estimated: bool
    attempt: int
