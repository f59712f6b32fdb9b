"""The store alone: threads and messages written as fast as the disk takes them, one process pinned.

    python -m tests.bench.store FOLDER WRITES

Prints, as JSON, how many durable transactions a second, and their CPU µs: of Ringside's store with
64 callers at a time, and of bare `sqlite3` that commits the same rows 64 at a time.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from ringside_proxy.domain.callers import Caller
from ringside_proxy.store import threads
from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import SystemClock, system_ids

CALLERS: Final = 64
ROUNDS: Final = 5
BARE: Final = (
    "CREATE TABLE threads (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, "
    "created_ms INTEGER NOT NULL, metadata TEXT NOT NULL) STRICT",
    "CREATE TABLE aliases (thread TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT",
)


def written(tx: Tx, caller: Caller) -> None:
    """One thread more."""
    threads.insert(tx, tx.new_id("conv"), caller, None, {})


async def ours(folder: Path, count: int) -> tuple[float, float]:
    """Transactions a second, and their CPU µs, through `Database.write`."""
    caller = Caller(token_id="tok_bench", name="bench", role="developer")
    db = await Database.open(folder / "ours.db", SystemClock(), "full", new_id=system_ids())
    try:

        async def call() -> None:
            for _ in range(count // CALLERS):
                await db.write(written, caller)

        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await asyncio.gather(*(call() for _ in range(CALLERS)))
        done = count // CALLERS * CALLERS
        took_cpu_s = time.process_time() - began_cpu_s
        return done / (time.perf_counter() - began_s), took_cpu_s * 10**6 / done
    finally:
        await db.close()


def bare(folder: Path, count: int) -> tuple[float, float]:
    """The same rows by `sqlite3` alone, CALLERS to a commit."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    new_id = system_ids()
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", *BARE):
        db.execute(statement)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for _ in range(count // CALLERS):
        db.execute("BEGIN IMMEDIATE")
        for _ in range(CALLERS):
            thread = new_id("thread")
            added = db.execute(
                "INSERT INTO threads (id, owner, created_ms, metadata) VALUES (?, 'bench', 1, '{}')",
                (thread,),
            )
            db.execute("INSERT INTO aliases VALUES (?, ?)", (thread, added.lastrowid))
        db.execute("COMMIT")
    done = count // CALLERS * CALLERS
    took_cpu_s = time.process_time() - began_cpu_s
    rate = done / (time.perf_counter() - began_s)
    db.close()
    return rate, took_cpu_s * 10**6 / done


def main(folder: Path, count: int) -> None:
    """Both in turn."""
    figures: dict[str, list[tuple[float, float]]] = {"ours": [], "bare": []}
    works: dict[str, Callable[[Path], tuple[float, float]]] = {
        "ours": lambda home: uvloop.run(ours(home, count)),
        "bare": lambda home: bare(home, count),
    }
    for number in range(ROUNDS):
        for name, work in works.items():
            home = folder / f"{name}-{number}"
            home.mkdir()
            figures[name].append(work(home))
    print(json.dumps(figures))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
