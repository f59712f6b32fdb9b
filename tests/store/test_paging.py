"""Lists against a model: a list of ids in the order of creation, all made in one millisecond."""

from itertools import product

import pytest

from ringside_proxy.api.errors import status_and_type
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.store import paging, threads
from tests.store.kinds import (
    DELETABLE,
    KINDS,
    Assistants,
    Messages,
    MessagesOfRun,
    Runs,
    RunSteps,
    Threads,
)
from tests.store.pages import expected_page, queries, shown

ROWS_MAX = 25
LIMITS = (1, 2, 3, 20, 100)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 2, 6])
def test_page_is_what_the_model_says(store, kind, count):
    """Of every kind of object, each combination of order, after, before and limit; exact has_more."""
    listed = kind(store)
    ids = [listed.make() for _ in range(count)]

    for query in queries(ids, LIMITS):
        assert shown(listed.page(query)) == expected_page(ids, query), query


@pytest.mark.parametrize("count", range(ROWS_MAX + 1))
def test_page_of_any_length_is_what_the_model_says(store, count):
    """The same, in lists of any length up to more than a default page."""
    listed = Assistants(store)
    ids = [listed.make() for _ in range(count)]

    for query in queries(ids, (1, 7, 20)):
        assert shown(listed.page(query)) == expected_page(ids, query), query


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_page_names_its_ends(store, kind, count):
    """`first_id` and `last_id` are those of the page as it stands, null when it is empty."""
    listed = kind(store)
    for _ in range(count):
        listed.make()

    for order, limit in product(("asc", "desc"), (1, 3)):
        page = listed.page(ListQuery(order=order, limit=limit))
        ends = (page.data[0].id, page.data[-1].id) if count else (None, None)
        assert (page.first_id, page.last_id) == ends


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_in_a_row_show_everything_once(store, kind, order):
    """Paged as the SDKs do, by the last id until has_more is false, nothing is missed or repeated."""
    listed = kind(store)
    ids = [listed.make() for _ in range(11)]
    seen, after, has_more = [], None, True

    while has_more:
        page, has_more = shown(listed.page(ListQuery(order=order, limit=3, after=after)))
        seen += page
        after = page[-1]

    assert seen == (ids if order == "asc" else ids[::-1])


@pytest.mark.parametrize("kind", DELETABLE)
def test_deleted_object_still_works_as_a_cursor(store, kind):
    """A page begins where the deleted object stood, in any combination with others."""
    listed = kind(store)
    ids = [listed.make() for _ in range(6)]
    gone = {ids[0], ids[2], ids[3], ids[5]}
    for name in gone:
        listed.delete(name)

    for query in queries(ids, (1, 2, 20)):
        assert shown(listed.page(query)) == expected_page(ids, query, gone), query


@pytest.mark.parametrize("kind", DELETABLE)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_deleting_while_paging_misses_nothing(store, kind, order):
    """A caller who deletes each page before asking for the next one sees every object once."""
    listed = kind(store)
    ids = [listed.make() for _ in range(10)]
    seen, after, has_more = [], None, True

    while has_more:
        page, has_more = shown(listed.page(ListQuery(order=order, limit=3, after=after)))
        seen += page
        after = page[-1]
        for name in page:
            listed.delete(name)

    assert seen == (ids if order == "asc" else ids[::-1])
    assert shown(listed.page(ListQuery())) == ([], False)


@pytest.mark.parametrize("kind", DELETABLE)
def test_object_made_after_a_deleted_cursor_is_found(store, kind):
    """What is made once everything was deleted comes after it: no place is given out twice."""
    listed = kind(store)
    for name in [listed.make() for _ in range(3)]:
        listed.delete(name)
        last = name
    while store.write(threads.purge):
        pass
    new = listed.make()

    assert shown(listed.page(ListQuery(order="asc", after=last))) == ([new], False)
    assert shown(listed.page(ListQuery(order="desc", before=last))) == ([new], False)
    assert shown(listed.page(ListQuery(order="desc", after=last))) == ([], False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("param", ["after", "before"])
def test_unknown_cursor_is_refused(store, kind, param):
    """A cursor that names nothing is a 400 that names its parameter, not an empty page."""
    listed = kind(store)
    listed.make()

    with pytest.raises(InvalidRequestError) as refusal:
        listed.page(ListQuery(**{param: "nothing_1"}))

    error = refusal.value
    assert error.message == f"Invalid '{param}': no {kind.noun} found with id 'nothing_1'."
    assert (error.param, error.code) == (param, "invalid_value")
    assert status_and_type(error) == (400, "invalid_request_error")


@pytest.mark.parametrize("kind", [Messages, MessagesOfRun, Runs, RunSteps])
def test_cursor_of_another_parent_is_refused(store, kind):
    """An object of another thread or run is no cursor here, deleted or not."""
    listed, elsewhere = kind(store), kind(store)
    listed.make()
    strangers = [elsewhere.make(), elsewhere.make()]
    if kind in DELETABLE:
        elsewhere.delete(strangers[0])

    for stranger in strangers:
        with pytest.raises(InvalidRequestError, match=r"no .* found with id"):
            listed.page(ListQuery(after=stranger))


def test_object_of_another_kind_is_no_cursor(store):
    """An assistant's id is no thread cursor, even when it was deleted."""
    made = Assistants(store)
    names = [made.make(), made.make()]
    made.delete(names[0])
    Threads(store).make()

    with pytest.raises(InvalidRequestError, match="no thread found with id"):
        Threads(store).page(ListQuery(after=names[1]))


def test_tombstones_are_forgotten_in_chunks(store):
    """Only those older than asked for, at most 500 at a time; the younger ones go on working."""
    for number in range(700):
        store.write(paging.bury, f"old_{number}", 0, number)
    store.now_ms += 1
    store.write(paging.bury, "young", 0, 1)

    cleared = [store.write(paging.clear_tombstones, store.now_ms) for _ in range(3)]

    assert cleared == [500, 200, 0]
    assert store.rows("SELECT id FROM tombstones") == [("young",)]
