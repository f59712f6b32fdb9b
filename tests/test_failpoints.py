"""Failpoints: what the variable may say, and that nothing is left of one that was armed."""

import importlib
import sys
from typing import Any

import pytest

from ringside_proxy import app, failpoints
from ringside_proxy.failpoints import NAMES, POINTS, FailpointError, Order, armed, parse
from ringside_proxy.store import idempotency, ledger
from tests.store.memory import Store

PLACES_MIN = 40


def snapshot() -> dict[str, Any]:
    """Everything that the package's modules and their classes hold."""
    assert app  # everything is imported
    found = {}
    for module_name, module in list(sys.modules.items()):
        if not module_name.startswith("ringside_proxy"):
            continue
        for name, value in vars(module).items():
            found[f"{module_name}:{name}"] = value
            if isinstance(value, type) and value.__module__ == module_name:
                found |= {f"{module_name}:{name}.{key}": each for key, each in vars(value).items()}
    return found


def differing(before: dict[str, Any]) -> set[str]:
    """What is not as it was."""
    now = snapshot()
    return {name for name, value in before.items() if now[name] is not value}


def test_there_are_enough_places() -> None:
    """Before and after every step of a call."""
    assert len(NAMES) >= PLACES_MIN


@pytest.mark.parametrize(
    ("text", "orders"),
    [
        ("hold.after:abort", [Order("hold", "after", 1, "abort")]),
        ("hold.row.before:3:raise", [Order("hold.row", "before", 3, "raise")]),
        (
            "write.before:12:sleep, commit.after:raise",
            [Order("write", "before", 12, "sleep"), Order("commit", "after", 1, "raise")],
        ),
    ],
)
def test_an_order_names_a_place_a_time_and_an_action(text: str, orders: list[Order]) -> None:
    """`<name>[:<nth>]:<action>`, and several of them with commas between."""
    assert parse(text) == orders


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no place is named ''"),
        ("hold:abort", "no place is named 'hold'"),
        ("hold.between:abort", "hold.after"),
        ("hold.after", "one of abort, raise, sleep"),
        ("hold.after:explode", "one of abort, raise, sleep"),
        ("hold.after:0:abort", "<nth>"),
        ("hold.after:x:abort", "<nth>"),
        ("hold.after:1:2:abort", "<nth>"),
        ("hold.after:abort,nowhere.after:abort", "no place is named 'nowhere.after'"),
    ],
)
def test_anything_else_is_refused(text: str, words: str) -> None:
    """In words that say what would be right."""
    with pytest.raises(ValueError, match="RINGSIDE_FAILPOINT") as refusal:
        parse(text)

    assert words in str(refusal.value)


@pytest.mark.parametrize("step", POINTS)
def test_a_place_is_wrapped_and_unwrapped(step: str) -> None:
    """While it is armed another function stands there; afterwards everything is as it was."""
    importlib.import_module("ringside_proxy.cli")
    before = snapshot()

    with armed(f"{step}.before:raise"):
        changed = differing(before)

    assert changed
    assert differing(before) == set()


def test_it_fails_the_nth_time_and_once() -> None:
    """Before and after that the place does what it always does."""
    store, scope = Store(), b"s" * 32
    store.write(idempotency.begin, scope, b"f" * 32, "boot_1")

    with armed("key.made.before:2:raise"):
        store.write(idempotency.made, scope, "run_1")
        with pytest.raises(FailpointError, match=r"key\.made\.before"):
            store.write(idempotency.made, scope, "run_2")
        store.write(idempotency.made, scope, "run_3")

    assert store.rows("SELECT resource FROM idempotency_keys") == [("run_3",)]


def test_after_means_that_it_was_done() -> None:
    """The step has had its effect when it fails."""
    calls = []
    original = ledger.live

    def live(tx: Any) -> Any:
        calls.append(tx)
        return original(tx)

    wrapped = failpoints._wrapped(live, Order("hold", "after", 1, "raise"))

    with pytest.raises(FailpointError):
        Store().write(wrapped)
    assert len(calls) == 1


async def test_a_coroutine_function_stays_one() -> None:
    """It is awaited as before, and fails inside."""
    done = []

    async def work(number: int) -> int:
        done.append(number)
        return number

    wrapped = failpoints._wrapped(work, Order("hold", "before", 2, "raise"))

    assert await wrapped(1) == 1
    with pytest.raises(FailpointError):
        await wrapped(2)
    assert done == [1]
