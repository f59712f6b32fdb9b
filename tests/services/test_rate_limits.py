"""Rate limits below the wire: changed limits, reservations that end in every order."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import RateLimitExceededError
from ringside_proxy.services.rate_limits import Admission, RateLimits
from ringside_proxy.settings.money import RateLimitSettings, RateSettings
from tests.fakes import FakeClock

APP: Final = Caller(token_id="tok_app", name="app")
BODY: Final = b"x" * 400
"""A hundred tokens."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rate_limits(clock: FakeClock) -> RateLimits:
    return RateLimits(no_own_rates, clock.monotonic_s)


def no_own_rates(customer_id: str) -> dict[str, int]:
    """Of no customer the API has set anything."""
    return {}


def developers(**limits: int) -> RateLimitSettings:
    """Limits of developer tokens."""
    return RateLimitSettings(developer=RateSettings(**limits))


def counted(rate_limits: RateLimits, settings: RateLimitSettings) -> bool:
    """Whether a request is let in."""
    admission = rate_limits.admission(APP, settings)
    try:
        admission.count()
    except RateLimitExceededError:
        admission.refund()
        return False
    return True


def reserved(
    rate_limits: RateLimits, settings: RateLimitSettings, output_tokens: int = 0
) -> Admission:
    """A model call that was let in."""
    admission = rate_limits.admission(APP, settings)
    admission.reserve(BODY, output_tokens)
    return admission


def left(rate_limits: RateLimits, settings: RateLimitSettings) -> int:
    """How many tokens a caller would be told are left."""
    standing = rate_limits.admission(APP, settings).standing("tokens")
    assert standing is not None
    return standing.remaining


def test_a_new_configuration_holds_from_the_next_request_on(
    rate_limits: RateLimits, clock: FakeClock
) -> None:
    """Raised, lowered, removed and set again; what was used before stays used."""
    small, large = (developers(requests_per_minute=limit) for limit in (2, 5))

    assert [counted(rate_limits, small) for _ in range(3)] == [True, True, False]
    assert [counted(rate_limits, large) for _ in range(4)] == [True, True, True, False]
    assert [counted(rate_limits, developers()) for _ in range(9)] == [True] * 9
    assert not counted(rate_limits, small)
    clock.advance(60)
    assert not counted(rate_limits, developers(requests_per_minute=1))  # 5 used, 1 refilled
    clock.advance(240)
    assert counted(rate_limits, developers(requests_per_minute=1))


def test_what_is_consumed_replaces_what_is_held(rate_limits: RateLimits) -> None:
    """Attempt by attempt, until the call closes its reservation."""
    settings = developers(tokens_per_minute=1000)

    admission = reserved(rate_limits, settings, output_tokens=300)
    steps = [left(rate_limits, settings)]
    admission.reservation.consumed(50)
    steps.append(left(rate_limits, settings))
    admission.reservation.consumed(400)
    steps.append(left(rate_limits, settings))
    admission.close()
    steps.append(left(rate_limits, settings))

    assert steps == [600, 600, 550, 550]


def test_what_is_consumed_after_the_end_counts_too(rate_limits: RateLimits) -> None:
    """A run may be told of its tokens when its request has long been answered."""
    settings = developers(tokens_per_minute=1000)
    admission = reserved(rate_limits, settings)
    reservation = admission.handed_on()

    admission.close()
    held = left(rate_limits, settings)
    reservation.close()
    reservation.consumed(70)

    assert held == 900
    assert left(rate_limits, settings) == 930


@given(calls=st.lists(st.tuples(st.integers(0, 300), st.lists(st.integers(0, 300), max_size=4))))
def test_nothing_is_held_once_all_calls_have_ended(
    calls: list[tuple[int, list[int]]],
) -> None:
    """Whatever they asked for and consumed: the level is what was consumed, to the token."""
    settings = developers(tokens_per_minute=10**6)
    rate_limits = RateLimits(no_own_rates, FakeClock().monotonic_s)

    admissions = [reserved(rate_limits, settings, output) for output, _ in calls]
    for admission, (_, attempts) in zip(reversed(admissions), calls, strict=True):
        for tokens in attempts:
            admission.reservation.consumed(tokens)
    for admission in admissions:
        admission.close()

    consumed = sum(sum(attempts) for _, attempts in calls)
    assert left(rate_limits, settings) == max(0, 10**6 - consumed)
    assert not rate_limits.buckets["developer", "tokens"].is_holding
