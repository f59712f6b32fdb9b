"""Runs that wait for their thread, in the order in which they came.

A waiting run is `queued` like any other that has not begun; only the lock leaves it out. It keeps
the messages that it brings, which become the thread's when it has its turn: in the transaction
that ends the run before it. So a thread is never free while a run waits for it.
"""

from typing import Final

import msgspec

from ringside_proxy.domain.errors import ConversationLockedError, OverloadedError
from ringside_proxy.domain.items import Item
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Tx

WAITING_PER_THREAD_MAX: Final = 64
WAITING_MAX: Final = 1000
"""Each keeps a row, a task, and perhaps a connection."""

COUNT: Final = "SELECT count(*) FROM runs WHERE waiting IS NOT NULL"
COUNT_OF_THREAD: Final = "SELECT count(*) FROM runs WHERE conversation = ? AND waiting IS NOT NULL"
EVERY: Final = "SELECT id FROM runs WHERE conversation = ? AND waiting IS NOT NULL ORDER BY seq"
NEXT: Final = (
    "SELECT id FROM runs WHERE conversation = ? AND waiting IS NOT NULL AND status = 'queued' "
    "ORDER BY seq LIMIT 1"
)
STRANDED: Final = (
    "SELECT DISTINCT w.conversation FROM runs w WHERE w.waiting IS NOT NULL AND NOT EXISTS ("
    "SELECT 1 FROM runs a WHERE a.conversation = w.conversation AND a.waiting IS NULL "
    "AND a.ended_ms IS NULL)"
)
BROUGHT: Final = "SELECT waiting FROM runs WHERE seq = ?"
GIVE_TURN: Final = "UPDATE runs SET waiting = NULL, expires_ms = ? WHERE seq = ?"


class Brought(msgspec.Struct, frozen=True):
    """What a run brings along: messages, and how many its thread may hold."""

    messages: list[Item]
    messages_max: int


encode: Final = msgspec.json.Encoder().encode
_parse: Final = msgspec.json.Decoder(Brought).decode


def require_place(tx: Tx, thread: ThreadRecord) -> None:
    """Raise ConversationLockedError or OverloadedError if no further run may wait."""
    waiting = count(tx, thread.seq)
    if waiting >= WAITING_PER_THREAD_MAX:
        raise ConversationLockedError(
            f"Thread {thread.thread.id} already has an active run, and {waiting} more wait for it. "
            "Try again when some of them have ended."
        )
    row = tx.one(COUNT)
    if row is not None and row[0] >= WAITING_MAX:
        raise OverloadedError("Too many runs wait for their threads. Try again in a second.")


def count(tx: Tx, conversation: int) -> int:
    """How many runs wait for the thread."""
    row = tx.one(COUNT_OF_THREAD, conversation)
    return 0 if row is None else int(row[0])


def every(tx: Tx, conversation: int) -> list[str]:
    """The runs that wait for the thread, first come first."""
    return [row[0] for row in tx.all(EVERY, conversation)]


def first(tx: Tx, conversation: int) -> str | None:
    """The run whose turn is next; None if none waits."""
    row = tx.one(NEXT, conversation)
    return None if row is None else row[0]


def stranded(tx: Tx) -> list[int]:
    """Threads that are free although runs wait for them: the process died between two steps."""
    return [row[0] for row in tx.all(STRANDED)]


def give_turn(tx: Tx, run: RunRecord) -> Brought:
    """The run waits no more, and its time begins anew; gives what it brought along."""
    row = tx.one(BROUGHT, run.seq)
    if row is None or row[0] is None:
        raise LookupError(run.id)
    tx.run(GIVE_TURN, tx.now_ms + run.expires_ms - run.created_ms, run.seq)
    return _parse(row[0])
