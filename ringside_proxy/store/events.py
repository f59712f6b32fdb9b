"""The outbox: what happened, in the transaction in which it happened.

So are the deliveries of it: see `deliveries`.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.durations import HOUR_MS
from ringside_proxy.domain.outgoing import EventType, event_data
from ringside_proxy.store import deliveries
from ringside_proxy.store.tx import Row, Tx

KEPT_MS: Final = 31 * 24 * HOUR_MS
"""So long an event can be replayed; as long as its deliveries are there, it is too."""
SAID_ONCE_KEPT_MS: Final = 100 * 24 * HOUR_MS
"""What is said once in a month is remembered well beyond its end."""

INSERT: Final = (
    "INSERT INTO events (id, type, created_ms, data, once_key) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (once_key) DO NOTHING RETURNING seq"
)
COLUMNS: Final = "seq, id, type, created_ms, data"
GET: Final = f"SELECT {COLUMNS} FROM events WHERE seq = ?"  # noqa: S608 - fixed fragments
FORGET: Final = (
    "DELETE FROM events WHERE seq IN (SELECT seq FROM events e WHERE e.created_ms < ? "
    "AND (e.once_key IS NULL OR e.created_ms < ?) "
    "AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event = e.seq) LIMIT 500)"
)
AFTER: Final = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - fixed fragments


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An event's row; `data` is JSON."""

    seq: int
    id: str
    type: EventType
    created_ms: int
    data: bytes


def emit(tx: Tx, event_type: EventType, data: Any, *, once_key: str | None = None) -> bool:
    """Note that something happened, and queue it for those who want to hear; whether it was noted.

    What has the `once_key` of an earlier event is not.
    """
    seq = note(tx, event_type, data, once_key=once_key)
    if seq is not None:
        deliveries.fan_out(tx, seq, event_type)
    return seq is not None


def note(tx: Tx, event_type: EventType, data: Any, *, once_key: str | None = None) -> int | None:
    """Note an event without telling anybody; its `seq`, or None if it was noted before."""
    row = tx.one(INSERT, tx.new_id("evt"), event_type, tx.now_ms, event_data(data), once_key)
    return None if row is None else row[0]


def by_seq(tx: Tx, seq: int) -> EventRecord:
    """An event that is known to be there."""
    row = tx.one(GET, seq)
    if row is None:  # pragma: no cover - its deliveries keep it
        raise LookupError(seq)
    return _record(row)


def after(tx: Tx, seq: int, limit: int) -> list[EventRecord]:
    """The events that follow, oldest first."""
    return [_record(row) for row in tx.all(AFTER, seq, limit)]


def forget(tx: Tx) -> bool:
    """Remove some events that are old and delivered; whether there were any."""
    now_ms = tx.now_ms
    return bool(tx.run(FORGET, now_ms - KEPT_MS, now_ms - SAID_ONCE_KEPT_MS))


def _record(row: Row) -> EventRecord:
    return EventRecord(seq=row[0], id=row[1], type=row[2], created_ms=row[3], data=row[4])
