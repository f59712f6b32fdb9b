"""Random lives of requests with keys in a real store, beside a model made of plain dicts."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ringside_proxy.domain.errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from ringside_proxy.domain.idempotency import KEPT_MS, Answer, Earlier
from ringside_proxy.store import idempotency
from tests.store.memory import Store

EXAMPLES = 100
STEPS = 50
KEYS = 4
OLD_AT_ONCE = 100

scopes = st.integers(0, KEYS - 1).map(lambda number: bytes([number]) * 32)
bodies = st.sampled_from([b"a" * 32, b"b" * 32])
answers = st.builds(
    Answer,
    status=st.sampled_from([200, 400, 402, 409, 429, 500, 503]),
    content_type=st.just("application/json"),
    headers=st.dictionaries(st.sampled_from(["x-ringside-model", "retry-after"]), st.just("1")),
    body=st.none() | st.binary(max_size=5),
)


class Known:
    """What should be known of a key."""

    def __init__(self, fingerprint, boot, now_ms):
        self.fingerprint = fingerprint
        self.boot = boot
        self.created_ms = now_ms
        self.has_acted = False
        self.resource = None
        self.is_over = False
        self.answer = None


class KeyLife(RuleBasedStateMachine):
    """Everything that can happen to keys, whether or not it makes sense at the time."""

    @initialize()
    def open_store(self):
        """A store, and the first process on it."""
        self.store = Store()
        self.boot = 1
        self.keys = {}
        self.carried_out = {}

    def teardown(self):
        """Gives the store up."""
        self.store.connection.close()

    def is_orphan(self, known):
        """Whether the process that worked on it is gone."""
        return not known.is_over and known.boot != self.boot

    def running(self, scope):
        """What is known of a key whose request is worked on."""
        known = self.keys.get(scope)
        return None if known is None or known.is_over or self.is_orphan(known) else known

    def in_work(self, scope):
        """Whether a transaction about this key can come: a dead process sends none."""
        return scope not in self.keys or not self.is_orphan(self.keys[scope])

    @rule(scope=scopes, fingerprint=bodies)
    def begin(self, scope, fingerprint):
        """A request comes: it is carried out, or refused, or told what came of the earlier one."""
        known = self.keys.get(scope)
        if known and self.is_orphan(known) and not known.has_acted:
            del self.keys[scope]
            known = None
        is_over = known and (known.is_over or self.is_orphan(known))
        if is_over and self.store.now_ms >= known.created_ms + KEPT_MS:
            del self.keys[scope]
            known = None
        call = (idempotency.begin, scope, fingerprint, f"boot_{self.boot}")
        if known is None:
            assert self.store.write(*call) is None
            self.keys[scope] = Known(fingerprint, self.boot, self.store.now_ms)
        elif known.fingerprint != fingerprint:
            with pytest.raises(IdempotencyKeyReusedError):
                self.store.write(*call)
        elif not is_over:
            with pytest.raises(IdempotencyInProgressError):
                self.store.write(*call)
        else:
            known.is_over = True
            assert self.store.write(*call) == Earlier(known.answer, known.resource)

    @rule(scope=scopes)
    def dispatch(self, scope):
        """Its call goes to a provider; too late once it is over."""
        if not self.in_work(scope):
            return
        self.store.write(idempotency.dispatched, scope)
        if known := self.running(scope):
            known.has_acted = True

    @rule(scope=scopes)
    def recall(self, scope):
        """Its call reached no provider; what it has made stays."""
        if not self.in_work(scope):
            return
        self.store.write(idempotency.recalled, scope)
        if known := self.running(scope):
            known.has_acted = known.resource is not None

    @rule(scope=scopes, number=st.integers(0, 3))
    def make(self, scope, number):
        """It makes an object; too late once it is over."""
        if not self.in_work(scope):
            return
        self.store.write(idempotency.made, scope, f"thread_{number}")
        if known := self.running(scope):
            known.has_acted, known.resource = True, f"thread_{number}"

    @rule(scope=scopes, answer=answers)
    def answer(self, scope, answer):
        """It is answered: kept, unless it refused before it had done anything."""
        if not self.in_work(scope):
            return
        self.store.write(idempotency.answered, scope, answer)
        known = self.running(scope)
        if known is None:
            return
        if answer.status >= 400 and not known.has_acted:
            del self.keys[scope]
        else:
            known.is_over, known.answer = True, answer

    @rule(scope=scopes)
    def lose(self, scope):
        """Nobody will answer it."""
        if not self.in_work(scope):
            return
        self.store.write(idempotency.lost, scope)
        known = self.running(scope)
        if known is not None and known.has_acted:
            known.is_over = True
        elif known is not None:
            del self.keys[scope]

    @rule()
    def crash(self):
        """Another process takes the store over."""
        self.boot += 1

    @rule(hours=st.sampled_from([0.1, 1, 23.9, 24, 25]))
    def wait(self, hours):
        """Time passes."""
        self.store.now_ms += round(hours * 3_600_000)

    @rule()
    def sweep(self):
        """What is old goes, except what this process works on."""
        self.store.write(idempotency.forget_old, f"boot_{self.boot}")
        for scope, known in list(self.keys.items()):
            is_old = self.store.now_ms >= known.created_ms + KEPT_MS
            if is_old and (known.is_over or known.boot != self.boot):
                del self.keys[scope]

    @invariant()
    def rows_are_the_model_s(self):
        """Every row is as it should be, and no other is there."""
        rows = self.store.rows(
            "SELECT scope, fingerprint, boot, state, resource, status, body, created_ms "
            "FROM idempotency_keys"
        )
        assert {row[0]: row[1:] for row in rows} == {
            scope: (
                known.fingerprint,
                f"boot_{known.boot}",
                "done" if known.is_over else "running",
                known.resource,
                known.answer and known.answer.status,
                known.answer and known.answer.body,
                known.created_ms,
            )
            for scope, known in self.keys.items()
        }


KeyLife.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None
)
test_key_life = KeyLife.TestCase


def begun(store, number=0):
    """A request that was begun; gives its scope."""
    scope = bytes([number]) * 32
    assert store.write(idempotency.begin, scope, b"f" * 32, "boot_1") is None
    return scope


def test_a_request_without_a_key_leaves_nothing(store):
    """The marks of one that came without are no rows."""
    before = store.dump()

    store.write(idempotency.dispatched, None)
    store.write(idempotency.made, None, "run_1")

    assert store.dump() == before


def test_what_made_an_object_is_undone_with_it(store):
    """A transaction that fails takes its mark along: the request may be carried out again."""
    scope = begun(store)

    def fail(tx):
        idempotency.made(tx, scope, "run_1")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.write(fail)
    store.write(idempotency.lost, scope)

    assert store.rows("SELECT * FROM idempotency_keys") == []


def test_old_keys_go_a_bounded_number_at_a_time(store):
    """No transaction is long, and all of them end."""
    for number in range(OLD_AT_ONCE + 1):
        scope = begun(store, number)
        answer = Answer(status=200, content_type="x", body=b"")
        store.write(idempotency.answered, scope, answer)
    store.now_ms += KEPT_MS

    gone = [store.write(idempotency.forget_old, "boot_1") for _ in range(3)]

    assert gone == [OLD_AT_ONCE, 1, 0]
