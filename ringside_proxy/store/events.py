"""The outbox: what happened, in the transaction in which it happened."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.outgoing import EventType
from ringside_proxy.store.tx import Row, Tx

INSERT: Final = (
    "INSERT INTO events (id, type, created_ms, data, once_key) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (once_key) DO NOTHING"
)
COLUMNS: Final = "seq, id, type, created_ms, data"
AFTER: Final = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - fixed fragments

_encode = msgspec.json.Encoder().encode


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An event's row; `data` is JSON."""

    seq: int
    id: str
    type: EventType
    created_ms: int
    data: bytes


def emit(tx: Tx, event_type: EventType, data: Any, *, once_key: str | None = None) -> bool:
    """Note that something happened; whether it was noted.

    What has the `once_key` of an earlier event is not.
    """
    return tx.run(INSERT, tx.new_id("evt"), event_type, tx.now_ms, _encode(data), once_key) == 1


def after(tx: Tx, seq: int, limit: int) -> list[EventRecord]:
    """The events that follow, oldest first."""
    return [_record(row) for row in tx.all(AFTER, seq, limit)]


def _record(row: Row) -> EventRecord:
    return EventRecord(seq=row[0], id=row[1], type=row[2], created_ms=row[3], data=row[4])
