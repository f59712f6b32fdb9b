"""A store meets the next version of the package: this one, with a migration more."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import ringside_proxy
from ringside_proxy.store.db import Database
from ringside_proxy.store.files import StoreError
from tests.store.writing import durable_keys, put

OPEN = """\
import asyncio, sys
from pathlib import Path
from ringside_proxy.store.db import Database
from ringside_proxy.system import SystemClock

async def main():
    await (await Database.open(Path(sys.argv[1]), SystemClock())).close()

asyncio.run(main())
"""
GOOD = "CREATE TABLE added (id TEXT PRIMARY KEY) STRICT;\nINSERT INTO added VALUES ('x');\n"
BAD = "CREATE TABLE added (id TEXT PRIMARY KEY) STRICT;\nINSERT INTO nowhere VALUES ('x');\n"


def opened_by_next_version(home: Path, path: Path, migration: str) -> subprocess.CompletedProcess:
    """The store, opened and closed by a package that knows one migration more."""
    package = home / "next" / "ringside_proxy"
    shutil.copytree(
        Path(ringside_proxy.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    folder = package / "store" / "migrations"
    number = len(list(folder.glob("*.sql"))) + 1
    (folder / f"{number:04}_next.sql").write_text(migration)
    env = os.environ | {"PYTHONPATH": str(package.parent)}
    return subprocess.run(
        [sys.executable, "-c", OPEN, path], env=env, cwd=home, capture_output=True, text=True
    )


def version(path):
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


@pytest.fixture
async def old_version(path, clock):
    """The version of a store with one row that this package made."""
    db = await Database.open(path, clock)
    await db.write(put, "a")
    await db.close()
    return version(path)


async def test_upgrade_keeps_the_rows_and_a_copy_of_before(path, clock, tmp_path, old_version):
    """The store moves on whole; a copy at the old version lies beside it, which we can still open."""
    upgrade = opened_by_next_version(tmp_path, path, GOOD)

    copy = Path(f"{path}.pre-{old_version + 1}")
    assert (upgrade.returncode, upgrade.stderr) == (0, "")
    assert (version(path), version(copy)) == (old_version + 1, old_version)
    assert durable_keys(path) == durable_keys(copy) == {"a"}
    with pytest.raises(StoreError, match="newer version"):
        await Database.open(path, clock)
    await (await Database.open(copy, clock)).close()


async def test_upgrade_that_fails_changes_nothing(path, clock, tmp_path, old_version):
    """Half a migration is none: the store stays at its version, and this package opens it."""
    upgrade = opened_by_next_version(tmp_path, path, BAD)

    assert "no such table: nowhere" in upgrade.stderr
    assert "damaged" not in upgrade.stderr
    assert version(path) == old_version
    with closing(sqlite3.connect(path)) as connection:
        added = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'added'").fetchone()
    assert added is None
    db = await Database.open(path, clock)
    assert await db.write(put, "b") == "b"
    await db.close()


async def test_upgrade_that_failed_can_be_tried_again(path, clock, tmp_path, old_version):
    """The copy that a failed upgrade left is in nobody's way: the next one is newer."""
    opened_by_next_version(tmp_path / "first", path, BAD)
    db = await Database.open(path, clock)
    await db.write(put, "b")
    await db.close()

    upgrade = opened_by_next_version(tmp_path / "second", path, GOOD)

    assert (upgrade.returncode, upgrade.stderr) == (0, "")
    assert version(path) == old_version + 1
    assert durable_keys(Path(f"{path}.pre-{old_version + 1}")) == {"a", "b"}
