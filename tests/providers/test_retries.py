import pytest

from ringside_proxy.domain.errors import (
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from ringside_proxy.providers.retries import RetryBudget, retry_delay_s
from tests.fakes import FakeClock


def highest(low: float, high: float) -> float:
    return high


def lowest(low: float, high: float) -> float:
    return low


@pytest.mark.parametrize(
    ("attempt", "longest_s"), [(0, 0.5), (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (50, 8)]
)
def test_backoff_doubles_under_full_jitter(attempt, longest_s):
    """Anything from nothing to a bound that doubles up to 8 s."""
    error = ProviderUnavailableError("x", provider="acme")

    assert retry_delay_s(error, attempt, highest) == longest_s
    assert retry_delay_s(error, attempt, lowest) == 0


@pytest.mark.parametrize(("asked_s", "delay_s"), [(0, 0), (19.5, 19.5), (20, 20), (20.1, None)])
def test_wait_is_honoured_up_to_a_point(asked_s, delay_s):
    """What the provider asks for, unless it is longer than a caller should wait unasked."""
    error = ProviderRateLimitedError("x", provider="acme", retry_after_s=asked_s)

    assert retry_delay_s(error, 0, highest) == delay_s


def test_hopeless_errors_are_not_retried():
    """An account without credit stays without, whatever a header says."""
    error = ProviderQuotaExceededError("x", provider="acme", retry_after_s=1)

    assert retry_delay_s(error, 0, highest) is None


def test_budget_is_a_share_of_recent_requests():
    """10 a second and a fifth of the requests, over ten seconds; then it fills up again."""
    clock = FakeClock()
    budget = RetryBudget(clock)
    for _ in range(1000):
        budget.count_request()

    taken = sum(budget.take() for _ in range(1000))

    assert taken == 10 * 10 + 200
    clock.advance(9)
    assert not budget.take()
    clock.advance(1)
    assert sum(budget.take() for _ in range(1000)) == 100
