"""Deliveries: how their state moves, when they are tried again, when a receiver is given up."""

from itertools import pairwise, product
from typing import Final

import pytest

from ringside_proxy.domain.deliveries import (
    ATTEMPTS_MAX,
    DELIVERY_TRANSITIONS,
    ENDED,
    JITTER,
    DeliveryEvent,
    DeliveryState,
    Reply,
    attempts_at_once,
    is_given_up,
    next_state,
    retry_at_ms,
)
from ringside_proxy.domain.durations import HOUR_MS

LIFE: Final = {
    ("pending", "claim"): "in_flight",
    ("pending", "abandon"): "dead",
    ("pending", "ask_again"): "pending",
    ("in_flight", "succeed"): "delivered",
    ("in_flight", "retry"): "pending",
    ("in_flight", "give_up"): "dead",
    ("in_flight", "go_back"): "delivered",
    ("in_flight", "release"): "pending",
    ("delivered", "ask_again"): "pending",
    ("dead", "ask_again"): "pending",
}
"""The life of a delivery, written down a second time, on purpose."""
CELLS: Final = list(product(DeliveryState, DeliveryEvent))

REFUSED: Final = Reply(status=500)
BUSY: Final = Reply(status=429)
SILENT: Final = Reply(is_timeout=True)


def moments(reply, jitter, attempt_ms=0):
    """When each attempt begins, in milliseconds after the event, if all come out alike."""
    begun = [0]
    while True:
        now_ms = begun[-1] + attempt_ms
        due_ms = retry_at_ms(reply, attempts=len(begun), begun_ms=0, now_ms=now_ms, jitter=jitter)
        if due_ms is None:
            return begun
        begun.append(due_ms)


def delays_s(reply, jitter=1.0):
    """The pauses between attempts."""
    times = moments(reply, jitter)
    return [round((after - before) / 1000) for before, after in pairwise(times)]


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell in LIFE])
def test_delivery_moves_as_described(state, event):
    """What can happen leads where it says."""
    assert next_state(state, event) == LIFE[state, event]


@pytest.mark.parametrize(("state", "event"), [cell for cell in CELLS if cell not in LIFE])
def test_delivery_refuses_everything_else(state, event):
    """Any other event is refused, in words that name both."""
    with pytest.raises(ValueError, match=f"{state.value} cannot {event.value}"):
        next_state(state, event)


def test_delivery_table_names_every_state():
    """Each is in the table and reached from `pending`; what has ended moves only if asked to."""
    reached = {target for out in DELIVERY_TRANSITIONS.values() for target in out.values()}

    assert set(DELIVERY_TRANSITIONS) == reached == set(DeliveryState)
    assert all(set(DELIVERY_TRANSITIONS[state]) == {"ask_again"} for state in ENDED)


def test_schedule_has_fourteen_attempts_that_double_their_pause():
    """10 s, 20 s, … 11.4 h: no pause differs from the table."""
    assert delays_s(REFUSED) == [10 * 2**n for n in range(13)]
    assert len(moments(REFUSED, 1.0)) == ATTEMPTS_MAX == 14


@pytest.mark.parametrize("reply", [REFUSED, BUSY, SILENT], ids=["500", "429", "timeout"])
@pytest.mark.parametrize("attempt_ms", [0, 15_000])
@pytest.mark.parametrize("jitter", JITTER)
def test_schedule_ends_between_18_and_24_hours(jitter, attempt_ms, reply):
    """Whatever the jitter, and however long a receiver hangs, the last attempt is in the window."""
    times = moments(reply, jitter, attempt_ms)

    assert len(times) == 14
    assert 18 * HOUR_MS < times[-1] <= 24 * HOUR_MS


@pytest.mark.parametrize("reply", [BUSY, SILENT], ids=["429", "timeout"])
def test_slow_receiver_has_a_minute(reply):
    """One that asks for fewer requests, or does not answer, is not asked again at once."""
    assert delays_s(reply)[:5] == [60, 60, 60, 80, 160]


@pytest.mark.parametrize(("asked_s", "given_s"), [(0, 40), (50, 50), (80, 80), (3600, 80)])
def test_receiver_may_ask_for_twice_the_pause(asked_s, given_s):
    """Retry-After counts between the schedule's pause and its double."""
    reply = Reply(status=503, retry_after_ms=asked_s * 1000)

    due_ms = retry_at_ms(reply, attempts=3, begun_ms=0, now_ms=0, jitter=1.0)

    assert due_ms == given_s * 1000


def test_patience_of_a_receiver_ends_with_the_window():
    """However long it asks to wait, the last attempt is made before the 24 hours end, and no more."""
    times = moments(Reply(status=503, retry_after_ms=10**9), 1.05)

    assert times[-1] == 23.9 * HOUR_MS
    assert all(before < after for before, after in pairwise(times))


@pytest.mark.parametrize(
    ("status", "is_success"), [(200, True), (204, True), (299, True), (301, False), (410, False)]
)
def test_only_2xx_is_a_success(status, is_success):
    """A redirect delivers nothing."""
    assert Reply(status=status).is_success is is_success
    assert not Reply(error="cannot be reached").is_success


@pytest.mark.parametrize(("failures", "slots"), [(0, 4), (4, 4), (5, 1), (500, 1)])
def test_failing_receiver_has_one_attempt_at_a_time(failures, slots):
    """Others have four."""
    assert attempts_at_once(failures) == slots


@pytest.mark.parametrize(
    ("failures", "hours", "given_up"),
    [(20, 120, True), (19, 500, False), (500, 119, False), (0, 0, False)],
)
def test_receiver_is_given_up_after_days_and_many_attempts(failures, hours, given_up):
    """Neither 120 hours nor 20 failures are enough without the other."""
    assert is_given_up(failures, 0, hours * HOUR_MS) is given_up
