"""The table of faults: its tests are there, and the README tells of each row."""

import pytest

from tests.faults.__main__ import BEGIN, END, HEAD, README, line, times, written
from tests.faults.sizes import SIZES
from tests.faults.table import ROWS, TESTS, Row, is_of_the_suite


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.injected)
def test_its_tests_are_there(row: Row) -> None:
    """Each file exists, and its tests carry the marker."""
    assert all((TESTS / path).is_file() for path in row.tests)
    assert all(is_of_the_suite(f"tests/{path}::test_x") for path in row.tests)
    assert "{" not in times(row, "suite")


@pytest.mark.parametrize("name", SIZES)
def test_each_size_is_of_a_row(name: str) -> None:
    """No number is kept that no row tells of; none is larger than the bar."""
    assert any(f"{{{name}}}" in row.times for row in ROWS)
    assert list(SIZES[name]) == sorted(SIZES[name])


def test_other_tests_are_not_of_the_suite() -> None:
    """The marker is for those of the table."""
    assert not is_of_the_suite("tests/api/test_threads.py::test_x")


def test_the_readme_tells_of_rows_that_lost_nothing() -> None:
    """Its lines are those of the table, in their order."""
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    told = [each.split(" | ")[0].removeprefix("| ") for each in table.splitlines()[2:]]

    assert told
    assert told == [row.injected for row in ROWS if row.injected in told]
    assert "see the test" not in table


def test_rows_that_were_not_run_stay() -> None:
    """Running one row changes its line alone."""
    first, second = ROWS[:2]
    old = f"a\n{BEGIN}{HEAD}| {first.injected} | 1 | x | y |\n{END}z\n"

    new = written(old, {second.injected: line(second, "suite", is_good=False)})

    assert f"| {first.injected} | 1 | x | y |\n" in new
    assert line(second, "suite", is_good=False) in new
    assert "**see the test**" in new
    assert new.endswith(f"{END}z\n")
