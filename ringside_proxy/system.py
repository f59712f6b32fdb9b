"""The machine's clock, entropy and loop: the only place that reads them.

Everything else is given a `Clock`, a `NewId` or a random source, so that expiry, retries and
month ends are tested without waiting for them.
"""

import os
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ringside_proxy.domain.ids import NewId, id_maker

IDS_DRAWN: Final = 128
"""For how many ids the kernel is asked at once."""


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
    """Ids from the kernel's randomness, drawn for many at once. May be called from any thread."""
    drawn: deque[bytes] = deque()  # no two threads are given the same entry

    def random_bytes(count: int) -> bytes:  # always as many
        while True:
            try:
                return drawn.popleft()
            except IndexError:
                many = os.urandom(count * IDS_DRAWN)
                drawn.extend(many[at : at + count] for at in range(0, len(many), count))

    return id_maker(random_bytes)


def system_uniform() -> Callable[[float, float], float]:
    """`uniform(low, high)` for jitter."""
    return random.SystemRandom().uniform
