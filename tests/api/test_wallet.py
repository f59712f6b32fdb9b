"""/v1/wallet: what was put in, what was taken out, what is left."""

from pathlib import Path
from typing import Any, Final

import openai
import pytest

from ringside_proxy.settings.money import WalletSettings
from tests.api.rig import DEVELOPER, Caller, rows, serving
from tests.api.spending import hold, spend
from tests.fakes import FakeClock

USD: Final = 10**9
ON: Final = WalletSettings(enabled=True, low_balance_nano_usd=10 * USD, markup_ppm=125_000)


async def test_the_wallet_is_shown_to_the_key(tmp_path: Path) -> None:
    """Every field of the object, in the order of the documentation, and nothing else."""
    async with serving(tmp_path, wallet=ON) as ringside:
        shown = (await ringside.developer.get("/v1/wallet")).json

    expected = {
        "object": "wallet",
        "enabled": True,
        "balance_usd": 0.0,
        "reserved_usd": 0.0,
        "low_balance_usd": 10.0,
        "markup_percent": 12.5,
    }
    assert shown == expected
    assert list(shown) == list(expected)


async def test_a_top_up_is_shown_to_the_key(tmp_path: Path) -> None:
    """What was put in, and what there is afterwards."""
    async with serving(tmp_path, FakeClock(), wallet=ON) as ringside:
        api = ringside.developer
        await api.make("/v1/wallet/top_ups", {"amount_usd": 0.1})
        made = await api.make("/v1/wallet/top_ups", {"amount_usd": 0.2, "note": "March"})
        shown = (await api.get("/v1/wallet")).json

    assert list(made) == ["id", "object", "amount_usd", "balance_usd", "created_at", "note"]
    assert made["id"].startswith("top_")
    assert made | {"id": ""} == {
        "id": "",
        "object": "wallet.top_up",
        "amount_usd": 0.2,
        "balance_usd": 0.3,
        "created_at": 1763700000,
        "note": "March",
    }
    assert shown["balance_usd"] == 0.3


async def test_calls_take_from_the_wallet(tmp_path: Path) -> None:
    """While one is out its worst case is reserved; afterwards its price is gone."""
    async with serving(tmp_path, wallet=ON) as ringside:
        api = ringside.developer
        await api.make("/v1/wallet/top_ups", {"amount_usd": 1})
        await hold(ringside, "c", 8000)
        held = (await api.get("/v1/wallet")).json
        await spend(ringside, None, 4000, markup_nano=500_000)
        spent = (await api.get("/v1/wallet")).json

    assert (held["balance_usd"], held["reserved_usd"]) == (1, 0.009)
    assert (spent["balance_usd"], spent["reserved_usd"]) == (0.9955, 0.009)


async def test_transactions_tell_what_moved_the_balance(tmp_path: Path) -> None:
    """Newest first: charges below zero with the record of their call, top-ups above."""
    async with serving(tmp_path, FakeClock(), wallet=ON) as ringside:
        api = ringside.developer
        made = await api.make("/v1/wallet/top_ups", {"amount_usd": 1, "note": "n"})
        usage_id = await spend(ringside, "c", 4000)
        charge, top_up = (await api.get("/v1/wallet/transactions")).json["data"]

    assert top_up == {
        "id": made["id"],
        "object": "wallet.transaction",
        "type": "top_up",
        "amount_usd": 1.0,
        "balance_usd": 1.0,
        "note": "n",
        "usage_id": None,
        "created_at": 1763700000,
    }
    assert charge | {"id": ""} == top_up | {
        "id": "",
        "type": "charge",
        "amount_usd": -0.004,
        "balance_usd": 0.996,
        "note": None,
        "usage_id": usage_id,
    }
    assert list(charge) == list(top_up)


async def test_transactions_are_paged(api: Caller) -> None:
    """As every list: both orders, `limit`, cursors, exact has_more."""
    made = [
        (await api.make("/v1/wallet/top_ups", {"amount_usd": amount}))["id"] for amount in (1, 2, 3)
    ]

    first = (await api.get("/v1/wallet/transactions?limit=2")).json
    rest = (await api.get(f"/v1/wallet/transactions?after={first['last_id']}")).json
    oldest = (await api.get("/v1/wallet/transactions?order=asc&limit=1")).json
    lost = await api.get("/v1/wallet/transactions?after=top_x")

    assert [t["id"] for t in first["data"] + rest["data"]] == made[::-1]
    assert (first["has_more"], rest["has_more"], oldest["has_more"]) == (True, False, True)
    assert oldest["data"][0]["id"] == made[0]
    assert (lost.status, lost.error["param"]) == (400, "after")


async def test_a_wallet_that_is_off_can_be_filled(tmp_path: Path) -> None:
    """Before it is switched on; until then no call takes from it."""
    async with serving(tmp_path) as ringside:
        await ringside.developer.make("/v1/wallet/top_ups", {"amount_usd": 5})
        await spend(ringside, None, 1000)
        shown = (await ringside.developer.get("/v1/wallet")).json

    assert (shown["enabled"], shown["balance_usd"]) == (False, 5)


async def test_a_top_up_rearms_the_warnings(tmp_path: Path) -> None:
    """Low twice, told twice; empty until it is filled, told once."""
    async with serving(tmp_path, wallet=ON) as ringside:
        for _ in range(2):
            await ringside.developer.make("/v1/wallet/top_ups", {"amount_usd": 12})
            await spend(ringside, None, 10_000_000)
            await hold(ringside, None, 10_000_000)
            await hold(ringside, None, 10_000_000)
        told = [row["type"] for row in rows(ringside.home, "events")]

    assert told == ["wallet.low", "wallet.exhausted"] * 2


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "amount_usd", "missing_required_parameter"),
        ({"amount_usd": 0}, "amount_usd", "decimal_below_min_value"),
        ({"amount_usd": None}, "amount_usd", "invalid_type"),
        ({"amount_usd": 1, "note": "x" * 513}, "note", "string_above_max_length"),
        ({"amount_usd": 1, "currency": "CHF"}, "currency", "unknown_parameter"),
    ],
)
async def test_a_top_up_that_makes_no_sense_is_refused(
    api: Caller, body: dict[str, Any], param: str, code: str
) -> None:
    """The answer names the field, and nothing is put in."""
    answer = await api.post("/v1/wallet/top_ups", body)

    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
    assert (await api.get("/v1/wallet")).json["balance_usd"] == 0


async def test_a_wallet_holds_no_more_than_it_can_count(api: Caller) -> None:
    """Past the largest amount a top-up is refused, and the balance stays."""
    await api.make("/v1/wallet/top_ups", {"amount_usd": 999_999_999})

    refused = await api.post("/v1/wallet/top_ups", {"amount_usd": 2})
    fitting = await api.post("/v1/wallet/top_ups", {"amount_usd": 1})

    assert (refused.status, refused.error["param"]) == (400, "amount_usd")
    assert fitting.json["balance_usd"] == 10**9


async def test_the_official_sdk_fills_the_wallet(tmp_path: Path) -> None:
    """By its plain post and get."""
    async with serving(tmp_path, wallet=ON) as ringside:
        url = f"{ringside.proxy.url}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key=DEVELOPER) as client:
            body = {"amount_usd": 0.1}
            made: Any = await client.post("/wallet/top_ups", cast_to=object, body=body)
            wallet: Any = await client.get("/wallet", cast_to=object)
            moved: Any = await client.get("/wallet/transactions", cast_to=object)

    assert made["balance_usd"] == wallet["balance_usd"] == 0.1
    assert [entry["id"] for entry in moved["data"]] == [made["id"]]
