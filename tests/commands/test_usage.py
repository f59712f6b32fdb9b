"""`ringside usage`: the same from the store as from the proxy that runs on it."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.commands.errors import CommandError
from ringside_proxy.commands.reach import Access
from ringside_proxy.commands.usage import usage
from ringside_proxy.settings.schema import Settings, StoreSettings
from tests.api.rig import CLIENT_A, DEVELOPER, Ringside, serving
from tests.api.spending import spend
from tests.fakes import FakeClock

MONTH: Final = "2025-11"
TABLE: Final = """\
2025-11-01 to 2025-11-30 (UTC)
CUSTOMER     MODEL                  REQUESTS  INPUT  CACHED  OUTPUT     COST USD
(none)       fc:openai/gpt-4o-mini         1      0       0     100  0.000100000
customer_42  fc:groq/llama                 1      0       0       1  0.000001000
customer_42  fc:openai/gpt-4o-mini         2     50      20      30  0.000030000
total                                      4     50      20     131  0.000131000
"""
GIVEN: Final = ("table", "csv", "json")


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy on whose store two models were called in November and one in October."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as proxy:
        clock.advance(-30 * 86400)
        await spend(proxy, "customer_42", 7)
        clock.advance(30 * 86400)
        for tokens in (10, 20):
            given = {"input_tokens": 25, "cached_input_tokens": 10}
            await spend(proxy, "customer_42", tokens, usage=given)
        await spend(proxy, "customer_42", 1, model="fc:groq/llama", provider="groq")
        await spend(proxy, None, 100)
        yield proxy


async def over_api(ringside: Ringside, *args: str | None, token: str | None = DEVELOPER) -> str:
    """The command, given the URL of the proxy."""
    access = Access(settings=ringside.settings, url=f"{ringside.proxy.url}/v1/", token=token)
    return await asyncio.to_thread(usage, access, *args)


async def test_a_month_is_a_table(ringside: Ringside) -> None:
    """By customer and model, with a total; nobody's usage stands first."""
    assert await over_api(ringside, MONTH, None, "table") == TABLE


@pytest.mark.parametrize("customer", [None, "customer_42", "nobody"])
async def test_store_and_proxy_tell_the_same(tmp_path: Path, customer: str | None) -> None:
    """Without a proxy the store is read, in every format, for whom and when is asked."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        await spend(ringside, "customer_42", 10)
        await spend(ringside, None, 100)
        asked = [(MONTH, customer, output) for output in GIVEN]
        told = [await over_api(ringside, *args) for args in asked]
    access = Access(settings=ringside.settings)

    read = [await asyncio.to_thread(usage, access, *args) for args in asked]

    assert read == told


async def test_csv_and_json_hold_the_same_sums(ringside: Ringside) -> None:
    """CSV is the rows with plain amounts, JSON the report of the API."""
    shown = json.loads(await over_api(ringside, MONTH, "customer_42", "json"))
    rows = list(csv.DictReader(io.StringIO(await over_api(ringside, MONTH, "customer_42", "csv"))))

    assert (shown["object"], shown["customer"]) == ("usage.report", "customer_42")
    assert shown["group_by"] == ["customer", "model"]
    assert [row["cost_usd"] for row in rows] == ["0.000001", "0.00003"]
    assert [float(row["cost_usd"]) for row in rows] == [row["cost_usd"] for row in shown["data"]]


async def test_without_a_month_it_is_this_one(ringside: Ringside) -> None:
    """As the budgets' time zone has it."""
    assert await over_api(ringside, None, None, "table") == TABLE


@pytest.mark.parametrize("month", ["2025", "2025-13", "november", "2025-11-01"])
async def test_a_month_that_is_none_is_refused(ringside: Ringside, month: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(CommandError, match="YYYY-MM"):
        await over_api(ringside, month, None, "table", token=None)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, r"Set RINGSIDE_TOKEN to a developer token"),
        ("ko_wrong", r"The proxy refused: Incorrect API key"),
        (CLIENT_A, r"The proxy refused: A client token may only use the OpenAI endpoints"),
    ],
)
async def test_a_proxy_tells_developers_alone(
    ringside: Ringside, token: str | None, reason: str
) -> None:
    """Who lacks the right token is told which one it takes."""
    with pytest.raises(CommandError, match=reason):
        await over_api(ringside, MONTH, None, "table", token=token)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://[", "ftp://x"])
async def test_an_address_where_no_proxy_is_is_told(ringside: Ringside, url: str) -> None:
    """The message names it; no traceback."""
    access = Access(settings=ringside.settings, url=url, token=DEVELOPER)

    with pytest.raises(CommandError, match="did not answer as expected"):
        await asyncio.to_thread(usage, access, MONTH, None, "table")


async def test_something_else_than_a_proxy_is_told(ringside: Ringside) -> None:
    """An answer that is no JSON, or not ours, is no answer."""
    for url, reason in (
        (ringside.proxy.admin_url + "/metrics?", "did not answer as expected"),
        (ringside.upstream.base_url, "The proxy refused"),
    ):
        access = Access(settings=ringside.settings, url=url, token=DEVELOPER)

        with pytest.raises(CommandError, match=reason):
            await asyncio.to_thread(usage, access, MONTH, None, "table")


def test_a_store_that_is_not_there_is_told(tmp_path: Path) -> None:
    """And it is not made by being asked for."""
    settings = Settings(store=StoreSettings(url=f"sqlite:///{tmp_path}/ringside.db"))

    with pytest.raises(CommandError, match="There is no store at"):
        usage(Access(settings=settings), MONTH, None, "table")

    assert list(tmp_path.iterdir()) == []
