"""What `make bench` makes of what it measured. That it runs is seen by running it."""

from pathlib import Path

from tests.bench.__main__ import MARKS, README, Results, report
from tests.bench.scale import Figure, percentile
from tests.bench.standing import installed
from tests.bench.table import GOAL_MARK, Line, bars, goal_bars, table


def test_ratio_is_taken_round_by_round() -> None:
    """A round that was slow for both contenders does not move their ratio."""
    ours, relay = Figure([20.0, 200.0, 22.0]), Figure([10.0, 100.0, 11.0])

    assert ours.to(relay).values == [2.0, 2.0, 2.0]
    assert ours.to(relay).spread == 0.0


def test_spread_is_of_the_middle_half() -> None:
    """One round that was disturbed does not widen it."""
    steady, disturbed = Figure([9.0, 10, 10, 10, 11]), Figure([9.0, 10, 10, 10, 900])

    assert steady.spread == disturbed.spread == 0.0


def test_percentile_is_a_value_that_was_measured() -> None:
    """p99 of a hundred is the last of them."""
    assert percentile(range(100), 0.99) == 99
    assert percentile([7.0], 0.99) == 7.0


def test_goals_are_met_from_either_side() -> None:
    """At most for costs, at least for rates; the share of a goal is above one where it is missed."""
    cost = Line("cost", 3.0, "x", 2.0)
    rate = Line("rate", 0.25, "x", 0.5, at_least=True)

    assert not cost.is_reached
    assert cost.share == 1.5
    assert not rate.is_reached
    assert rate.share == 2.0
    assert Line("cost", 2.0, "x", 2.0).is_reached


def test_table_says_what_is_not_reached() -> None:
    """A missed goal is marked, a line without a goal is not judged."""
    text = table([Line("cost", 3.0, "x", 2.0), Line("only told", 12_345.0, "µs")])

    assert "| cost | 3 x | ≤ 2 x | **no** |  |" in text
    assert "| only told | 12,345 µs |  |  |  |" in text


def test_busy_machine_judges_no_time() -> None:
    """Where others had the core, what passed by the clock is told alone; CPU is judged as ever."""
    rows = [Line("lag", 90.0, "ms", 50.0, by_clock=True), Line("cost", 3.0, "x", 2.0)]

    quiet, busy = (report(Results(rows, {"relay": 1.0}, share), 60.0) for share in (0.0, 0.5))

    assert "| lag | 90 ms | ≤ 50 ms | **no** |  |" in quiet
    assert "| lag | 90 ms | ≤ 50 ms | not judged |  |" in busy
    assert "| cost | 3 x | ≤ 2 x | **no** |  |" in busy
    assert "not quiet" in busy
    assert "not quiet" not in quiet


def test_bars_are_in_proportion() -> None:
    """The longest is of full length, and a missed goal's passes the mark."""
    _, short, long = bars("CPU", {"relay": 100.0, "ours": 200.0}, "µs")
    _, missed, met = goal_bars([Line("missed", 3.0, "x", 2.0), Line("met", 1.0, "x", 2.0)])

    assert long.count("█") == 2 * short.count("█")
    assert missed.index(GOAL_MARK) < missed.rindex("█")
    assert met.index(GOAL_MARK) > met.rindex("█")


def test_installed_counts_what_is_needed_and_nothing_else() -> None:
    """What the tests and the demo need is not installed with the package."""
    sizes = installed()

    assert {"aiohttp", "uvloop", "yarl"} <= set(sizes)
    assert not {"pytest", "openai", "pip"} & set(sizes)
    assert sizes["uvloop"] > sizes["frozenlist"] > 0


def test_readme_has_a_place_for_it() -> None:
    """`make bench ARGS=--readme` writes between two marks."""
    text = Path(README).read_text()

    assert [text.count(mark) for mark in MARKS] == [1, 1]
