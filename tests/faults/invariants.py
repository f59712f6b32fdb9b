"""What holds of everything that a test of the table leaves behind, whatever was injected.

The books, the files and the process can tell most of it: what clients were told (I1), caps
(I4), signatures (I5) and calls to providers (I7) are known to the tests themselves.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.api.rig import CLIENT_A, CLIENT_B, DEVELOPER, UPSTREAM_KEY
from tests.e2e.ringside import TOKEN

BOOKS: Final = {
    "foreign keys that lead nowhere": "PRAGMA foreign_key_check",
    "customers who have not spent what was booked": (
        "SELECT customer, period FROM budget_periods p WHERE reserved_nano <> 0 "
        "OR (settled_nano, requests, input_tokens, output_tokens) <> (SELECT "
        "coalesce(sum(coalesce(provider_cost_nano, 0) + coalesce(markup_nano, 0)), 0), count(*), "
        "coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM usage_records u "
        "WHERE u.customer = p.customer AND substr(u.day, 1, 7) = p.period)"
    ),
    "days that are not the sum of their bookings": (
        "SELECT * FROM (SELECT day, customer, model, kind, requests, provider_cost_nano, "
        "markup_nano, input_tokens, output_tokens FROM usage_days) EXCEPT "
        "SELECT day, coalesce(customer, ''), model, kind, count(*), "
        "sum(coalesce(provider_cost_nano, 0)), sum(coalesce(markup_nano, 0)), sum(input_tokens), "
        "sum(output_tokens) FROM usage_records GROUP BY 1, 2, 3, 4"
    ),
    "bookings with gaps": (
        "SELECT count(*) FROM usage_records HAVING count(*) <> coalesce(max(sequence), 0)"
    ),
    "a wallet that does not hold what moved it": (
        "SELECT balance_nano FROM wallet WHERE reserved_nano <> 0 OR balance_nano <> "
        "(SELECT coalesce(sum(amount_nano), 0) FROM wallet_transactions)"
    ),
    "charges that are not the bookings": (
        "SELECT u.id FROM usage_records u LEFT JOIN wallet_transactions t ON t.usage_id = u.id "
        "WHERE (SELECT count(*) FROM wallet_transactions) > 0 AND "
        "coalesce(u.provider_cost_nano, 0) + coalesce(u.markup_nano, 0) > 0 "
        "GROUP BY u.id HAVING count(t.id) <> 1"
    ),
    "calls that are still held": "SELECT id FROM holds",
    "threads with more than one run at work": (
        "SELECT conversation FROM runs WHERE waiting IS NULL AND status IN "
        "('queued', 'in_progress', 'requires_action', 'cancelling') "
        "GROUP BY conversation HAVING count(*) > 1"
    ),
    "runs that nobody works at": "SELECT id FROM runs WHERE status IN ('in_progress', 'cancelling')",
    "keys that are worked on": "SELECT scope FROM idempotency_keys WHERE state = 'running'",
    "events that are not on their way to those who wanted them": (
        "SELECT e.id FROM events e JOIN webhook_subscriptions s ON s.type IN (e.type, '*') "
        "JOIN webhooks w ON w.seq = s.webhook AND w.is_enabled AND w.deleted_ms IS NULL "
        "AND w.created_ms < e.created_ms LEFT JOIN deliveries d "
        "ON d.event = e.seq AND d.webhook = w.seq WHERE d.seq IS NULL "
        "AND e.created_ms > (SELECT max(created_ms) FROM events) - 6 * 86400000"
    ),
}
"""Queries that find something only in a store whose books are not right, when nobody has it open."""
HAS_BOOKS: Final = "SELECT 1 FROM sqlite_schema WHERE name = 'deliveries'"

CANARIES: Final = tuple(
    secret.encode() for secret in (UPSTREAM_KEY, DEVELOPER, CLIENT_A, CLIENT_B, TOKEN)
)
MAY_NAME_SECRETS: Final = (".yaml", ".json")
"""What the tests themselves write: configurations."""


def broken(home: Path) -> Iterator[str]:
    """What is wrong with the files below `home`, and with what this process still has of them."""
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        if path.suffix == ".db":
            yield from (f"{path.name}: {found}" for found in _broken_store(path))
        if path.suffix not in MAY_NAME_SECRETS and (found := _canaries(path.read_bytes())):
            yield f"{path.name} shows a secret: {found}"
    yield from (f"still open: {name}" for name in _open_files() if name.startswith(f"{home}/"))


def _broken_store(path: Path) -> Iterator[str]:
    with closing(sqlite3.connect(path)) as connection:
        try:
            told = connection.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError as error:
            told = [(str(error),)]
        if told != [("ok",)]:
            yield f"integrity_check: {told}"
            return
        if not connection.execute(HAS_BOOKS).fetchall():
            return
        for name, query in BOOKS.items():
            found: list[Any] = connection.execute(query).fetchall()
            if found:
                yield f"{name}: {found[:5]}"


def _canaries(data: bytes) -> list[bytes]:
    return [secret for secret in CANARIES if secret in data]


def _open_files() -> Iterator[str]:
    """The files that this process has open, where that can be told."""
    for each in Path("/proc/self/fd").glob("*"):
        try:
            yield os.readlink(each)
        except OSError:  # the one that lists them
            continue
