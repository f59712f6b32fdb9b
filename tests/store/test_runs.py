from itertools import product

import msgspec
import pytest

from ringside_proxy.domain.errors import (
    ConversationFullError,
    ConversationLockedError,
    InvalidRequestError,
    RunStateError,
    ThreadBusyError,
)
from ringside_proxy.domain.runs import (
    ACTIVE,
    RUN_TRANSITIONS,
    TERMINAL,
    LastError,
    RunEvent,
    RunSettings,
    RunStatus,
    next_status,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_transactions import Ending
from ringside_proxy.store import items, run_steps, runs, threads
from tests.store.memory import DEVELOPER

CELLS = list(product(RunStatus, RunEvent))


def path_to(status):
    """The events that lead a new run there, by the shortest way."""
    paths = {RunStatus.QUEUED: []}
    found = [RunStatus.QUEUED]
    for here in found:
        for event, there in RUN_TRANSITIONS[here].items():
            if there not in paths:
                paths[there] = [*paths[here], event]
                found.append(there)
    return paths[status]


def run_in(store, status, thread=None):
    """A run that was moved to a status, a second after it was made and a second each time."""
    run = store.run(thread or store.thread())
    for event in path_to(status):
        store.now_ms += 1000
        run = store.write(runs.move, run, event)
    return run


@pytest.mark.parametrize(
    ("status", "event"), [cell for cell in CELLS if cell[1] in RUN_TRANSITIONS[cell[0]]]
)
def test_move_stores_what_the_table_says(store, status, event):
    """The row afterwards is the run that the move gives, in the table's status."""
    run = run_in(store, status)
    store.now_ms += 5000

    moved = store.write(runs.move, run, event)

    assert moved == store.write(runs.reload, run.id)
    assert moved.status is RUN_TRANSITIONS[status][event]
    assert moved.ended_ms == (store.now_ms if moved.status in TERMINAL else None)
    assert moved.started_ms == (store.now_ms if event is RunEvent.START else run.started_ms)
    assert moved.expires_ms == run.expires_ms


@pytest.mark.parametrize(
    ("status", "event"), [cell for cell in CELLS if cell[1] not in RUN_TRANSITIONS[cell[0]]]
)
def test_refused_move_changes_nothing(store, status, event):
    """What is not in the table raises its refusal and leaves every table as it was."""
    run = run_in(store, status)
    before = store.dump()
    with pytest.raises(RunStateError) as by_table:
        next_status(status, event)

    with pytest.raises(RunStateError) as by_store:
        store.write(runs.move, run, event)

    assert by_store.value.message == by_table.value.message
    assert store.dump() == before


@pytest.mark.parametrize("status", RunStatus)
def test_thread_is_locked_exactly_while_its_run_is_active(store, status):
    """In every active status a second run and a message are refused; in a terminal one both work."""
    thread = store.thread()
    run = run_in(store, status, thread)
    name = thread.thread.id

    if status in ACTIVE:
        with pytest.raises(ConversationLockedError) as locked:
            store.run(thread)
        with pytest.raises(ThreadBusyError) as busy:
            store.write(runs.require_idle, thread)
        assert locked.value.message == f"Thread {name} already has an active run {run.id}."
        assert busy.value.message == f"Can't add messages to {name} while a run {run.id} is active."
        assert (locked.value.code, busy.value.code) == ("conversation_locked",) * 2
    else:
        store.write(runs.require_idle, thread)
        assert store.run(thread).status is RunStatus.QUEUED


@pytest.mark.parametrize("status", RunStatus)
def test_sweeper_and_restart_see_exactly_the_active_runs(store, status):
    """What SQL calls active is what the table calls active."""
    run = run_in(store, status)
    is_active = status in ACTIVE

    assert [found.id for found in store.write(runs.active)] == [run.id] * is_active
    assert store.write(runs.by_expiry) == [(run.id, run.expires_ms)] * is_active


def test_active_runs_come_in_their_order(store):
    """By age for a restart, by expiry for the sweeper."""
    settings = [30, 10, 20]
    made = []
    for seconds in settings:
        thread = store.thread()
        made.append(
            store.write(
                runs.insert,
                store.new_id("run"),
                thread,
                "asst_1",
                RunSettings(model="fc:sandbox/echo"),
                customer=None,
                metadata={},
                expires_after_ms=1000 * seconds,
            ).id
        )

    assert [run.id for run in store.write(runs.active)] == made
    assert [name for name, _ in store.write(runs.by_expiry)] == [made[1], made[2], made[0]]


TIMES = {
    "queued": {},
    "in_progress": {},
    "requires_action": {},
    "cancelling": {},
    "completed": {"completed_at"},
    "incomplete": {"completed_at"},
    "failed": {"failed_at"},
    "cancelled": {"cancelled_at"},
    "expired": {},
}


@pytest.mark.parametrize("status", RunStatus)
def test_run_shows_the_times_of_its_status(store, status):
    """`expires_at` while it is active; then the one time that tells how it ended."""
    run = run_in(store, status)

    shown = store.write(runs.wire_object, run)

    ends = {"completed_at", "failed_at", "cancelled_at"}
    seconds = {name: getattr(shown, name) for name in ends if getattr(shown, name) is not None}
    assert seconds == dict.fromkeys(TIMES[status], store.now_ms // 1000)
    assert (shown.expires_at is not None) == (status in ACTIVE)
    assert (shown.usage is not None) == (status in TERMINAL)
    assert shown.status == status


def begin(store, run):
    begun = store.write(run_transactions.start, run.id, store.new_id("resp"), "fc:sandbox/echo")
    assert begun is not None
    return begun


def test_run_consumed_what_its_calls_did(store):
    """The usage of a run is the sum over its model calls; before its end it is null."""
    run, generation = begin(store, store.run(store.thread()))
    [call], changes = store.call(run)
    first = TokenUsage(input_tokens=10, cached_input_tokens=4, output_tokens=3, reasoning_tokens=1)
    needs = Ending(event=RunEvent.REQUIRE_ACTION, changes=changes, usage=first)
    waiting = store.write(run_transactions.finish, run.id, generation, needs).run
    queued, step = store.write(
        run_transactions.submit, waiting, [(call.call_id, "rain")], store.new_id
    )
    again, generation = begin(store, queued)
    second = TokenUsage(input_tokens=20, output_tokens=5, is_estimated=True)
    ended = store.write(
        run_transactions.finish, run.id, generation, Ending(event=RunEvent.COMPLETE, usage=second)
    )

    assert [waiting.usage, queued.usage, again.usage] == [None, None, None]
    assert ended.run.usage == first + second
    assert store.write(runs.used_so_far, run) == first + second
    assert step.usage["total_tokens"] == 13
    shown = runs.to_wire(ended.run)
    assert (shown.usage["prompt_tokens"], shown.usage["completion_tokens"]) == (30, 8)


def test_run_that_consumed_nothing_shows_zeros(store):
    """A run that never began, ended, has a usage of zeros and no time of start."""
    run = store.run(store.thread())

    ended = store.write(run_transactions.finish, run.id, None, Ending(event=RunEvent.CANCEL))

    shown = runs.to_wire(ended.run)
    assert (shown.usage["total_tokens"], shown.started_at) == (0, None)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_ended_run_keeps_its_word_after_its_expiry(store, status):
    """Outputs for a run that has ended are refused with how it ended, however late they come."""
    run = run_in(store, status)
    store.now_ms = run.expires_ms + 1

    with pytest.raises(RunStateError) as refusal:
        store.write(run_transactions.submit, run, [], store.new_id)

    words = f'Runs in status "{status.value}" do not accept tool outputs.'
    assert refusal.value.message == words


def test_outputs_after_the_expiry_are_refused_as_expired(store):
    """From the moment it is due a waiting run takes no outputs, even before the sweeper comes."""
    run = run_in(store, RunStatus.REQUIRES_ACTION)
    store.now_ms = run.expires_ms

    with pytest.raises(RunStateError, match='Runs in status "expired" do not accept'):
        store.write(run_transactions.submit, run, [], store.new_id)


@pytest.mark.parametrize(
    "event", [RunEvent.FAIL, RunEvent.CANCEL, RunEvent.EXPIRE, RunEvent.COMPLETE, RunEvent.RUN_OUT]
)
def test_ended_run_leaves_no_call_open(store, event):
    """However a run ends, also by somebody who does not know its call, the call is closed."""
    run, _ = begin(store, store.run(store.thread()))

    store.write(run_transactions.finish, run.id, None, Ending(event=event))

    assert store.write(runs.was_dispatched, run) is False


ENDS = [
    (RunEvent.COMPLETE, "completed", "completed", None),
    (RunEvent.RUN_OUT, "completed", "incomplete", "max_tokens"),
    (RunEvent.FAIL, "failed", "incomplete", "run_failed"),
    (RunEvent.CANCEL, "cancelled", "incomplete", "run_cancelled"),
    (RunEvent.EXPIRE, "expired", "incomplete", "run_expired"),
]
"""As OpenAI documents it: how a run ends, its open step, its open message, and why that ends."""


@pytest.mark.parametrize(("event", "step", "message", "reason"), ENDS)
def test_open_work_ends_with_its_run(store, event, step, message, reason):
    """The open step takes the run's word, the open message is cut short with the reason."""
    thread = store.thread()
    run, generation = begin(store, store.run(thread))
    item, changes = store.open_message(run)

    ended = store.write(
        run_transactions.finish, run.id, generation, Ending(event=event, changes=changes)
    )

    stored = store.write(items.get_message, thread, item.id)
    assert (ended.step.status, ended.message.status) == (step, message)
    assert (stored.status, stored.incomplete_reason) == (message, reason)
    assert stored.ended_ms == store.now_ms
    assert ended.step == store.write(run_steps.get, run.seq, item.step_id)


@pytest.mark.parametrize("pick", ["[]", "[a]", "[a, 'call_x']", "[a, b, b]", "[a, b, 'call_x']"])
def test_outputs_must_be_those_that_are_expected(store, pick):
    """Missing, unknown or doubled outputs are refused as a whole, in OpenAI's words."""
    run, generation = begin(store, store.run(store.thread()))
    calls, changes = store.call(run, 2)
    a, b = (item.call_id for item in calls)
    given = {
        "[]": [],
        "[a]": [a],
        "[a, 'call_x']": [a, "call_x"],
        "[a, b, b]": [a, b, b],
        "[a, b, 'call_x']": [a, b, "call_x"],
    }[pick]
    needs = Ending(event=RunEvent.REQUIRE_ACTION, changes=changes)
    waiting = store.write(run_transactions.finish, run.id, generation, needs).run
    before = store.dump()

    outputs = [(call_id, "x") for call_id in given]
    with pytest.raises(InvalidRequestError) as refusal:
        store.write(run_transactions.submit, waiting, outputs, store.new_id)

    words = f"Expected tool outputs for call_ids ['{a}', '{b}'], got {given}"
    assert (refusal.value.message, refusal.value.code) == (words, None)
    assert store.dump() == before


@pytest.mark.parametrize("status", sorted(ACTIVE))
def test_restart_expires_what_is_due(store, status):
    """A run whose time passed while no process was there has expired, whatever it was at."""
    run = run_in(store, status)
    store.now_ms = run.expires_ms

    assert store.write(run_transactions.recover) == ([], 1)

    assert store.write(runs.reload, run.id).status is RunStatus.EXPIRED


@pytest.mark.parametrize(
    ("status", "then"),
    [
        ("queued", "queued"),
        ("in_progress", "failed"),
        ("requires_action", "requires_action"),
        ("cancelling", "cancelled"),
        ("completed", "completed"),
    ],
)
def test_restart_ends_what_was_at_work(store, status, then):
    """What never began goes on, what waits goes on waiting, what was at work is ended."""
    run = run_in(store, RunStatus(status))

    waiting, ended = store.write(run_transactions.recover)

    recovered = store.write(runs.reload, run.id)
    assert recovered.status == then
    assert [found.id for found in waiting] == [run.id] * (status == "queued")
    assert ended == (status != then)
    assert (recovered.last_error is not None) == (then == "failed")


@pytest.mark.parametrize(
    ("code", "shown"), [("server_error", "server_error"), ("invalid_prompt", "server_error")]
)
def test_step_fails_in_the_codes_it_knows(store, code, shown):
    """A step has no `invalid_prompt`; the message says the same on the run and on its step."""
    run, generation = begin(store, store.run(store.thread()))
    _, changes = store.open_message(run)
    error = LastError(code, "No such model.")
    ending = Ending(event=RunEvent.FAIL, changes=changes, last_error=error)

    ended = store.write(run_transactions.finish, run.id, generation, ending)

    assert ended.run.last_error == error
    assert ended.step.last_error == LastError(shown, "No such model.")


def test_call_that_was_cut_short_fails_its_step_alone(store):
    """At an output limit inside a call the run is incomplete, and its step says why it failed."""
    run, generation = begin(store, store.run(store.thread()))
    _, changes = store.call(run)
    ending = Ending(
        event=RunEvent.RUN_OUT,
        changes=[changes[0]],
        incomplete_reason="max_completion_tokens",
    )

    ended = store.write(run_transactions.finish, run.id, generation, ending)

    assert (ended.run.status, ended.run.last_error) == ("incomplete", None)
    assert (ended.step.status, ended.step.last_error) == ("failed", run_transactions.CUT_CALL)
    assert store.write(run_steps.find_open, run.seq) is None


def test_run_with_nothing_to_say_is_refused(store):
    """On an empty thread, without instructions, in OpenAI's words; no row of it stays."""
    thread = store.thread()
    new = store.new_run()
    silent = RunSettings(model="fc:sandbox/echo")
    before = store.dump()

    with pytest.raises(InvalidRequestError) as refusal:
        store.write(run_transactions.create, thread, replaced(new, settings=silent))

    assert refusal.value.message == (
        "Run creation requires a Thread with a user message or an assistant with instructions."
    )
    assert (refusal.value.param, refusal.value.code) == (None, "invalid_thread")
    assert store.dump() == before


@pytest.mark.parametrize(("present", "added", "fits"), [(2, 1, True), (3, 1, False), (0, 4, False)])
def test_run_s_messages_count_for_the_cap(store, present, added, fits):
    """A run whose messages pass the thread's cap is refused whole; its lock does not stay."""
    thread = store.thread()
    for _ in range(present):
        store.message(thread)
    thread = store.write(threads.get, thread.thread.id, DEVELOPER)
    messages = [store.user_item("Hi") for _ in range(added)]
    new = replaced(store.new_run(), messages=messages, messages_max=3)
    before = store.dump()

    if fits:
        store.write(run_transactions.create, thread, new)
        assert store.write(threads.get, thread.thread.id, DEVELOPER).message_count == 3
    else:
        with pytest.raises(ConversationFullError, match=f"has {present} of at most 3 messages"):
            store.write(run_transactions.create, thread, new)
        assert store.dump() == before


def replaced(new, **changes):
    return msgspec.structs.replace(new, **changes)
