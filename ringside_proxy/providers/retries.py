"""When a provider is asked again, and when not any more. The delays are full jitter."""

from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.system import Clock

Uniform = Callable[[float, float], float]

BACKOFF_S: Final = 0.5
BACKOFF_S_MAX: Final = 8.0
RETRY_AFTER_HONOURED_S_MAX: Final = 20.0
"""A longer wait is the caller's to decide: the error says how long."""

BUDGET_WINDOW_S: Final = 10
BUDGET_SHARE: Final = 0.2
BUDGET_PER_S: Final = 10


def retry_delay_s(error: ProviderError, attempt: int, uniform: Uniform) -> float | None:
    """How long to wait after `attempt` (from 0) failed; None if it must not be sent again."""
    if not error.is_retryable:
        return None
    if error.retry_after_s is None:
        return uniform(0, min(BACKOFF_S_MAX, BACKOFF_S * 2**attempt))
    return error.retry_after_s if error.retry_after_s <= RETRY_AFTER_HONOURED_S_MAX else None


class _Second(msgspec.Struct):
    """What was sent to a provider within one second."""

    second: int
    requests: int = 0
    retries: int = 0


class RetryBudget:
    """Keeps retries from multiplying an outage: a share of a provider's recent requests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: deque[_Second] = deque(maxlen=BUDGET_WINDOW_S)

    def count_request(self) -> None:
        """Another call began; its first attempt is free."""
        self._now().requests += 1

    def take(self) -> bool:
        """Whether one more retry is affordable, which it then has used up."""
        now = self._now()
        recent = [s for s in self._seconds if now.second - s.second < BUDGET_WINDOW_S]
        allowed = BUDGET_SHARE * sum(s.requests for s in recent) + BUDGET_PER_S * BUDGET_WINDOW_S
        if sum(s.retries for s in recent) + 1 > allowed:
            return False
        now.retries += 1
        return True

    def _now(self) -> _Second:
        second = int(self._clock.monotonic_s())
        if not self._seconds or self._seconds[-1].second != second:
            self._seconds.append(_Second(second))
        return self._seconds[-1]
