"""Housekeeping: what is old goes, what cannot be sent is given up, what waits is measured."""

import asyncio
import re
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.delivery.housekeeping import Housekeeping
from ringside_proxy.domain.deliveries import Reply
from ringside_proxy.domain.errors import StorageFullError
from ringside_proxy.store import ledger_clock, webhooks
from tests.delivery.rig import REFUSED, Rig

DAY_S: Final = 24 * 3600


@pytest.fixture
def rig(db, clock):
    """A worker whose schedule has no jitter."""
    return Rig(db, clock)


class Keeper:
    """Housekeeping over the rig's store, and how often the configuration was asked for."""

    def __init__(self, rig):
        self.rig = rig
        self.asked = 0
        self.housekeeping = Housekeeping(
            rig.db, rig.clock, rig.metrics, self._catch_up, lambda: 42.0
        )

    async def _catch_up(self):
        self.asked += 1

    async def turn(self):
        """One turn."""
        await self.housekeeping.turn()

    def metric(self, name):
        """A metric without labels."""
        lines = self.rig.metrics.render().decode().splitlines()
        [value] = [line.split()[1] for line in lines if line.startswith(f"ringside_{name} ")]
        return float(value)

    def outcomes(self):
        """What became of attempts and deliveries, how often; not what never happened."""
        page = self.rig.metrics.render().decode()
        found = re.findall(r'webhook_deliveries_total{outcome="(\w+)"} (\S+)', page)
        return {outcome: float(times) for outcome, times in found if float(times)}


@pytest.fixture
def keeper(rig):
    return Keeper(rig)


async def count(rig, table):
    found = await rig.db.read(lambda tx: tx.one(f"SELECT count(*) FROM {table}"))  # noqa: S608 - a test's own word
    return found[0]


async def test_ballast_that_is_gone_comes_back(rig, keeper):
    """A start on a full disk has used it up, say, or somebody has made room in the wrong place."""
    size = ballast_of(rig).stat().st_size
    ballast_of(rig).unlink()

    await keeper.turn()

    assert ballast_of(rig).stat().st_size == size


def ballast_of(rig):
    return Path(f"{rig.db.path}.ballast")


async def test_what_waits_is_measured(rig, keeper):
    """How much, how old the oldest is, and how far behind the upstream."""
    await rig.webhook()
    await rig.emit()
    rig.clock.advance(30)
    await rig.emit()

    await keeper.turn()
    assert keeper.metric("webhook_backlog") == 2
    assert keeper.metric("webhook_oldest_seconds") == 30
    assert keeper.metric("usage_push_oldest_seconds") == 42

    await rig.turn()
    await keeper.turn()
    assert keeper.metric("webhook_backlog") == 0
    assert keeper.metric("webhook_oldest_seconds") == 0


async def test_receivers_that_were_given_up_are_counted(rig, keeper):
    """Not those that somebody paused."""
    await rig.webhook()
    paused = await rig.webhook()
    await rig.db.write(partial(webhooks.switch, is_enabled=False), paused)
    rig.far.answer = lambda _: Reply(status=410)
    await rig.emit()
    await rig.turn()

    await keeper.turn()

    assert keeper.metric("webhooks_disabled") == 1


async def test_disabled_receiver_s_deliveries_are_given_up_at_once(rig, keeper):
    """The commit that disables it wakes the housekeeping, which is between two rounds."""
    await keeper.turn()
    await rig.webhook()
    rig.far.answer = lambda _: Reply(status=410)
    for _ in range(10):
        await rig.emit()
    await rig.worker.turn()
    await rig.worker.settled()
    await asyncio.sleep(0)

    await keeper.turn()

    assert keeper.metric("webhook_backlog") == 0
    assert keeper.outcomes() == {"dead": 4, "abandoned": 6}


async def test_what_is_old_goes_with_its_events(rig, keeper):
    """A week after it was delivered, and the event a month after it happened."""
    await rig.webhook()
    await rig.emit()
    await rig.turn()
    kept = []
    for days in (0, 6, 2, 24):
        rig.clock.advance(days * DAY_S)
        await keeper.turn()
        kept.append((await count(rig, "deliveries"), await count(rig, "events")))

    assert kept == [(1, 1), (1, 1), (0, 1), (0, 0)]


async def test_by_a_clock_that_is_not_believed_nothing_is_old(rig, keeper):
    """Else a jump of months would empty the outbox."""
    await rig.webhook()
    await rig.db.write(ledger_clock.see)
    await rig.emit()
    await rig.turn()
    rig.clock.advance(100 * DAY_S)

    await keeper.turn()

    assert (await count(rig, "deliveries"), await count(rig, "events")) == (1, 1)


async def test_deleted_receiver_leaves_nothing(rig, keeper):
    """Its deliveries, their tries and its row."""
    webhook = await rig.webhook()
    rig.far.answer = lambda _: REFUSED
    for _ in range(3):
        await rig.emit()
    await rig.turn()

    await rig.db.write(webhooks.delete, webhook)
    await asyncio.sleep(0)
    await keeper.turn()

    for table in ("webhooks", "webhook_subscriptions", "deliveries", "delivery_attempts"):
        assert await count(rig, table) == 0


async def test_old_secret_goes_when_it_no_longer_signs(rig, keeper):
    """It is not kept for whoever reads the store later."""
    webhook = await rig.webhook()
    await rig.db.write(webhooks.rotate, webhook, b"new", "h", b"old", 60_000)
    rig.clock.advance(61)

    await keeper.turn()

    assert rig.db.get(webhooks.get, webhook.id).old_secret is None


async def test_a_turn_that_fails_is_done_again(rig, keeper, monkeypatch):
    """A full disk ends nothing for good."""
    running = asyncio.create_task(keeper.housekeeping.run())

    async def full(*_):
        raise StorageFullError("full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.db, "write", full)
        keeper.housekeeping.wake()
        await asyncio.sleep(0)
    keeper.housekeeping.wake()
    async with asyncio.timeout(60):
        while keeper.asked < 3:
            keeper.housekeeping.wake()
            await asyncio.sleep(0)

    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
