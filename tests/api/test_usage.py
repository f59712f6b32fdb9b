"""/v1/usage: what was consumed, by whom, on what, and what it cost."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any, Final

import httpx
import openai
import pytest

from ringside_proxy.api.usage import accepts_csv
from ringside_proxy.domain import usage_reports
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.usage_reports import ROWS_MAX, plain, span
from ringside_proxy.settings.money import BudgetSettings
from tests.api.rig import DEVELOPER, Caller, Ringside, rows, serving
from tests.api.spending import MODEL, spend
from tests.fakes import FakeClock

OTHER: Final = "fc:groq/llama"
SUMS: Final = [
    "requests",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "provider_cost_usd",
    "markup_usd",
    "estimated_requests",
]
DAY_S: Final = 86400
MANY_CUSTOMERS: Final = """
WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?)
INSERT INTO usage_days
SELECT '2025-11-03', 'many-' || n, 'fc:openai/m', 'run', 'openai', 1, 0, 0, 0, 0, 0, 0, 0, 0
FROM number
"""


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy on 2025-11-21 where A, B and nobody have called two models on three days."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as proxy:
        for days, customer, tokens in ((-20, "a", 1), (1, "a", 10), (0, "b", 100), (1, None, 1000)):
            clock.advance(days * DAY_S)
            await spend(proxy, customer, tokens)
        await spend(proxy, "a", 5, model=OTHER, provider="groq", kind="run")
        await spend(proxy, "a", 7, model=OTHER, provider="groq", kind="embedding")
        yield proxy


async def report(api: Caller, query: str = "", path: str = "/v1/usage") -> Any:
    """A report; the call has to succeed."""
    answer = await api.get(f"{path}?{query}")
    assert answer.status == 200, answer.body
    return answer.json


def counted(report: Any, *names: str) -> list[tuple[Any, ...]]:
    """The rows, as what they are about and how many output tokens there were."""
    return [tuple(row[name] for name in (*names, "output_tokens")) for row in report["data"]]


async def test_a_report_is_shown_to_the_key(tmp_path: Path) -> None:
    """Every field of it, in the order of the documentation, and nothing else."""
    async with serving(tmp_path, FakeClock()) as ringside:
        for _ in range(2):
            usage = {
                "input_tokens": 100,
                "cached_input_tokens": 20,
                "cache_write_input_tokens": 30,
                "reasoning_tokens": 2,
            }
            await spend(ringside, "customer_42", 528, usage=usage, markup_nano=1)
        await spend(ringside, "customer_42", 1, usage={"is_estimated": True}, is_priced=False)
        shown = await report(ringside.developer, path="/v1/customers/customer_42/usage")

    sums = {
        "requests": 3,
        "input_tokens": 200,
        "cached_input_tokens": 40,
        "cache_write_input_tokens": 60,
        "output_tokens": 1057,
        "reasoning_tokens": 4,
        "cost_usd": 0.001056002,
        "provider_cost_usd": 0.001056,
        "markup_usd": 0.000000002,
        "estimated_requests": 1,
    }
    expected = {
        "object": "usage.report",
        "customer": "customer_42",
        "from": "2025-11-01",
        "to": "2025-11-30",
        "timezone": "UTC",
        "group_by": ["day", "model"],
        "data": [{"day": "2025-11-21", "model": MODEL, "provider": "openai"} | sums],
        "total": sums,
    }
    assert shown == expected
    assert list(shown) == list(expected)
    assert list(shown["data"][0]) == ["day", "model", "provider", *SUMS]
    assert list(shown["total"]) == SUMS


async def test_a_report_without_usage_is_empty(tmp_path: Path) -> None:
    """No rows, and a total of nothing."""
    async with serving(tmp_path) as ringside:
        shown = await report(ringside.developer)

    assert shown["data"] == []
    assert set(shown["total"].values()) == {0}


@pytest.mark.parametrize(
    ("group_by", "names", "expected"),
    [
        ("day", ["day"], [("2025-11-02", 110), ("2025-11-03", 1012)]),
        ("customer", ["customer"], [(None, 1000), ("a", 22), ("b", 100)]),
        ("provider", ["provider"], [("groq", 12), ("openai", 1110)]),
        ("kind", ["kind"], [("chat.completion", 1110), ("embedding", 7), ("run", 5)]),
        ("model", ["model", "provider"], [(OTHER, "groq", 12), (MODEL, "openai", 1110)]),
        (
            "customer,model",
            ["customer", "model"],
            [(None, MODEL, 1000), ("a", OTHER, 12), ("a", MODEL, 10), ("b", MODEL, 100)],
        ),
        (
            "model,day",
            ["day", "model"],
            [("2025-11-03", OTHER, 12), ("2025-11-02", MODEL, 110), ("2025-11-03", MODEL, 1000)],
        ),
        (
            "kind, day,kind",
            ["day", "kind"],
            [
                ("2025-11-02", "chat.completion", 110),
                ("2025-11-03", "chat.completion", 1000),
                ("2025-11-03", "embedding", 7),
                ("2025-11-03", "run", 5),
            ],
        ),
    ],
)
async def test_usage_is_summed_by_what_is_asked_for(
    api: Caller, group_by: str, names: list[str], expected: list[Any]
) -> None:
    """A row for each group of which there is any, in the order of the groups asked for."""
    shown = await report(api, f"group_by={group_by}&from=2025-11-02")

    assert counted(shown, *names) == expected
    assert [name for name in shown["data"][0] if name not in SUMS] == (
        [*names, "provider"] if names[-1] == "model" else names
    )
    assert shown["group_by"] == list(dict.fromkeys(group_by.replace(" ", "").split(",")))
    assert shown["total"]["output_tokens"] == 1122


@pytest.mark.parametrize(
    ("query", "tokens"),
    [
        ("customer=a", 23),
        ("customer=b", 100),
        ("customer=nobody", 0),
        (f"model={MODEL}", 1111),
        (f"model={OTHER}&customer=a", 12),
        ("provider=groq", 12),
        (f"provider=groq&model={MODEL}", 0),
        ("customer=", 1123),
    ],
)
async def test_filters_take_what_matches_all_of_them(api: Caller, query: str, tokens: int) -> None:
    """An empty value counts as not given."""
    shown = await report(api, f"{query}&from=2025-11-01")

    assert shown["total"]["output_tokens"] == tokens
    assert shown["customer"] == (query.partition("customer=")[2] or None)


async def test_a_customer_s_report_is_its_own(api: Caller) -> None:
    """The same as filtered, whatever the query says of customers."""
    own = await report(api, "customer=b&from=2025-11-01", "/v1/customers/a/usage")

    assert own == await report(api, "customer=a&from=2025-11-01")


async def test_a_deleted_customer_s_report_is_still_there(api: Caller) -> None:
    """Its usage stays; only who never was is unknown."""
    await api.delete("/v1/customers/a")

    kept = await report(api, "from=2025-11-01", "/v1/customers/a/usage")
    unknown = await api.get("/v1/customers/nobody/usage")

    assert kept["total"]["output_tokens"] == 23
    assert (unknown.status, unknown.error["message"]) == (
        404,
        "No customer found with id 'nobody'.",
    )


async def test_a_customer_without_usage_has_an_empty_report(api: Caller) -> None:
    """It exists, so it is no 404."""
    await api.make("/v1/customers", {"id": "new"})

    assert (await report(api, path="/v1/customers/new/usage"))["data"] == []


# ----------------------------------------------------------------------------------------------- days


@pytest.mark.parametrize(
    ("query", "first", "last", "tokens"),
    [
        ("", "2025-11-01", "2025-11-30", 1123),
        ("from=2025-11-03", "2025-11-03", "2025-11-30", 1012),
        ("to=2025-11-02", "2025-11-01", "2025-11-02", 111),
        ("from=2025-11-02&to=2025-11-02", "2025-11-02", "2025-11-02", 110),
        ("to=2024-02-29", "2024-02-01", "2024-02-29", 0),
        ("from=2026-02-10", "2026-02-10", "2026-02-28", 0),
        ("from=2025-01-01&to=2026-01-01", "2025-01-01", "2026-01-01", 1123),
        ("from=&to=", "2025-11-01", "2025-11-30", 1123),
    ],
)
async def test_days_that_are_not_given_end_with_the_month(
    api: Caller, query: str, first: str, last: str, tokens: int
) -> None:
    """Both days are part of the report; alone, each takes its month, or this one."""
    shown = await report(api, query)

    assert (shown["from"], shown["to"]) == (first, last)
    assert shown["total"]["output_tokens"] == tokens


async def test_days_are_those_of_the_budgets_time_zone(tmp_path: Path) -> None:
    """A call shortly before midnight UTC was tomorrow's further east."""
    clock = FakeClock(1_764_547_200_000 - 1)
    budgets = BudgetSettings(timezone="Europe/Zurich")
    async with serving(tmp_path, clock, budgets=budgets) as ringside:
        await spend(ringside, "c", 1)
        shown = await report(ringside.developer)

    assert (shown["from"], shown["timezone"]) == ("2025-12-01", "Europe/Zurich")
    assert counted(shown, "day") == [("2025-12-01", 1)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("from=2025-02-30", "from"),
        ("from=20251101", "from"),
        ("from=2025-W01-1", "from"),
        ("from=0000-01-01", "from"),
        ("from=2025-11-01T00:00:00Z", "from"),
        ("to=2025-13-01", "to"),
        ("to=٢٠٢٥-11-01", "to"),
        ("from=2025-11-02&to=2025-11-01", "to"),
        ("from=2025-01-01&to=2026-01-02", "from"),
        ("group_by=week", "group_by"),
        ("group_by=day,Model", "group_by"),
        ("group_by[]=day&group_by[]=week", "group_by"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/customers/a/usage"])
async def test_a_report_that_makes_no_sense_is_refused(
    api: Caller, path: str, query: str, param: str
) -> None:
    """The answer names the parameter."""
    answer = await api.get(f"{path}?{query}")

    assert (answer.status, answer.error["param"]) == (400, param)
    assert answer.error["code"] == "invalid_value"


async def test_a_report_of_too_many_rows_is_refused(ringside: Ringside) -> None:
    """It says how to ask for less; the same usage in fewer rows is served."""
    await ringside.proxy.services.db.write(lambda tx: tx.run(MANY_CUSTOMERS, ROWS_MAX))

    refused = await ringside.developer.get("/v1/usage?group_by=customer")
    served = await report(ringside.developer, "group_by=day&from=2025-11-03")

    assert (refused.status, refused.error["param"]) == (400, "group_by")
    assert served["total"]["requests"] == ROWS_MAX + 3


@pytest.mark.parametrize("today", [date(2025, 1, 31), date(2024, 2, 29), date(2025, 12, 1)])
def test_a_span_is_whole_months(today: date) -> None:
    """Whatever day it is, the usual span is from the first to the last of the month."""
    first, last = span(None, None, today)

    assert (first.day, last.month, first.month) == (1, today.month, today.month)
    assert (last + (date(2025, 1, 2) - date(2025, 1, 1))).day == 1


def test_the_last_month_there_is_does_not_break_a_span() -> None:
    """The end of time is a day as any other, or a refusal."""
    assert span(date(9999, 12, 5), None, date(2025, 1, 1)) == (
        date(9999, 12, 5),
        date(9999, 12, 31),
    )
    with pytest.raises(InvalidRequestError):
        span(date(1, 1, 1), None, date(2025, 1, 1))


# ------------------------------------------------------------------------------------------------ CSV


async def test_a_report_can_be_had_as_csv(api: Caller) -> None:
    """The rows alone, with a header; amounts without exponents, nobody's customer empty."""
    query = "group_by=customer,model&from=2025-11-02"
    shown = await report(api, query)

    answer = await api.get(f"/v1/usage?{query}", headers={"accept": "text/csv"})

    header, *lines = csv.reader(io.StringIO(answer.body.decode()))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert header == ["customer", "model", "provider", *SUMS]
    assert lines == [
        ["" if value is None else plain(value) if name.endswith("_usd") else str(value)
         for name, value in row.items()]
        for row in shown["data"]
    ]  # fmt: skip
    assert [line[9] for line in lines] == ["0.001", "0.000012", "0.00001", "0.0001"]
    assert answer.body.count(b"\r\n") == 5


async def test_an_empty_report_as_csv_has_its_header(tmp_path: Path) -> None:
    """So that whatever reads it finds its columns."""
    async with serving(tmp_path) as ringside:
        answer = await ringside.developer.get("/v1/usage", headers={"accept": "text/csv"})

    assert answer.body.decode() == ",".join(["day", "model", "provider", *SUMS]) + "\r\n"


async def test_an_error_is_json_for_who_accepts_csv(api: Caller) -> None:
    """The envelope is the same for everybody."""
    answer = await api.get("/v1/usage?from=x", headers={"accept": "text/csv"})

    assert (answer.status, answer.error["param"]) == (400, "from")


@pytest.mark.parametrize(
    ("accept", "is_csv"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/csv", True),
        ("TEXT/CSV; charset=utf-8", True),
        ("text/csv, application/json", True),
        ("application/json, text/csv", True),
        ("application/json, text/csv;q=0.5", False),
        ("application/json;q=0.4, text/csv;q=0.5", True),
        ("text/csv;q=0", False),
        ("text/*", False),
        (";;,,q=", False),
    ],
)
def test_csv_is_for_who_asks_for_it(accept: str, is_csv: bool) -> None:
    """It has to be named; what is preferred to it wins."""
    assert accepts_csv(accept) == is_csv


@pytest.mark.parametrize(
    ("amount", "written"),
    [(0.0, "0"), (1e-9, "0.000000001"), (50.0, "50"), (100.0, "100"), (0.1, "0.1"), (1e9, "1000000000")],
)  # fmt: skip
def test_a_plain_amount_has_no_exponent(amount: float, written: str) -> None:
    """As a spreadsheet reads it."""
    assert plain(amount) == written


# -------------------------------------------------------------------------------------------- records


async def test_a_record_is_shown_to_the_key(tmp_path: Path) -> None:
    """Every field of the object, in the order of the documentation, and nothing else."""
    async with serving(tmp_path, FakeClock()) as ringside:
        name = await spend(
            ringside,
            "customer_42",
            910,
            markup_nano=90,
            usage={"input_tokens": 3400, "cached_input_tokens": 1024, "reasoning_tokens": 9},
            kind="run",
            thread_id="thread_1",
            run_id="run_1",
            request_id="req_1",
            attempt=2,
        )
        shown = (await ringside.developer.get("/v1/usage/records")).json

    expected = {
        "id": name,
        "object": "usage.record",
        "sequence": 1,
        "created_at": 1763700000,
        "customer": "customer_42",
        "token": "tok_1",
        "kind": "run",
        "model": MODEL,
        "requested_model": "slot:fast",
        "provider": "openai",
        "thread_id": "thread_1",
        "run_id": "run_1",
        "step_id": None,
        "request_id": "req_1",
        "input_tokens": 3400,
        "cached_input_tokens": 1024,
        "cache_write_input_tokens": 0,
        "output_tokens": 910,
        "reasoning_tokens": 9,
        "cost_usd": 0.00091009,
        "provider_cost_usd": 0.00091,
        "markup_usd": 0.00000009,
        "estimated": False,
        "attempt": 2,
    }
    assert shown == {
        "object": "list",
        "data": [expected],
        "first_id": name,
        "last_id": name,
        "has_more": False,
    }
    assert list(shown["data"][0]) == list(expected)


async def test_a_record_without_a_price_has_no_cost(tmp_path: Path) -> None:
    """Unknown is null, not zero; what was estimated says so."""
    async with serving(tmp_path) as ringside:
        await spend(ringside, None, 1, is_priced=False, usage={"is_estimated": True})
        [shown] = (await ringside.developer.get("/v1/usage/records")).json["data"]

    costs = ("cost_usd", "provider_cost_usd", "markup_usd")
    assert [shown[name] for name in costs] == [None] * 3
    assert (shown["customer"], shown["estimated"]) == (None, True)


async def test_records_are_read_to_the_end_by_sequence_or_id(api: Caller) -> None:
    """Oldest first, none twice, none missing, whichever of the two the reader keeps."""
    for cursor in ("id", "sequence"):
        seen, after = [], "0"
        while True:
            page = (await api.get(f"/v1/usage/records?limit=2&after={after}")).json
            seen += page["data"]
            if not page["has_more"]:
                break
            after = page["data"][-1][cursor]
        assert [record["sequence"] for record in seen] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("query", "sequences"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("after=4", [5, 6]),
        ("after=6", []),
        ("after=1000000", []),
        ("order=desc&limit=2", [6, 5]),
        ("order=desc&after=3", [2, 1]),
        ("after=1&before=4", [2, 3]),
    ],
)
async def test_a_sequence_is_a_cursor(api: Caller, query: str, sequences: list[int]) -> None:
    """Also one that nothing has, such as 0 or what is yet to come."""
    page = (await api.get(f"/v1/usage/records?{query}")).json

    assert [record["sequence"] for record in page["data"]] == sequences


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("after=use_x", "after"),
        ("after=-1", "after"),
        ("after=9999999999999999999", "after"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("order=up", "order"),
    ],
)
async def test_a_page_of_records_that_makes_no_sense_is_refused(
    api: Caller, query: str, param: str
) -> None:
    """As on every list."""
    answer = await api.get(f"/v1/usage/records?{query}")

    assert (answer.status, answer.error["param"]) == (400, param)


async def test_reports_and_records_tell_the_same(ringside: Ringside) -> None:
    """The sums by day are those of the single rows, to the nano-USD."""
    shown = await report(ringside.developer, "from=2025-11-01")
    records = rows(ringside.home, "usage_records")

    assert shown["total"]["cost_usd"] * 10**9 == sum(r["provider_cost_nano"] for r in records)
    assert shown["total"]["requests"] == len(records)
    assert shown["total"]["output_tokens"] == sum(r["output_tokens"] for r in records)


# ---------------------------------------------------------------------------------------------- clients


async def test_the_official_sdk_reads_usage(ringside: Ringside) -> None:
    """Its way to send lists and its cursors work here too."""
    async with openai.AsyncOpenAI(base_url=f"{ringside.proxy.url}/v1", api_key=DEVELOPER) as client:
        query = {"group_by": ["customer"], "from": "2025-11-02"}
        shown: Any = await client.get("/usage", cast_to=object, options={"params": query})
        with pytest.raises(openai.BadRequestError) as refused:
            await client.get("/usage", cast_to=object, options={"params": {"from": "x"}})

    assert counted(shown, "customer") == [(None, 1000), ("a", 22), ("b", 100)]
    assert refused.value.param == "from"


async def test_httpx_reads_csv(ringside: Ringside) -> None:
    """As a script would fetch it."""
    headers = {"Authorization": f"Bearer {DEVELOPER}", "Accept": "text/csv"}
    async with httpx.AsyncClient(base_url=ringside.proxy.url, headers=headers) as client:
        answer = await client.get("/v1/usage", params={"group_by": "day"})

    assert answer.text.splitlines()[0].startswith("day,requests,")


def test_a_month_is_written_as_year_and_month() -> None:
    """`usage_reports.month` gives both of its ends."""
    assert usage_reports.month("2024-02") == (date(2024, 2, 1), date(2024, 2, 29))
    for wrong in ("2024", "2024-13", "24-02", "2024-02-01", ""):
        with pytest.raises(ValueError, match=r"."):
            usage_reports.month(wrong)
