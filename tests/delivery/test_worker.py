"""The worker: what it sends, when, and what it does with the answers."""

import asyncio
import logging
from functools import partial
from typing import Final

import orjson
import pytest
import standardwebhooks

from ringside_proxy.delivery.endpoints import Webhooks
from ringside_proxy.delivery.worker import IDLE_S_MAX
from ringside_proxy.domain.deliveries import PER_RECEIVER_MAX, DeliveryState, Reply
from ringside_proxy.domain.durations import HOUR_MS
from ringside_proxy.domain.errors import StorageFullError
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.outgoing import PingData
from ringside_proxy.settings.outgoing import WebhookSettings
from ringside_proxy.store import deliveries, delivery_claims, events, webhooks
from ringside_proxy.store.delivery_claims import LEASE_MS
from ringside_proxy.system import system_ids
from tests.delivery.rig import OK, REFUSED, Rig, secret

GONE: Final = Reply(status=410, error="answered 410")


def test_waits_are_the_documented_ones():
    """A lease lasts a minute; without being woken the worker looks for itself every 30 s."""
    assert (LEASE_MS, IDLE_S_MAX) == (60_000, 30)


@pytest.fixture
def rig(db, clock):
    """A worker whose schedule has no jitter."""
    return Rig(db, clock)


async def shown(rig, webhook):
    """The receiver's deliveries, oldest first."""
    page = await rig.db.read(deliveries.page, webhook, ListQuery(order="asc"), None)
    return page.data


async def states(rig, webhook):
    return [delivery.state for delivery in await shown(rig, webhook)]


async def test_event_is_sent_as_the_contract_says(rig, clock):
    """Its envelope, its headers, and a signature over exactly these bytes."""
    webhook = await rig.webhook()
    await rig.emit("wallet.low", {"balance_usd": 1.5, "note": "Łódź"})

    await rig.turn()

    [sent] = rig.far.sent
    assert list(orjson.loads(sent.body)) == [
        *("id", "object", "type", "created", "timestamp", "sequence", "data")
    ]
    assert orjson.loads(sent.body) == {
        "id": sent.id,
        "object": "event",
        "type": "wallet.low",
        "created": 1763700000,
        "timestamp": "2025-11-21T04:40:00.000Z",
        "sequence": 1,
        "data": {"balance_usd": 1.5, "note": "Łódź"},
    }
    assert b": " not in sent.body
    assert b", " not in sent.body
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["X-FC-Event-Type"] == "wallet.low"
    assert sent.headers["X-FC-Attempt"] == "1"
    assert sent.headers["webhook-timestamp"] == str(clock.now_ms() // 1000)
    library = standardwebhooks.Webhook(secret(webhook.id))
    signature = library.sign(sent.id, datetime_of(clock), sent.body.decode())
    assert sent.headers["webhook-signature"] == signature
    assert await states(rig, webhook) == [DeliveryState.DELIVERED]


def datetime_of(clock):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(clock.now_ms() // 1000, UTC)


async def test_retry_sends_the_same_bytes_under_the_same_id(rig):
    """Only the attempt, its time and so its signatures differ; also after a restart."""
    await rig.webhook()
    await rig.emit()
    rig.far.answer = lambda _: REFUSED
    await rig.pass_time(35)
    rig.worker = rig.new_worker()

    await rig.pass_time(40)

    assert len(rig.far.sent) == 4
    assert len({(sent.body, sent.id) for sent in rig.far.sent}) == 1
    assert [sent.headers["X-FC-Attempt"] for sent in rig.far.sent] == ["1", "2", "3", "4"]
    assert len({sent.headers["X-FC-Signature"] for sent in rig.far.sent}) == 4


async def test_retries_follow_the_schedule_to_its_end(rig):
    """Fourteen attempts; then the delivery is dead, and nothing more is sent."""
    webhook = await rig.webhook()
    await rig.emit()
    rig.far.answer = lambda _: REFUSED
    begun_ms = rig.clock.now_ms()

    await rig.pass_time(48 * 3600)

    after_s = [(sent.at_ms - begun_ms) // 1000 for sent in rig.far.sent]
    assert after_s == [0, *(10 * (2**n - 1) for n in range(1, 14))]
    [dead] = await shown(rig, webhook)
    assert (dead.state, dead.next_attempt_at, len(dead.attempts)) == ("dead", None, 14)
    assert (rig.count("retry"), rig.count("dead")) == (13, 1)


async def test_deliveries_whose_time_is_over_are_counted(rig):
    """Also if their receiver had so much before them that they were not tried fourteen times."""
    webhook = await rig.webhook()
    rig.far.answer = lambda _: REFUSED
    await rig.emit()
    await rig.turn()
    rig.clock.advance(25 * 3600)

    await rig.turn()

    assert await states(rig, webhook) == ["dead"]
    assert (len(rig.far.sent), rig.count("dead")) == (1, 1)


async def test_what_ran_out_of_time_while_the_proxy_was_away_is_tried_once_more(rig):
    """At its start: the receiver was not at fault."""
    webhook = await rig.webhook()
    rig.far.answer = lambda _: REFUSED
    await rig.emit()
    await rig.turn()
    rig.clock.advance(25 * 3600)
    rig.far.answer = lambda _: OK

    await Webhooks(rig.db, rig.secrets, system_ids(), no_check).start(WebhookSettings())
    await rig.turn()

    assert await states(rig, webhook) == ["delivered"]


async def no_check(*_):
    """Every URL may be told."""


async def test_a_test_that_fails_is_no_delivery_that_was_given_up(rig):
    """It is shown as dead, and counted apart: an alert on the others is for nobody's own test."""
    webhook = await rig.webhook()
    rig.far.answer = lambda _: REFUSED
    await ping(rig, webhook)

    await rig.turn()

    [dead] = await shown(rig, webhook)
    assert (dead.state, dead.event_type) == ("dead", "webhook.ping")
    assert (rig.count("dead"), rig.count("failed")) == (0, 1)


async def ping(rig, webhook):
    """As `POST /v1/webhooks/{id}/test` does it."""

    def made(tx):
        event = events.note(tx, "webhook.ping", PingData(webhook_id=webhook.id))
        return deliveries.enqueue(tx, event, webhook.seq, DeliveryState.DEAD)

    await rig.db.write(made)


async def test_receiver_that_comes_back_gets_everything(rig):
    """In the first hours of its absence nothing is lost."""
    webhook = await rig.webhook()
    back_ms = rig.clock.now_ms() + 6 * HOUR_MS
    rig.far.answer = lambda sent: OK if sent.at_ms >= back_ms else REFUSED
    for _ in range(20):
        await rig.emit()
        await rig.pass_time(600)

    await rig.pass_time(24 * 3600)

    assert await states(rig, webhook) == ["delivered"] * 20


async def test_both_secrets_sign_while_they_are_live(rig):
    """The old one as long as the rotation's overlap, the new one at once."""
    webhook = await rig.webhook()
    new = "whsec_bmV3IHNlY3JldCBvZiB0aGUgcmVjZWl2ZXIhISE="
    await rig.db.write(
        webhooks.rotate,
        webhook,
        rig.secrets.seal(webhook.id, new),
        "h",
        rig.secrets.as_old(webhook),
        60_000,
    )
    for _ in range(2):
        await rig.emit()
        await rig.turn()
        rig.clock.advance(60)

    counts = [sent.headers["webhook-signature"].count("v1,") for sent in rig.far.sent]
    assert counts == [2, 1]


async def test_gone_receiver_is_disabled_and_said_so(rig, caplog):
    """410 ends it: what happens afterwards is not even queued."""
    webhook = await rig.webhook()
    rig.far.answer = lambda _: GONE
    await rig.emit()
    with caplog.at_level(logging.WARNING):
        await rig.turn()
    await rig.emit()
    await rig.turn()

    assert len(rig.far.sent) == 1
    assert await states(rig, webhook) == ["dead"]
    assert [(r.message, r.webhook_id, r.reason) for r in caplog.records] == [
        ("webhook disabled", webhook.id, "gone")
    ]


async def test_receiver_that_fails_for_five_days_is_disabled(rig):
    """By attempts over 120 hours without any success; enabled again, it starts afresh."""
    webhook = await rig.webhook()
    rig.far.answer = lambda _: REFUSED
    for _ in range(6):
        await rig.emit()
        await rig.pass_time(24 * 3600)
    await rig.emit()
    await rig.pass_time(3600)

    disabled = rig.db.get(webhooks.get, webhook.id)
    assert (disabled.is_enabled, disabled.disabled_reason) == (False, "failing")
    enabled = await rig.db.write(partial(webhooks.switch, is_enabled=True), disabled)
    rig.far.answer = lambda _: OK
    await rig.emit()
    await rig.turn()
    assert (await states(rig, enabled))[-1] == "delivered"


async def test_hanging_receiver_delays_nobody(rig):
    """Others are served while its attempts hang, and it keeps no more of them than it may."""
    await rig.webhook(url="https://hangs.example.com/")
    await rig.webhook(url="https://works.example.com/")
    let_go = asyncio.Event()

    async def hang(sent):
        await let_go.wait()
        return OK

    rig.far.answer = lambda sent: hang(sent) if "hangs" in sent.url else OK
    for _ in range(50):
        await rig.emit()
    for _ in range(60):
        await rig.worker.turn()
        await asyncio.sleep(0)
    while sum("works" in sent.url for sent in rig.far.sent) < 50:
        await rig.worker.turn()

    hanging = sum("hangs" in sent.url for sent in rig.far.sent)
    let_go.set()
    await rig.turn()
    assert hanging == PER_RECEIVER_MAX
    assert len(rig.far.sent) == 100


async def test_worker_wakes_when_something_happens(rig):
    """Without waiting for a timer: the commit itself wakes it."""
    await rig.webhook()
    running = asyncio.create_task(rig.worker.run())
    came = asyncio.Event()
    rig.far.answer = lambda _: came.set() or OK

    await rig.emit()
    async with asyncio.timeout(IDLE_S_MAX - 2):
        await came.wait()

    running.cancel()
    await asyncio.wait({running})


async def test_stop_lets_what_is_due_leave(rig):
    """The last events of a proxy that stops are not kept until it starts again."""
    webhook = await rig.webhook()
    for _ in range(10):
        await rig.emit()

    await rig.worker.stop()

    assert await states(rig, webhook) == ["delivered"] * 10


async def test_stop_cuts_off_what_takes_too_long(rig):
    """It is due again at the next start, and the attempt does not count."""
    webhook = await rig.webhook()

    async def hang(_):
        await asyncio.Event().wait()

    rig.far.answer = hang
    await rig.emit()

    await rig.worker.stop(0.05)

    assert await states(rig, webhook) == ["in_flight"]
    await rig.db.write(partial(delivery_claims.release, every=True))
    rig.far.answer = lambda _: OK
    rig.worker = rig.new_worker()
    await rig.turn()
    assert [sent.headers["X-FC-Attempt"] for sent in rig.far.sent] == ["1", "1"]
    assert len({sent.id for sent in rig.far.sent}) == 1


async def test_result_that_cannot_be_stored_is_sent_again(rig, monkeypatch):
    """Rather twice than never: when its lease has run out, under the same id."""
    webhook = await rig.webhook()
    await rig.emit()
    await rig.worker.turn()

    async def full(*_):
        raise StorageFullError("full")

    with monkeypatch.context() as patch:
        patch.setattr(rig.db, "write", full)
        await rig.worker.settled()
    rig.clock.advance(LEASE_MS / 1000 + 1)
    await rig.turn()

    assert await states(rig, webhook) == ["delivered"]
    assert len(rig.far.sent) == 2
    assert len({sent.id for sent in rig.far.sent}) == 1


async def test_error_of_ours_keeps_nothing_from_being_delivered(rig, caplog):
    """It is logged with its place and without what it says; the delivery is tried again."""
    webhook = await rig.webhook()
    await rig.emit()

    def explode(_):
        raise ValueError("https://secret.example.com")

    rig.far.answer = explode
    await rig.turn()
    rig.far.answer = lambda _: OK
    rig.clock.advance(LEASE_MS / 1000 + 1)
    await rig.turn()

    assert "delivery broke" in caplog.messages
    assert await states(rig, webhook) == ["delivered"]
