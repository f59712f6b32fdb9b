import pytest

from ringside_proxy.domain.assistants import Assistant
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.store import assistants, threads
from tests.store.memory import DEVELOPER

ANNE = Caller(token_id="tok_a", name="anne", role="client", customer="anne")
BOB = Caller(token_id="tok_b", name="bob", role="client", customer="bob")
OLDEST_FIRST = ListQuery(order="asc")


@pytest.fixture
def names(store):
    """The ids of four threads with metadata, oldest first; the last one is Anne's."""
    return [
        store.thread(metadata, caller).thread.id
        for metadata, caller in [
            ({"app": "one", "user": "x"}, DEVELOPER),
            ({"app": "one", "user": "y"}, DEVELOPER),
            ({"user": "one"}, DEVELOPER),
            ({"app": "one", "user": "x", "more": ""}, ANNE),
        ]
    ]


def found(store, metadata, caller=DEVELOPER):
    page = store.write(threads.page, caller, OLDEST_FIRST, metadata)
    return [thread.id for thread in page.data]


@pytest.mark.parametrize(
    ("metadata", "places"),
    [
        ({}, [0, 1, 2, 3]),
        ({"app": "one"}, [0, 1, 3]),
        ({"user": "one"}, [2]),
        ({"app": "one", "user": "x"}, [0, 3]),
        ({"user": "x", "app": "one"}, [0, 3]),
        ({"app": "one", "user": "x", "more": ""}, [3]),
        ({"app": "one", "user": "one"}, []),
        ({"app": "two"}, []),
        ({"nothing": "one"}, []),
    ],
)
def test_threads_are_found_by_all_their_metadata(store, names, metadata, places):
    """Every pair has to be there, key with value, in whatever order they are asked for."""
    assert found(store, metadata) == [names[place] for place in places]


def test_thread_is_found_by_its_present_metadata(store, names):
    """Replaced metadata is what counts; a thread without any is found by none."""
    record = store.write(threads.get, names[0], DEVELOPER)

    store.write(threads.update, record, {"metadata": {"app": "two"}})

    assert found(store, {"app": "one"}) == [names[1], names[3]]
    assert found(store, {"app": "two"}) == [names[0]]
    assert found(store, {"user": "x"}) == [names[3]]


def test_client_finds_its_customer_s_threads_alone(store, names):
    """With and without metadata, what others made is not listed; a developer sees all of it."""
    assert found(store, {}, ANNE) == found(store, {"app": "one", "user": "x"}, ANNE) == [names[3]]
    assert found(store, {}, BOB) == found(store, {"app": "one"}, BOB) == []
    assert found(store, {}) == names


def test_thread_of_somebody_else_is_as_unknown_as_none(store, names):
    """The refusal does not tell a thread that is not the caller's from one that is not there."""
    for name in (names[0], names[3], "thread_x"):
        with pytest.raises(NotFoundError) as refusal:
            store.write(threads.get, name, BOB)
        assert refusal.value.message == f"No thread found with id '{name}'."

    assert store.write(threads.get, names[3], ANNE).thread.id == names[3]


def test_client_finds_its_customer_s_assistants_alone(store):
    """The same for assistants, listed and by id."""
    for name, owner in (("asst_1", ""), ("asst_2", "anne")):
        store.write(assistants.insert, Assistant(id=name, created_at=0, model="fc:a/b"), owner)

    page = store.write(assistants.page, ANNE, ListQuery())

    assert [assistant.id for assistant in page.data] == ["asst_2"]
    for caller, name in ((ANNE, "asst_1"), (BOB, "asst_2"), (DEVELOPER, "asst_3")):
        for access in (assistants.get, assistants.delete):
            with pytest.raises(NotFoundError, match=f"No assistant found with id '{name}'."):
                store.write(access, name, caller)
    assert store.rows("SELECT count(*) FROM assistants") == [(2,)]
