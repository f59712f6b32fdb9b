"""Reports of usage: sums by day, customer, model, provider and kind of call."""

import calendar
import csv
import datetime
import io
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ringside_proxy.domain.errors import InvalidRequestError

Dimension = Literal["day", "customer", "model", "provider", "kind"]

DIMENSIONS: Final[dict[Dimension, tuple[str, ...]]] = {
    "day": ("day",),
    "customer": ("customer",),
    "model": ("model", "provider"),
    "provider": ("provider",),
    "kind": ("kind",),
}
"""By what usage may be summed → the columns that tell it, in the order of the wire."""

USUAL_DIMENSIONS: Final[tuple[Dimension, ...]] = ("day", "model")
DAYS_MAX: Final = 366
ROWS_MAX: Final = 100_000
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class UsageSums(msgspec.Struct, frozen=True, kw_only=True):
    """What calls consumed together; amounts are USD, a call without a known price adds none."""

    requests: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float
    provider_cost_usd: float
    markup_usd: float
    estimated_requests: int


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a report: what it is about, as far as was asked for, and the sums."""

    day: str | UnsetType = UNSET
    customer: str | UnsetType | None = UNSET
    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    kind: str | UnsetType = UNSET
    requests: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_usd: float
    provider_cost_usd: float
    markup_usd: float
    estimated_requests: int


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """`usage.report`; both days are part of it."""

    object: Literal["usage.report"] = "usage.report"
    customer: str | None
    first_day: str = msgspec.field(name="from")
    last_day: str = msgspec.field(name="to")
    timezone: str
    group_by: tuple[Dimension, ...]
    data: list[UsageRow]
    total: UsageSums


class ReportQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which usage, and how finely; a day that is not given is one of the current month."""

    first_day: datetime.date | None = None
    last_day: datetime.date | None = None
    group_by: tuple[Dimension, ...] = USUAL_DIMENSIONS
    customer: str | None = None
    model: str | None = None
    provider: str | None = None


def day(text: str, param: str) -> datetime.date:
    """The day that is written as YYYY-MM-DD. Raises InvalidRequestError."""
    try:
        if DAY.fullmatch(text):
            return datetime.date.fromisoformat(text)
    except ValueError:
        pass  # no such day, such as the 30th of February
    raise InvalidRequestError(
        f"Invalid '{param}': expected a day written as YYYY-MM-DD, but got '{text[:64]}' instead.",
        param=param,
        code="invalid_value",
    )


def dimensions(words: Iterable[str]) -> tuple[Dimension, ...]:
    """What to sum by, each once. Raises InvalidRequestError for an unknown word."""
    found: dict[Dimension, None] = {}
    for word in words:
        known = next((name for name in DIMENSIONS if name == word), None)
        if known is None:
            names = ", ".join(f"'{name}'" for name in DIMENSIONS)
            raise InvalidRequestError(
                f"Invalid value: '{word[:64]}'. Supported values are: {names}.",
                param="group_by",
                code="invalid_value",
            )
        found[known] = None
    return tuple(found) or USUAL_DIMENSIONS


def span(
    first: datetime.date | None, last: datetime.date | None, today: datetime.date
) -> tuple[datetime.date, datetime.date]:
    """The days of a report: those given, else to the ends of the month of the other one, or of
    this month. Raises InvalidRequestError.
    """
    first_day = first or (last or today).replace(day=1)
    last_day = last or _month_end(max(first_day, today))
    if first_day > last_day:
        raise InvalidRequestError(
            f"Invalid 'to': {last_day} is before 'from', which is {first_day}.",
            param="to",
            code="invalid_value",
        )
    if (last_day - first_day).days >= DAYS_MAX:
        raise InvalidRequestError(
            f"Invalid 'from': {first_day} to {last_day} is more than {DAYS_MAX} days. "
            "Ask for less at a time.",
            param="from",
            code="invalid_value",
        )
    return first_day, last_day


def month(text: str) -> tuple[datetime.date, datetime.date]:
    """The first and the last day of a month that is written as YYYY-MM. Raises ValueError."""
    first = datetime.datetime.strptime(text, "%Y-%m").replace(tzinfo=datetime.UTC).date()
    return first, _month_end(first)


def columns(group_by: Iterable[Dimension]) -> list[str]:
    """The columns that tell what a row is about, in the order of the wire."""
    told = {column for name in group_by for column in DIMENSIONS[name]}
    return [name for name in DIMENSIONS if name in told]


def as_csv(report: UsageReport) -> str:
    """The rows of a report as CSV (RFC 4180), with a header; amounts are plain decimals."""
    names = [*columns(report.group_by), *UsageSums.__struct_fields__]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(getattr(row, name)) for name in names] for row in report.data)
    return text.getvalue()


def plain(amount: float) -> str:
    """An amount without an exponent and without needless zeros."""
    return f"{Decimal(repr(amount)).normalize():f}"


def _cell(value: Any) -> Any:
    return plain(value) if isinstance(value, float) else value


def _month_end(of: datetime.date) -> datetime.date:
    return of.replace(day=calendar.monthrange(of.year, of.month)[1])
