"""A process that writes to a store until it is killed: `writer.py PATH ROUND`.

Prints a line when it begins to open the store, then the name of each write that was acknowledged;
a write is a pair of rows.
"""

import asyncio
import os
import sys
from pathlib import Path

from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import SystemClock

OPENING = "opening"
WRITERS = 4
INSERT = "INSERT INTO store_meta (key, value) VALUES (?, ?)"


def say(word: str) -> None:
    """Tells the parent, past every buffer."""
    os.write(sys.stdout.fileno(), f"{word}\n".encode())


def put_pair(tx: Tx, name: str) -> None:
    """Two rows, in one transaction."""
    tx.run(INSERT, f"{name} left", "x" * 300)
    tx.run(INSERT, f"{name} right", "")


async def write(db: Database, name: str) -> None:
    """Writes, and says so as soon as it is acknowledged, for ever."""
    number = 0
    while True:
        await db.write(put_pair, f"{name}.{number}")
        say(f"{name}.{number}")
        number += 1


async def main(path: Path, name: str) -> None:
    """Several at once, so that their writes share commits."""
    say(OPENING)
    db = await Database.open(path, SystemClock())
    await asyncio.gather(*(write(db, f"{name}.{index}") for index in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
