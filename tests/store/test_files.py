import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager

import pytest

from ringside_proxy.store import files
from ringside_proxy.store.db import Database
from ringside_proxy.store.files import StoreCorruptError, StoreError, StoreInUseError
from tests.store.writing import durable_keys, keys, put

OPEN_MARK = "SELECT count(*) FROM store_meta WHERE key = 'open'"
PAGE_BYTES = 4096

TAKE_LOCK = """\
import sys
from pathlib import Path
from ringside_proxy.store import files
try:
    files.lock(Path(sys.argv[1]))
except files.StoreInUseError as error:
    print(error)
"""


def lock_in_another_process(path):
    """What another process is told that asks for the lock."""
    command = [sys.executable, "-c", TAKE_LOCK, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def umask(mask):
    """The process creates files under another umask meanwhile."""
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def query(path, sql):
    """The one value that a query finds on a connection of its own."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchone()[0]


def contents(path):
    """Every byte of a store that is worth anything; `-shm` is rebuilt by whoever opens it."""
    return {
        file.name: file.read_bytes()
        for file in path.parent.iterdir()
        if file.name in (path.name, f"{path.name}-wal")
    }


def killed_copy(path, target):
    """What a process killed now would leave behind."""
    target.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{target}{suffix}")
    return target


async def lost_store(path, clock, tmp_path):
    """A store of several pages that was not closed, with its latest writes still in the log."""
    db = await Database.open(path, clock)
    for number in range(40):
        await db.write(put, f"{number:02}" + "x" * 1000)
    await db.write(put, "in the checkpoint")
    await db.close()
    db = await Database.open(path, clock)
    await db.write(put, "in the log")
    copy = killed_copy(path, tmp_path / "killed" / path.name)
    await db.close()
    return copy


async def test_store_is_owned_once_in_a_process(db, path, clock):
    """A second open is refused with what to do, and disturbs nothing."""
    with pytest.raises(StoreInUseError, match=r"in use by another process.*store\.url"):
        await Database.open(path, clock)

    assert await db.write(put, "a") == "a"


async def test_store_is_owned_once_on_the_machine(db, path):
    """Another process is refused too."""
    told = lock_in_another_process(path)

    assert f"The store {path} is in use by another process." in told


async def test_closed_store_can_be_owned_again(path, clock):
    """Giving the store up frees its lock; what was written is there."""
    for number in range(3):
        db = await Database.open(path, clock)
        assert db.get(keys) == {f"k{n}" for n in range(number)}
        await db.write(put, f"k{number}")
        await db.close()


async def test_nobody_else_may_read_the_store(path, clock, tmp_path):
    """Even under a careless umask the directory is 0700 and every file in it 0600."""
    with umask(0):
        db = await Database.open(path, clock)
        await db.write(put, "a")
        await db.backup(tmp_path / "copy.db")
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        await db.close()

    assert {path.name + end for end in ("", "-wal", "-shm", ".lock", ".ballast")} == set(modes)
    assert set(modes.values()) == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


async def test_open_store_is_marked_until_it_is_closed(path, clock):
    """A clean stop empties the log into the file and takes the mark away."""
    db = await Database.open(path, clock)
    await db.write(put, "a")
    assert query(path, OPEN_MARK) == 1

    await db.close()

    assert set(contents(path)) == {path.name}
    assert query(path, OPEN_MARK) == 0
    assert durable_keys(path) == {"a"}


async def test_store_of_a_killed_process_opens_whole(path, clock, tmp_path):
    """After an unclean stop the store is checked, and everything that was acknowledged is there."""
    copy = await lost_store(path, clock, tmp_path)
    assert query(copy, OPEN_MARK) == 1

    db = await Database.open(copy, clock)

    assert {"in the checkpoint", "in the log"} < db.get(keys)
    await db.close()
    assert query(copy, OPEN_MARK) == 0


def garbage(path):
    path.write_bytes(b"This is no database. " * 1000)


def cut(path):
    os.truncate(path, path.stat().st_size // PAGE_BYTES // 2 * PAGE_BYTES)


def broken_page(path):
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 3 * PAGE_BYTES)
        file.write(b"\xff" * 64)


@pytest.mark.parametrize("harm", [garbage, cut, broken_page])
async def test_damaged_store_is_refused_and_left_as_it_is(path, clock, tmp_path, harm):
    """The refusal says how to restore; not a byte of the file or its log changes, however often."""
    copy = await lost_store(path, clock, tmp_path)
    harm(copy)
    before = contents(copy)

    for _ in range(2):
        with pytest.raises(StoreCorruptError, match=rf"Nothing was changed.*cp BACKUP {copy}$"):
            await Database.open(copy, clock)

    assert contents(copy) == before
    assert set(before) == {copy.name, f"{copy.name}-wal"}


async def test_store_that_was_closed_is_not_searched_for_damage(path, clock, tmp_path):
    """The search costs time with the size of the store: it is made only after an unclean stop."""
    copy = await lost_store(path, clock, tmp_path)
    await (await Database.open(copy, clock)).close()
    broken_page(copy)

    db = await Database.open(copy, clock)

    await db.close()


async def test_what_is_in_the_way_is_not_called_damage(path, clock):
    """A database that is not ours is refused without telling anyone to restore a backup."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")

    with pytest.raises(StoreError, match="cannot be opened") as refusal:
        await Database.open(path, clock)

    assert not isinstance(refusal.value, StoreCorruptError)


def test_new_store_gets_the_whole_schema(store):
    """The version says how many migrations there are, and migrating again changes nothing."""
    [version] = store.connection.execute("PRAGMA user_version").fetchone()
    schema = store.rows("SELECT * FROM sqlite_schema")

    assert version == files.migrate(store.connection) > 0
    assert store.rows("SELECT * FROM sqlite_schema") == schema


def test_every_table_is_strict(store):
    """A column holds what it declares, in every table."""
    tables = store.rows(
        "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    )

    loose = {name for name, strict in tables if not strict and not name.startswith("sqlite_")}

    assert len(tables) > 5
    assert loose == set()


async def test_store_of_a_newer_version_is_refused(path, clock):
    """The refusal names both versions and is not about damage; the store stays as it is."""
    await (await Database.open(path, clock)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")

    with pytest.raises(StoreError, match=r"schema version 99.*knows only") as refusal:
        await Database.open(path, clock)

    assert not isinstance(refusal.value, StoreCorruptError)
    assert query(path, "PRAGMA user_version") == 99
    assert query(path, OPEN_MARK) == 0
