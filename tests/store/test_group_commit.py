import asyncio
import sqlite3
import threading
from functools import partial

import pytest

from ringside_proxy.domain.errors import NotFoundError, OverloadedError
from ringside_proxy.store.db import BATCH_ITEMS_MAX, WAITING_ITEMS_MAX, Database
from tests.store.writing import Held, durable_keys, held, keys, put, queued


def fail(tx, error):
    """Stores a key, then goes wrong."""
    put(tx, "half")
    raise error


def orphan(tx):
    """Breaks a rule that SQLite only looks at when the transaction ends."""
    tx.run("PRAGMA defer_foreign_keys=ON")
    tx.run("INSERT INTO api_thread_aliases (thread_id, conversation) VALUES ('thread_x', 404)")


def write_all(db, *writes):
    """The writes at work, each in a task of its own, in order."""
    return [asyncio.create_task(db.write(fn)) for fn in writes]


async def test_writes_that_wait_together_share_a_commit(db, commits):
    """While the writer is busy the others gather; up to 64 of them are made durable at once."""
    async with held(db):
        tasks = write_all(db, *(partial(put, key=f"k{n:03}") for n in range(150)))
        await queued(db, 150)

    assert await asyncio.gather(*tasks) == [f"k{n:03}" for n in range(150)]
    assert BATCH_ITEMS_MAX == 64
    assert commits == [1, 64, 64, 22]
    assert len(db.get(keys)) == 150


async def test_writes_happen_in_the_order_they_were_asked_for(db):
    """Whoever comes first finds the store without what comes later."""
    async with held(db):
        tasks = write_all(db, keys, partial(put, key="a"), keys, partial(put, key="b"), keys)
        await queued(db, 5)

    assert await asyncio.gather(*tasks) == [set(), "a", {"a"}, "b", {"a", "b"}]


@pytest.mark.parametrize(
    "error", [ValueError("no"), NotFoundError.of("run", "run_x"), sqlite3.IntegrityError("no")]
)
async def test_write_that_fails_takes_only_itself_along(db, commits, error):
    """Its caller gets its error and nothing of it is stored; its neighbours never know."""
    async with held(db):
        tasks = write_all(
            db, partial(put, key="a"), partial(fail, error=error), partial(put, key="b")
        )
        await queued(db, 3)

    assert await asyncio.gather(*tasks, return_exceptions=True) == ["a", error, "b"]
    assert commits == [1, 3]
    assert db.get(keys) == {"a", "b"}


async def test_commit_that_fails_fails_everyone(db, path):
    """Nobody of a batch is told of a success that was not made durable; the next batch works."""
    async with held(db):
        tasks = write_all(db, partial(put, key="a"), orphan, partial(put, key="b"))
        await queued(db, 3)

    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [sqlite3.IntegrityError] * 3
    assert durable_keys(path) == set()
    assert await db.write(put, "c") == "c"
    assert durable_keys(path) == {"c"}


async def test_caller_is_answered_after_the_commit(db, path):
    """The first of a batch waits for the last: it is not told of what others cannot find yet."""
    last = Held()
    async with held(db):
        first, second = write_all(db, partial(put, key="a"), last)
        await queued(db, 2)
    await asyncio.to_thread(last.begun.wait, 10)

    assert not first.done()
    assert durable_keys(path) == set()
    last.release()
    await first
    assert durable_keys(path) == {"a"}
    await second


async def test_caller_that_is_cancelled_loses_only_the_answer(db, path):
    """Whether its write still waits or is at work, the write is done all the same."""
    at_work = Held()
    async with held(db):
        waiting = asyncio.create_task(db.write(put, "waiting"))
        await queued(db, 1)
        waiting.cancel()
        await asyncio.wait({waiting})
    working = asyncio.create_task(db.write(lambda tx: (put(tx, "working"), at_work(tx))))
    await asyncio.to_thread(at_work.begun.wait, 10)
    working.cancel()
    await asyncio.wait({working})
    at_work.release()

    assert waiting.cancelled()
    assert working.cancelled()
    assert await db.write(keys) == {"waiting", "working"}


async def test_hook_runs_after_the_commit_and_before_the_caller_goes_on(db, path):
    """What a write announces can be found by whoever hears of it, before anything else happens."""
    heard = []

    def write(tx):
        put(tx, "a")
        tx.after_commit.append(lambda: heard.append((threading.get_ident(), durable_keys(path))))

    await db.write(write)

    assert heard == [(threading.get_ident(), {"a"})]


@pytest.mark.parametrize("spoiler", [partial(fail, error=ValueError("no")), orphan])
async def test_hook_does_not_run_for_what_was_not_stored(db, spoiler):
    """Neither a write that fails nor one in a failing commit is announced."""
    heard = []

    def write(tx):
        tx.after_commit.append(partial(heard.append, "announced"))
        spoiler(tx)

    with pytest.raises((ValueError, sqlite3.IntegrityError)):
        await db.write(write)
    await db.write(keys)

    assert heard == []


async def test_hook_that_fails_harms_nobody(db):
    """The loop is told of it; its caller and the others of its batch get their results."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    async with held(db):
        tasks = write_all(
            db,
            lambda tx: tx.after_commit.append(partial(divmod, 1, 0)),
            partial(put, key="a"),
        )
        await queued(db, 2)

    async with asyncio.timeout(10):
        assert await asyncio.gather(*tasks) == [None, "a"]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_part_that_fails_takes_only_itself_along(db):
    """A savepoint undoes what its part did and hands the error on; the write around it stands."""

    def write(tx):
        put(tx, "before")
        with pytest.raises(ValueError, match="no"), tx.savepoint():
            fail(tx, ValueError("no"))
        with tx.savepoint():
            put(tx, "after")

    await db.write(write)

    assert db.get(keys) == {"before", "after"}


async def test_queue_is_bounded(db):
    """The write after ten thousand waiting ones is refused at once; then all goes on."""
    async with held(db):
        tasks = write_all(db, *[keys] * WAITING_ITEMS_MAX)
        await queued(db, WAITING_ITEMS_MAX)
        with pytest.raises(OverloadedError) as refusal:
            await db.write(put, "one too many")
        assert refusal.value.retry_after_s == 1
        assert db.queue_depth == WAITING_ITEMS_MAX == 10_000

    await asyncio.gather(*tasks)
    assert await db.write(put, "a") == "a"
    assert db.get(keys) == {"a"}


async def test_time_of_a_transaction_is_the_clock_s(db, clock):
    """Writes and reads are told the injected time, and only that."""
    clock.advance(1.5)

    times = [await db.write(lambda tx: tx.now_ms), await db.read(lambda tx: tx.now_ms)]

    assert [*times, db.get(lambda tx: tx.now_ms)] == [clock.now_ms()] * 3


async def test_close_finishes_what_waits(path, clock):
    """Writes that were accepted are done and answered; new ones are refused."""
    db = await Database.open(path, clock)
    async with held(db):
        tasks = write_all(db, *(partial(put, key=f"k{n}") for n in range(100)))
        await queued(db, 100)
        closing = asyncio.create_task(db.close())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="closed"):
            await db.write(put, "late")

    await closing
    assert len(await asyncio.gather(*tasks)) == 100
    assert durable_keys(path) == {f"k{n}" for n in range(100)}


async def test_closed_store_says_so(path, clock):
    """Every way in is refused with the same words; closing twice does no harm."""
    db = await Database.open(path, clock)
    await db.close()
    await db.close()

    with pytest.raises(RuntimeError, match="the store is closed"):
        await db.write(keys)
    with pytest.raises(RuntimeError, match="the store is closed"):
        await db.read(keys)
    with pytest.raises(RuntimeError, match="the store is closed"):
        db.get(keys)


async def test_announcement_wakes_its_listeners_once_a_commit(db):
    """After it, for all who announced together; not for one whose write failed."""

    def announce(tx, error=None):
        tx.announce("usage")
        if error is not None:
            raise error
        return put(tx, tx.new_id("tok"))

    heard = []
    db.listen("usage", lambda: heard.append(len(db.get(keys))))
    db.listen("deliveries", lambda: heard.append("deliveries"))
    async with held(db):
        tasks = write_all(db, announce, announce, partial(put, key="a"))
        await queued(db, 3)
    await asyncio.gather(*tasks)
    with pytest.raises(ValueError, match="no"):
        await db.write(announce, ValueError("no"))
    await db.write(put, "b")

    assert heard == [3]
