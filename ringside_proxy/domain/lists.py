"""Pages of lists, as OpenAI cuts them."""

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError

T = TypeVar("T")


class ListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which page: `after` and `before` are object ids, excluded themselves."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None
    before: str | None = None


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """The list envelope; both ids are null when it is empty, `has_more` is exact."""

    object: Literal["list"] = "list"
    data: list[T]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool = False


def page_of(data: list[Any], has_more: bool) -> Page[Any]:
    """The envelope around objects that have an `id`."""
    return Page(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=has_more,
    )


def page_of_all(newest_first: list[Any], query: ListQuery, noun: str) -> Page[Any]:
    """A page of a list that is in memory. Raises InvalidRequestError for a cursor on nothing."""
    ordered = newest_first if query.order == "desc" else newest_first[::-1]
    start, end = 0, len(ordered)
    places = {item.id: place for place, item in enumerate(ordered)}
    if query.after is not None:
        start = _place(places, "after", query.after, noun) + 1
    if query.before is not None:
        end = _place(places, "before", query.before, noun)
    if query.before is not None and query.after is None:
        data = ordered[max(end - query.limit, 0) : end]
        return page_of(data, has_more=end > query.limit)
    data = ordered[start : min(start + query.limit, end)]
    return page_of(data, has_more=end - start > query.limit)


def _place(places: dict[str, int], param: str, cursor: str, noun: str) -> int:
    if cursor not in places:
        raise no_such_cursor(param, cursor, noun)
    return places[cursor]


def no_such_cursor(param: str, cursor: str, noun: str) -> InvalidRequestError:
    """The error for a cursor that names nothing."""
    return InvalidRequestError(
        f"Invalid '{param}': no {noun} found with id '{cursor}'.",
        param=param,
        code="invalid_value",
    )
