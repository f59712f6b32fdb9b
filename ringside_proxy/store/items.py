"""Items: the messages, function calls and outputs of a conversation, in order."""

from typing import Final

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.items import BODY_DECODER, Item, message_object
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.messages import Message, MessageStatus
from ringside_proxy.store import threads
from ringside_proxy.store.paging import PagedTable, bury
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Row, Tx

INSERT: Final = (
    "INSERT INTO items (id, conversation, ordinal, type, role, status, incomplete_reason, call_id, "
    "run, generation, step, step_index, created_ms, ended_ms, body, metadata) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
UPDATE: Final = (
    "UPDATE items SET status = ?, incomplete_reason = ?, ended_ms = ?, body = ? WHERE id = ?"
)
END: Final = f"{UPDATE} RETURNING metadata"
SET_METADATA: Final = "UPDATE items SET metadata = ? WHERE id = ?"
DELETE: Final = "DELETE FROM items WHERE id = ?"

COLUMNS: Final = (
    "i.id, i.role, i.status, i.incomplete_reason, i.call_id, r.id, r.assistant_id, s.id, "
    "i.step_index, i.created_ms, i.ended_ms, i.body, i.metadata, i.ordinal"
)
SOURCE: Final = "items i LEFT JOIN runs r ON r.seq = i.run LEFT JOIN run_steps s ON s.seq = i.step"
GET: Final = f"SELECT {COLUMNS} FROM {SOURCE} WHERE i.id = ? AND i.conversation = ? AND i.type = ?"  # noqa: S608 - fixed fragments
OF_STEPS: Final = f"SELECT {COLUMNS} FROM {SOURCE} WHERE s.run = ? ORDER BY i.ordinal"  # noqa: S608 - fixed fragments
OF_RUN: Final = f"SELECT {COLUMNS} FROM {SOURCE} WHERE i.run = ? ORDER BY i.ordinal"  # noqa: S608 - fixed fragments
BEFORE: Final = (
    f"SELECT {COLUMNS} FROM {SOURCE} WHERE i.conversation = ? AND i.ordinal < ? "  # noqa: S608 - fixed fragments
    "ORDER BY i.ordinal DESC LIMIT ?"
)
NTH_LAST_MESSAGE: Final = (
    "SELECT ordinal FROM items WHERE conversation = ? AND type = 'message' AND ordinal < ? "
    "ORDER BY ordinal DESC LIMIT 1 OFFSET ?"
)
FROM_ORDINAL: Final = (
    f"SELECT {COLUMNS} FROM {SOURCE} WHERE i.conversation = ? AND i.ordinal >= ? "  # noqa: S608 - fixed fragments
    "AND i.ordinal < ? ORDER BY i.ordinal"
)
FIRST_OF_RUN: Final = "SELECT min(ordinal) FROM items WHERE run = ?"
OPEN_BYTES: Final = (
    "SELECT sum(length(body)) FROM items WHERE run = (SELECT seq FROM runs WHERE id = ?) "
    "AND status = 'in_progress'"
)
FIND_MESSAGE: Final = (
    "SELECT ordinal, '' FROM items WHERE id = ? AND conversation = ? AND type = 'message'"
)

LISTED: Final = PagedTable("message", COLUMNS, SOURCE, "i.ordinal", FIND_MESSAGE)
MESSAGES_OF_THREAD: Final = "i.conversation = ? AND i.type = 'message'"
MESSAGES_OF_RUN: Final = (
    "i.conversation = ? AND i.type = 'message' AND i.run = (SELECT seq FROM runs WHERE id = ?)"
)

END_ORDINAL: Final = 1 << 62

_encode = msgspec.json.Encoder().encode
_parse = msgspec.json.decode


class Origin(msgspec.Struct, frozen=True):
    """The rows that a model-made item hangs on, by their `seq`."""

    run: int
    generation: int
    step: int | None = None


def append(tx: Tx, conversation: int, items: list[Item], origin: Origin | None = None) -> None:
    """Add items at the end of the conversation, in their order."""
    messages = sum(item.body.__struct_config__.tag == "message" for item in items)
    ordinal, _ = threads.reserve_ordinals(tx, conversation, len(items), messages)
    place(tx, conversation, ordinal, items, origin)


def place(
    tx: Tx, conversation: int, ordinal: int, items: list[Item], origin: Origin | None = None
) -> None:
    """Add items at places that the conversation has kept for them, from `ordinal` on."""
    for offset, item in enumerate(items):
        tx.run(
            INSERT,
            item.id,
            conversation,
            ordinal + offset,
            item.body.__struct_config__.tag,
            item.role,
            item.status.value,
            item.incomplete_reason,
            item.call_id,
            origin.run if origin else None,
            origin.generation if origin else None,
            origin.step if origin else None,
            item.step_index,
            item.created_ms,
            item.ended_ms,
            _encode(item.body),
            _encode(item.metadata).decode(),
        )


def open_bytes(tx: Tx, run_id: str) -> int:
    """How long, about, what the run was saying is so far; 0 if it was saying nothing."""
    row = tx.one(OPEN_BYTES, run_id)
    return 0 if row is None else row[0] or 0


def update(tx: Tx, item: Item) -> None:
    """Store an item's new status and body."""
    tx.run(UPDATE, *_changed(item))


def end(tx: Tx, item: Item) -> Item:
    """Store how an item ended; gives it with the metadata that it has been given meanwhile.

    One that was deleted meanwhile stays deleted.
    """
    row = tx.one(END, *_changed(item))
    return item if row is None else msgspec.structs.replace(item, metadata=_parse(row[0]))


def _changed(item: Item) -> Row:
    body = _encode(item.body)
    return item.status.value, item.incomplete_reason, item.ended_ms, body, item.id


def get_message(tx: Tx, thread: ThreadRecord, message_id: str) -> Item:
    """A message of the thread. Raises NotFoundError."""
    row = tx.one(GET, message_id, thread.seq, "message")
    if row is None:
        raise NotFoundError.of("message", message_id)
    return _item(row)


def set_message_metadata(
    tx: Tx, thread: ThreadRecord, message_id: str, metadata: dict[str, str]
) -> Item:
    """The message with its metadata replaced. Raises NotFoundError."""
    item = get_message(tx, thread, message_id)
    tx.run(SET_METADATA, _encode(metadata).decode(), message_id)
    return msgspec.structs.replace(item, metadata=metadata)


def delete_message(tx: Tx, thread: ThreadRecord, message_id: str) -> None:
    """Remove a message, for the model too. Raises NotFoundError."""
    row = tx.one(GET, message_id, thread.seq, "message")
    if row is None:
        raise NotFoundError.of("message", message_id)
    tx.run(DELETE, message_id)
    threads.forget_message(tx, thread.seq)
    bury(tx, message_id, thread.seq, row[-1])


def message_page(
    tx: Tx, thread: ThreadRecord, query: ListQuery, run_id: str | None
) -> Page[Message]:
    """A page of the thread's messages, or of those that one run made."""
    condition, params = (
        (MESSAGES_OF_THREAD, (thread.seq,))
        if run_id is None
        else (MESSAGES_OF_RUN, (thread.seq, run_id))
    )
    rows, has_more = LISTED.page(tx, query, condition, params, thread.seq)
    return page_of([message_object(_item(row), thread.thread.id) for row in rows], has_more)


def of_run(tx: Tx, run: int) -> list[Item]:
    """What the run's model calls made and its tools returned, in order."""
    return [_item(row) for row in tx.all(OF_RUN, run)]


def of_steps(tx: Tx, run: int) -> dict[str, list[Item]]:
    """The items of every step of the run, by step id."""
    found: dict[str, list[Item]] = {}
    for row in tx.all(OF_STEPS, run):
        item = _item(row)
        found.setdefault(item.step_id or "", []).append(item)
    return found


def first_ordinal_of_run(tx: Tx, run: int) -> int:
    """Where the run's own items begin; past the end if it has none yet."""
    row = tx.one(FIRST_OF_RUN, run)
    return END_ORDINAL if row is None or row[0] is None else row[0]


def last_messages(tx: Tx, conversation: int, before: int, count: int) -> list[Item]:
    """The last `count` messages before an ordinal, with the calls between them, oldest first."""
    row = tx.one(NTH_LAST_MESSAGE, conversation, before, count - 1)
    start = 0 if row is None else row[0]
    return [_item(row) for row in tx.all(FROM_ORDINAL, conversation, start, before)]


def newest_before(tx: Tx, conversation: int, before: int, limit: int) -> list[tuple[int, Item]]:
    """Up to `limit` items before an ordinal, newest first, each with its ordinal."""
    return [(row[-1], _item(row)) for row in tx.all(BEFORE, conversation, before, limit)]


def _item(row: Row) -> Item:
    return Item(
        id=row[0],
        role=row[1],
        status=MessageStatus(row[2]),
        incomplete_reason=row[3],
        call_id=row[4],
        run_id=row[5],
        assistant_id=row[6],
        step_id=row[7],
        step_index=row[8],
        created_ms=row[9],
        ended_ms=row[10],
        body=BODY_DECODER.decode(row[11]),
        metadata=_parse(row[12]),
    )
