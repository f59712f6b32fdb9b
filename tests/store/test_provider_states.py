"""What providers want back: whose it is, how long it stays, and what goes with its thread."""

from typing import Any

import pytest

from ringside_proxy.store import provider_states, threads
from tests.store.memory import MODEL, Store

OTHER_MODEL = "fc:openai/gpt-4o"
A, B = provider_states.chat_scope("tok_a"), provider_states.chat_scope("tok_b")


def found(store: Store, scope: str, *call_ids: str, model: str = MODEL) -> dict[str, Any]:
    return store.write(provider_states.find, scope, list(call_ids), model)


def count(store: Store) -> int:
    [(rows,)] = store.rows("SELECT count(*) FROM provider_states")
    return int(rows)


STATES: dict[str, Any] = {
    "an object": {"thinking": [{"signature": "a/b+c==", "text": "ü\u2028🥊"}]},
    "a list": [1, 2.5, True, None, "x"],
    "a text": "opaque",
    "nothing but false": False,
    "an integer past 53 bits": 2**60 + 1,
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_state_comes_back_as_it_was_given(store: Store, state: Any) -> None:
    """Any JSON is kept unread."""
    store.write(provider_states.put, A, "call_1", MODEL, state)

    assert found(store, A, "call_1") == {"call_1": state}


@pytest.mark.parametrize(
    ("scope", "call_id", "model"),
    [(B, "call_1", MODEL), (A, "call_2", MODEL), (A, "call_1", OTHER_MODEL)],
    ids=["another scope", "another call", "another model"],
)
def test_state_is_found_by_its_scope_call_and_model_alone(
    store: Store, scope: str, call_id: str, model: str
) -> None:
    """Whoever is not its owner, and every other model, finds nothing."""
    store.write(provider_states.put, A, "call_1", MODEL, "opaque")

    assert found(store, scope, call_id, model=model) == {}
    assert found(store, A, "call_1") == {"call_1": "opaque"}


def test_states_of_several_calls_are_found_together(store: Store) -> None:
    """Of the calls that are asked for, those with a state are given, by call."""
    for number in range(4):
        store.write(provider_states.put, A, f"call_{number}", MODEL, number)

    assert found(store, A, "call_3", "call_1", "call_9") == {"call_3": 3, "call_1": 1}
    assert found(store, A) == {}


def test_newer_state_of_a_call_replaces_the_older(store: Store) -> None:
    """A call has one state: the last, of the model that left it."""
    store.write(provider_states.put, A, "call_1", OTHER_MODEL, "old")
    store.write(provider_states.put, A, "call_1", MODEL, "new")

    assert found(store, A, "call_1") == {"call_1": "new"}
    assert found(store, A, "call_1", model=OTHER_MODEL) == {}


def test_scopes_of_threads_and_tokens_never_meet() -> None:
    """A token that is called like a thread's number has a scope of its own."""
    assert provider_states.thread_scope(7) != provider_states.chat_scope("7")


def test_forgotten_scope_leaves_the_others(store: Store) -> None:
    """Everything of one scope goes; nothing else does."""
    for scope, call_id in [(A, "call_1"), (A, "call_2"), (B, "call_1")]:
        store.write(provider_states.put, scope, call_id, MODEL, call_id)

    store.write(provider_states.forget, A)

    assert found(store, A, "call_1", "call_2") == {}
    assert found(store, B, "call_1") == {"call_1": "call_1"}


def test_expired_states_are_forgotten(store: Store) -> None:
    """What has an end goes after it, and not at it; what has none stays."""
    ends = {"past": store.now_ms - 1, "now": store.now_ms, "later": store.now_ms + 1, "never": None}
    for call_id, expires_ms in ends.items():
        store.write(provider_states.put, A, call_id, MODEL, call_id, expires_ms)

    gone = store.write(provider_states.forget_expired)

    assert gone == 1
    assert sorted(found(store, A, *ends)) == ["later", "never", "now"]


def test_expired_states_go_a_bounded_number_at_a_time(store: Store) -> None:
    """One transaction never holds the writer for long; the next ones take the rest."""
    for number in range(1_100):
        store.write(provider_states.put, A, f"call_{number}", MODEL, 1, store.now_ms - 1)

    gone = [store.write(provider_states.forget_expired) for _ in range(4)]

    assert gone == [500, 500, 100, 0]
    assert count(store) == 0


def test_states_go_with_their_thread(store: Store) -> None:
    """A thread that is deleted and purged leaves nothing of its providers; others keep theirs."""
    gone, kept = store.thread(), store.thread()
    for thread in (gone, kept):
        scope = provider_states.thread_scope(thread.seq)
        store.write(provider_states.put, scope, "call_1", MODEL, "opaque")

    store.write(threads.delete, gone)
    while store.write(threads.purge):
        pass

    assert found(store, provider_states.thread_scope(gone.seq), "call_1") == {}
    assert found(store, provider_states.thread_scope(kept.seq), "call_1") == {"call_1": "opaque"}
