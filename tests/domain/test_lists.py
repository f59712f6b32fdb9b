from types import SimpleNamespace

import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.lists import ListQuery, page_of, page_of_all
from tests.store.pages import expected_page, queries, shown


def entries(ids):
    return [SimpleNamespace(id=name) for name in ids]


@pytest.mark.parametrize("count", [*range(9), 25])
def test_page_of_a_list_in_memory_is_what_the_model_says(count):
    """It is cut like one of the store: each combination of order, after, before and limit."""
    ids = [f"id_{number}" for number in range(count)]
    newest_first = entries(ids[::-1])

    for query in queries(ids, (1, 3, 20)):
        assert shown(page_of_all(newest_first, query, "entry")) == expected_page(ids, query), query


@pytest.mark.parametrize("param", ["after", "before"])
def test_unknown_cursor_of_a_list_in_memory_is_refused(param):
    """The refusal names the parameter and the kind of object."""
    with pytest.raises(InvalidRequestError) as refusal:
        page_of_all(entries(["id_1"]), ListQuery(**{param: "id_2"}), "entry")

    error = refusal.value
    assert error.message == f"Invalid '{param}': no entry found with id 'id_2'."
    assert (error.param, error.code) == (param, "invalid_value")


@pytest.mark.parametrize(
    ("ids", "ends"), [([], (None, None)), (["a"], ("a", "a")), (["b", "a"], ("b", "a"))]
)
def test_page_names_its_ends(ids, ends):
    """`first_id` and `last_id` are null on an empty page."""
    page = page_of(entries(ids), has_more=False)

    assert (page.first_id, page.last_id) == ends
