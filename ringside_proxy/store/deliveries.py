"""Deliveries: a row for each event and receiver, made in the transaction that made the event.

So an event is announced if and only if what it tells of is stored, to exactly those receivers that
were enabled and subscribed at that moment, and to none of them twice: no step in between can lose
a receiver or meet one a second time. `move` is the only function that writes a state; the table in
`domain.deliveries` says where to.
"""

from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.deliveries import (
    ENDED,
    WINDOW_MS,
    DeliveryEvent,
    DeliveryState,
    next_state,
)
from ringside_proxy.domain.durations import HOUR_MS
from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.outgoing import EventType
from ringside_proxy.store import ledger_clock, webhooks
from ringside_proxy.store.paging import PagedTable
from ringside_proxy.store.tx import Row, Tx
from ringside_proxy.store.webhooks import WebhookRecord

DELIVERED_KEPT_MS: Final = 7 * 24 * HOUR_MS
DEAD_KEPT_MS: Final = 30 * 24 * HOUR_MS
ATTEMPTS_KEPT: Final = 50
"""Of a delivery that was asked for again and again the latest are shown."""

INSERT: Final = (
    "INSERT INTO deliveries (id, event, webhook, state, begun_ms, next_ms, falls_back_to, "
    "created_ms) VALUES (?, ?, ?, 'pending', ?, ?, ?, ?)"
)
COLUMNS: Final = (
    "seq, id, event, webhook, state, attempt, begun_ms, next_ms, lease, lease_until_ms, "
    "falls_back_to, ended_ms, created_ms"
)
GET: Final = f"SELECT {COLUMNS} FROM deliveries WHERE seq = ?"  # noqa: S608 - fixed fragments
BY_ID: Final = f"SELECT {COLUMNS} FROM deliveries WHERE id = ?"  # noqa: S608 - fixed fragments
OF_WEBHOOK: Final = f"SELECT {COLUMNS} FROM deliveries WHERE id = ? AND webhook = ?"  # noqa: S608 - fixed fragments
OF_EVENT: Final = f"SELECT {COLUMNS} FROM deliveries WHERE event = ? AND webhook = ?"  # noqa: S608 - fixed fragments
MOVE: Final = (
    "UPDATE deliveries SET state = ?, attempt = ?, begun_ms = ?, next_ms = ?, lease = ?, "
    "lease_until_ms = ?, falls_back_to = ?, ended_ms = ? WHERE seq = ?"
)
GRANT_ONE_MORE: Final = (
    "UPDATE deliveries SET falls_back_to = 'dead' WHERE seq IN (SELECT seq FROM deliveries "
    "WHERE state IN ('pending', 'in_flight') AND begun_ms <= ? AND falls_back_to IS NULL LIMIT 500)"
)
OF_DISABLED: Final = (
    f"SELECT {COLUMNS} FROM deliveries WHERE state = 'pending' "  # noqa: S608 - fixed fragments
    "AND webhook IN (SELECT seq FROM webhooks WHERE is_enabled = 0) LIMIT 500"
)
IN_RANGE: Final = (
    "SELECT created_ms, seq, type FROM events WHERE (created_ms, seq) > (?, ?) "
    "AND created_ms <= ? AND type <> 'webhook.ping' ORDER BY created_ms, seq LIMIT 500"
)
EVENT: Final = "SELECT id, type FROM events WHERE seq = ?"

NOTE_ATTEMPT: Final = (
    "INSERT INTO delivery_attempts (delivery, number, at_ms, status, error, duration_ms) VALUES "
    "(?, (SELECT coalesce(max(number), 0) + 1 FROM delivery_attempts WHERE delivery = ?), "
    "?, ?, ?, ?) RETURNING number"
)
ATTEMPTS: Final = (
    "SELECT at_ms, status, error, duration_ms FROM delivery_attempts WHERE delivery = ? "
    "ORDER BY number"
)
CUT_ATTEMPTS: Final = "DELETE FROM delivery_attempts WHERE delivery = ? AND number <= ?"

WAITING: Final = (
    "SELECT count(*), min(begun_ms) FROM deliveries WHERE state IN ('pending', 'in_flight')"
)
FORGET: Final = (
    "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries "
    "WHERE state = ? AND ended_ms < ? LIMIT 500)"
)

LISTED: Final = PagedTable(
    "delivery",
    COLUMNS,
    "deliveries",
    "seq",
    "SELECT seq, '' FROM deliveries WHERE id = ? AND webhook = ?",
)
OF_ANY_STATE: Final = "webhook = ?"
OF_STATE: Final = "webhook = ? AND state = ?"

S, E = DeliveryState, DeliveryEvent


class DeliveryRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery's row; `event` and `webhook` are the `seq` of theirs."""

    seq: int
    id: str
    event: int
    webhook: int
    state: DeliveryState
    attempt: int
    begun_ms: int
    next_ms: int
    lease: str | None = None
    lease_until_ms: int | None = None
    falls_back_to: DeliveryState | None = None
    ended_ms: int | None = None
    created_ms: int


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a try; `at` is in Unix seconds."""

    at: int
    status: int | None
    error: str | None
    duration_ms: int


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook.delivery` on the wire."""

    id: str
    object: Literal["webhook.delivery"] = "webhook.delivery"
    event_id: str
    event_type: str
    state: DeliveryState
    attempts: list[Attempt]
    next_attempt_at: int | None
    created_at: int


class Waiting(msgspec.Struct, frozen=True):
    """How many deliveries are not over, and since when (ms) the oldest of them is not."""

    count: int = 0
    oldest_ms: int | None = None


def fan_out(tx: Tx, event_seq: int, event_type: EventType) -> None:
    """Queue an event, in the transaction that makes it, for everybody who wants to hear of it."""
    for webhook in webhooks.subscribed(tx, event_type):
        enqueue(tx, event_seq, webhook)


def enqueue(
    tx: Tx, event_seq: int, webhook: int, falls_back_to: DeliveryState | None = None
) -> int:
    """Queue an event for one receiver; gives the `seq`. With `falls_back_to` it is tried once."""
    tx.announce("deliveries")
    return tx.insert(
        INSERT,
        tx.new_id("del"),
        event_seq,
        webhook,
        tx.now_ms,
        tx.now_ms,
        falls_back_to,
        tx.now_ms,
    )


def get(tx: Tx, webhook: WebhookRecord, delivery_id: str) -> DeliveryRecord:
    """A delivery to the receiver. Raises NotFoundError."""
    row = tx.one(OF_WEBHOOK, delivery_id, webhook.seq)
    if row is None:
        raise NotFoundError.of("delivery", delivery_id)
    return record_of(row)


def by_id(tx: Tx, delivery_id: str) -> DeliveryRecord:
    """A delivery to whomever. Raises NotFoundError."""
    row = tx.one(BY_ID, delivery_id)
    if row is None:
        raise NotFoundError.of("delivery", delivery_id)
    return record_of(row)


def by_seq(tx: Tx, seq: int) -> DeliveryRecord | None:
    """A delivery; None if it is gone."""
    row = tx.one(GET, seq)
    return None if row is None else record_of(row)


def page(
    tx: Tx, webhook: WebhookRecord, query: ListQuery, state: DeliveryState | None
) -> Page[Delivery]:
    """A page of what was or will be sent to the receiver."""
    condition = OF_ANY_STATE if state is None else OF_STATE
    params: tuple[object, ...] = (webhook.seq,) if state is None else (webhook.seq, state)
    rows, has_more = LISTED.page(tx, query, condition, params, webhook.seq)
    return page_of([wire_object(tx, record_of(row)) for row in rows], has_more)


def wire_object(tx: Tx, delivery: DeliveryRecord) -> Delivery:
    """The delivery as it is shown, with what came of its tries."""
    event_id, event_type = tx.one(EVENT, delivery.event) or ("", "")
    is_pending = delivery.state is S.PENDING
    return Delivery(
        id=delivery.id,
        event_id=event_id,
        event_type=event_type,
        state=delivery.state,
        attempts=[
            Attempt(at=row[0] // 1000, status=row[1], error=row[2], duration_ms=row[3])
            for row in tx.all(ATTEMPTS, delivery.seq)
        ],
        next_attempt_at=delivery.next_ms // 1000 if is_pending else None,
        created_at=delivery.created_ms // 1000,
    )


def move(tx: Tx, delivery: DeliveryRecord, event: DeliveryEvent, **values: Any) -> DeliveryRecord:
    """The delivery after `event`, with other values. Raises ValueError for what the table refuses.

    A lease ends with the state that it was for.
    """
    state = next_state(delivery.state, event)
    moved = msgspec.structs.replace(
        delivery,
        **{"lease": None, "lease_until_ms": None} | values,
        state=state,
        ended_ms=tx.now_ms if state in ENDED else None,
    )
    tx.run(
        MOVE,
        moved.state,
        moved.attempt,
        moved.begun_ms,
        moved.next_ms,
        moved.lease,
        moved.lease_until_ms,
        moved.falls_back_to,
        moved.ended_ms,
        moved.seq,
    )
    return moved


def note_attempt(
    tx: Tx, delivery: int, at_ms: int, status: int | None, error: str | None, duration_ms: int
) -> None:
    """Remember what came of a try."""
    row = tx.one(NOTE_ATTEMPT, delivery, delivery, at_ms, status, error, duration_ms)
    if row is not None and row[0] > ATTEMPTS_KEPT:
        tx.run(CUT_ATTEMPTS, delivery, row[0] - ATTEMPTS_KEPT)


def redeliver(tx: Tx, delivery: DeliveryRecord) -> DeliveryRecord:
    """The delivery, to be tried now; one that is over is tried once, and falls back if that fails.

    One that is being tried right now is left as it is.
    """
    if delivery.state is S.IN_FLIGHT:
        return delivery
    tx.announce("deliveries")
    is_over = delivery.state in ENDED
    return move(
        tx,
        delivery,
        E.ASK_AGAIN,
        next_ms=tx.now_ms,
        falls_back_to=delivery.state if is_over else delivery.falls_back_to,
    )


def replay(
    tx: Tx, webhook: WebhookRecord, after: tuple[int, int], to_ms: int
) -> tuple[int, tuple[int, int] | None]:
    """Put some events on a new schedule: those that follow `after` (a time in ms and a `seq`).

    Gives how many were queued, and where to go on; None: that was all. What is on its way already
    is left to it.
    """
    rows = tx.all(IN_RANGE, *after, to_ms)
    queued = sum(_again(tx, webhook, seq) for _, seq, kind in rows if _wants(webhook, kind))
    return queued, (rows[-1][0], rows[-1][1]) if rows else None


def grant_one_more(tx: Tx) -> bool:
    """Have some of what is past its window tried once more; whether there was any.

    For the start: it was we who were away, unless it is the clock that is wrong.
    """
    return ledger_clock.is_believed(tx) and bool(tx.run(GRANT_ONE_MORE, tx.now_ms - WINDOW_MS))


def abandon(tx: Tx) -> int:
    """Give up some of what waits for receivers that were disabled; how much, 0 if nothing did.

    It can be replayed once the receiver is enabled again.
    """
    rows = tx.all(OF_DISABLED)
    for row in rows:
        move(tx, record_of(row), E.ABANDON)
    return len(rows)


def forget(tx: Tx) -> bool:
    """Remove some of what was delivered a week ago, or died a month ago; whether there was any."""
    delivered = tx.run(FORGET, S.DELIVERED, tx.now_ms - DELIVERED_KEPT_MS)
    return bool(delivered + tx.run(FORGET, S.DEAD, tx.now_ms - DEAD_KEPT_MS))


def waiting(tx: Tx) -> Waiting:
    """What is not over yet."""
    return Waiting(*(tx.one(WAITING) or ()))


def record_of(row: Row) -> DeliveryRecord:
    """The delivery of a row of COLUMNS."""
    return DeliveryRecord(
        seq=row[0],
        id=row[1],
        event=row[2],
        webhook=row[3],
        state=DeliveryState(row[4]),
        attempt=row[5],
        begun_ms=row[6],
        next_ms=row[7],
        lease=row[8],
        lease_until_ms=row[9],
        falls_back_to=None if row[10] is None else DeliveryState(row[10]),
        ended_ms=row[11],
        created_ms=row[12],
    )


def _wants(webhook: WebhookRecord, event_type: str) -> bool:
    return event_type in webhook.events or webhooks.EVERYTHING in webhook.events


def _again(tx: Tx, webhook: WebhookRecord, event_seq: int) -> bool:
    """Whether the event was queued for the receiver; not if it is on its way already."""
    row = tx.one(OF_EVENT, event_seq, webhook.seq)
    if row is None:
        enqueue(tx, event_seq, webhook.seq)
        return True
    delivery = record_of(row)
    if delivery.state not in ENDED:
        return False
    tx.announce("deliveries")
    move(
        tx,
        delivery,
        E.ASK_AGAIN,
        attempt=0,
        begun_ms=tx.now_ms,
        next_ms=tx.now_ms,
        falls_back_to=None,
    )
    return True
