"""Random lives of runs in a real store, beside a model made of the table of transitions."""

import random
from collections import Counter
from itertools import groupby

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringside_proxy.domain.errors import (
    ConversationLockedError,
    InvalidRequestError,
    NotFoundError,
    RunStateError,
    ThreadBusyError,
)
from ringside_proxy.domain.messages import MessageStatus
from ringside_proxy.domain.runs import RUN_TRANSITIONS, LastError, RunEvent, RunStatus
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_assembler import CompleteStep, UpdateItem
from ringside_proxy.services.run_transactions import Ending
from ringside_proxy.store import runs, threads
from tests.faults.sizes import TIMEOUT_S, size
from tests.store.memory import DEVELOPER, EXPIRES_AFTER_MS, MODEL, Store
from tests.store.run_model import CallModel, RunModel, StepModel

THREADS = 3
EXAMPLES = size("lives")
STEPS = 50

MISCOUNTED = (
    "SELECT c.seq FROM conversations c WHERE c.deleted_ms IS NULL AND (c.message_count <> "
    "(SELECT count(*) FROM items WHERE conversation = c.seq AND type = 'message') OR "
    "c.next_ordinal <= (SELECT coalesce(max(ordinal), 0) FROM items WHERE conversation = c.seq))"
)
ENDINGS = sorted(set(RunEvent) - {RunEvent.START, RunEvent.SUBMIT_OUTPUTS})
"""What can be said of a model call or run that ends; the other two events begin something."""

ERROR = LastError("server_error", "It broke.")
picks = st.integers(0, 1000)
usages = st.none() | st.builds(
    TokenUsage,
    input_tokens=st.integers(0, 99),
    output_tokens=st.integers(0, 99),
    is_estimated=st.booleans(),
)
"""What a provider says, or says nothing."""


def decoded(usage):
    return None if usage is None else msgspec.json.decode(usage, type=TokenUsage)


class RunLife(RuleBasedStateMachine):
    """Everything that can happen to runs, whether or not it makes sense at the time."""

    @initialize()
    def open_store(self):
        """A few empty threads."""
        self.store = Store()
        self.runs = []
        self.open_messages = {}
        self.threads = [self.store.thread() for _ in range(THREADS)]
        self.gone = set()

    def teardown(self):
        """Gives the store up."""
        self.store.connection.close()

    def pick(self, number):
        """One of the active runs, or the last one that ended."""
        found = [run for run in self.runs if not run.is_over] + self.ended[-1:]
        return found[number % len(found)]

    @property
    def ended(self):
        """The runs that have ended."""
        return [run for run in self.runs if run.is_over]

    def active_on(self, thread):
        """The thread's active run."""
        return next((r for r in self.runs if r.thread == thread.seq and not r.is_over), None)

    def refused(self, error, words, fn, *args):
        """`fn` raises, in these words, and changes nothing in any table."""
        before = self.store.dump()
        with pytest.raises(error) as refusal:
            self.store.write(fn, *args)
        assert words in refusal.value.message
        assert self.store.dump() == before

    def without_effect(self, fn, *args):
        """`fn` finds nothing to do, and does nothing."""
        before = self.store.dump()
        assert self.store.write(fn, *args) is None
        assert self.store.dump() == before

    @rule(number=picks)
    def create(self, number):
        """A run on a thread, which may have one."""
        thread = self.threads[number % THREADS]
        active = self.active_on(thread)
        new = self.store.new_run()
        if active is not None:
            words = f"Thread {thread.thread.id} already has an active run {active.run_id}."
            self.refused(ConversationLockedError, words, run_transactions.create, thread, new)
            return
        run = self.store.write(run_transactions.create, thread, new)
        self.runs.append(RunModel(run.id, thread.seq, self.store.now_ms + EXPIRES_AFTER_MS))

    @rule(number=picks)
    def begin(self, number):
        """What mostly happens: a run is made and its task begins."""
        self.create(number)
        self.start(number)

    @rule(number=picks)
    def add_message(self, number):
        """A message on a thread, which may be busy."""
        thread = self.threads[number % THREADS]
        active = self.active_on(thread)
        if active is None:
            self.store.write(runs.require_idle, thread)
            self.store.message(thread)
            return
        words = f"Can't add messages to {thread.thread.id} while a run {active.run_id} is active."
        self.refused(ThreadBusyError, words, runs.require_idle, thread)

    @precondition(lambda self: self.runs)
    @rule(number=picks)
    def start(self, number):
        """A run's task begins."""
        run = self.pick(number)
        args = (run.run_id, self.store.new_id("resp"), MODEL)
        if run.is_purged or run.status is not RunStatus.QUEUED:
            self.without_effect(run_transactions.start, *args)
            return
        started, generation = self.store.write(run_transactions.start, *args)
        assert started.started_ms == self.store.now_ms
        run.enter(RunStatus.IN_PROGRESS)
        run.calls.append(CallModel(generation))

    def changes_to(self, run, *, with_calls):
        """What the model does next: says something (more), or calls a function."""
        record = self.store.write(runs.reload, run.run_id)
        changes = []
        step = run.open_step
        if step is not None and step.message is None:
            return []
        if not with_calls:
            if step is not None:
                return [UpdateItem(self.open_messages[step.step_id])]
            item, changes = self.store.open_message(record)
            self.open_messages[item.step_id] = item
            run.steps.append(StepModel(item.step_id, message=(item.id, "in_progress", None)))
            return changes
        if step is not None:
            item = msgspec.structs.replace(
                self.open_messages[step.step_id],
                status=MessageStatus.COMPLETED,
                ended_ms=self.store.now_ms,
            )
            changes = [UpdateItem(item), CompleteStep(step.step_id, self.store.now_ms)]
            run.complete_step()
        calls, opening = self.store.call(record, 2)
        run.steps.append(StepModel(calls[0].step_id, calls=[item.call_id for item in calls]))
        return [*changes, *opening]

    @precondition(lambda self: any(run.open_call for run in self.runs))
    @rule(number=picks)
    def speak(self, number):
        """A periodic save of what a model says."""
        talking = [run for run in self.runs if run.open_call]
        run = talking[number % len(talking)]
        changes = self.changes_to(run, with_calls=False)
        record = self.store.write(runs.reload, run.run_id)
        self.store.write(run_transactions.save, record, run.open_call.number, changes)

    @precondition(lambda self: any(run.open_call for run in self.runs))
    @rule(number=picks, usage=usages)
    def call(self, number, usage):
        """A model answers with calls."""
        talking = [run for run in self.runs if run.open_call]
        self.end(talking[number % len(talking)], RunEvent.REQUIRE_ACTION, usage)

    @precondition(lambda self: self.runs)
    @rule(number=picks, event=st.sampled_from(ENDINGS), usage=usages)
    def finish(self, number, event, usage):
        """A model call ends in any way, or somebody ends the run."""
        self.end(self.pick(number), event, usage)

    def end(self, run, event, usage):
        """`run_transactions.finish`, beside the model."""
        call = run.open_call
        target = run.ending_after(event)
        ending = Ending(
            event=event,
            usage=usage if call else None,
            last_error=ERROR,
            incomplete_reason="max_completion_tokens",
        )
        args = (run.run_id, call.number if call else None)
        if run.is_purged or run.is_over:
            self.without_effect(run_transactions.finish, *args, ending)
        elif target is None:
            words = f"A run in status '{run.status}' cannot {event}."
            self.refused(RunStateError, words, run_transactions.finish, *args, ending)
        else:
            if target is RunStatus.REQUIRES_ACTION:
                changes = self.changes_to(run, with_calls=True)
                ending = msgspec.structs.replace(ending, changes=changes)
            ended = self.store.write(run_transactions.finish, *args, ending)
            run.finish(target, ending.usage)
            assert (ended.run.last_error is not None) == (target is RunStatus.FAILED)
            assert (ended.run.incomplete_reason is not None) == (target is RunStatus.INCOMPLETE)

    @precondition(lambda self: self.runs)
    @rule(number=picks)
    def cancel(self, number):
        """A caller cancels; the run's task does not know yet."""
        run = self.pick(number)
        record = self.store.write(runs.reload, run.run_id)
        if record is None:
            return
        target = run.after(RunEvent.CANCEL)
        if target is None:
            words = f"Cannot cancel run with status '{run.status}'."
            self.refused(RunStateError, words, runs.move, record, RunEvent.CANCEL)
            return
        self.store.write(runs.move, record, RunEvent.CANCEL)
        run.enter(target)

    @precondition(lambda self: any(not run.is_purged for run in self.runs))
    @rule(number=picks, outputs=st.sampled_from(["all", "turned", "one", "none", "other", "twice"]))
    def submit(self, number, outputs):
        """A caller submits outputs: all of them in some order, or wrong ones, or at a wrong time."""
        known = [run for run in self.runs if not run.is_purged]
        waiting = [run for run in known if run.status is RunStatus.REQUIRES_ACTION]
        run = (waiting or known)[number % len(waiting or known)]
        record = self.store.write(runs.reload, run.run_id)
        calls = run.open_step.calls if run.open_step else []
        given = {
            "all": calls,
            "turned": calls[::-1],
            "one": calls[:1],
            "none": [],
            "other": [*calls[:1], "call_x"],
            "twice": [*calls, *calls[:1]],
        }[outputs]
        args = (record, [(call_id, "x") for call_id in given], self.store.new_id)
        if run.status is not RunStatus.REQUIRES_ACTION or self.store.now_ms >= run.expires_ms:
            is_due = not run.is_over and self.store.now_ms >= run.expires_ms
            words = f'Runs in status "{"expired" if is_due else run.status}" do not accept'
            self.refused(RunStateError, words, run_transactions.submit, *args)
        elif Counter(given) != Counter(calls):
            words = f"Expected tool outputs for call_ids {calls}, got {given}"
            self.refused(InvalidRequestError, words, run_transactions.submit, *args)
        else:
            _, step = self.store.write(run_transactions.submit, *args)
            run.complete_step()
            run.enter(RunStatus.QUEUED)
            assert [call.function.output for call in step.step_details.tool_calls] == ["x", "x"]

    def due(self):
        """The active runs whose time is up."""
        return [run for run in self.runs if not run.is_over and run.expires_ms <= self.store.now_ms]

    @rule(seconds=st.sampled_from([1, 1, 1, 60, 60, 300, 601]))
    def wait(self, seconds):
        """Time passes."""
        self.store.now_ms += 1000 * seconds

    @rule()
    def sweep(self):
        """The sweeper comes, and expires what is due."""
        found = [
            name for name, at_ms in self.store.write(runs.by_expiry) if at_ms <= self.store.now_ms
        ]
        due = self.due()
        assert sorted(found) == sorted(run.run_id for run in due)
        for run in due:
            ending = Ending(event=RunEvent.EXPIRE)
            self.store.write(run_transactions.finish, run.run_id, None, ending)
            run.finish(RunStatus.EXPIRED, None)

    @rule(rarely=picks)
    def recover(self, rarely):
        """The process dies and another one begins."""
        if rarely % 3:
            return
        due = self.due()
        lost = {
            run.run_id: run
            for run in self.runs
            if run in due or run.status in (RunStatus.IN_PROGRESS, RunStatus.CANCELLING)
        }
        queued = [
            run.run_id
            for run in self.runs
            if run.status is RunStatus.QUEUED and run.run_id not in lost
        ]
        waiting, ended = self.store.write(run_transactions.recover)
        assert ([run.id for run in waiting], ended) == (queued, len(lost))
        for run in lost.values():
            was_cancelled = run.status is RunStatus.CANCELLING
            status = RunStatus.CANCELLED if was_cancelled else RunStatus.FAILED
            run.finish(RunStatus.EXPIRED if run in due else status, None)

    @rule(number=picks, rarely=picks, is_purged=st.booleans())
    def delete_thread(self, number, rarely, is_purged):
        """A thread goes, with the run that is active on it; its rows then or later."""
        if rarely % 3:
            return
        thread = self.threads[number % THREADS]
        active = self.active_on(thread)

        def delete(tx):
            if active is not None:
                ending = Ending(event=RunEvent.CANCEL)
                run_transactions.finish(tx, active.run_id, None, ending)
            threads.delete(tx, threads.get(tx, thread.thread.id, DEVELOPER))

        self.store.write(delete)
        if active is not None:
            active.finish(RunStatus.CANCELLED, None)
        words = f"No thread found with id '{thread.thread.id}'."
        self.refused(NotFoundError, words, threads.get, thread.thread.id, DEVELOPER)
        self.gone.add(thread.seq)
        self.threads[number % THREADS] = self.store.thread()
        if is_purged:
            while self.store.write(threads.purge):
                pass
            for run in self.runs:
                run.is_purged = run.is_purged or run.thread in self.gone

    @invariant()
    def runs_are_as_modelled(self):
        """Every run has the model's status and usage, and an end exactly when it has ended."""
        for run in self.runs:
            record = self.store.write(runs.reload, run.run_id)
            assert (record is None) == run.is_purged
            if record is not None:
                assert (record.status, record.usage) == (run.status, run.usage)
                assert (record.ended_ms is not None) == run.is_over

    @invariant()
    def work_is_as_modelled(self):
        """Steps, messages and model calls are where the model has them; none is left open."""
        stored = {
            name: list(rows)
            for name, rows in groupby(
                self.rows(
                    "SELECT r.id, s.id, s.status, s.usage, i.id, i.status, i.incomplete_reason "
                    "FROM run_steps s JOIN runs r ON r.seq = s.run "
                    "LEFT JOIN items i ON i.step = s.seq AND i.type = 'message' ORDER BY r.id, s.seq"
                ),
                lambda row: row[0],
            )
        }
        for run in self.runs:
            if run.is_purged:
                continue
            assert [
                (step_id, status, decoded(usage), tuple(message) if message[0] else None)
                for _, step_id, status, usage, *message in stored.get(run.run_id, [])
            ] == [(step.step_id, step.status, step.usage, step.message) for step in run.steps]
            assert not (run.is_over and (run.open_step or run.open_call))
            assert [
                (decoded(usage), bool(is_open))
                for usage, is_open in self.rows(
                    "SELECT g.usage, g.ended_ms IS NULL FROM generations g "
                    "JOIN runs r ON r.seq = g.run WHERE r.id = ? ORDER BY number",
                    run.run_id,
                )
            ] == [(call.usage, call.is_open) for call in run.calls]

    @invariant()
    def store_is_consistent(self):
        """One active run per thread, no reference to nothing, and counts that count."""
        active = Counter(run.thread for run in self.runs if not run.is_over)
        assert set(active.values()) <= {1}
        assert self.rows("PRAGMA foreign_key_check") == []
        assert self.rows(MISCOUNTED) == []

    def rows(self, sql, *params):
        """What a query of the test's own finds."""
        return self.store.rows(sql, *params)


TestRunLife = pytest.mark.timeout(TIMEOUT_S)(RunLife.TestCase)
TestRunLife.settings = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)


LIVES = 12
EVENTS_OF_A_LIFE = 250


def long_life(seed):
    """The transitions that runs pass through in one life of random events, beside the model."""
    choose = random.Random(seed)
    life = RunLife()
    life.open_store()

    def some():
        return choose.randrange(9)

    def is_calling():
        return any(run.open_call for run in life.runs)

    happenings = [
        lambda: life.begin(some()),
        lambda: life.create(some()),
        lambda: life.add_message(some()),
        lambda: life.runs and life.start(some()),
        lambda: is_calling() and life.speak(some()),
        lambda: is_calling() and life.call(some(), None),
        lambda: life.runs and life.finish(some(), choose.choice(ENDINGS), None),
        lambda: life.runs and life.cancel(some()),
        lambda: (
            any(not run.is_purged for run in life.runs)
            and life.submit(some(), choose.choice(["all", "turned", "one", "twice"]))
        ),
        lambda: life.wait(choose.choice([1, 1, 60, 300])),
        lambda: life.sweep(),
        lambda: life.recover(some()),
        lambda: life.delete_thread(some(), some(), is_purged=True),
    ]
    for _ in range(EVENTS_OF_A_LIFE):
        choose.choice(happenings)()
        life.runs_are_as_modelled()
        life.work_is_as_modelled()
        life.store_is_consistent()
    life.teardown()
    return {step for run in life.runs for step in run.passed}


def test_long_lives_pass_through_the_whole_table():
    """Lives too long for a search by halves: together they take every transition that there is."""
    passed = set().union(*(long_life(seed) for seed in range(LIVES)))

    assert passed == {
        (status, target) for status, out in RUN_TRANSITIONS.items() for target in out.values()
    }
