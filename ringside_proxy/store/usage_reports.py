"""What was consumed, as it is told: reports, from the sums by day alone, and the single records."""

import datetime
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ringside_proxy.domain.errors import InvalidRequestError, NotFoundError
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.money import usd, usd_or_null
from ringside_proxy.domain.usage_records import UsageRecord
from ringside_proxy.domain.usage_reports import (
    DIMENSIONS,
    ROWS_MAX,
    ReportQuery,
    UsageReport,
    UsageRow,
    UsageSums,
    columns,
    span,
)
from ringside_proxy.store import customers, ledger_clock
from ringside_proxy.store.ledger import Terms
from ringside_proxy.store.paging import NO_PARENT, PagedTable
from ringside_proxy.store.tx import Row, Tx
from ringside_proxy.store.usage import NOBODY

SUMMED: Final = (
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "estimated_requests",
    "provider_cost_nano",
    "markup_nano",
)
SUMS: Final = ", ".join(f"sum({column})" for column in SUMMED)
IN_SPAN: Final = "day BETWEEN ? AND ?"
FILTERS: Final = ("customer", "model", "provider")
HAS_USAGE: Final = "SELECT 1 FROM usage_days WHERE customer = ? LIMIT 1"

AS_STORED: Final = (
    "customer",
    "token",
    "kind",
    "model",
    "requested_model",
    "provider",
    "thread_id",
    "run_id",
    "step_id",
    "request_id",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)
"""What the wire shows of a record as its row has it."""
RECORD_COLUMNS: Final = (
    f"sequence, id, created_ms, {', '.join(AS_STORED)}, "
    "provider_cost_nano, markup_nano, estimated, attempt"
)
FIND_RECORD: Final = "SELECT sequence, '' FROM usage_records WHERE id = ? AND ? = 0"
RECORDS: Final = PagedTable(
    "usage record", RECORD_COLUMNS, "usage_records", "sequence", FIND_RECORD, is_numbered=True
)
RECORDS_AFTER: Final = (
    f"SELECT {RECORD_COLUMNS} FROM usage_records WHERE sequence > ? ORDER BY sequence LIMIT ?"  # noqa: S608 - fixed fragments
)
ANY: Final = "1"


def report(tx: Tx, query: ReportQuery, terms: Terms) -> UsageReport:
    """The usage that `query` asks for, a row for each group of which there is any.

    Raises InvalidRequestError for days that make no sense, and for more than ROWS_MAX rows.
    """
    today = datetime.date.fromisoformat(ledger_clock.today(tx, terms.budgets.timezone))
    first, last = span(query.first_day, query.last_day, today)
    days = (first.isoformat(), last.isoformat())
    sql, params = _statement(query, *days)
    rows = tx.all(sql, *params)
    if len(rows) > ROWS_MAX:
        raise InvalidRequestError(
            f"The report has more than {ROWS_MAX} rows. Take fewer days, filter by customer, "
            "model or provider, or group by less.",
            param="group_by",
            code="invalid_value",
        )
    told = columns(query.group_by)
    return UsageReport(
        customer=query.customer,
        first_day=days[0],
        last_day=days[1],
        timezone=terms.budgets.timezone,
        group_by=query.group_by,
        data=[_row(told, row) for row in rows],
        total=UsageSums(**_sums(_added(row[len(told) :] for row in rows))),
    )


def report_of_customer(tx: Tx, query: ReportQuery, terms: Terms) -> UsageReport:
    """The same for one customer. Raises NotFoundError for one that never was."""
    customer = query.customer or ""
    is_known = tx.one(customers.OWN_BUDGET, customer) or tx.one(HAS_USAGE, customer)
    if is_known is None or not customer:
        raise NotFoundError.of("customer", customer)
    return report(tx, query, terms)


def record_page(tx: Tx, query: ListQuery) -> Page[UsageRecord]:
    """A page of records by their sequence; a cursor is a sequence, or the id of a record."""
    rows, has_more = RECORDS.page(tx, query, ANY, (), NO_PARENT)
    return page_of([_record(row) for row in rows], has_more)


def records_after(tx: Tx, sequence: int, limit: int) -> list[UsageRecord]:
    """The records that follow, in the order of their sequence."""
    return [_record(row) for row in tx.all(RECORDS_AFTER, sequence, limit)]


def _statement(query: ReportQuery, first_day: str, last_day: str) -> tuple[str, list[str]]:
    """The SELECT of a report, and its parameters."""
    filters = {name: getattr(query, name) for name in FILTERS}
    given = {name: value for name, value in filters.items() if value is not None}
    conditions = " AND ".join([IN_SPAN, *(f"{name} = ?" for name in given)])
    told = ", ".join(columns(query.group_by))
    asked = [column for name in query.group_by for column in DIMENSIONS[name]]
    groups = ", ".join(dict.fromkeys(asked))
    sql = (
        f"SELECT {told}, {SUMS} FROM usage_days WHERE {conditions} "  # noqa: S608 - fixed fragments
        f"GROUP BY {groups} ORDER BY {groups} LIMIT {ROWS_MAX + 1}"
    )
    return sql, [first_day, last_day, *given.values()]


def _row(told: list[str], row: Row) -> UsageRow:
    about = dict(zip(told, row, strict=False))
    if about.get("customer") == NOBODY:
        about["customer"] = None
    return UsageRow(**about, **_sums(row[len(told) :]))


def _added(rows: Iterable[Row]) -> list[int]:
    total = [0] * len(SUMMED)
    for row in rows:
        total = [one + other for one, other in zip(total, row, strict=True)]
    return total


def _sums(sums: Sequence[int]) -> dict[str, Any]:
    """Sums in the order of SUMMED, as the wire names them."""
    *counts, provider_nano, markup_nano = sums
    return dict(zip(SUMMED, counts, strict=False)) | {
        "cost_usd": usd(provider_nano + markup_nano),
        "provider_cost_usd": usd(provider_nano),
        "markup_usd": usd(markup_nano),
    }


def _record(row: Row) -> UsageRecord:
    provider_nano, markup_nano = row[18:20]
    cost_nano = None if provider_nano is None else provider_nano + (markup_nano or 0)
    return UsageRecord(
        sequence=row[0],
        id=row[1],
        created_at=row[2] // 1000,
        **dict(zip(AS_STORED, row[3:18], strict=True)),
        cost_usd=usd_or_null(cost_nano),
        provider_cost_usd=usd_or_null(provider_nano),
        markup_usd=usd_or_null(markup_nano),
        estimated=bool(row[20]),
        attempt=row[21],
    )
