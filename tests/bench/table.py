"""The results as a table and as bars."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.scale import Figure

BAR: Final = 40
"""Characters of the longest bar."""
FULL_BLOCK: Final = "█"
GOAL_MARK: Final = "│"


@dataclass(frozen=True)
class Line:
    """A row of the table; without a goal it only tells."""

    work: str
    measured: float
    unit: str
    goal: float | None = None
    note: str = ""
    at_least: bool = False
    by_clock: bool = False
    """Seconds that pass, not those of CPU: others on the machine have a part in them."""
    is_judged: bool = True

    @property
    def is_reached(self) -> bool:
        """Whether the goal is."""
        assert self.goal is not None
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    @property
    def share(self) -> float:
        """What is used up of the goal: 1 is all of it."""
        assert self.goal is not None
        used = (self.goal, self.measured) if self.at_least else (self.measured, self.goal)
        return max(0.0, used[0] / used[1]) if used[1] else float(used[0] > 0)

    def markdown(self) -> str:
        """The row."""
        goal, mark = "", ""
        if self.goal is not None:
            goal = f"{'≥' if self.at_least else '≤'} {self.goal:.4g} {self.unit}".rstrip()
            mark = "yes" if self.is_reached else "**no**"
            mark = mark if self.is_judged else "not judged"
        measured = f"{number(self.measured)} {self.unit}".rstrip()
        return f"| {self.work} | {measured} | {goal} | {mark} | {self.note} |"


def number(value: float) -> str:
    """Three digits, and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(*figures: Figure) -> str:
    """How far the middle half of the rounds lies from the median, at the most."""
    return f"±{100 * max(figure.spread for figure in figures):.0f} %"


def table(lines: Sequence[Line]) -> str:
    """The whole of it."""
    head = "| work | measured | goal | reached | |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *(line.markdown() for line in lines)])


def bars(title: str, values: dict[str, float], unit: str) -> list[str]:
    """A bar for each value, the longest one BAR characters long."""
    width, most = max(map(len, values)), max(values.values())
    return [title] + [
        f"  {name:<{width}}  {FULL_BLOCK * max(1, round(BAR * value / most))} {number(value)} {unit}"
        for name, value in values.items()
    ]


def goal_bars(lines: Sequence[Line]) -> list[str]:
    """How much of each goal is used up; the mark is the goal."""
    aimed = [line for line in lines if line.goal and line.is_judged]
    width, goal_at = max(len(line.work) for line in aimed), BAR // 2
    rows = []
    for line in aimed:
        long = max(1, min(BAR, round(goal_at * line.share)))
        bar = list((FULL_BLOCK * long).ljust(BAR))
        bar.insert(goal_at, GOAL_MARK)
        rows.append(f"  {line.work:<{width}}  {''.join(bar).rstrip()} {100 * line.share:.0f} %")
    return [f"used of the goal ({GOAL_MARK} is all of it)", *rows]


def machine() -> str:
    """Where it was measured, in general terms."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    kernel = ".".join(platform.release().split(".")[:2])
    cores = os.cpu_count()
    return f"{cores} cores of {model}, Linux {kernel}, CPython {platform.python_version()}"
