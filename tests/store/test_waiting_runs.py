"""Runs that wait for their thread, in a real store beside a model that is a list."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringside_proxy.domain.errors import ConversationLockedError, OverloadedError
from ringside_proxy.domain.runs import RunEvent, RunStatus
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_transactions import Ending
from ringside_proxy.store import runs, waiting_runs
from ringside_proxy.store.waiting_runs import WAITING_MAX, WAITING_PER_THREAD_MAX
from tests.store.memory import EXPIRES_AFTER_MS, MODEL, Store

THREADS = 2
picks = st.integers(0, 1000)

TEXTS = (
    "SELECT json_extract(body, '$.content[0].text') FROM items WHERE conversation = ? "
    "ORDER BY ordinal"
)
WAITING = (
    "SELECT id FROM runs WHERE conversation = ? AND waiting IS NOT NULL AND status = 'queued' "
    "ORDER BY seq"
)


@dataclass
class ThreadModel:
    """Who is at work, who waits, and what was said by those whose turn it was."""

    record: Any
    active: str | None = None
    waiting: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    due_ms: dict[str, int] = field(default_factory=dict)
    is_started: bool = False

    def begin(self, run_id: str, now_ms: int) -> None:
        """The thread is the run's."""
        self.active, self.is_started = run_id, False
        self.said.append(self.texts[run_id])
        self.due_ms[run_id] = now_ms + EXPIRES_AFTER_MS

    def free(self, now_ms: int) -> None:
        """The one at work has ended: the next, if there is one."""
        self.active = None
        if self.waiting:
            self.begin(self.waiting.pop(0), now_ms)


class Queue(RuleBasedStateMachine):
    """Whatever comes, ends, is cancelled or dies."""

    @initialize()
    def open_store(self):
        """Empty threads."""
        self.store = Store()
        self.threads = [ThreadModel(self.store.thread()) for _ in range(THREADS)]

    def teardown(self):
        """Gives the store up."""
        self.store.connection.close()

    def new_run(self):
        """A run that says its own name."""
        new = self.store.new_run()
        return msgspec.structs.replace(new, messages=[self.store.user_item(new.run_id)])

    @rule(number=picks, way=st.sampled_from(["reject", "queue", "replace"]))
    def create(self, number, way):
        """A run comes, and wants one of the three on a busy thread."""
        thread, new = self.threads[number % THREADS], self.new_run()
        if thread.active is not None and way == "reject":
            before = self.store.dump()
            with pytest.raises(ConversationLockedError):
                self.store.write(run_transactions.create, thread.record, new, way)
            assert self.store.dump() == before
            return
        record = msgspec.structs.replace(thread.record, message_count=len(thread.said))
        run = self.store.write(run_transactions.create, record, new, way)
        thread.texts[run.id] = run.id
        if thread.active is not None and way == "queue":
            thread.waiting.append(run.id)
            thread.due_ms[run.id] = self.store.now_ms + EXPIRES_AFTER_MS
            assert run.is_waiting
        else:
            thread.begin(run.id, self.store.now_ms)
            assert not run.is_waiting

    @precondition(lambda self: any(thread.active for thread in self.threads))
    @rule(number=picks)
    def start(self, number):
        """The task of the run whose turn it is begins; that of one that waits cannot."""
        thread = self.busy(number)
        for run_id in thread.waiting[:1]:
            assert self.store.write(run_transactions.start, run_id, "resp_x", MODEL) is None
        if not thread.is_started:
            args = (thread.active, self.store.new_id("resp"), MODEL)
            assert self.store.write(run_transactions.start, *args) is not None
            thread.is_started = True

    @precondition(lambda self: any(thread.active for thread in self.threads))
    @rule(number=picks, event=st.sampled_from(["complete", "fail", "cancel", "expire"]))
    def end(self, number, event):
        """The one at work ends."""
        thread = self.busy(number)
        event = RunEvent(event)
        if event is RunEvent.COMPLETE and not thread.is_started:
            event = RunEvent.FAIL
        following = thread.waiting[:1]

        ended = self.store.write(run_transactions.finish, thread.active, None, Ending(event=event))

        assert list(ended.turns) == following
        thread.free(self.store.now_ms)

    @precondition(lambda self: any(thread.waiting for thread in self.threads))
    @rule(number=picks, event=st.sampled_from(["cancel", "expire", "fail"]))
    def give_up(self, number, event):
        """One that waits ends, wherever it stands."""
        queues = [thread for thread in self.threads if thread.waiting]
        thread = queues[number % len(queues)]
        run_id = thread.waiting.pop(number % len(thread.waiting))

        ended = self.store.write(
            run_transactions.finish, run_id, None, Ending(event=RunEvent(event))
        )

        assert ended.run.is_terminal
        assert ended.turns == ()

    @rule(minutes=st.integers(1, 12))
    def restart(self, minutes):
        """The process dies, and the next one comes up later."""
        self.store.now_ms += minutes * 60_000
        going_on, _ = self.store.write(run_transactions.recover)
        for thread in self.threads:
            now_ms = self.store.now_ms
            thread.waiting = [each for each in thread.waiting if now_ms < thread.due_ms[each]]
            is_over = thread.active is not None and now_ms >= thread.due_ms[thread.active]
            if thread.active is not None and (is_over or thread.is_started):
                thread.free(now_ms)
        expected = {
            run_id
            for thread in self.threads
            for run_id in [thread.active, *thread.waiting]
            if run_id is not None
        }
        assert {run.id for run in going_on} == expected

    @invariant()
    def store_is_the_model(self):
        """Who is active, who waits in which order, and what was said, thread by thread."""
        for thread in self.threads:
            seq = thread.record.seq
            assert self.store.write(runs.active_run_id, thread.record) == thread.active
            assert [row[0] for row in self.store.rows(WAITING, seq)] == thread.waiting
            assert self.store.write(waiting_runs.first, seq) == next(iter(thread.waiting), None)
            assert [row[0] for row in self.store.rows(TEXTS, seq)] == thread.said
            assert thread.active is not None or not thread.waiting

    def busy(self, number):
        """One of the threads with a run at work."""
        found = [thread for thread in self.threads if thread.active]
        return found[number % len(found)]


Queue.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase


def test_a_waiting_run_is_queued_and_locks_nothing():
    """It is shown as `queued`; the lock is the other's."""
    store = Store()
    thread = store.thread()
    first = store.run(thread)

    second = store.write(run_transactions.create, thread, store.new_run(), "queue")

    assert second.status is RunStatus.QUEUED
    assert store.write(runs.active_run_id, thread) == first.id
    assert store.write(runs.get, thread, second.id) == second


def test_the_whole_proxy_lets_so_many_wait():
    """A thousand on all threads together; then it is a 503, and nothing is stored."""
    store = Store()
    threads = [store.thread() for _ in range(WAITING_MAX // WAITING_PER_THREAD_MAX + 2)]
    for thread in threads:
        store.run(thread)
    for number in range(WAITING_MAX):
        thread = threads[number % (len(threads) - 1)]
        store.write(run_transactions.create, thread, store.new_run(), "queue")

    with pytest.raises(OverloadedError):
        store.write(run_transactions.create, threads[-1], store.new_run(), "queue")
    assert store.rows("SELECT count(*) FROM runs") == [(WAITING_MAX + len(threads),)]


def test_what_a_replacement_would_be_refused_for_changes_nothing():
    """A rehearsal leaves no trace."""
    store = Store()
    thread = store.thread()
    store.run(thread)
    before = store.dump()

    def rehearse(tx):
        with tx.rehearsal():
            return run_transactions.create(tx, thread, store.new_run(), "replace")

    assert store.write(rehearse).status is RunStatus.QUEUED
    assert store.dump() == before


def test_a_crash_in_the_middle_of_a_replacement_strands_nobody():
    """The one that was replaced has ended, the one that replaces it is not there yet."""
    store = Store()
    thread = store.thread()
    first = store.run(thread)
    second = store.write(run_transactions.create, thread, store.new_run(), "queue")
    store.write(
        run_transactions.finish, first.id, None, run_transactions.CANCELLED, gives_turn=False
    )
    with pytest.raises(ConversationLockedError):  # it is not free: somebody waits for it
        store.write(run_transactions.create, thread, store.new_run())

    going_on, _ = store.write(run_transactions.recover)

    assert [run.id for run in going_on] == [second.id]
    assert store.write(runs.active_run_id, thread) == second.id


def test_a_deleted_thread_s_waiting_runs_go_with_it():
    """In the order that gives nobody a turn."""
    store = Store()
    thread = store.thread()
    first = store.run(thread)
    second = store.write(run_transactions.create, thread, store.new_run(), "queue")
    third = store.write(run_transactions.create, thread, store.new_run(), "queue")

    assert store.write(waiting_runs.every, thread.seq) == [second.id, third.id]
    for run in (third, second, first):
        ended = store.write(
            run_transactions.finish, run.id, None, run_transactions.CANCELLED, gives_turn=False
        )
        assert ended.turns == ()
    assert store.write(waiting_runs.every, thread.seq) == []
