"""The database: one writer with group commit, a few readers.

`await db.write(fn, *args)` runs `fn(tx, *args)` whole on the writer's thread. Writes that wait
together share one commit, and one that fails takes only itself along.
A caller that is cancelled loses the result, never the work. A future resolves after COMMIT, so
whoever was answered finds the row.

aiosqlite provides the connections and their threads; its statement-by-statement awaiting is never
used, because a cancelled await leaves the statement running and the transaction open.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, TypeVar

import aiosqlite

from ringside_proxy.domain.errors import OverloadedError, StorageFullError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.store import files
from ringside_proxy.store.ballast import Ballast
from ringside_proxy.store.tx import Topic, Tx
from ringside_proxy.system import Clock, system_ids

BATCH_ITEMS_MAX: Final = 64
WAITING_ITEMS_MAX: Final = 10_000
READERS: Final = 2
OVERLOADED_RETRY_AFTER_S: Final = 1.0
STORAGE_FULL_RETRY_AFTER_S: Final = 30.0

OPEN_MARK: Final = "SELECT value FROM store_meta WHERE key = 'open'"
"""A row is there while the store is open: found at start, the last stop was not clean."""

P = ParamSpec("P")
T = TypeVar("T")


class _Item(NamedTuple):
    future: "asyncio.Future[Any]"
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class _Outcome(NamedTuple):
    result: Any
    error: BaseException | None
    after_commit: list[Callable[[], None]]
    topics: set[Topic]


class Database:
    """A store that this process owns. Build it with `open`, give it up with `close`."""

    def __init__(
        self, path: Path, clock: Clock, observe: Callable[[int, float], None], new_id: NewId
    ) -> None:
        self.path = path
        self._clock = clock
        self._new_id = new_id
        self._observe = observe
        self._lock: int | None = None
        self._writer: aiosqlite.Connection | None = None
        self._readers: list[aiosqlite.Connection] = []
        self._next_reader = 0
        self._inline: sqlite3.Connection | None = None
        self._waiting: deque[_Item] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._making_room: asyncio.Task[None] | None = None
        self._is_closing = False
        self._ballast = Ballast(path)
        self._listeners: dict[Topic, list[Callable[[], None]]] = {}
        self.is_full = False
        """The disk is full: the store only reads, until there is room again."""

    @classmethod
    async def open(
        cls,
        path: Path,
        clock: Clock,
        synchronous: files.Synchronous = "full",
        observe: Callable[[int, float], None] = lambda items, seconds: None,
        new_id: NewId | None = None,
    ) -> "Database":
        """Own, check and upgrade the store at `path`, made if there is none.

        Where the disk has no room even for that, the ballast makes some. `observe(items, seconds)`
        is told of every commit. Raises StoreError.
        """
        self = cls(path, clock, observe, new_id or system_ids())
        self._lock = files.lock(path)
        try:
            try:
                await self._connect_all(synchronous)
            except sqlite3.OperationalError as error:
                if not files.is_out_of_room(error):
                    raise
                await self._disconnect()
                self._ballast.drop()
                await self._connect_all(synchronous)
            self._ballast.create()
        except BaseException as error:
            await self._release()
            if isinstance(error, sqlite3.DatabaseError):
                raise files.unopened(path, error) from error
            raise
        return self

    async def _connect_all(self, synchronous: files.Synchronous) -> None:
        await _inspect(self.path)
        self._writer = await _connect(partial(files.open_writer, self.path, synchronous))
        await _on_thread(self._writer, _prepare, self.path)
        self._readers = [
            await _connect(partial(files.open_reader, self.path)) for _ in range(READERS)
        ]
        self._inline = files.open_reader(self.path)

    async def write(
        self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `fn(tx, *args, **kwargs)`, once it is durable.

        Raises what `fn` raises (nothing of it is stored then), OverloadedError while too many
        wait, StorageFullError when the disk is full.
        """
        return await self.submit(fn, *args, **kwargs)

    def submit(
        self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[T]":
        """The same as a future: what is begun is done whether or not anybody waits for it.

        Raises OverloadedError and StorageFullError at once where nothing could be begun.
        """
        if self._is_closing:
            raise RuntimeError("the store is closed")
        if self.is_full:
            if not self._ballast.create():
                raise storage_full()
            self.is_full = False
        if len(self._waiting) >= WAITING_ITEMS_MAX:
            raise OverloadedError(
                "Too many writes are waiting. Try again in a second.",
                retry_after_s=OVERLOADED_RETRY_AFTER_S,
            )
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Item(future, fn, args, kwargs))
        if self._idle.is_set():
            self._idle.clear()
            future.get_loop().call_soon(self._begin_batch)  # with all that is asked in this turn
        return future

    async def read(
        self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """The result of `fn` on one snapshot, off the event loop: lists and anything long."""
        if not self._readers:
            raise RuntimeError("the store is closed")
        reader = self._readers[self._next_reader]
        self._next_reader = (self._next_reader + 1) % len(self._readers)
        result: T = await _on_thread(
            reader, _snapshot, self._clock.now_ms(), self._new_id, fn, args, kwargs
        )
        return result

    def get(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `fn`, right here: for a few point reads by key, cheaper than a thread hop."""
        if self._inline is None:
            raise RuntimeError("the store is closed")
        return fn(Tx(self._inline, self._clock.now_ms(), self._new_id), *args, **kwargs)

    def listen(self, topic: Topic, wake: Callable[[], None]) -> None:
        """Have `wake` called on the event loop after each commit in which `topic` was announced."""
        self._listeners.setdefault(topic, []).append(wake)

    @property
    def queue_depth(self) -> int:
        """How many writes wait."""
        return len(self._waiting)

    @property
    def free_bytes(self) -> int:
        """What the disk has left."""
        return self._ballast.free_bytes()

    async def keep_room(self) -> None:
        """Put the ballast in its place again, if it is gone and the disk has room for it."""
        if not self.is_full:
            await asyncio.to_thread(self._ballast.create)

    @property
    def wal_bytes(self) -> int:
        """How long the write-ahead log is."""
        wal = Path(f"{self.path}-wal")
        return wal.stat().st_size if wal.exists() else 0

    async def backup(self, target: Path) -> None:
        """A durable copy of the store as it is now. Raises StoreError if `target` exists."""
        reader = await _connect(partial(files.open_reader, self.path))
        try:
            await _on_thread(reader, files.backup, target)
        finally:
            await reader.close()

    async def close(self) -> None:
        """Finish what waits, checkpoint, mark the stop as clean, give the store up."""
        self._is_closing = True
        await self._idle.wait()
        if self._writer is not None:
            await self._close_readers()
            await _on_thread(self._writer, _mark_clean)
        await self._release()

    # Callbacks, not a task: every write goes this way, and a task costs a quarter of it.

    def _begin_batch(self) -> None:
        assert self._writer is not None  # noqa: S101 - set by open, before any write
        size = min(len(self._waiting), BATCH_ITEMS_MAX)
        batch = [self._waiting.popleft() for _ in range(size)]
        started_s = self._clock.monotonic_s()
        done = _on_thread(self._writer, _run_batch, batch, self._clock.now_ms(), self._new_id)
        done.add_done_callback(partial(self._end_batch, batch, started_s))

    def _end_batch(
        self, batch: list[_Item], started_s: float, done: "asyncio.Future[list[_Outcome]]"
    ) -> None:
        try:
            outcomes = done.result()
            self._observe(len(batch), self._clock.monotonic_s() - started_s)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it was
            outcomes = _failed(batch, error)
        if any(isinstance(outcome.error, StorageFullError) for outcome in outcomes):
            self._making_room = asyncio.create_task(self._make_room(batch, outcomes))
        else:
            self._tell(batch, outcomes)

    async def _make_room(self, batch: list[_Item], outcomes: list[_Outcome]) -> None:
        """What can be done on a full disk, before anybody is told that it is."""
        assert self._writer is not None  # noqa: S101 - as above
        self.is_full = True
        try:
            self._ballast.drop()
            await _on_thread(self._writer, _checkpoint)
        except Exception as error:  # noqa: BLE001 - as above
            outcomes = _failed(batch, error)
        self._tell(batch, outcomes)

    def _tell(self, batch: list[_Item], outcomes: list[_Outcome]) -> None:
        """How each of the batch came out; what has come meanwhile is the next one."""
        topics: set[Topic] = set()
        for item, outcome in zip(batch, outcomes, strict=True):
            _resolve(item.future, outcome)
            topics |= outcome.topics
        for topic in topics:
            for wake in self._listeners.get(topic, ()):
                asyncio.get_running_loop().call_soon(wake)
        if self._waiting:
            self._begin_batch()
        else:
            self._idle.set()

    async def _close_readers(self) -> None:
        if self._inline is not None:
            self._inline.close()
            self._inline = None
        while self._readers:
            await self._readers.pop().close()

    async def _disconnect(self) -> None:
        await self._close_readers()
        if self._writer is not None:
            await self._writer.close()
            self._writer = None

    async def _release(self) -> None:
        await self._disconnect()
        if self._lock is not None:
            files.unlock(self._lock)
            self._lock = None


async def _connect(connector: Callable[[], sqlite3.Connection]) -> aiosqlite.Connection:
    connection = aiosqlite.Connection(connector, iter_chunk_size=1)
    # A forgotten close must not keep a dying process alive; `close` ends the thread itself.
    connection._thread.daemon = True
    try:
        return await connection
    except BaseException:
        # It has told its thread to end and does not wait for it: it must not outlive the loop.
        connection._thread.join()
        raise


def _on_thread(
    connection: aiosqlite.Connection, fn: Callable[..., T], *args: Any
) -> "asyncio.Future[T]":
    # The one use of aiosqlite's inside (pinned by the lock file): run a function, not a statement.
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    connection._tx.put_nowait((future, partial(fn, connection._conn, *args)))
    return future


def _failed(batch: list[_Item], error: Exception) -> list[_Outcome]:
    return [_Outcome(None, error, [], set())] * len(batch)


def _run_batch(
    connection: sqlite3.Connection, batch: list[_Item], now_ms: int, new_id: NewId
) -> list[_Outcome]:
    """Run a batch in one transaction; an outcome for each, durable if it has no error.

    A savepoint for each would cost it a copy of every page that the ones before it have changed
    too. So there is none at first; if one fails, all are run again, each in a savepoint of its own.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            outcomes = [_run(Tx(connection, now_ms, new_id), item) for item in batch]
        except Exception:
            # Without a transaction SQLite has given up the whole of it (disk full).
            if len(batch) == 1 or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_run_apart(Tx(connection, now_ms, new_id), connection, i) for i in batch]
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - nothing was stored: every caller gets the reason
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return _failed(batch, _translated(error))
    return outcomes


def _run(tx: Tx, item: _Item) -> _Outcome:
    return _Outcome(item.fn(tx, *item.args, **item.kwargs), None, tx.after_commit, tx.topics)


def _run_apart(tx: Tx, connection: sqlite3.Connection, item: _Item) -> _Outcome:
    connection.execute("SAVEPOINT item")
    try:
        outcome = _run(tx, item)
    except Exception as error:
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO item")
        outcome = _Outcome(None, _translated(error), [], set())
    connection.execute("RELEASE item")
    return outcome


def _translated(error: Exception) -> Exception:
    return storage_full() if files.is_out_of_room(error) else error


def storage_full() -> StorageFullError:
    """What callers are told while the disk is full."""
    return StorageFullError(
        "The disk that holds the store is full or failing; nothing was stored. "
        "Free some space and try again.",
        retry_after_s=STORAGE_FULL_RETRY_AFTER_S,
    )


def _resolve(future: "asyncio.Future[Any]", outcome: _Outcome) -> None:
    for hook in outcome.after_commit:  # before the caller goes on; one that fails harms nobody
        future.get_loop().call_soon(hook)
    if future.done():  # the caller was cancelled: the work stands, the result is dropped
        return
    if outcome.error is not None:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.result)


def _snapshot(
    connection: sqlite3.Connection,
    now_ms: int,
    new_id: NewId,
    fn: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> T:
    connection.execute("BEGIN")
    try:
        return fn(Tx(connection, now_ms, new_id), *args, **kwargs)
    finally:
        connection.execute("COMMIT")


async def _inspect(path: Path) -> None:
    """Look for damage before anything can write: a writer's mere close would change the files."""
    if not path.exists():  # noqa: ASYNC240 - at start, nothing else runs yet
        return
    reader = await _connect(partial(files.open_reader, path))
    try:
        await _on_thread(reader, _check_unclean, path)
    finally:
        await reader.close()


def _check_unclean(connection: sqlite3.Connection, path: Path) -> None:
    is_new = connection.execute("PRAGMA user_version").fetchone()[0] == 0
    if not is_new and connection.execute(OPEN_MARK).fetchone() is not None:
        files.check(connection, path)


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Upgrade the schema, mark the store as open."""
    files.migrate(connection, path)
    connection.execute("INSERT OR REPLACE INTO store_meta VALUES ('open', '1')")


def _mark_clean(connection: sqlite3.Connection) -> None:
    # A disk that is full now must not keep the process from ending.
    with suppress(sqlite3.OperationalError):
        connection.execute("DELETE FROM store_meta WHERE key = 'open'")
        _checkpoint(connection)


def _checkpoint(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
