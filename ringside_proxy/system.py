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

ID_TIME_BYTES: Final = 6
"""Milliseconds since 1970, until the year 10889."""
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

    monotonic_s = staticmethod(time.monotonic)  # itself: a request asks a dozen times


def system_ids(now_ns: Callable[[], int] = time.time_ns) -> NewId:
    """Ids that begin with the time and go on with the kernel's randomness, 48 bits of each.

    What is made together stands together in every index: a write touches a few pages at its end,
    not one somewhere for each row, however large the store has grown. The randomness is drawn for
    many at once. May be called from any thread.
    """
    drawn: deque[bytes] = deque()  # no two threads are given the same entry

    def unique_bytes(count: int) -> bytes:  # always as many
        time_ms = now_ns() // 1_000_000
        while True:
            try:
                return time_ms.to_bytes(ID_TIME_BYTES) + drawn.popleft()
            except IndexError:
                size = count - ID_TIME_BYTES
                many = os.urandom(size * IDS_DRAWN)
                drawn.extend(many[at : at + size] for at in range(0, len(many), size))

    return id_maker(unique_bytes)


def system_uniform() -> Callable[[float, float], float]:
    """`uniform(low, high)` for jitter."""
    return random.SystemRandom().uniform
