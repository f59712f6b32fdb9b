"""What is told to others, and the shape of what they are told.

Thin on purpose: ids, states, usage and cost; no prompt and no answer.
"""

from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

DATA_BYTES_MAX: Final = 19_000
"""With its envelope an event stays below 20 kB: receivers bound what they read."""

Happening = Literal[
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
]
SubscribedType = Literal["*", Happening]
"""What a receiver may ask for; `*` is everything."""
EventType = Literal[Happening, "webhook.ping"]


class BudgetEventData(msgspec.Struct, frozen=True, kw_only=True):
    """`customer.budget_warning` and `customer.budget_exceeded`; amounts are USD."""

    customer: str
    period: str
    monthly_budget_usd: float
    spent_usd: float
    reserved_usd: float
    threshold: float | None = None


class RunEventData(msgspec.Struct, frozen=True, kw_only=True):
    """`run.…`: how a run stands. `reason` says why it is not completed.

    Of `metadata` it has what there is room for: see `event_data`.
    """

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


class PingData(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook.ping`: somebody tests the receiver."""

    webhook_id: str


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope of every event."""

    id: str
    object: Literal["event"] = "event"
    type: str
    created: int
    timestamp: str
    sequence: int
    data: msgspec.Raw


_encode = msgspec.json.Encoder().encode


def event_data(data: Any) -> bytes:
    """What an event tells, as it is stored: at most DATA_BYTES_MAX.

    A run's metadata may be longer than that. Its pairs are taken in their order, as long as each
    has room; the run itself has all of them.
    """
    encoded = _encode(data)
    if len(encoded) <= DATA_BYTES_MAX or not isinstance(data, RunEventData):
        return encoded
    kept: dict[str, str] = {}
    room = DATA_BYTES_MAX - len(_encode(msgspec.structs.replace(data, metadata=kept)))
    for key, value in data.metadata.items():
        size = len(_encode({key: value}))
        if size <= room:
            kept[key] = value
            room -= size
    return _encode(msgspec.structs.replace(data, metadata=kept))


def event_body(
    event_id: str, event_type: str, created_ms: int, sequence: int, data: bytes
) -> bytes:
    """What is sent of an event: the same bytes for the same row, however often it is tried."""
    moment = datetime.fromtimestamp(created_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return _encode(
        _Event(
            id=event_id,
            type=event_type,
            created=created_ms // 1000,
            timestamp=moment.replace("+00:00", "Z"),
            sequence=sequence,
            data=msgspec.Raw(data),
        )
    )
