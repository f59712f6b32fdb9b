"""Claims: which deliveries are tried now, and what came of it.

A claim is a lease. It is taken in the transaction that chooses, and whoever brings a result has to
hold it still: of a delivery that was released meanwhile, the late result changes nothing.

Each receiver is asked for by itself, for as much as it may have at work. So the backlog of one that
hangs is never in the way of another's, and the oldest of what is due goes first.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from ringside_proxy.domain.deliveries import (
    ATTEMPTS_AT_ONCE_MAX,
    OF_FAILING_RECEIVERS_MAX,
    WINDOW_MS,
    DeliveryEvent,
    DeliveryState,
    Reply,
    attempts_at_once,
    is_failing,
    retry_at_ms,
)
from ringside_proxy.domain.durations import MINUTE_MS
from ringside_proxy.store import deliveries, events, ledger_clock, webhooks
from ringside_proxy.store.deliveries import DeliveryRecord, record_of
from ringside_proxy.store.events import EventRecord
from ringside_proxy.store.tx import NEVER_MS, Tx
from ringside_proxy.store.webhooks import DisabledReason

LEASE_MS: Final = MINUTE_MS
"""Four times as long as an attempt may take."""

RECEIVERS: Final = "SELECT seq, consecutive_failures FROM webhooks WHERE is_enabled = 1"
DUE: Final = (
    "SELECT next_ms, seq FROM deliveries WHERE webhook = ? AND state = 'pending' "
    "ORDER BY next_ms, seq LIMIT ?"
)
TARGET: Final = (
    "SELECT id, url, secret, old_secret, old_secret_until_ms FROM webhooks WHERE seq = ?"
)
IN_FLIGHT: Final = (
    f"SELECT {deliveries.COLUMNS} FROM deliveries WHERE state = 'in_flight' AND lease_until_ms < ?"  # noqa: S608 - fixed fragments
)

S, E = DeliveryState, DeliveryEvent


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a delivery goes. `secret` is sealed; None: the configuration has it."""

    webhook: int
    webhook_id: str
    url: str
    secret: bytes | None
    old_secret: bytes | None


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that the holder of its lease tries now."""

    delivery: DeliveryRecord
    event: EventRecord
    target: Target

    @property
    def webhook(self) -> int:
        """The receiver's `seq`."""
        return self.target.webhook


class Due(msgspec.Struct, frozen=True):
    """What was claimed, and when (ms) there may be more; None: only when something ends.

    `given_up`: of how many the time was over before they could be tried again.
    """

    claims: list[Claim]
    next_ms: int | None
    given_up: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What came of a delivery: its state now, and why its receiver was disabled, if it was."""

    state: DeliveryState
    disabled_reason: DisabledReason | None = None


def claim(tx: Tx, busy: Mapping[int, int], lease: str) -> Due:
    """Take what is due: of each receiver as much as it may have at work beside what is `busy`.

    What nobody brought an end to while its lease ran is due again. While the clock is not believed
    nothing is taken: windows would pass that have hardly begun, and no receiver would accept a
    signature of that time.
    """
    if not ledger_clock.is_believed(tx):
        return Due([], None)
    release(tx, every=False)
    receivers = tx.all(RECEIVERS)
    failing = {seq for seq, failures in receivers if is_failing(failures)}
    candidates: list[tuple[int, int, int]] = []
    later: list[int] = []
    for seq, failures in receivers:
        free = attempts_at_once(failures) - busy.get(seq, 0)
        for next_ms, delivery in tx.all(DUE, seq, free) if free > 0 else ():
            if next_ms > tx.now_ms:
                later.append(next_ms)
                break
            candidates.append((next_ms, delivery, seq))
    room = ATTEMPTS_AT_ONCE_MAX - sum(busy.values())
    room_of_failing = OF_FAILING_RECEIVERS_MAX - sum(busy.get(seq, 0) for seq in failing)
    claims: list[Claim] = []
    given_up = 0
    for _, delivery, seq in sorted(candidates):
        if len(claims) >= room:
            break
        if seq in failing and room_of_failing <= 0:
            continue
        taken = _take(tx, delivery, lease)
        if taken is None:
            given_up += 1
            later.append(tx.now_ms)  # there may be more behind it
            continue
        room_of_failing -= seq in failing
        claims.append(taken)
    return Due(claims, min(later, default=None), given_up)


def finish(tx: Tx, claimed: Claim, reply: Reply, jitter: float) -> Outcome | None:
    """Note what came of a claimed delivery; None if its lease was lost meanwhile."""
    delivery = deliveries.by_seq(tx, claimed.delivery.seq)
    if delivery is None or delivery.lease != claimed.delivery.lease:
        return None
    at_ms = tx.now_ms - reply.duration_ms
    deliveries.note_attempt(tx, delivery.seq, at_ms, reply.status, reply.error, reply.duration_ms)
    if reply.is_success:
        webhooks.note_success(tx, claimed.webhook)
        return Outcome(deliveries.move(tx, delivery, E.SUCCEED, falls_back_to=None).state)
    reason = webhooks.note_failure(tx, claimed.webhook, is_gone=reply.is_gone)
    return Outcome(_after_failure(tx, delivery, reply, jitter).state, reason)


def release(tx: Tx, *, every: bool) -> int:
    """Give back deliveries whose attempt nobody will bring an end to; how many there were.

    At start that is `every` one that is in flight, later those whose lease ran out. The attempt
    does not count: the receiver was not at fault.
    """
    rows = tx.all(IN_FLIGHT, NEVER_MS if every else tx.now_ms)
    for row in rows:
        _give_back(tx, record_of(row))
    return len(rows)


def _give_back(tx: Tx, delivery: DeliveryRecord) -> None:
    deliveries.move(tx, delivery, E.RELEASE, attempt=delivery.attempt - 1, next_ms=tx.now_ms)


def _take(tx: Tx, seq: int, lease: str) -> Claim | None:
    """The delivery, claimed; None if its time was over, so that it is dead now.

    Whatever keeps a receiver from its deliveries, each of them is tried at least once.
    """
    found = deliveries.by_seq(tx, seq)
    if found is None:  # pragma: no cover - it was found in this transaction
        raise LookupError(seq)
    is_late = tx.now_ms > found.begun_ms + WINDOW_MS
    if is_late and found.attempt and found.falls_back_to is None:
        deliveries.move(tx, found, E.ABANDON)
        return None
    delivery = deliveries.move(
        tx,
        found,
        E.CLAIM,
        attempt=found.attempt + 1,
        lease=lease,
        lease_until_ms=tx.now_ms + LEASE_MS,
    )
    return Claim(
        delivery=delivery,
        event=events.by_seq(tx, delivery.event),
        target=_target(tx, delivery.webhook),
    )


def _target(tx: Tx, seq: int) -> Target:
    row = tx.one(TARGET, seq)
    if row is None:  # pragma: no cover - a delivery refers to it
        raise LookupError(seq)
    is_live = row[4] is not None and row[4] > tx.now_ms
    return Target(
        webhook=seq,
        webhook_id=row[0],
        url=row[1],
        secret=row[2],
        old_secret=row[3] if is_live else None,
    )


def _after_failure(tx: Tx, delivery: DeliveryRecord, reply: Reply, jitter: float) -> DeliveryRecord:
    if delivery.falls_back_to is S.DELIVERED:
        return deliveries.move(tx, delivery, E.GO_BACK, falls_back_to=None)
    if delivery.falls_back_to is S.DEAD or reply.is_gone:
        return deliveries.move(tx, delivery, E.GIVE_UP, falls_back_to=None)
    due_ms = retry_at_ms(
        reply,
        attempts=delivery.attempt,
        begun_ms=delivery.begun_ms,
        now_ms=tx.now_ms,
        jitter=jitter,
    )
    if due_ms is None:
        return deliveries.move(tx, delivery, E.GIVE_UP)
    return deliveries.move(tx, delivery, E.RETRY, next_ms=due_ms)
