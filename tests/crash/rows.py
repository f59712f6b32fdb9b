"""A store between two processes: the transactions of the product, run here, to arrange a state."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.items import InputText, Item, MessageBody
from ringside_proxy.domain.runs import RunSettings
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_transactions import NewRun
from ringside_proxy.store import files, runs, threads
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import system_ids

DEVELOPER: Final = Caller(token_id="tok", name="a test")
EXPIRES_AFTER_MS: Final = 600_000
OF_THREADS: Final = ("items", "run_steps", "generations", "runs", "conversation_metadata")
"""The tables with what belongs to threads."""
new_id: Final = system_ids()


@contextmanager
def transaction(store: Path) -> Iterator[Tx]:
    """One transaction on a store that nobody has open."""
    with closing(files.open_writer(store, "full")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield Tx(connection, time.time_ns() // 1_000_000, system_ids())
        connection.execute("COMMIT")


def find_thread(tx: Tx, thread_id: str) -> ThreadRecord:
    """The thread's row."""
    return threads.get(tx, thread_id, DEVELOPER)


def find_run(tx: Tx, run: dict[str, Any]) -> RunRecord:
    """The run's row."""
    return runs.get(tx, find_thread(tx, run["thread_id"]), run["id"])


def queue_run(tx: Tx, thread_id: str, assistant_id: str, model: str, question: str) -> RunRecord:
    """What POST /v1/threads/{id}/runs stores, before anything is done about it."""
    message = Item(
        id=new_id("msg"),
        role="user",
        created_ms=tx.now_ms,
        ended_ms=tx.now_ms,
        body=MessageBody([InputText(question)]),
    )
    new = NewRun(
        run_id=new_id("run"),
        assistant_id=assistant_id,
        settings=RunSettings(model=model),
        customer=None,
        metadata={},
        expires_after_ms=EXPIRES_AFTER_MS,
        messages=[message],
        messages_max=5000,
    )
    return run_transactions.create(tx, find_thread(tx, thread_id), new)


async def count(store: Path, table: str) -> int:
    """How many rows a table has, also while a proxy runs on the store."""
    with closing(sqlite3.connect(store)) as connection:
        found: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - a constant
        return found
