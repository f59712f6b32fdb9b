"""What is done to the proxy, how often, by which tests, and what they look at afterwards.

A row's tests have the marker `faults`. `times` names the constants that its numbers come from.
"""

from pathlib import Path
from typing import Final, NamedTuple

TESTS: Final = Path(__file__).parent.parent


class Row(NamedTuple):
    """A fault. `tests` are files, or single tests, below `tests/`."""

    injected: str
    times: str
    tests: tuple[str, ...]
    holds: str


ROWS: Final = (
    Row(
        "`kill -9` of the proxy under mixed load, also while it starts",
        "{crash.test_kill:KILLS} kills",
        ("crash/test_kill.py",),
        "every acknowledged object is there and equal, runs are ended, threads are free, the file is sound",
    ),
    Row(
        "`kill -9` between requests with an Idempotency-Key",
        "{crash.test_idempotency:KILLS} kills",
        ("crash/test_idempotency.py",),
        "one call to the provider for each key, equal answers",
    ),
    Row(
        "`kill -9` with runs at work, waiting, queued, being cancelled",
        "each state",
        ("crash/test_recovery.py", "crash/test_expiry.py"),
        "the run has its legal end and its text, no hold of the dead process",
    ),
    Row(
        "`kill -9` of the store's writer",
        "{store.test_kill:KILLS} kills",
        ("store/test_kill.py",),
        "every acknowledged write is whole, the lock is free, `integrity_check`",
    ),
    Row(
        "`SIGTERM` under open streams",
        "{crash.test_shutdown_load:STREAMS} streams",
        ("crash/test_shutdown.py", "crash/test_shutdown_load.py"),
        "each stream ends in order as it is stored, exit 0 inside the deadline",
    ),
    Row(
        "death and an error before and after every step of a call",
        "{crash.test_failpoints:NAMES} places, each by `kill -9` and by an error",
        ("crash/test_failpoints.py",),
        "no call sent or booked twice, nothing held for nobody, no run stuck",
    ),
    Row(
        "disk full",
        "{store.test_disk_full:POINTS} points of growth",
        ("store/test_disk_full.py",),
        "what was acknowledged and nothing else, writes go on without a restart",
    ),
    Row(
        "provider faults: refused, silent, cut, reset, garbage, bombs, drips, error statuses, odd usage, disorder",
        "{e2e.faults:ALL} faults at 19 providers, as run and chat, plain and streamed",
        ("e2e/test_provider_faults.py",),
        "the right error, hold settled, thread free, no task and no connection left",
    ),
    Row(
        "clients that leave at a random byte",
        "{api.test_spending_ends:LEAVERS} streams",
        ("api/test_spending_ends.py",),
        "one booking each, sums equal the counters, nothing held",
    ),
    Row(
        "a race for the last of a budget",
        "{store.test_budget_race:RESERVATIONS} reservations, {store.test_budget_race:WORKERS} workers",
        ("store/test_budget_race.py",),
        "0 nano-USD over any cap, sums equal the counters",
    ),
    Row(
        "requests at once under one Idempotency-Key",
        "{api.test_idempotency_load:KEYS} keys, {api.test_idempotency_load:TIMES} at once",
        ("api/test_idempotency_load.py",),
        "one call to the provider for each, equal answers",
    ),
    Row(
        "receivers that hang, fail, vanish, come back",
        "the whole schedule of 24 hours",
        ("delivery/test_worker.py",),
        "each event at least once under one id, nobody waits for another",
    ),
    Row(
        "spoilt configuration files under traffic",
        "{api.test_reload_storm:RELOADS} reloads",
        ("api/test_reload_storm.py",),
        "no failed request, the last good one kept",
    ),
    Row(
        "lives of the ledger and of runs, at random, beside a model",
        "{store.test_ledger_model:EXAMPLES} and {store.test_run_model:EXAMPLES} lives",
        ("store/test_ledger_model.py", "store/test_run_model.py"),
        "the store says what the model says",
    ),
    Row(
        "hostile bodies, raw requests, schemas",
        "{api.test_hostile_load:BODIES}, {api.test_hostile_load:REQUESTS}, {api.test_hostile_load:SCHEMAS}",
        ("api/test_hostile_load.py",),
        "no answer in the 500s, nothing blocked, nothing logged as an error",
    ),
)


def is_of_the_suite(nodeid: str) -> bool:
    """Whether a test, as pytest names it, belongs to a row."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    return any(path in row.tests for row in ROWS)
