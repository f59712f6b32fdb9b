"""Receivers of events: what they want to hear, and how they are doing.

Their secrets are kept as the vault sealed them, each bound to its place.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.deliveries import is_given_up
from ringside_proxy.domain.errors import InvalidRequestError, NotFoundError
from ringside_proxy.domain.webhooks import WEBHOOKS_MAX
from ringside_proxy.store.tx import Row, Tx

EVERYTHING: Final = "*"

COLUMNS: Final = (
    "seq, id, source, url, events, description, metadata, secret, secret_hint, old_secret, "
    "old_secret_until_ms, is_enabled, disabled_reason, last_success_ms, last_failure_ms, "
    "failing_since_ms, consecutive_failures, deleted_ms, created_ms"
)
INSERT: Final = (
    "INSERT INTO webhooks (id, source, url, events, description, metadata, secret, secret_hint, "
    "created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
EVERY: Final = f"SELECT {COLUMNS} FROM webhooks ORDER BY seq DESC"  # noqa: S608 - fixed fragments
GET: Final = f"SELECT {COLUMNS} FROM webhooks WHERE id = ?"  # noqa: S608 - fixed fragments
COUNT: Final = "SELECT count(*) FROM webhooks WHERE source = 'api' AND deleted_ms IS NULL"
UPDATE: Final = (
    "UPDATE webhooks SET url = ?, events = ?, description = ?, metadata = ?, secret = ?, "
    "secret_hint = ?, old_secret = ?, old_secret_until_ms = ?, is_enabled = ?, "
    "disabled_reason = ?, failing_since_ms = ?, consecutive_failures = ?, deleted_ms = ? "
    "WHERE seq = ?"
)
SUCCEEDED: Final = (
    "UPDATE webhooks SET last_success_ms = ?, failing_since_ms = NULL, consecutive_failures = 0 "
    "WHERE seq = ?"
)
FAILED: Final = (
    "UPDATE webhooks SET last_failure_ms = ?, failing_since_ms = coalesce(failing_since_ms, ?), "
    "consecutive_failures = consecutive_failures + 1 WHERE seq = ? "
    "RETURNING is_enabled, failing_since_ms, consecutive_failures"
)
DISABLE: Final = "UPDATE webhooks SET is_enabled = 0, disabled_reason = ? WHERE seq = ?"
FORGET_OLD_SECRETS: Final = (
    "UPDATE webhooks SET old_secret = NULL, old_secret_until_ms = NULL "
    "WHERE old_secret_until_ms <= ?"
)
UNSUBSCRIBE: Final = "DELETE FROM webhook_subscriptions WHERE webhook = ?"
SUBSCRIBE: Final = "INSERT INTO webhook_subscriptions (type, webhook) VALUES (?, ?)"
SUBSCRIBED: Final = (
    "SELECT w.seq FROM webhook_subscriptions s JOIN webhooks w ON w.seq = s.webhook "
    "WHERE s.type IN (?, '*') AND w.is_enabled = 1"
)
DELETED: Final = "SELECT seq FROM webhooks WHERE deleted_ms IS NOT NULL LIMIT 1"
PURGE_DELIVERIES: Final = (
    "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries WHERE webhook = ? LIMIT 500)"
)
PURGE: Final = "DELETE FROM webhooks WHERE seq = ?"

DisabledReason = Literal["gone", "failing", "requested"]
SecretColumn = Literal["secret", "old_secret"]

_encode = msgspec.json.Encoder().encode
_parse = msgspec.json.decode


class WebhookRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver's row. Without a sealed `secret` the configuration has it."""

    seq: int
    id: str
    source: Literal["api", "config"]
    url: str
    events: list[str]
    description: str | None = None
    metadata: dict[str, str] = {}
    secret: bytes | None
    secret_hint: str
    old_secret: bytes | None = None
    old_secret_until_ms: int | None = None
    is_enabled: bool = True
    disabled_reason: DisabledReason | None = None
    last_success_ms: int | None = None
    last_failure_ms: int | None = None
    failing_since_ms: int | None = None
    consecutive_failures: int = 0
    deleted_ms: int | None = None
    created_ms: int


class ConfiguredWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A receiver that the configuration names."""

    id: str
    url: str
    events: list[str]
    secret_hint: str


def place_of(webhook_id: str, column: SecretColumn) -> str:
    """What a sealed secret is bound to."""
    return f"webhooks|{webhook_id}|{column}"


def insert(
    tx: Tx,
    webhook_id: str,
    url: str,
    events: Sequence[str],
    secret: bytes | None,
    secret_hint: str,
    *,
    source: Literal["api", "config"] = "api",
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> WebhookRecord:
    """Add a receiver. Raises InvalidRequestError if the API has made too many."""
    row = tx.one(COUNT)
    if source == "api" and row is not None and row[0] >= WEBHOOKS_MAX:
        raise InvalidRequestError(
            f"There are {WEBHOOKS_MAX} webhooks already, the most there can be. Delete one first.",
            code="too_many_webhooks",
        )
    seq = tx.insert(
        INSERT,
        webhook_id,
        source,
        url,
        _encode(events).decode(),
        description,
        _encode(metadata or {}).decode(),
        secret,
        secret_hint,
        tx.now_ms,
    )
    _subscribe(tx, seq, events)
    return get(tx, webhook_id)


def get(tx: Tx, webhook_id: str) -> WebhookRecord:
    """A receiver. Raises NotFoundError."""
    row = tx.one(GET, webhook_id)
    if row is None or row[17] is not None:
        raise NotFoundError.of("webhook", webhook_id)
    return _record(row)


def every(tx: Tx) -> list[WebhookRecord]:
    """All receivers, newest first."""
    records = (_record(row) for row in tx.all(EVERY))
    return [record for record in records if record.deleted_ms is None]


def subscribed(tx: Tx, event_type: str) -> list[int]:
    """The receivers (their `seq`) that want to hear of an event of this type."""
    return [row[0] for row in tx.all(SUBSCRIBED, event_type)]


def change(tx: Tx, record: WebhookRecord, **values: Any) -> WebhookRecord:
    """The receiver with other values."""
    changed = msgspec.structs.replace(record, **values)
    tx.run(
        UPDATE,
        changed.url,
        _encode(changed.events).decode(),
        changed.description,
        _encode(changed.metadata).decode(),
        changed.secret,
        changed.secret_hint,
        changed.old_secret,
        changed.old_secret_until_ms,
        changed.is_enabled,
        changed.disabled_reason,
        changed.failing_since_ms,
        changed.consecutive_failures,
        changed.deleted_ms,
        record.seq,
    )
    if changed.events != record.events:
        tx.run(UNSUBSCRIBE, record.seq)
        _subscribe(tx, record.seq, changed.events)
    return changed


def switch(tx: Tx, record: WebhookRecord, *, is_enabled: bool) -> WebhookRecord:
    """The receiver, enabled with a clean record or disabled; as it was if nothing changes."""
    if is_enabled == record.is_enabled:
        return record
    tx.announce("deliveries" if is_enabled else "webhooks")
    return change(
        tx,
        record,
        is_enabled=is_enabled,
        disabled_reason=None if is_enabled else "requested",
        failing_since_ms=None,
        consecutive_failures=0,
    )


def rotate(
    tx: Tx,
    record: WebhookRecord,
    secret: bytes,
    secret_hint: str,
    old_secret: bytes | None,
    overlap_ms: int,
) -> WebhookRecord:
    """The receiver with a new secret; the one before it signs for `overlap_ms` more, if not 0."""
    keeps_old = old_secret is not None and overlap_ms > 0
    return change(
        tx,
        record,
        secret=secret,
        secret_hint=secret_hint,
        old_secret=old_secret if keeps_old else None,
        old_secret_until_ms=tx.now_ms + overlap_ms if keeps_old else None,
    )


def delete(tx: Tx, record: WebhookRecord) -> None:
    """Hide a receiver; `purge` removes it. Nothing more is sent to it."""
    tx.announce("webhooks")
    change(tx, record, is_enabled=False, deleted_ms=tx.now_ms, secret=None, old_secret=None)


def purge(tx: Tx) -> bool:
    """Remove some of what deleted receivers left; whether there may be more."""
    row = tx.one(DELETED)
    if row is None:
        return False
    if not tx.run(PURGE_DELIVERIES, row[0]):
        tx.run(PURGE, row[0])
    return True


def configure(tx: Tx, wanted: Sequence[ConfiguredWebhook]) -> None:
    """Make the configuration's receivers those that are wanted, and enabled; others of it go."""
    ids = {webhook.id for webhook in wanted}
    for record in every(tx):
        if record.source == "config" and record.id not in ids:
            delete(tx, record)
    for webhook in wanted:
        row = tx.one(GET, webhook.id)
        if row is None:
            insert(
                tx,
                webhook.id,
                webhook.url,
                webhook.events,
                None,
                webhook.secret_hint,
                source="config",
            )
            continue
        known = switch(tx, _record(row), is_enabled=True)
        change(tx, known, events=webhook.events, secret_hint=webhook.secret_hint, deleted_ms=None)


def note_success(tx: Tx, seq: int) -> None:
    """An attempt succeeded."""
    tx.run(SUCCEEDED, tx.now_ms, seq)


def note_failure(tx: Tx, seq: int, *, is_gone: bool) -> DisabledReason | None:
    """An attempt failed; why the receiver is disabled now, if it was not before."""
    row = tx.one(FAILED, tx.now_ms, tx.now_ms, seq)
    if row is None or not row[0]:
        return None
    _, failing_since_ms, consecutive_failures = row
    if is_gone:
        reason: DisabledReason = "gone"
    elif is_given_up(consecutive_failures, failing_since_ms, tx.now_ms):
        reason = "failing"
    else:
        return None
    tx.announce("webhooks")
    tx.run(DISABLE, reason, seq)
    return reason


def forget_old_secrets(tx: Tx) -> None:
    """Remove the secrets that no longer sign."""
    tx.run(FORGET_OLD_SECRETS, tx.now_ms)


def _subscribe(tx: Tx, seq: int, events: Sequence[str]) -> None:
    for event_type in [EVERYTHING] if EVERYTHING in events else sorted(set(events)):
        tx.run(SUBSCRIBE, event_type, seq)


def _record(row: Row) -> WebhookRecord:
    return WebhookRecord(
        seq=row[0],
        id=row[1],
        source=row[2],
        url=row[3],
        events=_parse(row[4]),
        description=row[5],
        metadata=_parse(row[6]),
        secret=row[7],
        secret_hint=row[8],
        old_secret=row[9],
        old_secret_until_ms=row[10],
        is_enabled=bool(row[11]),
        disabled_reason=row[12],
        last_success_ms=row[13],
        last_failure_ms=row[14],
        failing_since_ms=row[15],
        consecutive_failures=row[16],
        deleted_ms=row[17],
        created_ms=row[18],
    )
