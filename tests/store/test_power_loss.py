"""The power goes at any moment: what was written and not synced is gone, torn, or half there."""

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from tests.fakes import FakeClock
from tests.faults.sizes import TIMEOUT_S, size
from tests.store.recording_vfs import Disk, Recorder, library
from tests.store.test_kill import stored

IMAGES = size("images after a power loss") // 2
SEED = 20261130
WRITERS = 4
WRITES = 150
"""By each, in each of two lives of the store: more than one checkpoint's worth."""
INSERT = "INSERT INTO store_meta (key, value) VALUES (?, ?)"
ACKNOWLEDGED = "acknowledged"


def put_pair(tx: Tx, name: str) -> None:
    """Two rows of a page or so each, in one transaction."""
    tx.run(INSERT, f"{name} left", "x" * 3_000)
    tx.run(INSERT, f"{name} right", "y" * 3_000)


async def recorded_life(home: Path, synchronous: str) -> Recorder:
    """Two lives of one store, with all that it wrote, and what it acknowledged when."""
    recorder = Recorder()

    async def write(db: Database, name: str) -> None:
        for number in range(WRITES):
            await db.write(put_pair, f"{name}.{number}")
            recorder.events.append((ACKNOWLEDGED, f"{name}.{number}", 0, None))

    with recorder.recording():
        for life in range(2):
            db = await Database.open(home / "ringside.db", FakeClock(), synchronous)
            await asyncio.gather(*(write(db, f"{life}.{writer}") for writer in range(WRITERS)))
            await db.close()
    return recorder


@pytest.mark.skipif(
    not hasattr(library(), "sqlite3_vfs_register"), reason="SQLite is hidden inside this Python"
)
@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_power_loss_takes_nothing_that_was_promised(tmp_path: Path, synchronous: str) -> None:
    """full: all that was acknowledged is there. normal: what is there has no gaps. Both: it is sound."""
    source = random.Random(SEED)
    recorder = await recorded_life(tmp_path / "lived", synchronous)
    moments = sorted(source.choices(range(len(recorder.events)), k=IMAGES))
    disk, acknowledged, left, lost = Disk(), set[str](), tmp_path / "left", 0
    for moment, event in enumerate(recorder.events):
        if event[0] == ACKNOWLEDGED:
            acknowledged.add(event[1])
        else:
            disk.play(event)
        for _ in range(moments.count(moment)):
            disk.lose_power(left, source)
            db = await Database.open(left / "ringside.db", FakeClock(), synchronous)
            await db.close()
            found = stored(left / "ringside.db")
            shutil.rmtree(left)
            lost += len(acknowledged - found)
            assert synchronous == "normal" or acknowledged <= found, f"seed {SEED}, event {moment}"
            assert_without_gaps(found)
    assert (
        synchronous == "full" or lost > 0
    )  # else nothing was ever lost here, and all this is idle


def assert_without_gaps(found: set[str]) -> None:
    """Each writer's writes are there up to some number, and all of them if it lives again."""
    numbers: dict[str, list[int]] = {}
    for name in found:
        writer, _, number = name.rpartition(".")
        numbers.setdefault(writer, []).append(int(number))
    for writer, there in numbers.items():
        assert sorted(there) == list(range(len(there)))
        if writer.startswith("1."):
            assert len(numbers[writer.replace("1.", "0.", 1)]) == WRITES
