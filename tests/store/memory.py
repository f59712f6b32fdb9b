"""A store in memory: every call is one transaction, as the writer makes them, without its thread."""

import sqlite3
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.items import (
    FunctionCallBody,
    InputText,
    Item,
    MessageBody,
    OutputText,
)
from ringside_proxy.domain.messages import MessageStatus
from ringside_proxy.domain.runs import RunSettings
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_assembler import AddItem, Change, OpenStep
from ringside_proxy.store import files, items, threads
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Row, Tx

T = TypeVar("T")

DEVELOPER = Caller(token_id="tok_d", name="developer")
MODEL = "fc:sandbox/echo"
EXPIRES_AFTER_MS = 600_000
MESSAGES_MAX = 5_000


class Store:
    """The schema, the clock and the ids of a store; and the few rows most tests begin with."""

    def __init__(self) -> None:
        # It is closed when nobody needs it any more, on whatever thread that is found out.
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self.connection.close)
        self.connection.execute("PRAGMA foreign_keys=ON")
        files.migrate(self.connection)
        self.now_ms = 1_763_700_000_000
        self._ids: Counter[str] = Counter()

    def new_id(self, prefix: str) -> str:
        """Ids in order, for each prefix."""
        self._ids[prefix] += 1
        return f"{prefix}_{self._ids[prefix]:024x}"

    def write(self, fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`fn(tx, …)` in one transaction: all of it, or on an exception nothing."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = fn(Tx(self.connection, self.now_ms, self.new_id), *args, **kwargs)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result

    def rows(self, sql: str, *params: Any) -> list[Row]:
        """What a query of the test's own finds."""
        return self.connection.execute(sql, params).fetchall()

    def dump(self) -> dict[str, list[Row]]:
        """Every row of every table."""
        return dump(self.connection)

    def steps(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
        """How many steps of SQLite's machine a transaction takes: its cost, without a clock."""
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1

        self.connection.set_progress_handler(tick, 1)
        try:
            self.write(fn, *args, **kwargs)
        finally:
            self.connection.set_progress_handler(None, 1)
        return count

    def thread(
        self, metadata: dict[str, str] | None = None, who: Caller = DEVELOPER
    ) -> ThreadRecord:
        """An empty thread."""
        return self.write(threads.insert, self.new_id("conv"), who, None, metadata or {})

    def message(self, thread: ThreadRecord, text: str = "Hi") -> Item:
        """A user's message at the end of the thread."""
        item = self.user_item(text)
        self.write(items.append, thread.seq, [item])
        return item

    def run(self, thread: ThreadRecord) -> RunRecord:
        """A queued run."""
        return self.write(run_transactions.create, thread, self.new_run())

    def started(self, thread: ThreadRecord) -> tuple[RunRecord, int]:
        """A run at work, and its generation."""
        begun = self.write(run_transactions.start, self.run(thread).id, self.new_id("resp"), MODEL)
        assert begun is not None
        return begun

    def new_run(self) -> run_transactions.NewRun:
        """A run that needs no message."""
        return run_transactions.NewRun(
            run_id=self.new_id("run"),
            assistant_id="asst_1",
            settings=RunSettings(model=MODEL, instructions="Be brief."),
            customer=None,
            metadata={},
            expires_after_ms=EXPIRES_AFTER_MS,
            messages=[],
            messages_max=MESSAGES_MAX,
        )

    def user_item(self, text: str) -> Item:
        """A user's message, not stored."""
        return Item(
            id=self.new_id("msg"),
            role="user",
            created_ms=self.now_ms,
            ended_ms=self.now_ms,
            body=MessageBody([InputText(text)]),
        )

    def open_message(self, run: RunRecord, text: str = "Hello") -> tuple[Item, list[Change]]:
        """A message that the model begins, and what to save of it."""
        step_id = self.new_id("step")
        item = Item(
            id=self.new_id("msg"),
            role="assistant",
            status=MessageStatus.IN_PROGRESS,
            run_id=run.id,
            assistant_id=run.assistant_id,
            step_id=step_id,
            step_index=0,
            created_ms=self.now_ms,
            body=MessageBody([OutputText(text)]),
        )
        opening = OpenStep(step_id, "message_creation", self.now_ms, item.id)
        return item, [opening, AddItem(item, step_id)]

    def call(self, run: RunRecord, count: int = 1) -> tuple[list[Item], list[Change]]:
        """Function calls that the model makes, and what to save of them."""
        step_id = self.new_id("step")
        calls = [
            Item(
                id=self.new_id("fc"),
                call_id=self.new_id("call"),
                run_id=run.id,
                step_id=step_id,
                step_index=index,
                created_ms=self.now_ms,
                ended_ms=self.now_ms,
                body=FunctionCallBody("get_weather", "{}"),
            )
            for index in range(count)
        ]
        opening = OpenStep(step_id, "tool_calls", self.now_ms)
        return calls, [opening, *(AddItem(item, step_id) for item in calls)]


def dump(connection: sqlite3.Connection) -> dict[str, list[Row]]:
    """Every row of every table of ours."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}  # noqa: S608
