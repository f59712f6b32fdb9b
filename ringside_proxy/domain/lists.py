"""Pages of lists, as OpenAI cuts them."""

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

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
