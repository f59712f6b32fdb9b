"""Assistants: the wire object is the row."""

from typing import Final

import msgspec

from ringside_proxy.domain.assistants import Assistant
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.store.paging import NO_PARENT, PagedTable, bury
from ringside_proxy.store.tx import Tx

INSERT: Final = "INSERT INTO assistants (id, owner, body) VALUES (?, ?, ?)"
GET: Final = "SELECT seq, owner, body FROM assistants WHERE id = ?"
UPDATE: Final = "UPDATE assistants SET body = ? WHERE id = ?"
DELETE: Final = "DELETE FROM assistants WHERE id = ?"
FIND: Final = "SELECT seq, owner FROM assistants WHERE id = ? AND ? = 0"

LISTED: Final = PagedTable("assistant", "body", "assistants", "seq", FIND)
ANYONES: Final = "1"
OWNERS: Final = "owner = ?"

_decode = msgspec.json.Decoder(Assistant).decode
_encode = msgspec.json.Encoder().encode


def insert(tx: Tx, assistant: Assistant, owner: str) -> None:
    """Add an assistant."""
    tx.run(INSERT, assistant.id, owner, _encode(assistant))


def get(tx: Tx, assistant_id: str, caller: Caller) -> Assistant:
    """The assistant. Raises NotFoundError, also for one the caller may not see."""
    return _find(tx, assistant_id, caller)[2]


def update(tx: Tx, assistant_id: str, caller: Caller, changes: dict[str, object]) -> Assistant:
    """The assistant with `changes` applied. Raises NotFoundError."""
    changed = msgspec.structs.replace(get(tx, assistant_id, caller), **changes)
    tx.run(UPDATE, _encode(changed), assistant_id)
    return changed


def delete(tx: Tx, assistant_id: str, caller: Caller) -> None:
    """Remove the assistant; its runs keep their snapshots. Raises NotFoundError."""
    seq, owner, _ = _find(tx, assistant_id, caller)
    tx.run(DELETE, assistant_id)
    bury(tx, assistant_id, NO_PARENT, seq, owner)


def page(tx: Tx, caller: Caller, query: ListQuery) -> Page[Assistant]:
    """A page of those the caller may see."""
    is_developer = caller.role == "developer"
    rows, has_more = LISTED.page(
        tx,
        query,
        ANYONES if is_developer else OWNERS,
        () if is_developer else (caller.owner,),
        NO_PARENT,
        caller.sees,
    )
    return page_of([_decode(body) for (body,) in rows], has_more)


def _find(tx: Tx, assistant_id: str, caller: Caller) -> tuple[int, str, Assistant]:
    row = tx.one(GET, assistant_id)
    if row is None or not caller.sees(row[1]):
        raise NotFoundError.of("assistant", assistant_id)
    return row[0], row[1], _decode(row[2])
