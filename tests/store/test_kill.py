import asyncio
import os
import random
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ringside_proxy.store import files
from ringside_proxy.store.db import Database
from tests.faults.sizes import TIMEOUT_S, size
from tests.store import writer
from tests.store.writing import KEYS

ROOT = Path(__file__).parents[2]
KILLS = size("kills of the store")
SEED = 20261121
ACKS = [0, 0, 0, *range(1, 120)]
"""After how many acknowledgements a writer may be killed; while opening, a little more often."""
HAS_SCHEMA = "SELECT 1 FROM sqlite_schema WHERE name = 'store_meta'"


async def killed_writer(path: Path, name: str, acks: int) -> set[str]:
    """What a writer acknowledged until it was killed, right after so many acknowledgements.

    After none, it is killed while it opens the store.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        writer.__file__,
        path,
        name,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    try:
        told = [await process.stdout.readline() for _ in range(1 + acks)]
    finally:
        process.kill()
    told += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -9
    opening, *acknowledged = [line.decode().strip() for line in told if line.endswith(b"\n")]
    assert opening == writer.OPENING
    return set(acknowledged)


def stored(path: Path) -> set[str]:
    """The writes that are stored; each of them has both its rows, in a sound file."""
    if not path.exists():
        return set()
    with closing(files.open_reader(path)) as connection:  # it leaves the log to the next writer
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute(HAS_SCHEMA).fetchall():
            return set()
        rows = [key.split() for (key,) in connection.execute(KEYS)]
    lefts, rights = ({name for name, side in rows if side == end} for end in ("left", "right"))
    assert lefts == rights
    return lefts


@pytest.mark.timeout(TIMEOUT_S)
async def test_nothing_acknowledged_is_lost_to_a_kill(path, clock):
    """Again and again a writer dies at a random moment: its lock is free, and every promise is kept."""
    choose = random.Random(SEED)
    acknowledged: set[str] = set()
    for kill in range(KILLS):
        acknowledged |= await killed_writer(path, str(kill), choose.choice(ACKS))
        files.unlock(files.lock(path))
        assert acknowledged <= stored(path), f"seed {SEED}, kill {kill}"

    db = await Database.open(path, clock)
    await db.close()
    assert acknowledged <= stored(path)
    assert len(acknowledged) > KILLS * len(ACKS) // 4
