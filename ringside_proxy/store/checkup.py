"""What can be learned of a store without owning it, also while a proxy runs on it."""

import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from ringside_proxy.domain.ids import NewId
from ringside_proxy.store import files, ledger_clock
from ringside_proxy.store.tx import Tx

SCHEMA: Final = "PRAGMA user_version"

T = TypeVar("T")


class Checkup(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `is_clock_believed`: a new month could open by the machine's clock."""

    schema: int
    known_schema: int
    bytes: int
    is_clock_believed: bool


def examine(path: Path, now_ms: int, new_id: NewId) -> Checkup:
    """Read through the store. Raises StoreError, StoreCorruptError."""
    try:
        with closing(files.open_reader(path)) as connection:
            files.check(connection, path)
            tx = Tx(connection, now_ms, new_id)
            schema = _schema(tx)
            known = files.known_schema()
            return Checkup(
                schema=schema,
                known_schema=known,
                bytes=path.stat().st_size,
                is_clock_believed=schema != known or ledger_clock.is_believed(tx),
            )
    except sqlite3.DatabaseError as error:
        raise files.unopened(path, error) from error


def look(path: Path, now_ms: int, new_id: NewId, fn: Callable[[Tx], T]) -> T | None:
    """What `fn` finds in the store; None if it is of another version. Raises StoreError."""
    try:
        with closing(files.open_reader(path)) as connection:
            tx = Tx(connection, now_ms, new_id)
            return fn(tx) if _schema(tx) == files.known_schema() else None
    except sqlite3.DatabaseError as error:
        raise files.unopened(path, error) from error


def _schema(tx: Tx) -> int:
    found = tx.one(SCHEMA)
    return 0 if found is None else int(found[0])


def is_owned(path: Path) -> bool:
    """Whether a process has the store. Looks for an instant only: nobody is kept out by it."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
