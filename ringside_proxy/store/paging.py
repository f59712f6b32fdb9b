"""Keyset pages: where a page starts is looked up once, then read along an index."""

import re
from collections.abc import Callable
from typing import Final

from ringside_proxy.domain.lists import ListQuery, no_such_cursor
from ringside_proxy.store.tx import Row, Tx

BURY: Final = (
    "INSERT OR REPLACE INTO tombstones (id, parent, owner, position, deleted_ms) "
    "VALUES (?, ?, ?, ?, ?)"
)
BURIED: Final = "SELECT position, owner FROM tombstones WHERE id = ? AND parent = ?"
CLEAR_TOMBSTONES: Final = (
    "DELETE FROM tombstones WHERE (id, parent) IN "
    "(SELECT id, parent FROM tombstones WHERE deleted_ms < ? LIMIT 500)"
)
POSITION: Final = re.compile(r"[0-9]{1,18}")

NO_PARENT: Final = 0
"""The parent of what stands in no conversation and no run."""
AMONG_CUSTOMERS: Final = -1
"""The parent of customers: their ids are not ours, and may be like those of anything else."""


class PagedTable:
    """How one kind of object is listed.

    `columns` and `source` (the table) are SQL fragments of the caller's own
    module; `position` is the column that orders; `find` gives it, and the object's owner, for an
    id and parent. Where callers know positions (`is_numbered`), one is a cursor too, whether
    anything stands there or not.
    """

    def __init__(
        self,
        noun: str,
        columns: str,
        source: str,
        position: str,
        find: str,
        *,
        is_numbered: bool = False,
    ) -> None:
        self._noun = noun
        self._select = f"SELECT {columns} FROM {source}"  # noqa: S608 - fixed fragments
        self._position = position
        self._find = find
        self._is_numbered = is_numbered

    def page(
        self,
        tx: Tx,
        query: ListQuery,
        condition: str,
        params: tuple[object, ...],
        parent: int,
        sees: Callable[[str], bool] = lambda owner: True,
    ) -> tuple[list[Row], bool]:
        """The rows of a page in the order asked for, and whether more follow.

        `condition` is a fixed SQL fragment for `params`. Raises InvalidRequestError for a cursor
        that names nothing, or nothing that the caller `sees`.
        """
        conditions, bounds = [condition], [*params]
        is_ascending = query.order == "asc"
        for name, cursor in (("after", query.after), ("before", query.before)):
            if cursor is not None:
                is_beyond = (name == "after") == is_ascending
                conditions.append(f"{self._position} {'>' if is_beyond else '<'} ?")
                bounds.append(self._position_of(tx, name, cursor, parent, sees))
        # Under `before` alone the page is the rows next to the cursor: read towards it, then turn.
        is_turned = query.before is not None and query.after is None
        direction = "ASC" if is_ascending != is_turned else "DESC"
        rows = tx.all(
            f"{self._select} WHERE {' AND '.join(conditions)} "
            f"ORDER BY {self._position} {direction} LIMIT ?",
            *bounds,
            query.limit + 1,
        )
        has_more = len(rows) > query.limit
        del rows[query.limit :]
        if is_turned:
            rows.reverse()
        return rows, has_more

    def _position_of(
        self, tx: Tx, param: str, cursor: str, parent: int, sees: Callable[[str], bool]
    ) -> int:
        if self._is_numbered and POSITION.fullmatch(cursor):
            return int(cursor)
        row = tx.one(self._find, cursor, parent) or tx.one(BURIED, cursor, parent)
        if row is None or not sees(row[1]):
            raise no_such_cursor(param, cursor, self._noun)
        position: int = row[0]
        return position


def bury(tx: Tx, object_id: str, parent: int, position: int, owner: str = "") -> None:
    """Remember where a deleted object stood, so that a list cursor on it still works."""
    tx.run(BURY, object_id, parent, owner, position, tx.now_ms)


def clear_tombstones(tx: Tx, older_than_ms: int) -> int:
    """Forget old tombstones, a bounded number at a time; how many went."""
    return tx.run(CLEAR_TOMBSTONES, older_than_ms)
