"""What a page of a list should hold, and every way to ask for one."""

from collections.abc import Collection, Iterable, Iterator
from itertools import product

from ringside_proxy.domain.lists import ListQuery, Page


def expected_page(
    ids: list[str], query: ListQuery, gone: Collection[str] = ()
) -> tuple[list[str], bool]:
    """The page as documented: ids between the cursors, counted from `after`, else from `before`."""
    ordered = ids if query.order == "asc" else ids[::-1]
    start = 0 if query.after is None else ordered.index(query.after) + 1
    end = len(ordered) if query.before is None else ordered.index(query.before)
    between = [name for name in ordered[start:end] if name not in gone]
    if query.after is None and query.before is not None:
        return between[-query.limit :], len(between) > query.limit
    return between[: query.limit], len(between) > query.limit


def queries(ids: list[str], limits: Iterable[int]) -> Iterator[ListQuery]:
    """Every combination of order, cursors and limit."""
    cursors = [None, *ids]
    for order, after, before, limit in product(("asc", "desc"), cursors, cursors, limits):
        yield ListQuery(order=order, after=after, before=before, limit=limit)


def shown(page: Page) -> tuple[list[str], bool]:
    """The ids on a page, and whether more follow."""
    return [entry.id for entry in page.data], page.has_more
