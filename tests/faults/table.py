"""What is done to the proxy, how often, by which tests, and what they look at afterwards.

A row's tests have the marker `faults`; after each of them `tests.faults.invariants` holds.
`times` names sizes (`tests.faults.sizes`) and constants of tests that its numbers come from.
"""

from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parent.parent


class Row(NamedTuple):
    """A fault. `tests` are files below `tests/`; `seconds` is about how long they take in `make faults`."""

    injected: str
    times: str
    tests: tuple[str, ...]
    holds: str
    seconds: int


ROWS: Final = (
    Row(
        "`kill -9` of the proxy under mixed load, also while it starts",
        "{kills under mixed load} kills",
        ("crash/test_kill.py",),
        "every acknowledged object is there and equal, runs are ended, threads are free, the file is sound",
        150,
    ),
    Row(
        "`kill -9` between requests with an Idempotency-Key",
        "{kills between requests with a key} kills",
        ("crash/test_idempotency.py",),
        "one call to the provider for each key, equal answers",
        20,
    ),
    Row(
        "`kill -9` with runs at work, waiting, queued, being cancelled",
        "each state",
        ("crash/test_recovery.py", "crash/test_expiry.py"),
        "the run has its legal end and its text, no hold of the dead process",
        25,
    ),
    Row(
        "`kill -9` in the middle of delivery",
        "{kills in the middle of delivery} kills",
        ("crash/test_delivery_kill.py",),
        "each event at least once under one id, signed; each booking in its order",
        120,
    ),
    Row(
        "`kill -9` of the store's writer",
        "{kills of the store} kills",
        ("store/test_kill.py",),
        "every acknowledged write is whole, the lock is free, `integrity_check`",
        130,
    ),
    Row(
        "power loss: writes that were not synced are dropped, torn, reordered",
        "{images after a power loss} images",
        ("store/test_power_loss.py",),
        "`synchronous: full` has every acknowledged write, `normal` an unbroken beginning of them",
        30,
    ),
    Row(
        "`SIGTERM` under open streams",
        "{crash.test_shutdown_load:STREAMS} streams",
        ("crash/test_shutdown.py", "crash/test_shutdown_load.py"),
        "each stream ends in order as it is stored, exit 0 inside the deadline",
        30,
    ),
    Row(
        "death and an error before and after every step of a call",
        "{ringside_proxy.failpoints:NAMES} places, each by `kill -9` and by an error",
        ("crash/test_failpoints.py",),
        "no call sent or booked twice, nothing held for nobody, no run stuck, all of it told",
        250,
    ),
    Row(
        "disk full",
        "{points of a full disk} points of growth",
        ("store/test_disk_full.py", "crash/test_disk_full.py", "api/test_disk_full.py"),
        "what was acknowledged and nothing else, writes go on without a restart",
        3,
    ),
    Row(
        "provider faults: refused, silent, cut, reset, garbage, bombs, drips, error statuses, odd usage, disorder",
        "{e2e.faults:ALL} faults at 19 providers, as run and chat, plain and streamed",
        ("e2e/test_provider_faults.py",),
        "the right error, hold settled, thread free, no task and no connection left",
        180,
    ),
    Row(
        "clients that leave at a random byte",
        "{clients that leave} streams",
        ("api/test_spending_ends.py",),
        "one booking each, sums equal the counters, nothing held",
        50,
    ),
    Row(
        "a clock that jumps by hours, months, years, both ways",
        "{steps of the clock} steps",
        ("api/test_clock_steps.py",),
        "no fresh budget, no run that never expires, every call is answered",
        5,
    ),
    Row(
        "a race for the last of a budget",
        "{reservations} reservations, {store.test_budget_race:WORKERS} workers",
        ("store/test_budget_race.py",),
        "0 nano-USD over any cap, sums equal the counters",
        15,
    ),
    Row(
        "requests at once under one Idempotency-Key",
        "{keys} keys, {api.test_idempotency_load:TIMES} at once",
        ("api/test_idempotency_load.py",),
        "one call to the provider for each, equal answers",
        75,
    ),
    Row(
        "one of ten receivers hangs",
        "{events beside one that hangs} events",
        ("delivery/test_hanging.py",),
        "all of them at the other nine, whose p99 stays below 2 s",
        15,
    ),
    Row(
        "a day of receivers that fail, vanish, come back",
        "{delivery.test_day:EVENTS} events over 24 hours of schedule",
        ("delivery/test_day.py",),
        "each event at least once under one id, or dead after its last attempt",
        15,
    ),
    Row(
        "spoilt configuration files under traffic",
        "{reloads} reloads",
        ("api/test_reload_storm.py",),
        "no failed request, the last good one kept",
        25,
    ),
    Row(
        "lives of the ledger and of runs, at random, beside a model",
        "{lives} and {lives} lives of {store.test_ledger_model:STEPS} steps",
        ("store/test_ledger_model.py", "store/test_run_model.py"),
        "the store says what the model says",
        60,
    ),
    Row(
        "hostile bodies, raw requests, schemas; cases made from `/openapi.json`",
        "{bodies}, {raw requests}, {schemas}; {described cases}",
        ("api/test_hostile_load.py", "api/test_hostile_cases.py"),
        "no answer in the 500s, nothing blocked for 250 ms, nothing logged as an error",
        75,
    ),
)


def is_of_the_suite(nodeid: str) -> bool:
    """Whether a test, as pytest names it, belongs to a row."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return any(path in row.tests for row in ROWS)
