"""The machine's clock, entropy and loop: the only place that reads them.

Everything else is given a `Clock`, a `NewId` or a random source, so that expiry, retries and
month ends are tested without waiting for them.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Protocol

from ringside_proxy.domain.ids import NewId, id_maker


class Clock(Protocol):
    """Wall time for what is stored and shown, monotonic time for durations."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""

    def monotonic_s(self) -> float:
        """Seconds that never go back."""


class SystemClock:
    """The machine's own clock."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()


def system_ids() -> NewId:
    """Ids from the kernel's randomness."""
    return id_maker(os.urandom)


def system_uniform() -> Callable[[float, float], float]:
    """`uniform(low, high)` for jitter."""
    return random.SystemRandom().uniform
