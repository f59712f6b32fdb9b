"""Token buckets against an exact model of them, and what they keep in memory."""

from fractions import Fraction
from itertools import accumulate
from typing import Final, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.services.token_buckets import Buckets

MINUTE_MS: Final = 60_000
LIMITS: Final = st.integers(1, 10**9)


class Ask(NamedTuple):
    """So long after the one before, so much is asked for."""

    after_ms: int
    amount: int


ASKS: Final = st.lists(
    st.builds(Ask, st.integers(0, 2 * MINUTE_MS) | st.integers(0, 50), st.integers(1, 12)),
    max_size=60,
)


def model_level(taken: list[tuple[int, int]], limit: int, now_ms: int) -> Fraction:
    """What is used of a bucket, from its whole history: the worst stretch of it up to now.

    `taken` holds times and amounts, oldest first.
    """
    refill = Fraction(limit, MINUTE_MS)
    level = Fraction(0)
    for start in range(len(taken)):
        asked = sum(amount for _, amount in taken[start:])
        level = max(level, asked - refill * (now_ms - taken[start][0]))
    return level


def take_all(buckets: Buckets, limit: int, asks: list[Ask]) -> list[tuple[int, int]]:
    """What the bucket gave, of everything that was asked for."""
    taken: list[tuple[int, int]] = []
    for now_ms, ask in zip(accumulate(ask.after_ms for ask in asks), asks, strict=True):
        if not buckets.wait_ms("key", ask.amount, limit, now_ms):
            buckets.take("key", ask.amount, limit, now_ms)
            taken.append((now_ms, ask.amount))
    return taken


@given(limit=st.integers(1, 30) | LIMITS, asks=ASKS)
def test_bucket_gives_exactly_what_the_model_gives(limit: int, asks: list[Ask]) -> None:
    """No more, no less, no earlier and no later, to the millisecond."""
    buckets = Buckets()
    now_ms = 0
    taken: list[tuple[int, int]] = []

    for ask in asks:
        now_ms += ask.after_ms
        level = model_level(taken, limit, now_ms)
        wait_ms = buckets.wait_ms("key", ask.amount, limit, now_ms)

        assert buckets.remaining("key", limit, now_ms) == (limit - level) // 1
        assert (wait_ms == 0) == (level + ask.amount <= limit)
        if wait_ms:
            lacking = (level + ask.amount - limit) * Fraction(MINUTE_MS, limit)
            assert wait_ms - 1 < lacking <= wait_ms
        else:
            buckets.take("key", ask.amount, limit, now_ms)
            taken.append((now_ms, ask.amount))


@given(limit=st.integers(1, 30), asks=ASKS, window_ms=st.integers(1, 3 * MINUTE_MS))
def test_no_window_gets_more_than_a_burst_and_the_refill(
    limit: int, asks: list[Ask], window_ms: int
) -> None:
    """In any stretch of time: a full bucket at most, and what came in meanwhile."""
    taken = take_all(Buckets(), limit, asks)

    for start_ms, _ in taken:
        got = sum(amount for at_ms, amount in taken if start_ms <= at_ms < start_ms + window_ms)
        assert got <= limit + Fraction(limit * window_ms, MINUTE_MS)


@given(
    limit=st.integers(1, 30),
    asks=ASKS,
    undone=st.sets(st.integers(0, 59)),
    late_ms=st.integers(0, 5000),
)
def test_what_is_given_back_never_makes_more_than_was_there(
    limit: int, asks: list[Ask], undone: set[int], late_ms: int
) -> None:
    """A bucket that gets some of it back has at most what it would have if that had not been taken."""
    buckets = Buckets()
    kept: list[tuple[int, int]] = []
    now_ms = 0

    for number, ask in enumerate(asks):
        now_ms += ask.after_ms
        taken_ms = now_ms
        buckets.take("key", ask.amount, limit, now_ms)
        if number in undone:
            now_ms += late_ms
            buckets.give_back("key", ask.amount, limit, taken_ms, now_ms)
        else:
            kept.append((taken_ms, ask.amount))

        assert buckets.remaining("key", limit, now_ms) <= limit - model_level(kept, limit, now_ms)


def test_what_is_given_back_at_once_was_never_taken() -> None:
    """No trace of it is left."""
    buckets = Buckets()
    buckets.take("key", 5, 10, 0)

    buckets.give_back("key", 5, 10, 0, 0)

    assert buckets.remaining("key", 10, 0) == 10
    assert len(buckets) == 0


def test_held_is_kept_from_others_until_it_is_released() -> None:
    """And is not refilled meanwhile, however long it takes."""
    buckets = Buckets()

    buckets.hold("key", 7)
    held = buckets.remaining("key", 10, 10 * MINUTE_MS)
    buckets.release("key", 3)
    partly = buckets.remaining("key", 10, 10 * MINUTE_MS)
    buckets.release("key", 4)

    assert (held, partly, buckets.remaining("key", 10, 10 * MINUTE_MS)) == (3, 6, 10)


def test_a_debt_is_paid_off_before_anything_is_given() -> None:
    """More may be taken than there is; the refill pays for it first."""
    buckets = Buckets()

    buckets.take("key", 25, 10, 0)

    assert buckets.remaining("key", 10, 0) == -15
    assert buckets.wait_ms("key", 1, 10, 0) == 96_000
    assert buckets.wait_ms("key", 1, 10, 96_000) == 0
    assert buckets.standing("key", 10, 0) == (10, 0, 150_000)


def test_a_changed_limit_is_in_effect_at_once() -> None:
    """What was used stays used: of a larger limit more is left, of a smaller one less."""
    buckets = Buckets()
    for _ in range(8):
        buckets.take("key", 1, 10, 0)

    assert buckets.remaining("key", 10, 0) == 2
    assert buckets.remaining("key", 100, 0) == 92
    assert buckets.remaining("key", 5, 0) == -3
    assert buckets.wait_ms("key", 1, 5, 0) == 48_000


def test_a_bucket_that_is_full_again_is_forgotten() -> None:
    """However many callers there are, those of the last moments are kept."""
    buckets = Buckets(entries_max=10**7)
    most = 0

    for number in range(200_000):
        buckets.take(f"customer_{number}", 1, 60, number)  # a thousand of them a second
        most = max(most, len(buckets))

    assert most <= 1001  # one request of 60 a minute is refilled in a second


def test_a_flood_of_names_keeps_to_the_cap() -> None:
    """However many callers come in one moment, no more are kept."""
    buckets = Buckets(entries_max=1000)

    for number in range(100_000):
        buckets.take(f"customer_{number}", 1, 60, 0)

    assert len(buckets) == 1000


def test_a_flood_of_names_does_not_refill_the_bucket_of_who_made_it() -> None:
    """Of a full table those go that have used least."""
    buckets = Buckets(entries_max=1000)
    buckets.take("busy", 60, 60, 0)

    for number in range(100_000):
        buckets.take(f"customer_{number}", 1, 60, 0)

    assert buckets.remaining("busy", 60, 0) == 0


def test_a_debtor_at_the_front_does_not_keep_the_others() -> None:
    """Whoever owes minutes is passed over, and remembered, while full buckets behind it go."""
    buckets = Buckets()
    buckets.take("debtor", 6000, 60, 0)

    for number in range(10_000):
        buckets.take(f"customer_{number}", 1, 60, 10 * number)

    assert len(buckets) <= 102
    assert buckets.remaining("debtor", 60, 100_000) == 60 - 6000 + 100
