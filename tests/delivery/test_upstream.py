"""Usage upstream: what is sent, when, and what happens while nobody takes it."""

import asyncio
import logging
from itertools import pairwise
from typing import Final

import orjson
import pytest
import standardwebhooks

from ringside_proxy.delivery.upstream import IDLE_S_MAX, UsagePusher
from ringside_proxy.domain.deliveries import Reply
from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.settings.outgoing import UpstreamSettings
from ringside_proxy.settings.values import Secret
from ringside_proxy.store import usage
from ringside_proxy.store.usage import Consumed
from tests.delivery.rig import OK, REFUSED, Far

URL: Final = "https://billing.example.com/usage"
SECRET: Final = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIDMyIGI="
SETTINGS: Final = UpstreamSettings(url=URL, secret=Secret(SECRET), flush_interval_s=5)
CALL: Final = Call(
    kind="chat.completion",
    model="fc:openai/m",
    requested_model="fc:openai/m",
    provider="openai",
    token="tok_1",
)
CONSUMED: Final = Consumed(
    usage=TokenUsage(output_tokens=1), provider_cost_nano=1, markup_nano=0, price_source="test"
)


class Upstream:
    """A pusher, its store and its far side; nothing runs by itself."""

    def __init__(self, db, clock, settings=SETTINGS):
        self.db = db
        self.clock = clock
        self.far = Far(clock)
        self.settings = settings
        self.pusher = self.new_pusher()

    def new_pusher(self):
        """Another one, as after a restart."""
        return UsagePusher(
            self.db, self.far.post, self.clock, lambda low, high: high, self.settings
        )

    async def consume(self, count=1):
        """Attempts at a provider are booked."""

        def book(tx):
            for _ in range(count):
                usage.record(tx, tx.new_id("use"), "2025-11-21", CALL, CONSUMED, None)

        await self.db.write(book)

    async def pass_time(self, seconds):
        """Let time go by, in which the pusher does what is due."""
        left_s = seconds
        while True:
            delay_s = await self.pusher.turn()
            step_s = min(delay_s, left_s)
            self.clock.advance(step_s)
            left_s -= step_s
            if left_s <= 0 and delay_s > 0:
                return

    @property
    def sequences(self):
        """Those of every batch that was sent."""
        return [
            [record["sequence"] for record in orjson.loads(sent.body)["data"]]
            for sent in self.far.sent
        ]


@pytest.fixture
def upstream(db, clock):
    return Upstream(db, clock)


async def test_batch_is_signed_as_webhooks_are(upstream, clock):
    """With the same headers, its id also as Idempotency-Key."""
    await upstream.consume()
    await upstream.pass_time(6)

    [sent] = upstream.far.sent
    batch_id = orjson.loads(sent.body)["id"]
    assert (sent.url, sent.id) == (URL, batch_id)
    assert sent.headers["Idempotency-Key"] == batch_id
    assert sent.headers["Content-Type"] == "application/json"
    assert sent.headers["X-FC-Event-Type"] == "usage.recorded"
    assert sent.headers["X-FC-Signature"].startswith(f"t={sent.headers['webhook-timestamp']},v1=")
    signature = standardwebhooks.Webhook(SECRET).sign(
        batch_id, datetime_of(sent.headers["webhook-timestamp"]), sent.body.decode()
    )
    assert sent.headers["webhook-signature"] == signature


def datetime_of(timestamp):
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(timestamp), UTC)


async def test_record_waits_for_others_as_long_as_the_flush_interval(upstream, clock):
    """Then all that are there leave together."""
    begun_ms = clock.now_ms()
    await upstream.consume()
    await upstream.pass_time(3)
    await upstream.consume(2)
    assert upstream.far.sent == []

    await upstream.pass_time(3)

    assert upstream.sequences == [[1, 2, 3]]
    assert upstream.far.sent[0].at_ms == begun_ms + 5000


async def test_full_batch_does_not_wait(upstream):
    """And what follows it waits again."""
    await upstream.consume(1001)

    await upstream.pass_time(1)

    assert [len(batch) for batch in upstream.sequences] == [500, 500]
    await upstream.pass_time(5)
    assert upstream.sequences[2] == [1001]


async def test_refused_batch_is_sent_again_for_ever(upstream):
    """The same bytes under the same id, at most five minutes apart; nothing overtakes it."""
    await upstream.consume()
    upstream.far.answer = lambda _: REFUSED
    await upstream.pass_time(3600)
    await upstream.consume(3)
    await upstream.pass_time(24 * 3600)

    times = [sent.at_ms for sent in upstream.far.sent]
    pauses = [(after - before) / 1000 for before, after in pairwise(times)]
    assert len({(sent.id, sent.body) for sent in upstream.far.sent}) == 1
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == 300
    assert len(pauses) > 24 * 12
    upstream.far.answer = lambda _: OK
    await upstream.pass_time(600)
    assert upstream.sequences[-1] == [2, 3, 4]


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 413])
async def test_no_status_but_2xx_acknowledges(upstream, status):
    """Not even one that says that another try is in vain: records are never dropped."""
    await upstream.consume()
    upstream.far.answer = lambda _: Reply(status=status)
    await upstream.pass_time(10)
    refused = len(upstream.sequences)
    assert upstream.pusher.oldest_s > 0
    upstream.far.answer = lambda _: Reply(status=204)
    await upstream.pass_time(20)

    assert upstream.sequences == [[1]] * (refused + 1)
    assert upstream.pusher.oldest_s == 0


async def test_restart_changes_nothing_about_a_batch(upstream, clock):
    """What was on its way goes on under its id; what was acknowledged does not come again."""
    await upstream.consume()
    upstream.far.answer = lambda _: REFUSED
    await upstream.pass_time(6)
    await upstream.consume()
    upstream.pusher = upstream.new_pusher()
    upstream.far.answer = lambda _: OK
    await upstream.pass_time(20)

    upstream.pusher = upstream.new_pusher()
    await upstream.pass_time(20)

    assert upstream.sequences[-2:] == [[1], [2]]
    assert len({sent.id for sent in upstream.far.sent[:-1]}) == 1


async def test_upstream_may_ask_for_a_longer_pause(upstream):
    """Up to five minutes."""
    await upstream.consume()
    asked = iter([120_000, 10**9])
    upstream.far.answer = lambda _: Reply(status=429, retry_after_ms=next(asked, None))
    await upstream.pass_time(5 + 120 + 301)

    begun_ms = upstream.far.sent[0].at_ms
    assert [sent.at_ms - begun_ms for sent in upstream.far.sent] == [0, 120_000, 420_000]


async def test_without_an_upstream_records_are_kept(db, clock):
    """Once there is one it gets them all, from the first."""
    upstream = Upstream(db, clock, UpstreamSettings())
    await upstream.consume(3)
    await upstream.pass_time(60)
    assert (upstream.far.sent, upstream.pusher.oldest_s) == ([], 0)

    upstream.pusher.follow(SETTINGS)
    assert upstream.pusher.oldest_s == 60
    await upstream.pass_time(1)

    assert upstream.sequences == [[1, 2, 3]]


async def test_another_upstream_is_tried_at_once(upstream):
    """A pause was for the one before it."""
    await upstream.consume()
    upstream.far.answer = lambda _: REFUSED
    await upstream.pass_time(3600)
    upstream.far.answer = lambda _: OK

    upstream.pusher.follow(UpstreamSettings(url=URL + "/2", secret=Secret(SECRET)))
    await upstream.pusher.turn()

    assert upstream.far.sent[-1].url == URL + "/2"
    assert upstream.pusher.oldest_s == 0


async def test_age_of_the_oldest_record_is_told(upstream):
    """Until it is acknowledged."""
    await upstream.consume()
    upstream.far.answer = lambda _: REFUSED
    await upstream.pass_time(100)
    assert upstream.pusher.oldest_s == 100

    upstream.far.answer = lambda _: OK
    await upstream.pass_time(300)
    assert upstream.pusher.oldest_s == 0


async def test_refusal_is_logged_without_the_secret(upstream, caplog):
    """Its status, and how often it was tried."""
    await upstream.consume()
    upstream.far.answer = lambda _: Reply(status=401)
    with caplog.at_level(logging.WARNING):
        await upstream.pass_time(7)

    assert [(r.message, r.status, r.attempt) for r in caplog.records][:2] == [
        ("usage report refused", 401, 1),
        ("usage report refused", 401, 2),
    ]


async def test_pusher_wakes_when_something_is_consumed(db, clock):
    """The first record after a silence is not left to the next look."""
    settings = UpstreamSettings(url=URL, secret=Secret(SECRET), flush_interval_s=0.001)
    upstream = Upstream(db, clock, settings)
    running = asyncio.create_task(upstream.pusher.run())
    came = asyncio.Event()
    upstream.far.answer = lambda _: came.set() or OK
    await asyncio.sleep(0)

    await upstream.consume()
    clock.advance(1)
    async with asyncio.timeout(IDLE_S_MAX - 2):
        await came.wait()

    running.cancel()
    await asyncio.wait({running})
