"""How much is measured, and what comes of it."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class Scale:
    """How much is done: many short rounds, since what disturbs a machine lasts longer than one."""

    rounds: int
    requests: int
    callers: int
    seconds: float
    streams: tuple[tuple[int, int], ...]
    """Open at once, and chunks per second of each."""
    goal_streams: int
    memory_requests: int
    thread_sizes: tuple[int, ...]
    starts: int
    large_store_bytes: int


FULL: Final = Scale(
    rounds=21,
    requests=160,
    callers=32,
    seconds=6.0,
    streams=((100, 25), (600, 25), (1_000, 10)),
    goal_streams=600,
    memory_requests=20_000,
    thread_sizes=(10, 100, 1_000, 4_900),
    starts=7,
    large_store_bytes=2 * 10**9,
)
QUICK: Final = Scale(
    rounds=2,
    requests=40,
    callers=8,
    seconds=1.0,
    streams=((20, 25), (50, 25)),
    goal_streams=50,
    memory_requests=500,
    thread_sizes=(10, 60),
    starts=1,
    large_store_bytes=10**8,
)


@dataclass
class Figure:
    """What was measured of one contender, once per round."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half of what the middle half of the rounds spans, as a share of the median."""
        if len(self.values) < 2 or not self.median:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return abs((high - low) / 2 / self.median)

    def to(self, other: "Figure") -> "Figure":
        """This over the other, round by round: what slowed a whole round cancels out."""
        return Figure([a / b for a, b in zip(self.values, other.values, strict=True)])

    def less(self, other: "Figure", parts: int = 1) -> "Figure":
        """This less the other, round by round, per part."""
        return Figure([(a - b) / parts for a, b in zip(self.values, other.values, strict=True)])


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all lie below."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
