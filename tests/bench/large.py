"""How long a large store takes to open.

    python -m tests.bench.large FILE BYTES

Fills a store with threads of twenty messages of 16 kB up to BYTES, opens it again and again, and prints
the seconds of each as JSON. The file is in the system's cache by then, as after a restart.
"""

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from ringside_proxy.store.db import Database
from ringside_proxy.system import SystemClock

MESSAGES: Final = 20
"""Of a thread, as the statements say."""
THREADS_AT_ONCE: Final = 200
OPENINGS: Final = 7

NUMBERS: Final = (
    "WITH RECURSIVE numbers (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
)
THREADS: Final = (
    "INSERT INTO conversations (seq, id, owner, created_ms, metadata, tool_resources, "  # noqa: S608 - fixed fragments
    "message_count, next_ordinal) "
    + NUMBERS
    + "SELECT n, printf('conv_%024x', n), '', n, '{}', '{}', 20, 21 FROM numbers"
)
ALIASES: Final = (
    "INSERT INTO api_thread_aliases (thread_id, conversation) "  # noqa: S608 - fixed fragments
    + NUMBERS
    + "SELECT printf('thread_%024x', n), n FROM numbers"
)
ITEMS: Final = (
    "INSERT INTO items (id, conversation, ordinal, type, role, status, created_ms, body) "  # noqa: S608 - fixed fragments
    + NUMBERS
    + "SELECT printf('msg_%024x', n), n / 20, n % 20 + 1, 'message', 'user', 'completed', n, "
    "zeroblob(16000) FROM numbers"
)


async def opened(path: Path) -> float:
    """Seconds that it takes; it is closed as it should be."""
    began_s = time.perf_counter()
    db = await Database.open(path, SystemClock())
    took_s = time.perf_counter() - began_s
    await db.close()
    return took_s


def fill(path: Path, size_bytes: int) -> None:
    """Make the store at `path` that large; nothing else has it open."""
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "foreign_keys=OFF"):
        db.execute(f"PRAGMA {pragma}")
    first = 1
    while path.stat().st_size < size_bytes:
        last = first + THREADS_AT_ONCE - 1
        db.execute("BEGIN")
        db.execute(THREADS, (first, last))
        db.execute(ALIASES, (first, last))
        db.execute(ITEMS, (first * MESSAGES, (last + 1) * MESSAGES - 1))
        db.execute("COMMIT")
        first = last + 1
    db.close()


def main(path: Path, size_bytes: int) -> None:
    """Fill it, and open it."""
    uvloop.run(opened(path))
    fill(path, size_bytes)
    print(json.dumps([uvloop.run(opened(path)) for _ in range(OPENINGS)]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
