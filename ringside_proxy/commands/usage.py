"""`ringside usage`: a month by customer and model."""

import datetime
from typing import Final, Literal

import msgspec

from ringside_proxy.commands.errors import CommandError
from ringside_proxy.commands.reach import Access, Proxy, reach
from ringside_proxy.commands.tables import table
from ringside_proxy.domain import usage_reports
from ringside_proxy.domain.usage_reports import Dimension, ReportQuery, UsageReport, as_csv
from ringside_proxy.store import usage_reports as store
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Terms

Format = Literal["table", "csv", "json"]

GROUP_BY: Final[tuple[Dimension, ...]] = ("customer", "model")
HEADER: Final = ("CUSTOMER", "MODEL", "REQUESTS", "INPUT", "CACHED", "OUTPUT", "COST USD")
NUMBERS: Final = HEADER[2:]
NOBODY: Final = "(none)"
"""Usage on no customer; no customer can be called so."""


def usage(access: Access, month: str | None, customer: str | None, output: Format) -> str:
    """A month's usage, by default this one's. Raises CommandError."""
    report = _report(access, month, customer)
    match output:
        case "csv":
            return as_csv(report)
        case "json":
            return msgspec.json.format(msgspec.json.encode(report)).decode() + "\n"
        case "table":
            return _as_table(report)


def _report(access: Access, month: str | None, customer: str | None) -> UsageReport:
    first, last = (None, None) if month is None else _days(month)

    async def in_store(db: Database) -> UsageReport:
        query = ReportQuery(
            first_day=first, last_day=last, group_by=GROUP_BY, customer=customer or None
        )
        settings = access.settings
        terms = Terms(budgets=settings.budgets, wallet=settings.wallet)
        return await db.read(store.report, query, terms)

    def over_api(proxy: Proxy) -> UsageReport:
        asked = {"from": first, "to": last, "customer": customer, "group_by": ",".join(GROUP_BY)}
        params = {name: str(value) for name, value in asked.items() if value}
        return msgspec.convert(proxy.call("GET", "/v1/usage", params=params), UsageReport)

    return reach(access, in_store, over_api)


def _days(month: str) -> tuple[datetime.date, datetime.date]:
    try:
        return usage_reports.month(month)
    except ValueError:
        raise CommandError(f"{month!r} is no month: write it as YYYY-MM.") from None


def _as_table(report: UsageReport) -> str:
    rows = [
        [
            row.customer or NOBODY,
            row.model or "",
            str(row.requests),
            str(row.input_tokens),
            str(row.cached_input_tokens),
            str(row.output_tokens),
            f"{row.cost_usd:.9f}",
        ]
        for row in report.data
    ]
    total = report.total
    rows.append(
        [
            "total",
            "",
            str(total.requests),
            str(total.input_tokens),
            str(total.cached_input_tokens),
            str(total.output_tokens),
            f"{total.cost_usd:.9f}",
        ]
    )
    about = f"{report.first_day} to {report.last_day} ({report.timezone})\n"
    return about + table(HEADER, rows, NUMBERS)
