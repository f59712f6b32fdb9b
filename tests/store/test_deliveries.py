"""Deliveries: made with their events, claimed fairly, tried as long as the schedule says."""

from collections import Counter
from functools import partial

import pytest

from ringside_proxy.domain.deliveries import (
    ATTEMPTS_AT_ONCE_MAX,
    ATTEMPTS_MAX,
    OF_FAILING_RECEIVERS_MAX,
    PER_RECEIVER_MAX,
    WINDOW_MS,
    DeliveryState,
    Reply,
)
from ringside_proxy.domain.durations import HOUR_MS
from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.store import deliveries, delivery_claims, events, ledger_clock, webhooks
from ringside_proxy.store.deliveries import ATTEMPTS_KEPT
from ringside_proxy.store.delivery_claims import LEASE_MS

DAY_MS = 24 * HOUR_MS
OK = Reply(status=200, duration_ms=12)
REFUSED = Reply(status=500, error="no", duration_ms=34)
GONE = Reply(status=410)


def receiver(store, *types):
    return store.write(
        webhooks.insert,
        store.new_id("wh"),
        "https://example.com/hook",
        list(types or ["*"]),
        b"sealed",
        "whsec_…abcd",
    )


def emit(store, event_type="wallet.low", **more):
    return store.write(events.emit, event_type, {"balance_usd": 1}, **more)


def claim(store, busy=None, lease="lease_1"):
    return store.write(delivery_claims.claim, busy or {}, lease)


def finish(store, claimed, reply=OK, jitter=1.0):
    return store.write(delivery_claims.finish, claimed, reply, jitter)


def states(store):
    return [state for (state,) in store.rows("SELECT state FROM deliveries ORDER BY seq")]


def row(store, claimed):
    return store.write(deliveries.by_seq, claimed.delivery.seq)


def drain(store, fn):
    while store.write(fn):
        pass


def fail_until_failing(store, webhook):
    for _ in range(5):
        store.write(webhooks.note_failure, webhook.seq, is_gone=False)


def test_event_and_its_deliveries_are_one(store):
    """If the transaction fails there is neither; else one for each receiver that wants it."""

    def half(tx):
        events.emit(tx, "wallet.low", {})
        raise RuntimeError

    wants = [receiver(store), receiver(store, "wallet.low")]
    receiver(store, "run.failed")

    with pytest.raises(RuntimeError):
        store.write(half)
    assert (states(store), store.write(events.after, 0, 9)) == ([], [])
    emit(store)

    assert store.rows("SELECT webhook, state FROM deliveries ORDER BY seq") == [
        (webhook.seq, "pending") for webhook in wants
    ]


def test_event_that_is_said_once_is_delivered_once(store):
    """What has the key of an earlier event makes no delivery."""
    receiver(store)

    said = [emit(store, once_key="low") for _ in range(3)]

    assert said == [True, False, False]
    assert states(store) == ["pending"]


def test_later_receiver_does_not_hear_of_the_past(store):
    """Only of what happens from now on, unless it is replayed."""
    emit(store)
    receiver(store)

    assert states(store) == []


def test_claim_takes_what_is_due_with_all_that_is_needed(store):
    """Its event, where it goes, the secrets, and which attempt it is."""
    webhook = receiver(store)
    emit(store)

    due = claim(store)

    [claimed] = due.claims
    assert (claimed.event.type, claimed.event.data) == ("wallet.low", b'{"balance_usd":1}')
    assert (claimed.target.url, claimed.target.secret) == (webhook.url, b"sealed")
    assert claimed.target.webhook_id == webhook.id
    assert (claimed.delivery.attempt, states(store)) == (1, ["in_flight"])
    assert (claim(store).claims, due.next_ms) == ([], None)


def test_claim_has_the_old_secret_only_while_it_is_live(store):
    """To the millisecond."""
    webhook = receiver(store)
    store.write(webhooks.rotate, webhook, b"new", "h", b"old", 1000)
    emit(store)
    emit(store)

    [first, _] = claim(store).claims
    store.write(delivery_claims.release, every=True)
    store.now_ms += 1000
    [second, _] = claim(store).claims

    assert (first.target.secret, first.target.old_secret) == (b"new", b"old")
    assert (second.target.secret, second.target.old_secret) == (b"new", None)


def test_receiver_has_four_attempts_at_work_and_a_failing_one_has_one(store):
    """What is busy already counts."""
    healthy, failing = receiver(store), receiver(store)
    fail_until_failing(store, failing)
    for _ in range(10):
        emit(store)

    taken = Counter(claimed.webhook for claimed in claim(store).claims)
    more = claim(store, {healthy.seq: 3, failing.seq: 1}).claims

    assert taken == {healthy.seq: PER_RECEIVER_MAX, failing.seq: 1}
    assert [claimed.webhook for claimed in more] == [healthy.seq]


def test_thirty_two_attempts_are_at_work_at_once(store):
    """The oldest go first, whoever they are for."""
    for _ in range(12):
        receiver(store)
    emit(store)
    store.now_ms += 1
    for _ in range(3):
        emit(store)

    claims = claim(store).claims

    assert len(claims) == ATTEMPTS_AT_ONCE_MAX
    assert [claimed.event.seq for claimed in claims[:12]] == [1] * 12
    assert claim(store, Counter(claimed.webhook for claimed in claims)).claims == []


def test_failing_receivers_leave_half_of_the_attempts_to_others(store):
    """However many of them hang, a healthy one has its turn at once."""
    for _ in range(40):
        fail_until_failing(store, receiver(store))
    emit(store)
    store.now_ms += 1
    healthy = receiver(store)
    emit(store)

    claims = claim(store).claims
    busy = Counter(claimed.webhook for claimed in claims)

    assert len(claims) == OF_FAILING_RECEIVERS_MAX + 1
    assert busy[healthy.seq] == 1
    assert claim(store, busy).claims == []


def test_claim_says_when_there_is_more(store):
    """The next retry of a receiver that has room for it."""
    receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed, REFUSED)

    assert claim(store).next_ms == store.now_ms + 10_000
    store.now_ms += 9_999
    assert claim(store).claims == []
    store.now_ms += 1
    assert [claimed.delivery.attempt for claimed in claim(store).claims] == [2]


def test_success_ends_a_delivery(store):
    """Its try and its receiver's health are noted with it."""
    webhook = receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    store.now_ms += 12

    outcome = finish(store, claimed)

    assert outcome.state is DeliveryState.DELIVERED
    shown = store.write(deliveries.wire_object, row(store, claimed))
    assert shown.next_attempt_at is None
    assert [(attempt.status, attempt.duration_ms) for attempt in shown.attempts] == [(200, 12)]
    assert store.write(webhooks.get, webhook.id).last_success_ms == store.now_ms


def test_failing_delivery_dies_after_its_fourteenth_attempt(store):
    """It waited as long as the schedule says, and every try is shown."""
    receiver(store)
    emit(store)
    begun_ms, attempts = store.now_ms, 0
    while states(store) != ["dead"]:
        due = claim(store)
        if due.claims:
            attempts += 1
            finish(store, due.claims[0], REFUSED)
        else:
            store.now_ms = due.next_ms

    assert attempts == ATTEMPTS_MAX
    assert store.now_ms - begun_ms == 10_000 * (2**13 - 1)
    assert store.rows("SELECT count(*), min(error) FROM delivery_attempts") == [(14, "no")]


def test_receiver_that_is_gone_gets_nothing_more(store):
    """The delivery is dead, the receiver disabled, and what waits for it is given up."""
    webhook = receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    emit(store)

    outcome = finish(store, claimed, GONE)
    drain(store, deliveries.abandon)

    assert (outcome.state, outcome.disabled_reason) == ("dead", "gone")
    assert states(store) == ["dead", "dead"]
    assert not store.write(webhooks.get, webhook.id).is_enabled


def test_result_without_the_lease_changes_nothing(store):
    """It was released and claimed anew meanwhile, or its receiver was deleted."""
    webhook = receiver(store)
    emit(store)
    [late] = claim(store).claims
    store.now_ms += LEASE_MS + 1
    [claimed] = claim(store, lease="lease_2").claims
    before = store.dump()

    assert finish(store, late) is None
    assert store.dump() == before
    assert finish(store, claimed).state == "delivered"
    store.write(webhooks.delete, webhook)
    drain(store, webhooks.purge)
    assert finish(store, claimed) is None


def test_lease_that_runs_is_left_alone(store):
    """Only at the start is every attempt one of the dead."""
    receiver(store)
    emit(store)
    claim(store)
    store.now_ms += LEASE_MS

    assert store.write(delivery_claims.release, every=False) == 0
    store.now_ms -= DAY_MS  # a clock that was set back is no reason to wait
    assert store.write(delivery_claims.release, every=True) == 1


def test_attempt_that_was_cut_off_does_not_count(store):
    """A crash takes none of the fourteen from a receiver, and the delivery is due at once."""
    receiver(store)
    emit(store)
    for _ in range(20):
        [claimed] = claim(store).claims
        assert claimed.delivery.attempt == 1
        store.write(delivery_claims.release, every=True)

    assert states(store) == ["pending"]


def test_no_attempt_is_made_after_the_window(store):
    """A retry that its receiver's backlog kept waiting is dead; a first try is always made."""
    receiver(store)
    emit(store)
    [tried] = claim(store).claims
    finish(store, tried, REFUSED)
    emit(store)
    store.now_ms += WINDOW_MS + 1

    due = claim(store)

    assert row(store, tried).state == "dead"
    assert [claimed.event.seq for claimed in due.claims] == [2]
    assert due.next_ms == store.now_ms  # there may be more behind the dead one
    assert finish(store, due.claims[0], REFUSED).state == "dead"


def test_window_that_passed_while_we_were_away_has_one_more_try(store):
    """A receiver does not pay for the proxy's absence."""
    receiver(store)
    emit(store)
    [tried] = claim(store).claims
    finish(store, tried, REFUSED)
    store.now_ms += 3 * DAY_MS

    drain(store, deliveries.grant_one_more)
    [claimed] = claim(store).claims

    assert finish(store, claimed, REFUSED).state == "dead"
    assert not store.write(deliveries.grant_one_more)


def test_clock_that_is_not_believed_ends_nothing(store):
    """A jump of months is no reason to give up what has hardly begun."""
    receiver(store)
    store.write(ledger_clock.see)
    emit(store)
    [tried] = claim(store).claims
    finish(store, tried, REFUSED)
    right_ms = store.now_ms
    store.now_ms += 100 * DAY_MS
    before = store.dump()

    assert claim(store) == delivery_claims.Due([], None)
    assert not store.write(deliveries.grant_one_more)
    assert store.dump() == before
    store.now_ms = right_ms + 10_000
    assert len(claim(store).claims) == 1


@pytest.mark.parametrize(("reply", "ends"), [(OK, "delivered"), (REFUSED, "dead")])
def test_dead_delivery_can_be_asked_for_once_more(store, reply, ends):
    """It is tried once, at once."""
    webhook = receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed, GONE)
    store.write(webhooks.switch, store.write(webhooks.get, webhook.id), is_enabled=True)

    again = store.write(deliveries.redeliver, row(store, claimed))
    [claimed] = claim(store).claims
    outcome = finish(store, claimed, reply)

    assert (again.state, again.next_ms) == ("pending", store.now_ms)
    assert outcome.state == ends
    assert row(store, claimed).falls_back_to is None
    assert claim(store) == delivery_claims.Due([], None)


def test_delivered_event_that_fails_again_stays_delivered(store):
    """What a receiver had once, it had."""
    receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed)

    store.write(deliveries.redeliver, row(store, claimed))
    [claimed] = claim(store).claims

    assert finish(store, claimed, REFUSED).state == "delivered"


def test_waiting_delivery_that_is_asked_for_keeps_its_schedule(store):
    """It is due now, and retried as before if that fails."""
    receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed, REFUSED)

    store.write(deliveries.redeliver, row(store, claimed))
    [claimed] = claim(store).claims

    assert claimed.delivery.attempt == 2
    assert finish(store, claimed, REFUSED).state == "pending"
    assert claim(store).next_ms == store.now_ms + 20_000


def test_delivery_at_work_is_left_to_its_attempt(store):
    """To ask for it changes nothing."""
    receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    before = store.dump()

    store.write(deliveries.redeliver, row(store, claimed))

    assert store.dump() == before


def replay(store, webhook, from_ms, to_ms):
    queued, after = 0, (from_ms, -1)
    while after is not None:
        more, after = store.write(deliveries.replay, webhook, after, to_ms)
        queued += more
    return queued


def test_replay_takes_the_events_of_a_time(store):
    """Those that the receiver wants, from the first millisecond to the last, whenever it was made."""
    for _ in range(5):
        emit(store)
        emit(store, "run.failed")
        store.now_ms += 1000
    webhook = receiver(store, "wallet.low")
    first_ms = store.now_ms - 5000

    assert replay(store, webhook, first_ms + 1000, first_ms + 3000) == 3

    assert [claimed.event.seq for claimed in claim(store).claims] == [3, 5, 7]


def test_replay_begins_the_schedule_anew(store):
    """Of what was delivered and what is dead; what is on its way is left to it."""
    webhook = receiver(store)
    emit(store)
    [dead] = claim(store).claims
    finish(store, dead, GONE)
    store.write(webhooks.switch, store.write(webhooks.get, webhook.id), is_enabled=True)
    emit(store)
    [delivered] = claim(store).claims
    finish(store, delivered)
    emit(store)
    [waiting] = claim(store).claims
    finish(store, waiting, REFUSED)
    store.now_ms += 5000

    assert replay(store, webhook, 0, store.now_ms) == 2

    assert [(c.event.seq, c.delivery.attempt) for c in claim(store).claims] == [(1, 1), (2, 1)]
    assert row(store, dead).begun_ms == store.now_ms


def test_replay_goes_in_portions(store):
    """Each a transaction that holds the writer for a few milliseconds."""
    for _ in range(1001):
        emit(store)
    webhook = receiver(store)
    portions, after = [], (0, -1)
    while after is not None:
        count, after = store.write(deliveries.replay, webhook, after, store.now_ms)
        portions.append(count)

    assert portions == [500, 500, 1, 0]


def test_ping_is_not_replayed(store):
    """It was meant for one receiver, once."""
    seq = store.write(events.note, "webhook.ping", {})
    webhook = receiver(store)

    assert seq == 1
    assert replay(store, webhook, 0, store.now_ms) == 0


def test_list_shows_what_was_sent_to_one_receiver(store):
    """All of it or what is in one state, with what came of each try."""
    webhook, other = receiver(store), receiver(store)
    for _ in range(3):
        emit(store)
    claims = [claimed for claimed in claim(store).claims if claimed.webhook == webhook.seq]
    finish(store, claims[0])
    finish(store, claims[1], REFUSED)

    page = partial(store.write, deliveries.page, webhook, ListQuery(order="asc"))
    everything = page(None).data

    assert [shown.state for shown in everything] == ["delivered", "pending", "in_flight"]
    assert [shown.id for shown in page(DeliveryState.PENDING).data] == [everything[1].id]
    assert everything[1].next_attempt_at == (store.now_ms + 10_000) // 1000
    assert [attempt.error for attempt in everything[1].attempts] == ["no"]
    with pytest.raises(NotFoundError, match="No delivery found with id"):
        store.write(deliveries.get, other, everything[0].id)


def test_only_the_latest_tries_are_kept(store):
    """A delivery that is asked for again and again does not grow for ever."""
    receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed)
    for _ in range(ATTEMPTS_KEPT + 5):
        store.write(deliveries.redeliver, row(store, claimed))
        [claimed] = claim(store).claims
        finish(store, claimed)

    shown = store.write(deliveries.wire_object, row(store, claimed))

    assert len(shown.attempts) == ATTEMPTS_KEPT


def test_delivered_goes_after_a_week_and_dead_after_a_month(store):
    """With their tries; and the events after that."""
    webhook = receiver(store)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed)
    emit(store)
    [claimed] = claim(store).claims
    finish(store, claimed, GONE)
    store.write(webhooks.switch, store.write(webhooks.get, webhook.id), is_enabled=True)
    emit(store)

    kept = []
    for days in (7, 8, 30, 32):
        store.now_ms = 1_763_700_000_000 + days * DAY_MS
        drain(store, deliveries.forget)
        drain(store, events.forget)
        kept.append((states(store), len(store.write(events.after, 0, 9))))

    assert kept == [
        (["delivered", "dead", "pending"], 3),
        (["dead", "pending"], 3),
        (["dead", "pending"], 3),
        (["pending"], 1),
    ]
    assert store.rows("SELECT count(*) FROM delivery_attempts") == [(0,)]


def test_what_is_said_once_a_month_is_remembered_beyond_it(store):
    """Else a cap that was passed on the first would be announced again on the last."""
    emit(store, once_key="budget:x:2025-11")
    store.now_ms += 32 * DAY_MS
    drain(store, events.forget)

    assert not emit(store, once_key="budget:x:2025-11")
    store.now_ms += 100 * DAY_MS
    drain(store, events.forget)
    assert store.write(events.after, 0, 9) == []


def test_backlog_is_what_is_not_over(store):
    """How much, and since when."""
    receiver(store)
    begun_ms = store.now_ms
    for _ in range(3):
        emit(store)
        store.now_ms += 1000
    [first, second, _] = claim(store).claims
    finish(store, first)
    finish(store, second, REFUSED)

    assert store.write(deliveries.waiting) == deliveries.Waiting(2, begun_ms + 1000)
