"""`make bench`: what Ringside costs, beside the least that could do the work, in one run.

Contenders take turns on one core; callers and the far end have the others. Every figure is a ratio
or a difference within the run: the machine's speed cancels out, what is left is the code.
"""

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench import works
from tests.bench.processes import other_cpus
from tests.bench.works import FULL, QUICK, Field, Figure, Scale

MEMORY_REQUESTS: Final = {FULL: 20_000, QUICK: 500}
README: Final = Path(__file__).resolve().parents[2] / "README.md"
MARKS: Final = ("<!-- bench -->\n", "<!-- /bench -->\n")


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    work: str
    measured: float
    goal: float
    unit: str
    note: str = ""
    at_least: bool = False

    @property
    def is_reached(self) -> bool:
        """Whether the goal is."""
        return self.measured >= self.goal if self.at_least else self.measured <= self.goal

    def markdown(self) -> str:
        """The row."""
        sign, mark = ("≥" if self.at_least else "≤"), ("yes" if self.is_reached else "**no**")
        return (
            f"| {self.work} | {self.measured:.3g} {self.unit} | {sign} {self.goal:g} {self.unit} "
            f"| {mark} | {self.note} |"
        )


def spread(*figures: Figure) -> str:
    """How much the rounds differ."""
    return f"±{50 * max(figure.spread for figure in figures):.0f} %"


async def measured(home: Path, scale: Scale) -> list[Line]:
    """Every line of the table."""
    with ExitStack() as stack:
        on = Field(home, scale, stack)
        os.sched_setaffinity(0, other_cpus())
        chat = await works.plain_chat(on)
        relay, ringside = chat["relay"], chat["ringside"]
        lines = [
            Line(
                "plain chat completion, everything on, CPU",
                ringside.median / relay.median,
                2.0,
                "x bare relay",
                f"{relay.median:.0f} and {ringside.median:.0f} µs, {spread(relay, ringside)}",
            )
        ]
        lines += _streams(await works.streamed(on))
        added = await works.added_latency(on)
        lines += [
            Line(
                f"added latency at 200 requests/s, {name}",
                added[name].median,
                goal,
                "ms",
                f"bare relay {added[f'relay {name}'].median:.2f} ms",
            )
            for name, goal in (("p50", 1.0), ("p99", 5.0))
        ]
        late = await works.paced(on)
        lines += [
            Line(
                f"{scale.streams} streams at 25 chunks/s, lag p99",
                late["p99"].median,
                50,
                "ms",
                f"p50 {late['p50'].median:.1f} ms",
            ),
            Line("streams that were starved", late["starved"].median, 0, "streams"),
        ]
        grown = await works.growth(on)
        lines.append(
            Line(
                "run on 4,900 messages against 100 (last_messages 10), CPU",
                grown["many"].median / grown["few"].median,
                1.5,
                "x",
                f"{grown['few'].median:.0f} and {grown['many'].median:.0f} µs, {spread(*grown.values())}",
            )
        )
        upstream_port = on.upstream.port
        started = await works.start_up(home, upstream_port, scale.rounds)
        grew = await works.memory(home, upstream_port, MEMORY_REQUESTS[scale])
    return [
        *lines,
        Line("start to the first 200", started["seconds"].median, 0.8, "s"),
        Line("resident memory, idle", started["idle MB"].median, 70, "MB"),
        Line(
            f"resident memory, added by {MEMORY_REQUESTS[scale]:,} requests",
            grew["grown MB"].median,
            15,
            "MB",
        ),
        *_installed(),
    ]


def _streams(figures: dict[str, Figure]) -> list[Line]:
    relay, chat, run = (figures[f"{name} chunk"] for name in ("relay", "chat", "run"))
    ideal, whole = figures["ideal short"], figures["run short"]
    return [
        Line(
            "streamed chat, CPU per chunk",
            chat.median / relay.median,
            1.5,
            "x bare relay",
            f"{relay.median:.2f} and {chat.median:.2f} µs",
        ),
        Line(
            "streamed run, CPU per delta",
            run.median / relay.median,
            4.0,
            "x bare relay",
            f"{run.median:.2f} µs",
        ),
        Line(
            "run lifecycle, durable, runs per CPU second",
            ideal.median / whole.median,
            0.5,
            "x ideal engine",
            f"{ideal.median:.0f} and {whole.median:.0f} µs a run, {spread(ideal, whole)}",
            at_least=True,
        ),
    ]


def _installed() -> list[Line]:
    """What the package and everything it needs take on disk."""
    names, waiting = set[str](), ["ringside-proxy"]
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in names:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        names.add(name)
        waiting += [
            need.split(";")[0].split("[")[0].strip("<>=!~ 0123456789.,*")
            for need in needs
            if "extra ==" not in need
        ]
    size = sum(
        path.stat().st_size
        for name in names
        for file in importlib.metadata.files(name) or ()
        if (path := Path(str(file.locate()))).is_file()
    )
    return [
        Line("installed", size / 10**6, 60, "MB"),
        Line("distributions", float(len(names)), 30, ""),
    ]


def table(lines: list[Line]) -> str:
    """The whole of it."""
    head = "| work | measured | goal | reached | |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *(line.markdown() for line in lines)])


def main() -> None:
    """Measure, print, and with `--readme` put the table into the README."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a few requests: does it run?")
    parser.add_argument("--readme", action="store_true", help="put the table into the README")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        lines = asyncio.run(measured(Path(home), QUICK if given.quick else FULL))
    machine = f"CPython {platform.python_version()}, {os.cpu_count()} cores, {platform.system()}"
    text = f"{table(lines)}\n\nMeasured with `make bench` on {machine}.\n"
    print(text)
    if given.readme:
        before, _, rest = README.read_text().partition(MARKS[0])
        README.write_text(f"{before}{MARKS[0]}{text}{MARKS[1]}{rest.partition(MARKS[1])[2]}")
    json.dump([line.__dict__ for line in lines], sys.stderr, indent=1)


if __name__ == "__main__":
    main()
