import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ringside_proxy.store import files
from ringside_proxy.store.db import Database
from ringside_proxy.store.files import StoreError
from tests.store.writing import KEYS, durable_keys, file_limit, put

ROOT = Path(__file__).parents[2]
CONFIG = 'store: {{url: "sqlite:///{path}"}}\n'


def put_pair(tx, number):
    """Two rows of one transaction."""
    put(tx, f"left {number}")
    put(tx, f"right {number}")
    return number


def copied(copy):
    """What a copy holds, once it has been found whole."""
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {key for (key,) in connection.execute(KEYS)}


def contents(path):
    """The store's file and what is in its log."""
    wal = Path(f"{path}-wal")
    return path.read_bytes(), wal.read_bytes() if wal.exists() else b""


def backup_command(path, target):
    """`ringside backup`, in a process of its own."""
    config = path.parent / "ringside.yaml"
    config.write_text(CONFIG.format(path=path))
    return subprocess.run(
        [sys.executable, "-m", "ringside_proxy", "backup", "-c", config, target],
        capture_output=True,
        text=True,
        cwd=path.parent,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )


async def test_backup_is_one_moment_while_writing_goes_on(db, tmp_path):
    """A copy has everything acknowledged before it, nothing torn, and nobody's write fails."""
    acknowledged = []
    stop = asyncio.Event()

    async def write(first):
        number = first
        while not stop.is_set():
            acknowledged.append(await db.write(put_pair, number))
            number += 4

    writers = [asyncio.create_task(write(first)) for first in range(4)]
    for number in range(5):
        before = set(acknowledged)
        copy = tmp_path / f"copy-{number}.db"
        await db.backup(copy)

        pairs = [key.split() for key in copied(copy)]
        lefts = {int(number) for side, number in pairs if side == "left"}
        rights = {int(number) for side, number in pairs if side == "right"}
        assert lefts == rights >= before
    stop.set()
    await asyncio.gather(*writers)

    assert len(acknowledged) > 20
    assert list(tmp_path.glob(".*")) == []


async def test_copy_is_a_store(db, clock, tmp_path):
    """A copy opens in the place of a lost store, and can be written to."""
    await db.write(put, "a")
    await db.backup(tmp_path / "copy.db")

    restored = await Database.open(tmp_path / "copy.db", clock)

    assert await restored.write(put, "b") == "b"
    await restored.close()
    assert durable_keys(tmp_path / "copy.db") == {"a", "b"}


async def test_backup_overwrites_nothing(db, tmp_path):
    """A target that exists is refused by name, and stays as it is."""
    target = tmp_path / "precious.db"
    target.write_text("precious")

    with pytest.raises(StoreError, match=r"precious\.db exists already; choose another name\."):
        await db.backup(target)

    assert target.read_text() == "precious"


async def test_backup_that_cannot_be_written_says_so(db, tmp_path):
    """A target in no directory is a problem told in words; the store goes on."""
    with pytest.raises(StoreError, match=r"was not copied to .*nowhere/copy\.db: unable to open"):
        await db.backup(tmp_path / "nowhere" / "copy.db")

    assert await db.write(put, "a") == "a"


async def test_backup_without_room_leaves_nothing(db, tmp_path):
    """A copy that the disk cannot hold is told, and what there was of it is removed."""
    for number in range(100):
        await db.write(put, f"{number}" + "x" * 1000)

    with file_limit(50_000), pytest.raises(StoreError, match="was not copied to"):
        await db.backup(tmp_path / "copy.db")

    assert os.listdir(tmp_path) == ["data"]


async def test_reader_stays_a_reader_after_a_backup(db, path, tmp_path):
    """Copying loosens nothing for good on the connection that it is made with."""
    with closing(files.open_reader(path)) as reader:
        files.backup(reader, tmp_path / "copy.db")

        assert reader.execute("PRAGMA query_only").fetchone() == (1,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM store_meta")


@pytest.mark.parametrize("state", ["running", "closed", "killed"])
async def test_backup_command_copies_the_store(path, clock, tmp_path, state):
    """With a proxy on the store, after its clean stop and after its death: all is in the copy."""
    db = await Database.open(path, clock)
    await db.write(put, "a")
    if state == "closed":
        await db.close()
    if state == "killed":
        left = tmp_path / "left" / path.name
        shutil.copytree(path.parent, left.parent, ignore=shutil.ignore_patterns("*.ballast"))
    source = left if state == "killed" else path
    before = contents(source)

    done = await asyncio.to_thread(backup_command, source, tmp_path / "copy.db")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{source} was copied to {tmp_path / 'copy.db'}\n"
    assert copied(tmp_path / "copy.db") == {"a"}
    assert contents(source) == before
    await db.close()
    reopened = await Database.open(source, clock)
    assert await reopened.write(put, "b") == "b"
    await reopened.close()


async def test_backup_command_says_what_is_wrong(db, path, tmp_path):
    """No store, a target that exists or has no directory: one line and status 1, no traceback."""
    (tmp_path / "copy.db").touch()
    cases = [
        (path.with_name("other.db"), tmp_path / "new.db", "There is no store at"),
        (path, tmp_path / "copy.db", "exists already"),
        (path, tmp_path / "nowhere" / "new.db", "was not copied"),
    ]

    for source, target, words in cases:
        done = await asyncio.to_thread(backup_command, source, target)
        assert done.returncode == 1
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
