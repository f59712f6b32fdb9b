import pytest

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.runs import RunEvent
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_assembler import CompleteStep
from ringside_proxy.services.run_transactions import Ending
from ringside_proxy.store import items, run_steps, runs, threads
from tests.store.memory import DEVELOPER

CHUNK = 500
ROWS = 1200

STAYS = ("tombstones", "events", "wallet", "ledger_clock")
"""Tables that may have rows when every thread is gone; the last two always have one."""


def crowd(store, thread):
    """More rows below a thread than one chunk holds, in every table: many runs, many steps in one."""
    for _ in range(ROWS):
        run, generation = store.started(thread)
        store.write(run_transactions.finish, run.id, generation, Ending(event=RunEvent.COMPLETE))
    run, generation = store.started(thread)
    for _ in range(ROWS):
        _, changes = store.open_message(run)
        changes.append(CompleteStep(changes[0].step_id, store.now_ms))
        store.write(run_transactions.save, run, generation, changes)
    store.write(run_transactions.finish, run.id, generation, Ending(event=RunEvent.COMPLETE))


def delete(tx, thread_id):
    threads.delete(tx, threads.get(tx, thread_id, DEVELOPER))


def sizes(store):
    """How many rows each table has."""
    return {table: len(rows) for table, rows in store.dump().items()}


def test_deleted_thread_is_gone_at_once(store):
    """It cannot be found or listed from the moment it was deleted, though its rows are still there."""
    thread = store.thread({"app": "x"})
    store.message(thread)

    store.write(delete, thread.thread.id)

    with pytest.raises(NotFoundError, match=f"No thread found with id '{thread.thread.id}'."):
        store.write(threads.get, thread.thread.id, DEVELOPER)
    assert store.rows("SELECT count(*) FROM items") == [(1,)]


def test_purge_leaves_no_row_of_the_thread(store):
    """In chunks of at most 500 rows everything below goes; another thread's rows are untouched."""
    other = store.thread({"app": "x"})
    store.message(other)
    run, generation = store.started(other)
    _, changes = store.open_message(run)
    store.write(run_transactions.save, run, generation, changes)
    before = store.dump()
    thread = store.thread({"app": "x", "n": "1"})
    crowd(store, thread)
    full = sizes(store)
    store.write(delete, thread.thread.id)

    removed, is_more = [], True
    while is_more:
        changed = store.connection.total_changes
        is_more = store.write(threads.purge)
        removed.append(store.connection.total_changes - changed)

    after = store.dump()
    assert [row[0] for row in after.pop("tombstones")] == [thread.thread.id]
    assert before.pop("tombstones") == []
    del before["events"], after["events"]  # what happened has happened, and is told
    assert after == before
    assert all(full[table] > 2 * CHUNK for table in ("items", "runs", "generations", "run_steps"))
    assert len(removed) > 8
    assert max(removed) <= 2 * CHUNK
    assert removed[-1] == 0


def test_purge_finds_nothing_in_a_store_without_deleted_threads(store):
    """A live thread is never purged."""
    store.message(store.thread())
    before = store.dump()

    assert store.write(threads.purge) is False

    assert store.dump() == before


def test_purge_takes_one_thread_after_the_other(store):
    """Several deleted threads all go, the first deleted first."""
    names = [store.thread().thread.id for _ in range(3)]
    for name in (names[1], names[0]):
        store.now_ms += 1
        store.write(delete, name)

    left = []
    while store.write(threads.purge):
        left.append(store.rows("SELECT seq FROM conversations"))

    assert left == [[(1,), (3,)], [(3,)]]


def test_thread_can_be_deleted_while_a_run_is_in_the_way(store):
    """A run that was ended in the same transaction is purged like any other."""
    thread = store.thread()
    run, _ = store.started(thread)

    def end_and_delete(tx):
        run_transactions.finish(tx, run.id, None, Ending(event=RunEvent.CANCEL))
        delete(tx, thread.thread.id)

    store.write(end_and_delete)
    while store.write(threads.purge):
        pass

    assert store.write(runs.reload, run.id) is None
    assert store.write(run_transactions.finish, run.id, None, Ending(event=RunEvent.FAIL)) is None
    assert not any(rows for table, rows in store.dump().items() if table not in STAYS)


def test_deleted_message_is_gone_for_the_model_too(store):
    """It leaves the list, the history and the count of its thread; a second delete is a 404."""
    thread = store.thread()
    names = [store.message(thread).id for _ in range(3)]

    store.write(items.delete_message, thread, names[1])

    history = store.write(items.last_messages, thread.seq, items.END_ORDINAL, 10)
    assert [item.id for item in history] == [names[0], names[2]]
    assert store.write(threads.get, thread.thread.id, DEVELOPER).message_count == 2
    for access in (items.delete_message, items.get_message):
        with pytest.raises(NotFoundError, match=f"No message found with id '{names[1]}'."):
            store.write(access, thread, names[1])


def test_message_of_another_thread_is_not_deleted(store):
    """A message is found below its own thread only."""
    thread, other = store.thread(), store.thread()
    message = store.message(other)

    with pytest.raises(NotFoundError):
        store.write(items.delete_message, thread, message.id)

    assert store.write(items.get_message, other, message.id).id == message.id


@pytest.mark.parametrize("is_run_over", [False, True])
def test_step_outlives_its_message(store, is_run_over):
    """A message may be deleted while its run writes it or later: the run ends, the step names it."""
    thread = store.thread()
    run, generation = store.started(thread)
    message, changes = store.open_message(run)
    store.write(run_transactions.save, run, generation, changes)
    ending = Ending(event=RunEvent.COMPLETE)
    if is_run_over:
        store.write(run_transactions.finish, run.id, generation, ending)

    store.write(items.delete_message, thread, message.id)

    if not is_run_over:
        store.write(run_transactions.finish, run.id, generation, ending)
    step = store.write(run_steps.get, run.seq, message.step_id)
    assert step.status == "completed"
    assert step.step_details.message_creation.message_id == message.id
