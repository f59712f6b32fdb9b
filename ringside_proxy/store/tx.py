"""What a transaction function is given.

A transaction is a plain function `fn(tx, *args)` that runs whole on one thread. It never awaits
and never leaves a cursor half read: a half-read cursor pins an old snapshot and blocks every
checkpoint.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from ringside_proxy.domain.ids import NewId

Row = tuple[Any, ...]
Topic = Literal["deliveries", "usage", "webhooks"]
"""What somebody may wait for: news of rows of that kind."""

NEVER_MS: Final = 1 << 62


class Tx:
    """One transaction: statements in, whole results out.

    `now_ms` is its only time, `new_id` its only randomness.
    """

    __slots__ = ("_connection", "after_commit", "new_id", "now_ms", "topics")

    def __init__(self, connection: sqlite3.Connection, now_ms: int, new_id: NewId) -> None:
        self._connection = connection
        self.now_ms = now_ms
        self.new_id = new_id
        self.after_commit: list[Callable[[], None]] = []
        """Called on the event loop once the transaction is durable; never if it is not."""
        self.topics: set[Topic] = set()

    def announce(self, topic: Topic) -> None:
        """Wake who waits for `topic` (`Database.listen`), once the transaction is durable."""
        self.topics.add(topic)

    def one(self, sql: str, *params: Any) -> Row | None:
        """The first row, or None."""
        cursor = self._connection.execute(sql, params)
        try:
            row: Row | None = cursor.fetchone()
            return row
        finally:
            cursor.close()

    def all(self, sql: str, *params: Any) -> list[Row]:
        """Every row."""
        return self._connection.execute(sql, params).fetchall()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part that may fail alone: what it did is undone, and its error goes on."""
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK TO part")
            raise
        finally:
            self._connection.execute("RELEASE part")

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """A part that is undone in any case: to see whether it could be done."""
        self._connection.execute("SAVEPOINT rehearsal")
        try:
            yield
        finally:
            self._connection.execute("ROLLBACK TO rehearsal")
            self._connection.execute("RELEASE rehearsal")

    def run(self, sql: str, *params: Any) -> int:
        """How many rows a statement without results changed."""
        return self._connection.execute(sql, params).rowcount

    def insert(self, sql: str, *params: Any) -> int:
        """The `seq` of the row an INSERT made."""
        seq = self._connection.execute(sql, params).lastrowid
        if seq is None:  # pragma: no cover - sqlite3 sets it for every INSERT
            raise AssertionError("not an INSERT")
        return seq
