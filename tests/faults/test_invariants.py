"""The invariants find what they are there for."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.store.db import Database
from tests.api.rig import UPSTREAM_KEY
from tests.fakes import FakeClock
from tests.faults.invariants import broken

HOLD: Final = "INSERT INTO holds VALUES ('hold_1', 'boot_1', 'c', '2025-11-21', 5, 0, 1, x'7b7d')"
USED: Final = (
    "INSERT INTO usage_records (sequence, id, created_ms, day, customer, token, kind, model, "
    "requested_model, provider, attempt, input_tokens, cached_input_tokens, "
    "cache_write_input_tokens, output_tokens, reasoning_tokens, estimated) "
    "VALUES (2, 'use_1', 1, '2025-11-21', 'c', 't', 'embedding', 'm', 'm', 'p', 1, 1, 0, 0, 0, 0, 0)"
)
WRONG: Final = {
    "calls that are still held": HOLD,
    "bookings with gaps": USED,
    "customers who have not spent what was booked": (
        "INSERT INTO budget_periods (customer, period, settled_nano) VALUES ('c', '2025-11', 1)"
    ),
    "days that are not the sum of their bookings": (
        "INSERT INTO usage_days VALUES ('2025-11-21', 'c', 'm', 'run', 'p', 1, 0, 0, 0, 0, 0, 0, 0, 0)"
    ),
    "a wallet that does not hold what moved it": "UPDATE wallet SET balance_nano = 1",
    "keys that are worked on": (
        "INSERT INTO idempotency_keys (scope, fingerprint, state, boot, created_ms) "
        "VALUES (x'00', x'00', 'running', 'boot_1', 1)"
    ),
}


async def make(path: Path) -> None:
    """An empty store."""
    db = await Database.open(path, FakeClock(), "normal")
    await db.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """An empty store that nobody has open."""
    path = tmp_path / "ringside.db"
    asyncio.run(make(path))
    return path


def test_an_empty_store_is_sound(store: Path) -> None:
    """Nothing is found where nothing is."""
    assert list(broken(store.parent)) == []


@pytest.mark.parametrize(("name", "statement"), WRONG.items(), ids=WRONG)
def test_a_wrong_row_is_found(store: Path, name: str, statement: str) -> None:
    """By the name of what is wrong."""
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(statement)

    assert any(f"ringside.db: {name}" in found for found in broken(store.parent))


def test_a_spoilt_file_is_found(store: Path) -> None:
    """As `integrity_check` says it."""
    data = bytearray(store.read_bytes())
    data[-4096:] = bytes(4096)
    store.write_bytes(data)

    assert any("integrity_check" in found for found in broken(store.parent))


def test_a_secret_in_a_log_and_an_open_file_are_found(tmp_path: Path) -> None:
    """Wherever it stands but in the configuration; and whatever this process still has open."""
    (tmp_path / "ringside.yaml").write_text(UPSTREAM_KEY)
    (tmp_path / "ringside.log").write_text(f"calling with {UPSTREAM_KEY}")

    with (tmp_path / "open").open("w"):
        found = list(broken(tmp_path))

    assert [each.partition(":")[0] for each in found] == [
        "ringside.log shows a secret",
        "still open",
    ]
    assert list(broken(tmp_path))[1:] == []
