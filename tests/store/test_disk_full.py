import asyncio
import itertools
import os
import sqlite3
import subprocess
from contextlib import closing, suppress
from pathlib import Path

import pytest

from ringside_proxy.domain.errors import StorageFullError
from ringside_proxy.domain.items import InputText, Item, MessageBody
from ringside_proxy.store import items, threads
from ringside_proxy.store.db import Database
from ringside_proxy.store.files import StoreError
from tests.faults.sizes import size
from tests.store.memory import DEVELOPER, dump
from tests.store.writing import durable_keys, file_limit, held, keys, put, queued

POINTS = size("points of a full disk")
UNLIMITED_PAGES = 0xFFFFFFFE


def add_thread(tx, number, size):
    """A thread with three messages: rows in five tables and their indexes, or nothing."""
    thread = threads.insert(tx, f"conv_{number:024x}", DEVELOPER, None, {"number": str(number)})
    messages = [
        Item(
            id=f"msg_{number:020x}{index:04x}",
            role="user",
            created_ms=tx.now_ms,
            body=MessageBody([InputText("x" * size)]),
        )
        for index in range(3)
    ]
    items.append(tx, thread.seq, messages)
    return number


def limit_pages(tx, spare):
    """Lets the file grow by so many pages, and no more."""
    [pages] = tx.one("PRAGMA page_count")
    tx.one(f"PRAGMA max_page_count = {UNLIMITED_PAGES if spare is None else pages + spare}")


def stored(path):
    """The numbers of the threads that are stored; every one of them whole."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = dump(connection)
    numbers = [int(row[1].removeprefix("conv_"), 16) for row in rows["conversations"]]
    assert len(rows["items"]) == 3 * len(numbers)
    assert len(rows["api_thread_aliases"]) == len(rows["conversation_metadata"]) == len(numbers)
    return numbers


async def test_full_store_keeps_exactly_what_it_acknowledged(db, path):
    """At many points of growth the store is full; nothing half is stored, and it goes on."""
    acknowledged = []
    numbers = itertools.count()

    async def fill(size):
        while True:
            acknowledged.append(await db.write(add_thread, next(numbers), size))

    for point in range(POINTS):
        await db.write(limit_pages, point % 7)
        with pytest.raises(StorageFullError) as refusal:
            await fill(150 * (point % 11))
        assert refusal.value.retry_after_s == 30
        await db.write(limit_pages, None)
        acknowledged.append(await db.write(add_thread, next(numbers), 10))

    assert stored(path) == acknowledged


async def test_full_store_tells_each_of_a_batch_the_truth(db, path):
    """Of writes that share a commit with the one that finds no room, those answered are stored."""
    acknowledged = []
    for point in range(10):
        numbers = range(100 * point, 100 * point + 30)
        await db.write(limit_pages, point)
        async with held(db):
            tasks = [asyncio.create_task(db.write(add_thread, n, 900)) for n in numbers]
            await queued(db, 30)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failures = [result for result in results if not isinstance(result, int)]
        assert {type(failure) for failure in failures} == {StorageFullError}
        acknowledged += [result for result in results if isinstance(result, int)]
        await db.write(limit_pages, None)

    assert sorted(stored(path)) == acknowledged


def ballast_bytes(path):
    """How large the ballast is; None if it is not there."""
    ballast = Path(f"{path}.ballast")
    return ballast.stat().st_size if ballast.exists() else None


async def test_disk_without_room_is_survived(db, path):
    """When the log cannot grow the store only reads; with room again it writes, without a restart."""

    async def fill(point):
        for number in itertools.count():
            await db.write(put, f"{point}.{number}" + "x" * 2000)

    for point in range(10):
        await db.write(put, f"before {point}")
        with file_limit(db.wal_bytes + 700 * point):
            with pytest.raises(StorageFullError):
                await fill(point)
            assert db.is_full
            assert f"before {point}" in db.get(keys)
            with pytest.raises(StorageFullError):
                await db.write(put, f"full {point}")
        assert await db.write(put, f"after {point}") == f"after {point}"
        assert not db.is_full

    assert not {f"full {point}" for point in range(10)} & durable_keys(path)
    assert {f"{word} {n}" for n in range(10) for word in ("before", "after")} <= durable_keys(path)


async def test_ballast_makes_room(db, path):
    """The ballast is given up when the disk is full, and put back when there is room."""
    sizes = [ballast_bytes(path)]
    with file_limit(db.wal_bytes), pytest.raises(StorageFullError):
        await db.write(put, "a")
    sizes.append(ballast_bytes(path))

    await db.write(put, "b")

    assert [*sizes, ballast_bytes(path)] == [16 * 1024 * 1024, None, 16 * 1024 * 1024]


async def test_store_can_be_closed_on_a_full_disk(path, clock):
    """A proxy on a full disk still ends; what it acknowledged is there when it comes back."""
    db = await Database.open(path, clock)
    await db.write(put, "a")
    with file_limit(0):
        with pytest.raises(StorageFullError):
            await db.write(put, "b")
        await db.close()

    again = await Database.open(path, clock)

    assert await again.write(put, "c") == "c"
    await again.close()
    assert durable_keys(path) == {"a", "c"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 100 MiB; only where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Leave no byte to anybody."""
    with (folder / "somebody's").open("ab", buffering=0) as file:
        for size in (2**20, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def take_the_ballast(path):
    """Somebody has taken the room that the ballast kept."""
    ballast = Path(f"{path}.ballast")
    ballast.unlink()
    fill(ballast.parent)


async def test_store_opens_on_a_full_disk(small_disk, clock):
    """The ballast makes the room for it: a pod that is started again serves, and can even write."""
    path = small_disk / "ringside.db"
    db = await Database.open(path, clock)
    await db.write(put, "before")
    await db.close()
    fill(small_disk)

    db = await Database.open(path, clock)
    await db.write(put, "after")
    found = db.get(keys)
    await db.close()

    assert {"before", "after"} <= set(found)
    assert ballast_bytes(path) is None


async def test_a_disk_without_any_room_is_named(small_disk, clock):
    """With what to do; and nothing is broken by the attempt."""
    path = small_disk / "ringside.db"
    db = await Database.open(path, clock)
    await db.write(put, "before")
    await db.close()
    fill(small_disk)
    take_the_ballast(path)

    with pytest.raises(StoreError, match="make room, then start again"):
        await Database.open(path, clock)
    (small_disk / "somebody's").unlink()
    db = await Database.open(path, clock)
    found = db.get(keys)
    await db.close()

    assert "before" in found
