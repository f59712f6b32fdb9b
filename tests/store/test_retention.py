"""What is old goes in small pieces, so that nobody who writes waits long; and a store opens at once."""

from functools import partial

import pytest

from ringside_proxy.domain.idempotency import Answer
from ringside_proxy.store import (
    deliveries,
    events,
    files,
    idempotency,
    items,
    paging,
    provider_states,
    threads,
    webhooks,
)
from ringside_proxy.store.db import Database
from tests.fakes import FakeClock
from tests.store.memory import Store
from tests.store.test_query_plans import WEBHOOK, add_run, fill

ROWS = 1_200
CHUNK = 500
"""Rows that one statement of what tidies up may remove."""
AT_ONCE_MAX = 2 * CHUNK
"""Rows that one transaction of it may remove: less than what makes it stop, and one statement more."""
YEAR_MS = 366 * 24 * 3600 * 1000


def thread_with_everything(store):
    """A deleted thread with many messages, runs, and states that providers want back."""
    thread = store.thread({"n": "1"})
    store.write(items.append, thread.seq, [store.user_item("Hi") for _ in range(ROWS)])
    for _ in range(ROWS // 4):
        add_run(store, thread)
    scope = provider_states.thread_scope(thread.seq)
    for number in range(ROWS):
        store.write(provider_states.put, scope, f"call_{number}", "m", {})
    store.write(threads.delete, thread)


def told_events(store):
    """Events, and deliveries of them that are over."""
    store.write(webhooks.insert, WEBHOOK, "https://example.com/hook", ["*"], b"", "whsec_…")
    for number in range(ROWS):
        store.write(events.emit, "customer.created", {"customer": f"customer_{number}"})
    store.connection.execute("UPDATE deliveries SET state = 'delivered', ended_ms = created_ms")


def untold_events(store):
    """Events that nobody wanted to hear of."""
    for number in range(ROWS):
        store.write(events.emit, "customer.created", {"customer": f"customer_{number}"})


def deleted_receiver(store):
    """A receiver that is gone, and what was on its way to it."""
    told_events(store)
    store.write(webhooks.delete, store.write(webhooks.get, WEBHOOK))


def graves(store):
    """Places where deleted objects stood."""
    for number in range(ROWS):
        store.write(paging.bury, store.new_id("gone"), 0, number)


def states(store):
    """What providers want back with chats, expired."""
    scope = provider_states.chat_scope("")
    for number in range(ROWS):
        store.write(provider_states.put, scope, f"call_{number}", "m", {}, store.now_ms)


def keys(store):
    """Keys whose answers are kept."""
    answer = Answer(status=200, content_type="application/json", headers={}, body=b"{}")
    for number in range(ROWS):
        scope = number.to_bytes(32)
        store.write(idempotency.begin, scope, b"f" * 32, "boot_1")
        store.write(idempotency.answered, scope, answer)


TIDYING = {
    "threads": (thread_with_everything, threads.purge, "items", "runs", "provider_states"),
    "deliveries": (told_events, deliveries.forget, "deliveries"),
    "events": (untold_events, events.forget, "events"),
    "receivers": (deleted_receiver, webhooks.purge, "webhooks", "deliveries"),
    "tombstones": (
        graves,
        lambda tx: paging.clear_tombstones(tx, tx.now_ms),
        "tombstones",
    ),
    "states": (states, provider_states.forget_expired, "provider_states"),
    "keys": (keys, partial(idempotency.forget_old, boot="boot_1"), "idempotency_keys"),
}
"""What tidies up: something to do for it, the function, and the tables that are empty afterwards."""


@pytest.mark.parametrize(
    ("make", "tidy", "tables"),
    [pytest.param(make, tidy, tables, id=name) for name, (make, tidy, *tables) in TIDYING.items()],
)
def test_old_rows_go_a_few_at_a_time(make, tidy, tables):
    """However much there is to remove, a transaction removes at most a thousand rows of it."""
    store = Store()
    make(store)
    store.now_ms += YEAR_MS

    removed = []
    while True:
        before = store.connection.total_changes
        more = store.write(tidy)
        removed.append(store.connection.total_changes - before)
        if not more:
            break

    assert max(removed) <= AT_ONCE_MAX
    assert sum(removed) >= ROWS
    assert [store.rows(f"SELECT count(*) FROM {table}") for table in tables] == [  # noqa: S608
        [(0,)] for _ in tables
    ]
    store.connection.close()


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens a store with so many of everything, not cleanly stopped; gives SQLite's steps for it."""
    monkeypatch.setattr(files, "QUICK_CHECK_BYTES_MAX", 0)  # as for a store beyond that size
    count = 0

    def counted(open_connection):
        def opening(*args):
            connection = open_connection(*args)

            def tick():
                nonlocal count
                count += 1

            connection.set_progress_handler(tick, 1)
            return connection

        return opening

    async def open_one(name, size):
        nonlocal count
        path = tmp_path / name
        made = Store()
        fill(made, size)
        made.connection.execute("INSERT OR REPLACE INTO store_meta VALUES ('open', '1')")
        made.connection.execute("VACUUM INTO ?", (str(path),))
        made.connection.close()
        with monkeypatch.context() as patch:
            patch.setattr(files, "open_writer", counted(files.open_writer))
            patch.setattr(files, "open_reader", counted(files.open_reader))
            count = 0
            db = await Database.open(path, FakeClock())
            steps = count
            await db.close()
        return steps

    return open_one


async def test_large_store_opens_in_as_many_steps_as_a_small_one(opened):
    """What is done before a store can be used does not grow with what is in it."""
    small, large = await opened("small.db", 10), await opened("large.db", 300)

    assert 0 < large <= 1.1 * small
