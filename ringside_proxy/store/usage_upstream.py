"""How far usage was reported to the upstream, and the batch that is on its way.

A batch is stored as it is first sent, in the transaction that chose its records: after a crash, and
after an upgrade, it is the same bytes under the same id. What it acknowledges is a sequence, so
nothing is skipped and nothing is sent in another order.
"""

from typing import Final, Literal

import msgspec

from ringside_proxy.domain.usage_records import UsageRecord
from ringside_proxy.store import usage_reports
from ringside_proxy.store.tx import Tx

RECORDS_MAX: Final = 500
"""In one batch."""

ENSURE: Final = "INSERT INTO usage_upstream (id, source) VALUES (1, ?) ON CONFLICT (id) DO NOTHING"
GET: Final = (
    "SELECT source, acknowledged, batch_id, batch_to, batch_body FROM usage_upstream WHERE id = 1"
)
OPEN: Final = "UPDATE usage_upstream SET batch_id = ?, batch_to = ?, batch_body = ? WHERE id = 1"
ACKNOWLEDGE: Final = (
    "UPDATE usage_upstream SET acknowledged = batch_to, batch_id = NULL, batch_to = NULL, "
    "batch_body = NULL WHERE id = 1 AND batch_id = ?"
)
OLDEST: Final = "SELECT created_ms FROM usage_records WHERE sequence > ? ORDER BY sequence LIMIT 1"
NEWEST: Final = "SELECT max(sequence) FROM usage_records"


class Batch(msgspec.Struct, frozen=True):
    """Records on their way: what is sent, and under which id."""

    id: str
    body: bytes


class Unreported(msgspec.Struct, frozen=True):
    """How many records the upstream has not acknowledged, and since when (ms) the oldest is there."""

    count: int = 0
    oldest_ms: int | None = None


class _UsageBatch(msgspec.Struct, frozen=True, kw_only=True):
    """`usage.batch` on the wire."""

    object: Literal["usage.batch"] = "usage.batch"
    id: str
    source: str
    sequence_from: int
    sequence_to: int
    data: list[UsageRecord]


_encode = msgspec.json.Encoder().encode


def next_batch(tx: Tx) -> Batch | None:
    """The batch to send: the one that is not acknowledged yet, else a new one; None: all is told."""
    tx.run(ENSURE, tx.new_id("inst"))
    source, acknowledged, batch_id, _, body = tx.one(GET) or ("", 0, None, None, None)
    if batch_id is not None:
        return Batch(batch_id, body)
    records = usage_reports.records_after(tx, acknowledged, RECORDS_MAX)
    if not records:
        return None
    batch = _UsageBatch(
        id=tx.new_id("batch"),
        source=source,
        sequence_from=records[0].sequence,
        sequence_to=records[-1].sequence,
        data=records,
    )
    body = _encode(batch)
    tx.run(OPEN, batch.id, batch.sequence_to, body)
    return Batch(batch.id, body)


def acknowledge(tx: Tx, batch_id: str) -> None:
    """The upstream has the batch."""
    tx.run(ACKNOWLEDGE, batch_id)


def unreported(tx: Tx) -> Unreported:
    """What is still to be acknowledged, the batch on its way included."""
    row = tx.one(GET)
    acknowledged = 0 if row is None else row[1]
    oldest = tx.one(OLDEST, acknowledged)
    newest = tx.one(NEWEST)
    if oldest is None or newest is None:
        return Unreported()
    return Unreported(newest[0] - acknowledged, oldest[0])
