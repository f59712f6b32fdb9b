import asyncio
import sqlite3

import pytest

from ringside_proxy.store.db import READERS
from tests.store.writing import Held, keys, put


async def test_reader_finds_what_was_acknowledged(db):
    """However it reads, whoever was answered finds the row at once."""
    for number in range(20):
        key = await db.write(put, f"k{number}")

        assert key in db.get(keys)
        for _ in range(READERS):
            assert key in await db.read(keys)


async def test_readers_cannot_write(db):
    """Only the writer's connection can change anything."""
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.get(put, "a")
    for _ in range(READERS):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await db.read(put, "a")

    assert await db.write(keys) == set()


async def test_read_sees_one_moment(db):
    """A read of several statements is not disturbed by what is committed between them."""
    between = Held()

    def read_twice(tx):
        before = keys(tx)
        between(tx)
        return before, keys(tx)

    reading = asyncio.create_task(db.read(read_twice))
    await asyncio.to_thread(between.begun.wait, 10)
    await db.write(put, "a")
    between.release()

    assert await reading == (set(), set())
    assert await db.read(keys) == {"a"}


async def test_read_that_fails_leaves_the_reader_usable(db):
    """An exception ends the snapshot too: the next read on that connection is fresh."""
    for _ in range(READERS):
        with pytest.raises(ZeroDivisionError):
            await db.read(lambda tx: (keys(tx), 1 // 0))
    await db.write(put, "a")

    assert [await db.read(keys) for _ in range(READERS)] == [{"a"}] * READERS


async def test_finished_reads_pin_nothing(db):
    """After reading one row of many, the write-ahead log can still be emptied."""
    for number in range(20):
        await db.write(put, f"k{number}")
    first = "SELECT key FROM store_meta ORDER BY key"
    db.get(lambda tx: tx.one(first))
    for _ in range(READERS):
        await db.read(lambda tx: tx.one(first))

    def checkpoint(connection):
        return connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    assert await db._writer._execute(checkpoint, db._writer._conn) == (0, 0, 0)


PRAGMAS = {
    "journal_mode": "wal",
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "temp_store": 2,
    "mmap_size": 0,
}
WRITER_PRAGMAS = PRAGMAS | {
    "synchronous": 2,
    "foreign_keys": 1,
    "query_only": 0,
    "journal_size_limit": 64 * 1024 * 1024,
    "cache_size": -16384,
    "wal_autocheckpoint": 1000,
}
READER_PRAGMAS = PRAGMAS | {"query_only": 1, "cache_size": -8192, "wal_autocheckpoint": 0}


def pragmas(tx, names):
    """What the connection is set to."""
    return {name: tx.one(f"PRAGMA {name}")[0] for name in names}


async def test_connections_are_set_as_designed(db):
    """The writer is durable and alone in checkpointing; readers cannot write."""
    assert await db.write(pragmas, WRITER_PRAGMAS) == WRITER_PRAGMAS
    assert db.get(pragmas, READER_PRAGMAS) == READER_PRAGMAS
    for _ in range(READERS):
        assert await db.read(pragmas, READER_PRAGMAS) == READER_PRAGMAS
