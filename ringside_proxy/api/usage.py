"""/v1/usage: Ringside's own; developers only."""

import re
from typing import Final, Literal

import msgspec
from aiohttp import web

from ringside_proxy.api.context import json_response, services, terms
from ringside_proxy.api.decode import decode_query
from ringside_proxy.domain import usage_reports
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.usage_reports import ReportQuery, UsageReport
from ringside_proxy.store import usage_reports as store

CSV: Final = "text/csv"
JSON: Final = "application/json"
QUALITY: Final = re.compile(r";\s*q=([01](?:\.[0-9]{0,3})?)\s*(?:;|\Z)")
NOT_NAMED: Final = -1.0


class CustomerUsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/customers/{customer_id}/usage: inclusive days, and by what to sum."""

    first_day: str | None = msgspec.field(name="from", default=None)
    last_day: str | None = msgspec.field(name="to", default=None)
    group_by: list[str] = msgspec.field(default_factory=list)
    model: str | None = None
    provider: str | None = None


class UsageQuery(CustomerUsageQuery, frozen=True, kw_only=True):
    """GET /v1/usage."""

    customer: str | None = None


class RecordListQuery(ListQuery, frozen=True, kw_only=True):
    """GET /v1/usage/records, oldest first; a cursor is a sequence, or the id of a record."""

    order: Literal["asc", "desc"] = "asc"


async def index(request: web.Request) -> web.Response:
    """GET /v1/usage: JSON, or CSV for who accepts that rather."""
    given = decode_query(request.query, UsageQuery)
    query = _query(given, given.customer)
    report = await services(request).db.read(store.report, query, terms(request))
    return _answer(request, report)


async def of_customer(request: web.Request) -> web.Response:
    """GET /v1/customers/{customer_id}/usage."""
    given = decode_query(request.query, CustomerUsageQuery)
    query = _query(given, request.match_info["customer_id"])
    report = await services(request).db.read(store.report_of_customer, query, terms(request))
    return _answer(request, report)


async def records(request: web.Request) -> web.Response:
    """GET /v1/usage/records: single attempts in the order of their sequence."""
    query = decode_query(request.query, RecordListQuery)
    db = services(request).db
    return json_response(await db.read(store.record_page, query))


def accepts_csv(accept: str) -> bool:
    """Whether an `Accept` header names CSV, and does not prefer JSON to it."""
    qualities = {CSV: NOT_NAMED, JSON: NOT_NAMED}
    for entry in accept.lower().split(","):
        media_type = entry.partition(";")[0].strip()
        quality = QUALITY.search(entry)
        if media_type in qualities:
            qualities[media_type] = 1.0 if quality is None else float(quality[1])
    return qualities[CSV] > 0 and qualities[CSV] >= qualities[JSON]


def _query(given: CustomerUsageQuery, customer: str | None) -> ReportQuery:
    words = [word.strip() for words in given.group_by for word in words.split(",") if word.strip()]
    return ReportQuery(
        first_day=None if given.first_day is None else usage_reports.day(given.first_day, "from"),
        last_day=None if given.last_day is None else usage_reports.day(given.last_day, "to"),
        group_by=usage_reports.dimensions(words),
        customer=customer,
        model=given.model,
        provider=given.provider,
    )


def _answer(request: web.Request, report: UsageReport) -> web.Response:
    if accepts_csv(request.headers.get("Accept", "")):
        text = usage_reports.as_csv(report)
        return web.Response(text=text, content_type=CSV, headers={"Vary": "Accept"})
    return json_response(report, {"Vary": "Accept"})
