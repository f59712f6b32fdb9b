"""Small writes for the tests of the database, and a way to hold its writer."""

import asyncio
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx

WAIT_S_MAX = 30.0

INSERT = "INSERT INTO store_meta (key, value) VALUES (?, '')"
KEYS = "SELECT key FROM store_meta WHERE key <> 'open'"


def put(tx: Tx, key: str) -> str:
    """Stores a key; gives it back."""
    tx.run(INSERT, key)
    return key


def keys(tx: Tx) -> set[str]:
    """The keys that are stored."""
    return {key for (key,) in tx.all(KEYS)}


def durable_keys(path: Path) -> set[str]:
    """The keys that somebody else finds, on a connection of their own."""
    with closing(sqlite3.connect(path)) as connection:
        return {key for (key,) in connection.execute(KEYS)}


class Held:
    """The writer, busy with a write until `release`."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._released = threading.Event()

    def release(self) -> None:
        """Lets the writer go on."""
        self._released.set()

    def __call__(self, tx: Tx) -> None:
        """The write itself; it stores nothing."""
        self.begun.set()
        assert self._released.wait(WAIT_S_MAX)


@asynccontextmanager
async def held(db: Database) -> AsyncIterator[Held]:
    """Keeps the writer busy meanwhile, so that what is written waits together."""
    hold = Held()
    task = asyncio.create_task(db.write(hold))
    await asyncio.to_thread(hold.begun.wait, WAIT_S_MAX)
    try:
        yield hold
    finally:
        hold.release()
        await task


async def queued(db: Database, count: int) -> None:
    """Lets the tasks made so far ask for their writes, which wait behind a held writer."""
    await asyncio.sleep(0)
    assert db.queue_depth == count


async def until_queued(db: Database, fn: Callable[..., Any]) -> None:
    """Waits until a write of `fn` waits behind a held writer; others may wait there, too."""
    async with asyncio.timeout(WAIT_S_MAX):
        while all(item.fn is not fn for item in db._waiting):  # noqa: ASYNC110 - the queue has no event to wait for
            await asyncio.sleep(0)


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes meanwhile, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
