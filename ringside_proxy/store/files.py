"""The files of a store: who may open them, how, and at which schema version.

One process owns a store. It is held by an exclusive lock on `<db>.lock`; only the owner's writer
connection writes and checkpoints. That single writer also keeps us clear of SQLite's WAL-reset
corruption bug (3.7.0 to 3.51.2), which needs two connections that checkpoint.
Source: SQLite's release log for 3.51.3, read 2026-11-21.
"""

import fcntl
import os
import re
import sqlite3
from importlib import resources
from pathlib import Path
from typing import Final, Literal

WRITER_CACHE_KIB: Final = 16384
READER_CACHE_KIB: Final = 8192
BUSY_TIMEOUT_MS: Final = 5000
JOURNAL_BYTES_MAX: Final = 64 * 1024 * 1024
WAL_AUTOCHECKPOINT_PAGES: Final = 1000
CACHED_STATEMENTS: Final = 512
QUICK_CHECK_BYTES_MAX: Final = 1024**3
FIRST_FIXED_SQLITE: Final = (3, 51, 3)

Synchronous = Literal["full", "normal"]


class StoreError(Exception):
    """The store cannot be opened; the message says why and what to do."""


class StoreInUseError(StoreError):
    """Another process owns the store."""


class StoreCorruptError(StoreError):
    """The database file is damaged."""


def sqlite_is_fixed() -> bool:
    """Whether this SQLite is free of the WAL-reset bug even with several checkpointers."""
    return sqlite3.sqlite_version_info >= FIRST_FIXED_SQLITE


def lock(path: Path) -> int:
    """Own the store at `path`: its directory (0700) and lock file (0600); gives the descriptor.

    Raises StoreInUseError while another process owns it, StoreError if it cannot be made. The
    kernel frees the lock when the owner dies, however it dies.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"The store {path} cannot be opened: {error.strerror} ({error.filename}). Let this "
            "user write to its folder, or name another place under store.url."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreInUseError(
            f"The store {path} is in use by another process. Stop that one first, "
            "or give this one its own store.url."
        ) from None
    return descriptor


def unlock(descriptor: int) -> None:
    """Give the store up."""
    os.close(descriptor)


def open_writer(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    """The one connection that writes; creates the file (0600) if there is none."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, isolation_level=None, cached_statements=CACHED_STATEMENTS, check_same_thread=False
    )
    _pragmas(
        connection,
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        f"synchronous={synchronous.upper()}",
        "foreign_keys=ON",
        f"journal_size_limit={JOURNAL_BYTES_MAX}",
        f"cache_size=-{WRITER_CACHE_KIB}",
        f"wal_autocheckpoint={WAL_AUTOCHECKPOINT_PAGES}",
    )
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write and never checkpoints."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        isolation_level=None,
        cached_statements=CACHED_STATEMENTS,
        check_same_thread=False,
    )
    _pragmas(
        connection,
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "query_only=1",
        f"cache_size=-{READER_CACHE_KIB}",
        "wal_autocheckpoint=0",
    )
    return connection


def _pragmas(connection: sqlite3.Connection, *pragmas: str) -> None:
    """Set up a connection; one that cannot be is closed."""
    always = ("trusted_schema=OFF", "cell_size_check=ON", "temp_store=MEMORY", "mmap_size=0")
    try:
        for pragma in (*pragmas, *always):
            connection.execute(f"PRAGMA {pragma}").close()
    except BaseException:
        connection.close()
        raise


def migrate(connection: sqlite3.Connection, path: Path | None = None) -> int:
    """Bring the schema to this version's; gives the version.

    Each migration is one transaction. Before the first one of an upgrade, a copy is left beside
    the store as `<db>.pre-<n>` (not for a new store, nor without a `path`).
    Raises StoreError for a store that a newer version wrote.
    """
    known = _migrations()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(known):
        raise StoreError(
            f"The store has schema version {version}; this version of Ringside knows only "
            f"{len(known)}. Run the newer version, or restore the backup made before the upgrade."
        )
    if path is not None and 0 < version < len(known):
        _copy(connection, Path(f"{path}.pre-{version + 1}"))
    for number in range(version + 1, len(known) + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{known[number - 1]}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
    return len(known)


def known_schema() -> int:
    """The schema version that this version brings a store to."""
    return len(_migrations())


def _migrations() -> list[str]:
    folder = resources.files(__package__) / "migrations"
    names = sorted(
        entry.name for entry in folder.iterdir() if re.fullmatch(r"\d{4}_\w+\.sql", entry.name)
    )
    return [(folder / name).read_text("utf-8") for name in names]


def backup(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the whole store to `target` while it is in use; the copy is durable on return.

    Works on any connection, readers too. Raises StoreError if `target` exists or cannot be written.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; choose another name.")
    _copy(connection, target)


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    """Copy the store to `target`, in the place of what is there."""
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        _vacuum_into(connection, partial)
    except sqlite3.DatabaseError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"The store was not copied to {target}: {error}.") from error
    _sync(partial)
    partial.rename(target)
    _sync(target.parent)


def _vacuum_into(connection: sqlite3.Connection, target: Path) -> None:
    # `query_only` would refuse the new file too; `mode=ro` goes on protecting the store.
    is_query_only = connection.execute("PRAGMA query_only").fetchone()[0]
    old_umask = os.umask(0o077)
    try:
        connection.execute("PRAGMA query_only=0").close()
        connection.execute("VACUUM INTO ?", (str(target),)).close()
    finally:
        os.umask(old_umask)
        connection.execute(f"PRAGMA query_only={is_query_only:d}").close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Look for damage, for stores under 1 GiB. Raises StoreCorruptError with what to do."""
    if path.stat().st_size >= QUICK_CHECK_BYTES_MAX:
        return
    verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise damaged(path, verdict)


def unopened(path: Path, error: sqlite3.DatabaseError) -> StoreError:
    """Why the store could not be opened: it is damaged, or something around it is in the way."""
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return damaged(path, str(error))
    said = f"The store {path} cannot be opened: {error}."
    if is_out_of_room(error):
        said += " The disk that holds it is full or failing: make room, then start again."
    return StoreError(said)


def is_out_of_room(error: BaseException) -> bool:
    """Whether SQLite failed because the disk did: full, most of the time."""
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _code(error: BaseException) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def damaged(path: Path, finding: str) -> StoreCorruptError:
    """The error that says how to restore. Nothing is ever repaired or deleted on its own."""
    return StoreCorruptError(
        f"The store {path} is damaged ({' '.join(finding.split())}). Nothing was changed. Move it and its -wal file "
        f"aside, then put a backup in its place: cp BACKUP {path}"
    )
