"""The work on requests with keys: it outlives its clients, and a store that is busy."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringside_proxy.domain.idempotency import Answer, Earlier
from ringside_proxy.services.idempotency import UNHEARD_MAX, Idempotency
from ringside_proxy.store.db import WAITING_ITEMS_MAX, Database
from ringside_proxy.store.tx import Tx
from tests.fakes import FakeClock

SCOPE = b"s" * 32
FINGERPRINT = b"f" * 32
ANSWER = Answer(status=200, content_type="application/json", body=b"{}")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    db = await Database.open(tmp_path / "ringside.db", FakeClock())
    yield db
    await db.close()


@pytest.fixture
async def keys(db: Database) -> AsyncIterator[Idempotency]:
    keys = Idempotency(db, "boot_1")
    yield keys
    await keys.close()


def nothing(tx: Tx) -> None:
    """A write that only waits."""


async def test_an_answer_waits_for_a_busy_store(db: Database, keys: Idempotency) -> None:
    """Whoever was answered is not kept waiting; the answer is stored as soon as it can be."""
    await keys.begin(SCOPE, FINGERPRINT)
    busy = [asyncio.ensure_future(db.write(nothing)) for _ in range(WAITING_ITEMS_MAX)]
    await asyncio.sleep(0)

    await keys.keep(SCOPE, ANSWER)
    is_waiting = len(keys)
    await asyncio.gather(*busy)
    await keys.idle.wait()

    assert is_waiting == 1
    assert await keys.begin(SCOPE, FINGERPRINT) == Earlier(ANSWER, None)


async def left_alone(keys: Idempotency, done: asyncio.Event) -> "asyncio.Future[bool]":
    """Work that waits for `done`, and whose caller has gone; gives whether it was cut off."""
    was_cut: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await done.wait()
        except asyncio.CancelledError:
            was_cut.set_result(True)
            raise
        was_cut.set_result(False)

    caller = asyncio.ensure_future(keys.finish(work()))
    await began.wait()
    caller.cancel()
    await asyncio.wait({caller})
    return was_cut


async def test_only_so_many_go_on_and_a_place_is_free_again(keys: Idempotency) -> None:
    """One too many is cut off at once; when one has ended, another may go on."""
    done = [asyncio.Event() for _ in range(UNHEARD_MAX + 2)]
    going = [await left_alone(keys, each) for each in done[:UNHEARD_MAX]]

    one_too_many = await (await left_alone(keys, done[UNHEARD_MAX]))
    done[0].set()
    await going[0]
    next_one = await left_alone(keys, done[UNHEARD_MAX + 1])
    for each in done:
        each.set()

    assert one_too_many
    assert [await each for each in (*going, next_one)] == [False] * (UNHEARD_MAX + 1)


async def test_a_close_cuts_everything_off(keys: Idempotency) -> None:
    """Nothing goes on afterwards, and nothing that is left alone then is let go on."""
    never = asyncio.Event()
    going = await left_alone(keys, never)

    await keys.close()
    late = await left_alone(keys, never)

    assert (await going, await late) == (True, True)
    assert len(keys) == 0
