"""Threads: the Assistants surface's view of conversations."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import ConversationFullError, NotFoundError
from ringside_proxy.domain.ids import twin
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.threads import Thread
from ringside_proxy.store import provider_states
from ringside_proxy.store.paging import NO_PARENT, PagedTable, bury
from ringside_proxy.store.tx import Row, Tx

INSERT: Final = (
    "INSERT INTO conversations (id, owner, customer, created_ms, metadata, tool_resources, "
    "message_count, next_ordinal) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_ALIAS: Final = "INSERT INTO api_thread_aliases (thread_id, conversation) VALUES (?, ?)"
INSERT_METADATA: Final = (
    "INSERT INTO conversation_metadata (key, value, conversation) VALUES (?, ?, ?)"
)
DELETE_METADATA: Final = "DELETE FROM conversation_metadata WHERE conversation = ?"

COLUMNS: Final = (
    "c.seq, a.thread_id, c.owner, c.customer, c.created_ms, c.metadata, c.tool_resources, "
    "c.message_count"
)
GET: Final = (
    f"SELECT {COLUMNS} FROM api_thread_aliases a JOIN conversations c ON c.seq = a.conversation "  # noqa: S608 - fixed fragments
    "WHERE a.thread_id = ? AND c.deleted_ms IS NULL"
)
UPDATE: Final = "UPDATE conversations SET metadata = ?, tool_resources = ? WHERE seq = ?"
RESERVE: Final = (
    "UPDATE conversations SET next_ordinal = next_ordinal + ?, message_count = message_count + ? "
    "WHERE seq = ? RETURNING next_ordinal, message_count"
)
MESSAGE_COUNT: Final = "SELECT message_count FROM conversations WHERE seq = ?"
FORGET_MESSAGE: Final = "UPDATE conversations SET message_count = message_count - 1 WHERE seq = ?"
MARK_DELETED: Final = "UPDATE conversations SET deleted_ms = ? WHERE seq = ?"
DROP_ALIAS: Final = "DELETE FROM api_thread_aliases WHERE conversation = ?"
FIND: Final = (
    "SELECT c.seq, c.owner FROM api_thread_aliases a JOIN conversations c ON c.seq = a.conversation "
    "WHERE a.thread_id = ? AND ? = 0"
)

LISTED: Final = PagedTable(
    "thread",
    COLUMNS,
    "conversations c JOIN api_thread_aliases a ON a.conversation = c.seq",
    "c.seq",
    FIND,
)
LISTED_BY_METADATA: Final = PagedTable(
    "thread",
    COLUMNS,
    "conversation_metadata m JOIN conversations c ON c.seq = m.conversation "
    "JOIN api_thread_aliases a ON a.conversation = c.seq",
    "m.conversation",
    FIND,
)
LIVE: Final = "c.deleted_ms IS NULL"
OWNERS: Final = "c.owner = ?"
PAIR: Final = "m.key = ? AND m.value = ?"
HAS_METADATA: Final = (
    "EXISTS (SELECT 1 FROM conversation_metadata "
    "WHERE conversation = c.seq AND key = ? AND value = ?)"
)

NEXT_DELETED: Final = (
    "SELECT seq FROM conversations WHERE deleted_ms IS NOT NULL ORDER BY deleted_ms LIMIT 1"
)
PURGE: Final = (
    "DELETE FROM items WHERE seq IN (SELECT seq FROM items WHERE conversation = ? LIMIT 500)",
    "DELETE FROM run_steps WHERE seq IN (SELECT s.seq FROM runs r JOIN run_steps s ON s.run = r.seq "
    "WHERE r.conversation = ? LIMIT 500)",
    "DELETE FROM generations WHERE seq IN (SELECT g.seq FROM runs r JOIN generations g "
    "ON g.run = r.seq WHERE r.conversation = ? LIMIT 500)",
    "DELETE FROM runs WHERE seq IN (SELECT seq FROM runs WHERE conversation = ? LIMIT 500)",
    "DELETE FROM conversation_metadata WHERE conversation = ?",
    "DELETE FROM conversations WHERE seq = ?",
)

PURGED_ENOUGH: Final = 500
"""Rows after which a purge leaves the rest to the next one: others wait to write."""

_json = msgspec.json.encode
_parse = msgspec.json.decode


class ThreadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A thread and what callers are not shown."""

    seq: int
    owner: str
    customer: str | None
    message_count: int
    thread: Thread


def insert(
    tx: Tx,
    conv_id: str,
    caller: Caller,
    customer: str | None,
    metadata: dict[str, str],
    messages: int = 0,
) -> ThreadRecord:
    """Add a thread, under the alias that shares the conversation's digits.

    It has places for so many `messages`, from 1 on, which the same transaction fills.
    """
    seq = tx.insert(
        INSERT,
        conv_id,
        caller.owner,
        customer,
        tx.now_ms,
        _json(metadata).decode(),
        "{}",
        messages,
        messages + 1,
    )
    thread_id = twin(conv_id, "thread")
    tx.run(INSERT_ALIAS, thread_id, seq)
    _index_metadata(tx, seq, metadata)
    thread = Thread(id=thread_id, created_at=tx.now_ms // 1000, metadata=metadata)
    return ThreadRecord(
        seq=seq,
        owner=caller.owner,
        customer=customer,
        message_count=messages,
        thread=thread,
    )


def get(tx: Tx, thread_id: str, caller: Caller) -> ThreadRecord:
    """The thread. Raises NotFoundError, also for one the caller may not see."""
    row = tx.one(GET, thread_id)
    if row is None or not caller.sees(row[2]):
        raise NotFoundError.of("thread", thread_id)
    return _record(row)


def update(tx: Tx, record: ThreadRecord, changes: dict[str, Any]) -> Thread:
    """The thread with `changes` applied."""
    thread = msgspec.structs.replace(record.thread, **changes)
    tx.run(
        UPDATE, _json(thread.metadata).decode(), _json(thread.tool_resources).decode(), record.seq
    )
    if "metadata" in changes:
        tx.run(DELETE_METADATA, record.seq)
        _index_metadata(tx, record.seq, thread.metadata)
    return thread


def delete(tx: Tx, record: ThreadRecord) -> None:
    """Make the thread unfindable at once; `purge` removes its rows afterwards."""
    tx.run(MARK_DELETED, tx.now_ms, record.seq)
    tx.run(DROP_ALIAS, record.seq)
    bury(tx, record.thread.id, NO_PARENT, record.seq, record.owner)


def page(tx: Tx, caller: Caller, query: ListQuery, metadata: dict[str, str]) -> Page[Thread]:
    """A page of the threads that the caller may see and that carry all of `metadata`."""
    table, conditions, params = LISTED, [LIVE], list[str]()
    if caller.role != "developer":
        conditions.append(OWNERS)
        params.append(caller.owner)
    for pair in metadata.items():
        # The first pair is walked along, in the order of the list; the others are looked up.
        conditions.append(PAIR if table is LISTED else HAS_METADATA)
        params.extend(pair)
        table = LISTED_BY_METADATA
    rows, has_more = table.page(
        tx, query, " AND ".join(conditions), tuple(params), NO_PARENT, caller.sees
    )
    return page_of([_record(row).thread for row in rows], has_more)


def reserve_ordinals(tx: Tx, conversation: int, items: int, messages: int) -> tuple[int, int]:
    """Take the next `items` places; gives the first one and the new count of messages."""
    row = tx.one(RESERVE, items, messages, conversation)
    if row is None:
        raise NotFoundError("The thread was deleted.")
    return row[0] - items, row[1]


def require_room(record: ThreadRecord, messages: int, messages_max: int) -> None:
    """Raise ConversationFullError if the thread cannot take `messages` more."""
    if messages and record.message_count + messages > messages_max:
        raise ConversationFullError(
            f"Thread {record.thread.id} is full: it has {record.message_count} of at most "
            f"{messages_max} messages. Delete some, start a new thread, or raise "
            "runs.max_messages_per_thread."
        )


def has_room(tx: Tx, conversation: int, messages: int, messages_max: int) -> bool:
    """Whether a thread that is known by its conversation can take `messages` more."""
    row = tx.one(MESSAGE_COUNT, conversation)
    return not messages or (row is not None and row[0] + messages <= messages_max)


def forget_message(tx: Tx, conversation: int) -> None:
    """One message fewer."""
    tx.run(FORGET_MESSAGE, conversation)


def purge(tx: Tx) -> bool:
    """Remove a bounded number of a deleted thread's rows; whether there is more to do."""
    row = tx.one(NEXT_DELETED)
    if row is None:
        return False
    removed = provider_states.forget(tx, provider_states.thread_scope(row[0]))
    for statement in PURGE:
        if removed >= PURGED_ENOUGH:
            break
        removed += tx.run(statement, row[0])
    return True


def _index_metadata(tx: Tx, seq: int, metadata: dict[str, str]) -> None:
    for key, value in metadata.items():
        tx.run(INSERT_METADATA, key, value, seq)


def _record(row: Row) -> ThreadRecord:
    seq, thread_id, owner, customer, created_ms, metadata, tool_resources, message_count = row
    return ThreadRecord(
        seq=seq,
        owner=owner,
        customer=customer,
        message_count=message_count,
        thread=Thread(
            id=thread_id,
            created_at=created_ms // 1000,
            metadata=_parse(metadata),
            tool_resources=_parse(tool_resources),
        ),
    )
