"""`make bench`: what Ringside costs, beside the least that could do the work, in one run.

    python -m tests.bench [--quick] [--readme]

Contenders take turns on one core, in many short rounds; callers and the far end have the others.
Goals are ratios or differences within the run: the machine's speed cancels out, what is left is the
code. CPU is what the contenders' own clocks say, all their threads together.
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop

from tests.bench import growth, lines, standing, throughput, works
from tests.bench.field import Field
from tests.bench.processes import OTHER_CPUS
from tests.bench.scale import FULL, QUICK, Figure, Scale
from tests.bench.table import Line, bars, goal_bars, machine, table

README: Final = Path(__file__).resolve().parents[2] / "README.md"
QUIET_SHARE: Final = 0.05
"""Of the time: what others may have of the contenders' core until it has to be said."""
MARKS: Final = ("<!-- bench -->\n", "<!-- /bench -->\n")


@dataclass(frozen=True)
class Results:
    """Every line of the table; and of plain chats the CPU µs by contender, and how disturbed the relay was."""

    rows: list[Line]
    chats_us: dict[str, float]
    strangers: float


async def measured(home: Path, scale: Scale) -> Results:
    """The whole bench."""
    rows: list[Line] = []
    with ExitStack() as stack:
        said("starting everybody")
        on = Field(home, scale, stack)
        said("plain chats")
        rates, (chats, shares) = await works.headroom(on), await works.plain_chat(on)
        rows += lines.chats(chats)
        said("streams at a model's pace")
        rows += lines.paced_chunks(await works.paced_chunks(on), scale)
        said("streams in one burst")
        rows += lines.bursts(await works.streamed(on), await works.plain_runs(on))
        said("latency")
        rows += lines.latency(await works.added_latency(on))
        said("many streams")
        for streams, per_s in scale.streams:
            done = {
                "relay": await works.paced(on, on.relay, streams, per_s, works.relayed),
                "ringside": await works.paced(on, on.ringside, streams, per_s, works.proxied),
            }
            rows += lines.paced(streams, per_s, done, is_aimed=streams == scale.goal_streams)
        said("threads of all sizes")
        threads = await growth.threads(on)
        rows += lines.growth(await growth.runs(on, threads))
        rows += lines.pages(await growth.pages(on, threads), max(threads))
        said("store and webhooks")
        rows += lines.store(await throughput.store(on))
        rows += lines.large_store(await throughput.large_store(on), scale)
        rows += lines.webhooks(await throughput.webhooks(on))
        said("start-up, memory, size")
        rows += lines.start_up(await standing.start_up(on))
        rows += lines.memory(await standing.memory(on), scale)
        sizes = standing.installed()
        rows += lines.installed(sizes, standing.stripped_mb(sizes))
        rows += lines.headroom(rates, shares)
    return Results(
        rows,
        {name: figure.median for name, figure in chats.items()},
        # By the relay, which has one thread: ours also wait for each other on their core.
        Figure(shares["relay"].strangers).median,
    )


def said(what: str) -> None:
    """Tell what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {what} …", flush=True)


def report(results: Results, seconds: float) -> str:
    """What goes into the README. What a busy machine made slow is told, but not judged."""
    is_quiet, rows = results.strangers < QUIET_SHARE, results.rows
    rows = [replace(row, is_judged=is_quiet or not row.by_clock) for row in rows]
    ordered = dict(sorted(results.chats_us.items(), key=lambda entry: entry[1]))
    plot = "\n".join([*bars("CPU of a plain chat", ordered, "µs"), "", *goal_bars(rows)])
    text = (
        f"{table(rows)}\n\n```text\n{plot}\n```\n\n"
        f"Measured on {machine()}, in {seconds / 60:.0f} minutes.\n"
    )
    if is_quiet:
        return text
    return (
        f"{text}\nThe machine was not quiet: {100 * results.strangers:.0f} % of the time somebody "
        "else had the core that a plain chat\nwaited for. Ratios of CPU bear that; seconds, latencies "
        "and lags are told, but not judged.\n"
    )


def main() -> None:
    """Measure, print, and with `--readme` put it into the README."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a few requests: does it run?")
    parser.add_argument("--readme", action="store_true", help="put the results into the README")
    given = parser.parse_args()
    os.sched_setaffinity(0, OTHER_CPUS)
    standing.compiled()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        done = uvloop.run(measured(Path(home), QUICK if given.quick else FULL))
    text = report(done, time.monotonic() - began_s)
    print(f"\n{text}")
    if given.readme:
        before, _, rest = README.read_text().partition(MARKS[0])
        README.write_text(f"{before}{MARKS[0]}{text}{MARKS[1]}{rest.partition(MARKS[1])[2]}")


if __name__ == "__main__":
    main()
