"""Minted tokens: only their hashes are kept; and when a token was last used."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.store.tx import Row, Tx

INSERT: Final = (
    "INSERT INTO api_tokens (id, name, role, customer, sha256, created_ms, expires_ms) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
COLUMNS: Final = "id, name, role, customer, sha256, created_ms, expires_ms"
ALL: Final = f"SELECT {COLUMNS} FROM api_tokens ORDER BY seq"  # noqa: S608 - fixed fragments
GET: Final = f"SELECT {COLUMNS} FROM api_tokens WHERE id = ?"  # noqa: S608 - fixed fragments
DELETE: Final = "DELETE FROM api_tokens WHERE id = ?"

USES: Final = "SELECT token_id, used_ms FROM token_uses"
NOTE_USE: Final = (
    "INSERT INTO token_uses (token_id, used_ms) VALUES (?, ?) "
    "ON CONFLICT (token_id) DO UPDATE SET used_ms = max(used_ms, excluded.used_ms)"
)
FORGET_USE: Final = "DELETE FROM token_uses WHERE token_id = ?"


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A minted token, without the token."""

    id: str
    name: str
    role: Literal["developer", "client"]
    customer: str | None
    sha256: str
    created_ms: int
    expires_ms: int | None


def insert(tx: Tx, record: TokenRecord) -> None:
    """Add a token."""
    tx.run(
        INSERT,
        record.id,
        record.name,
        record.role,
        record.customer,
        record.sha256,
        record.created_ms,
        record.expires_ms,
    )


def every(tx: Tx) -> list[TokenRecord]:
    """All tokens, oldest first."""
    return [_record(row) for row in tx.all(ALL)]


def delete(tx: Tx, token_id: str) -> TokenRecord:
    """Remove a token; gives what it was. Raises NotFoundError."""
    row = tx.one(GET, token_id)
    if row is None:
        raise NotFoundError.of("token", token_id)
    tx.run(DELETE, token_id)
    tx.run(FORGET_USE, token_id)
    return _record(row)


def uses(tx: Tx) -> dict[str, int]:
    """When each token was last used (ms), by its id; those of the configuration too."""
    return dict(tx.all(USES))


def note_uses(tx: Tx, used_ms: Mapping[str, int]) -> None:
    """Keep when tokens were used."""
    for token_id, ms in used_ms.items():
        tx.run(NOTE_USE, token_id, ms)


def _record(row: Row) -> TokenRecord:
    return TokenRecord(
        id=row[0],
        name=row[1],
        role=row[2],
        customer=row[3],
        sha256=row[4],
        created_ms=row[5],
        expires_ms=row[6],
    )
