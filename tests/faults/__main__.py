"""`make faults`: injects every fault of the table, and puts into the README what came of it.

Words after it choose rows: `make faults ARGS=disk` runs those whose fault has the word in it; the
other lines of the README stay as they are.
"""

import importlib
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tests.faults.table import ROWS, TESTS, Row

README: Final = TESTS.parent / "README.md"
BEGIN: Final = "<!-- what `make faults` found -->\n"
END: Final = "<!-- end -->\n"
HEAD: Final = "| injected | how often | holds afterwards | lost |\n| --- | --- | --- | --- |\n"
CONSTANT: Final = re.compile(r"\{([\w.]+):(\w+)\}")


def times(row: Row) -> str:
    """How often, with the numbers that the tests themselves use."""

    def number(found: "re.Match[str]") -> str:
        value = getattr(importlib.import_module(f"tests.{found[1]}"), found[2])
        return f"{value if isinstance(value, int) else len(value):,}"

    return CONSTANT.sub(number, row.times)


def passes(row: Row) -> bool:
    """Run the row's tests, which say what is wrong themselves."""
    files = [str(TESTS / path) for path in row.tests]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "faults", *files]
    return subprocess.run(command, cwd=TESTS.parent, check=False).returncode == 0


def line(row: Row, *, is_good: bool) -> str:
    """The row as it stands in the README."""
    lost = "nothing" if is_good else "**see the test**"
    return f"| {row.injected} | {times(row)} | {row.holds} | {lost} |\n"


def written(text: str, found: dict[str, str]) -> str:
    """The README with the lines that were found, by what was injected, beside the others."""
    before, _, rest = text.partition(BEGIN)
    table, _, after = rest.partition(END)
    known = {each.split(" | ")[0].removeprefix("| "): f"{each}\n" for each in table.splitlines()}
    lines = [(known | found).get(row.injected, "") for row in ROWS]
    return before + BEGIN + HEAD + "".join(lines) + END + after


def main(words: list[str]) -> int:
    """1 if a row failed."""
    found, failed = {}, 0
    for row in ROWS:
        if words and not any(word in row.injected for word in words):
            continue
        began_s = time.monotonic()
        is_good = passes(row)
        failed += not is_good
        found[row.injected] = line(row, is_good=is_good)
        print(f"{time.monotonic() - began_s:.0f} s: {found[row.injected]}", flush=True)
    README.write_text(written(Path(README).read_text(), found))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
