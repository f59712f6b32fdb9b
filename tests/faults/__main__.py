"""`make faults`: injects every fault of the table, and puts into the README what came of it.

Three rows run at a time. Words after it choose rows: `make faults ARGS=disk` runs those whose fault
has the word in it; the other lines of the README stay as they are.
"""

import importlib
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.faults.sizes import SCALE, SIZES, Scale
from tests.faults.table import ROWS, TESTS, Row

README: Final = TESTS.parent / "README.md"
BEGIN: Final = "<!-- what `make faults` found -->\n"
END: Final = "<!-- end -->\n"
HEAD: Final = "| injected | how often | the bar | holds afterwards | lost |\n| --- | --- | --- | --- | --- |\n"
NUMBER: Final = re.compile(r"\{([^}]+)\}")
LANES: Final = 3
"""On two cores: most rows wait for processes, timers and disks more than they compute."""


def times(row: Row, scale: Scale) -> str:
    """How often, with the numbers that the tests themselves use."""

    def number(found: "re.Match[str]") -> str:
        module, colon, name = found[1].partition(":")
        if not colon:
            return f"{getattr(SIZES[module], scale):,}"
        module = module if module.startswith("ringside_proxy") else f"tests.{module}"
        value = getattr(importlib.import_module(module), name)
        return f"{value if isinstance(value, int) else len(value):,}"

    return NUMBER.sub(number, row.times)


def line(row: Row, scale: Scale, *, is_good: bool) -> str:
    """The row as it stands in the README."""
    lost = "nothing" if is_good else "**see the test**"
    done, bar = times(row, scale), times(row, "full")
    return f"| {row.injected} | {done} | {'met' if done == bar else bar} | {row.holds} | {lost} |\n"


def written(text: str, found: dict[str, str]) -> str:
    """The README with the lines that were found, by what was injected, beside the others."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    known = {each.split(" | ")[0].removeprefix("| "): f"{each}\n" for each in table.splitlines()}
    lines = [(known | found).get(row.injected, "") for row in ROWS]
    return before + BEGIN + HEAD + "".join(lines) + END + after


def run(row: Row) -> bool:
    """The row's tests in a process of their own; what they say is shown if one fails."""
    began_s = time.monotonic()
    files = [str(TESTS / path) for path in row.tests]
    with tempfile.TemporaryDirectory(prefix="ringside-faults-") as scratch:
        options = ("-q", "-s", "-m", "faults", "--basetemp", f"{scratch}/pytest")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            cwd=TESTS.parent,
            env=os.environ | {"RINGSIDE_FAULTS": SCALE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    said = done.stdout.splitlines()
    shown = done.stdout if done.returncode else said[-1] if said else ""
    print(f"{time.monotonic() - began_s:4.0f} s  {row.injected}: {shown}", flush=True)
    # A row of which all was skipped has shown nothing.
    return done.returncode == 0 and " passed" in said[-1]


def run_all(rows: Iterable[Row]) -> dict[str, bool]:
    """Whether each was good, by what was injected; the longest begin first."""
    waiting = sorted(rows, key=lambda row: row.seconds)
    found: dict[str, bool] = {}

    def work() -> None:
        while waiting:
            row = waiting.pop()
            found[row.injected] = run(row)

    lanes = [threading.Thread(target=work) for _ in range(LANES)]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return found


def main(words: list[str]) -> int:
    """1 if a row failed."""
    began_s = time.monotonic()
    rows = [row for row in ROWS if not words or any(word in row.injected for word in words)]
    found = run_all(rows)
    lines = {row.injected: line(row, SCALE, is_good=found[row.injected]) for row in rows}
    README.write_text(written(Path(README).read_text(), lines))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed_s = spent.ru_utime + spent.ru_stime
    took_s = time.monotonic() - began_s
    print(f"{took_s / 60:.1f} min, {computed_s / 60:.1f} min of computing, scale {SCALE}")
    print("".join(lines.values()))
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
