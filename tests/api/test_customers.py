"""/v1/customers: who spends, how much, and how much they may."""

from pathlib import Path
from typing import Any, Final

import openai
import pytest

from ringside_proxy.settings.money import BudgetSettings, CustomerBudgetSettings
from ringside_proxy.store.ledger import Hold
from tests.api.rig import DEVELOPER, Caller, Ringside, rows, serving
from tests.api.spending import hold, spend
from tests.fakes import FakeClock

USD: Final = 10**9
EMPTY_PERIOD: Final = {
    "period": "2025-11",
    "starts_at": 1761955200,
    "ends_at": 1764547200,
    "spent_usd": 0.0,
    "reserved_usd": 0.0,
    "remaining_usd": None,
    "requests": 0,
    "input_tokens": 0,
    "output_tokens": 0,
}
"""Of the tests' clock, 2025-11-21."""
STUB: Final = {
    "id": "customer_42",
    "object": "customer",
    "created_at": 1763700000,
    "name": None,
    "metadata": {},
    "monthly_budget_usd": None,
    "budget_source": None,
    "rate_limits": {"requests_per_minute": None, "tokens_per_minute": None},
    "current_period": EMPTY_PERIOD,
}
BUDGETS: Final = BudgetSettings(
    default_monthly_nano_usd=20 * USD,
    customers={
        "own": CustomerBudgetSettings(monthly_nano_usd=50 * USD),
        "free": CustomerBudgetSettings(monthly_nano_usd=None),
    },
)


async def cap(api: Caller, amount: Any) -> Any:
    """Set the customer's budget."""
    return (await api.call("PATCH", "/v1/customers/c", {"monthly_budget_usd": amount})).json


def events(ringside: Ringside) -> list[str]:
    """What was told to the outbox."""
    return [row["type"] for row in rows(ringside.home, "events")]


async def test_a_customer_is_shown_to_the_key(tmp_path: Path) -> None:
    """Every field of the object, in the order of the documentation, and nothing else."""
    async with serving(tmp_path, FakeClock()) as ringside:
        made = await ringside.developer.make("/v1/customers", {"id": "customer_42"})
        shown = (await ringside.developer.get("/v1/customers/customer_42")).json

    assert made == shown == STUB
    assert list(shown) == list(STUB)
    assert list(shown["current_period"]) == list(EMPTY_PERIOD)


async def test_creation_takes_everything_that_can_be_set(api: Caller) -> None:
    """Name, metadata, budget and limits come back as they were given."""
    given = {
        "name": "Ada",
        "metadata": {"plan": "gold"},
        "monthly_budget_usd": 50,
        "rate_limits": {"requests_per_minute": 60, "tokens_per_minute": 100000},
    }

    made = await api.make("/v1/customers", {"id": "customer_42"} | given)

    assert {name: made[name] for name in given} == given
    assert made["budget_source"] == "api"
    assert made["current_period"]["remaining_usd"] == 50
    assert (await api.get("/v1/customers/customer_42")).json == made


async def test_creation_of_one_that_is_there_is_a_conflict(api: Caller) -> None:
    """409 customer_exists, which the SDKs do not try again; nothing of the first one changes."""
    first = await api.make("/v1/customers", {"id": "c", "name": "first"})

    answer = await api.post("/v1/customers", {"id": "c", "name": "second"})

    assert answer.status == 409
    assert (answer.error["type"], answer.error["code"]) == ("conflict_error", "customer_exists")
    assert answer.error["param"] == "id"
    assert answer.headers["x-should-retry"] == "false"
    assert (await api.get("/v1/customers/c")).json == first


async def test_created_is_told_once_however_one_came_to_be(ringside: Ringside) -> None:
    """By creation, by a change, or by a first call: one customer.created each."""
    api = ringside.developer
    await api.make("/v1/customers", {"id": "made"})
    await api.post("/v1/customers", {"id": "made"})
    for _ in range(2):
        await api.call("PATCH", "/v1/customers/made", {"name": "x"})
        await api.call("PATCH", "/v1/customers/changed", {"name": "x"})
        await spend(ringside, "called", 1)
        await api.call("PATCH", "/v1/customers/called", {"name": "x"})

    told = [(row["type"], row["data"]) for row in rows(ringside.home, "events")]

    assert told == [
        ("customer.created", b'{"customer":"%s"}' % name)
        for name in (b"made", b"changed", b"called")
    ]


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_change_touches_what_is_given_alone(api: Caller, method: str) -> None:
    """What a body does not name stays; null clears what can be without."""
    before = await api.make(
        "/v1/customers",
        {
            "id": "c",
            "name": "Ada",
            "metadata": {"a": "b"},
            "monthly_budget_usd": 1,
            "rate_limits": {"requests_per_minute": 1, "tokens_per_minute": 2},
        },
    )
    path = "/v1/customers/c"

    nothing = (await api.call(method, path, {})).json
    limit = (await api.call(method, path, {"rate_limits": {"tokens_per_minute": None}})).json
    cleared = (await api.call(method, path, {"name": None, "rate_limits": None})).json
    metadata = (await api.call(method, path, {"metadata": {"c": "d"}})).json

    assert nothing == before
    assert limit == before | {"rate_limits": {"requests_per_minute": 1, "tokens_per_minute": None}}
    assert cleared == before | {"name": None, "rate_limits": STUB["rate_limits"]}
    assert metadata == cleared | {"metadata": {"c": "d"}}


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_change_of_an_unknown_one_makes_it(api: Caller, method: str) -> None:
    """A cap may be set before the first call."""
    made = await api.call(method, "/v1/customers/new@example.com", {"monthly_budget_usd": 2})

    assert (made.status, made.json["monthly_budget_usd"]) == (200, 2)
    assert (await api.get("/v1/customers/new@example.com")).json == made.json


@pytest.mark.parametrize("name", ["A.b:c@d-e_f", "x" * 256, "%41%3A%40"])
async def test_an_id_stands_in_the_path_as_it_is(api: Caller, name: str) -> None:
    """Whatever an id may hold; percent-encoded is the same."""
    answer = await api.call("PATCH", f"/v1/customers/{name}", {})

    assert answer.json["id"] == name.replace("%41%3A%40", "A:@")


@pytest.mark.parametrize("name", ["a b", "ü", "x" * 257, "a%2Fb", "a?b", "'--"])
async def test_an_id_that_cannot_be_is_never_made(ringside: Ringside, name: str) -> None:
    """By no method; to read or delete it is a 404."""
    api = ringside.developer
    quoted = name if "%" in name else "".join(f"%{byte:02X}" for byte in name.encode())
    path = f"/v1/customers/{quoted}"

    put = [await api.call(method, path, {}) for method in ("PATCH", "POST")]
    made = await api.post("/v1/customers", {"id": name.replace("%2F", "/")})
    gone = [await api.call(method, path) for method in ("GET", "DELETE")]

    assert {(a.status, a.error["param"]) for a in [*put, made]} == {(400, "id")}
    assert {answer.status for answer in gone} == {404}
    assert rows(ringside.home, "customers") == []


# ------------------------------------------------------------------------------------------ amounts


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        ("0", 0),
        ("0.0", 0),
        ("-0.0", 0),
        ("1e-9", 1),
        ("0.000000001", 1),
        ("0.1", 100_000_000),
        ("0.3", 300_000_000),
        ("1.1", 1_100_000_000),
        ("50", 50_000_000_000),
        ("5e1", 50_000_000_000),
        ("12345.678901234", 12_345_678_901_234),
        ("999999.999999999", 999_999_999_999_999),
        ("8388607.999999999", 8_388_607_999_999_999),
        ("12345678.1234567", 12_345_678_123_456_700),
        ("1000000000", 10**18),
    ],
)
async def test_an_amount_is_kept_exactly(ringside: Ringside, written: str, nano: int) -> None:
    """To the nano-USD, whatever a float makes of it."""
    body = f'{{"monthly_budget_usd":{written}}}'.encode()

    answer = await ringside.developer.call("PATCH", "/v1/customers/c", data=body)

    assert answer.status == 200
    assert answer.json["monthly_budget_usd"] == float(written)
    assert [row["monthly_nano"] for row in rows(ringside.home, "customers")] == [nano]


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("-1e-9", "decimal_below_min_value"),
        ("-1", "decimal_below_min_value"),
        ("1000000000.1", "decimal_above_max_value"),
        ("1e308", "decimal_above_max_value"),
        ("1000000001", "decimal_above_max_value"),
        ("1.0000000001", "invalid_value"),
        ("0.1234567891", "invalid_value"),
        ("0.30000000000000004", "invalid_value"),
        ("12345678.123456789", "invalid_value"),
        ('"50"', "invalid_type"),
        ("true", "invalid_type"),
        ("[1]", "invalid_type"),
    ],
)
@pytest.mark.parametrize(
    ("path", "param"),
    [("/v1/customers/c", "monthly_budget_usd"), ("/v1/wallet/top_ups", "amount_usd")],
)
async def test_an_amount_that_cannot_be_kept_is_refused(
    ringside: Ringside, path: str, param: str, written: str, code: str
) -> None:
    """Below zero, beyond the largest, finer than nano-USD, or no number: the field is named."""
    answer = await ringside.developer.post(path, data=f'{{"{param}":{written}}}'.encode())

    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
    assert rows(ringside.home, "customers") == []
    assert rows(ringside.home, "wallet_transactions") == []


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_what_is_no_number_in_json_is_refused(api: Caller, written: str) -> None:
    """No such number ever reaches an amount."""
    body = f'{{"monthly_budget_usd":{written}}}'.encode()

    answer = await api.call("PATCH", "/v1/customers/c", data=body)

    assert answer.status == 400


# --------------------------------------------------------------------------------------------- caps


@pytest.mark.parametrize(
    ("name", "amount", "source"),
    [("own", 50, "config"), ("free", None, "config"), ("other", 20, "default")],
)
async def test_a_budget_says_who_set_it(
    tmp_path: Path, name: str, amount: Any, source: str
) -> None:
    """The customer's own line in the configuration, else its default."""
    async with serving(tmp_path, budgets=BUDGETS) as ringside:
        made = await ringside.developer.make("/v1/customers", {"id": name})

    assert (made["monthly_budget_usd"], made["budget_source"]) == (amount, source)


@pytest.mark.parametrize("name", ["own", "free", "other"])
@pytest.mark.parametrize("amount", [0, 7.5, None])
async def test_what_the_api_sets_wins(tmp_path: Path, name: str, amount: Any) -> None:
    """Also "no cap", and also after a restart."""
    async with serving(tmp_path, budgets=BUDGETS) as ringside:
        await ringside.developer.post(f"/v1/customers/{name}", {"monthly_budget_usd": amount})
    async with serving(tmp_path, budgets=BUDGETS) as ringside:
        shown = (await ringside.developer.get(f"/v1/customers/{name}")).json

    assert (shown["monthly_budget_usd"], shown["budget_source"]) == (amount, "api")


async def test_a_period_shows_what_was_spent_and_what_is_held(tmp_path: Path) -> None:
    """Spent, reserved and remaining add up to the cap; tokens and requests are counted."""
    async with serving(tmp_path, FakeClock()) as ringside:
        await cap(ringside.developer, 0.01)
        await spend(ringside, "c", 2000, usage={"input_tokens": 30})
        await hold(ringside, "c", 3000)

        shown = (await ringside.developer.get("/v1/customers/c")).json["current_period"]

    assert shown == EMPTY_PERIOD | {
        "spent_usd": 0.002,
        "reserved_usd": 0.003,
        "remaining_usd": 0.005,
        "requests": 1,
        "input_tokens": 30,
        "output_tokens": 2000,
    }


async def test_a_cap_may_be_lowered_below_what_is_spent(ringside: Ringside) -> None:
    """Nothing remains and the next call is refused; raised again, the next call goes out."""
    api = ringside.developer
    await cap(api, 0.01)
    await spend(ringside, "c", 5000)

    lowered = await cap(api, 0.001)
    refused = await hold(ringside, "c", 1)
    raised = await cap(api, 0.0051)
    served = await hold(ringside, "c", 100)

    assert lowered["current_period"]["remaining_usd"] == 0
    assert not isinstance(refused, Hold)
    assert raised["current_period"]["remaining_usd"] == 0.0001
    assert isinstance(served, Hold)


async def test_a_new_month_is_a_new_budget(tmp_path: Path) -> None:
    """Another period with nothing spent, as soon as the clock says so; in the budgets' time zone."""
    clock = FakeClock(1_764_547_199_999)  # 2025-11-30T23:59:59.999Z
    async with serving(tmp_path, clock) as ringside:
        await spend(ringside, "c", 1000)
        before = (await ringside.developer.get("/v1/customers/c")).json["current_period"]
        clock.advance(0.001)
        after = (await ringside.developer.get("/v1/customers/c")).json["current_period"]

    assert (before["period"], before["spent_usd"]) == ("2025-11", 0.001)
    assert after == EMPTY_PERIOD | {
        "period": "2025-12",
        "starts_at": 1764547200,
        "ends_at": 1767225600,
    }


async def test_a_period_begins_in_the_budgets_time_zone(tmp_path: Path) -> None:
    """Where it is December already, it is December's budget."""
    clock = FakeClock(1_764_547_200_000 - 1)
    budgets = BudgetSettings(timezone="Europe/Zurich")
    async with serving(tmp_path, clock, budgets=budgets) as ringside:
        made = await ringside.developer.make("/v1/customers", {"id": "c"})

    period = made["current_period"]
    assert (period["period"], period["starts_at"]) == ("2025-12", 1764547200 - 3600)


async def test_a_clock_that_is_set_back_shows_no_old_month(tmp_path: Path) -> None:
    """The period that was opened last stays, with what was spent in it."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        await spend(ringside, "c", 1000)
        clock.advance(-40 * 86400)
        shown = (await ringside.developer.get("/v1/customers/c")).json["current_period"]

    assert (shown["period"], shown["spent_usd"]) == ("2025-11", 0.001)


async def test_a_clock_that_jumps_ahead_shows_no_fresh_budget(tmp_path: Path) -> None:
    """More than 35 days ahead of what is stored, the last period stays."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        await spend(ringside, "c", 1000)
        clock.advance(36 * 86400)
        shown = (await ringside.developer.get("/v1/customers/c")).json["current_period"]

    assert (shown["period"], shown["spent_usd"]) == ("2025-11", 0.001)


# ----------------------------------------------------------------------------------------- deletion


async def test_a_deleted_customer_is_gone(api: Caller) -> None:
    """DELETE answers as OpenAI's deletions do; a second one is a 404."""
    await api.make("/v1/customers", {"id": "c"})

    deleted = await api.delete("/v1/customers/c")
    again = await api.delete("/v1/customers/c")

    assert deleted.json == {"id": "c", "object": "customer.deleted", "deleted": True}
    assert again.status == 404
    assert (await api.get("/v1/customers/c")).status == 404
    assert (await api.get("/v1/customers")).json["data"] == []


async def test_deleting_gives_no_fresh_budget(tmp_path: Path) -> None:
    """Made again, by hand or by a call, a customer has spent what it had; the API's cap is gone."""
    async with serving(tmp_path, budgets=BUDGETS) as ringside:
        api = ringside.developer
        await cap(api, 5)
        await spend(ringside, "c", 1000)
        await api.delete("/v1/customers/c")
        kept = rows(ringside.home, "usage_records")

        made = await api.make("/v1/customers", {"id": "c"})

    assert len(kept) == 1
    assert made["current_period"]["spent_usd"] == 0.001
    assert (made["monthly_budget_usd"], made["budget_source"]) == (20, "default")


async def test_a_call_that_is_out_when_its_customer_is_deleted_is_booked(
    ringside: Ringside,
) -> None:
    """The period goes on without the customer's row."""
    api = ringside.developer
    await spend(ringside, "c", 1000)
    await api.delete("/v1/customers/c")
    await spend(ringside, "c", 500)

    assert (await api.get("/v1/customers/c")).json["current_period"]["spent_usd"] == 0.0015
    assert events(ringside) == ["customer.created", "customer.created"]


# ---------------------------------------------------------------------------------------------- lists


async def test_customers_are_paged_newest_first(api: Caller) -> None:
    """As every list: both orders, `limit`, exact has_more."""
    for number in range(5):
        await api.make("/v1/customers", {"id": f"c{number}"})

    first = (await api.get("/v1/customers?limit=2")).json
    second = (await api.get(f"/v1/customers?limit=3&after={first['last_id']}")).json
    oldest = (await api.get("/v1/customers?limit=1&order=asc")).json

    assert [c["id"] for c in first["data"] + second["data"]] == ["c4", "c3", "c2", "c1", "c0"]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert (first["object"], first["first_id"], oldest["first_id"]) == ("list", "c4", "c0")


async def test_a_deleted_customer_still_works_as_a_cursor(api: Caller) -> None:
    """A caller who deletes each page before the next one sees every customer once."""
    for number in range(5):
        await api.make("/v1/customers", {"id": f"c{number}"})
    seen, after = [], ""
    while page := (await api.get(f"/v1/customers?limit=2&after={after}")).json["data"]:
        seen += [customer["id"] for customer in page]
        after = seen[-1]
        for customer in page:
            await api.delete(f"/v1/customers/{customer['id']}")

    assert seen == ["c4", "c3", "c2", "c1", "c0"]


async def test_a_customer_named_like_something_else_is_no_cursor_there(api: Caller) -> None:
    """A deleted customer called like a deleted assistant stands in its way on no list."""
    assistants = [await api.assistant() for _ in range(3)]
    await api.delete(f"/v1/assistants/{assistants[1]}")
    for name in ("first", assistants[1], "thread_x"):
        await api.make("/v1/customers", {"id": name})
        await api.delete(f"/v1/customers/{name}")

    page = (await api.get(f"/v1/assistants?after={assistants[1]}")).json
    lost = await api.get("/v1/threads?after=thread_x")

    assert [assistant["id"] for assistant in page["data"]] == assistants[:1]
    assert lost.status == 400


async def test_an_unknown_cursor_is_refused(api: Caller) -> None:
    """400 with the name of the parameter."""
    answer = await api.get("/v1/customers?after=nobody")

    assert (answer.status, answer.error["param"]) == (400, "after")
    assert answer.error["message"] == "Invalid 'after': no customer found with id 'nobody'."


# --------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "id", "missing_required_parameter"),
        ({"id": ""}, "id", "empty_string"),
        ({"id": 5}, "id", "invalid_type"),
        ({"id": "c", "name": "x" * 257}, "name", "string_above_max_length"),
        ({"id": "c", "metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        ({"id": "c", "budget": 5}, "budget", "unknown_parameter"),
        (
            {"id": "c", "rate_limits": {"rpm": 5}},
            "rate_limits.rpm",
            "unknown_parameter",
        ),
        (
            {"id": "c", "rate_limits": {"requests_per_minute": 0}},
            "rate_limits.requests_per_minute",
            "integer_below_min_value",
        ),
        (
            {"id": "c", "rate_limits": {"tokens_per_minute": 10**10}},
            "rate_limits.tokens_per_minute",
            "integer_above_max_value",
        ),
    ],
)
async def test_a_customer_that_makes_no_sense_is_refused(
    api: Caller, body: dict[str, Any], param: str, code: str
) -> None:
    """The answer names the field, and no customer is made."""
    answer = await api.post("/v1/customers", body)

    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
    assert (await api.get("/v1/customers")).json["data"] == []


# ----------------------------------------------------------------------------------------------- SDKs


def sdk(ringside: Ringside) -> openai.AsyncOpenAI:
    """The official client, as an application has it."""
    return openai.AsyncOpenAI(base_url=f"{ringside.proxy.url}/v1", api_key=DEVELOPER)


async def test_the_official_sdk_reaches_customers(ringside: Ringside) -> None:
    """By its plain get, post, patch and delete; its errors are its own classes, and not retried."""
    async with sdk(ringside) as client:
        made = await client.post("/customers", cast_to=object, body={"id": "c"})
        with pytest.raises(openai.ConflictError) as refused:
            await client.post("/customers", cast_to=object, body={"id": "c"})
        change = {"monthly_budget_usd": 0.1}
        capped = await client.patch("/customers/c", cast_to=object, body=change)
        listed = await client.get("/customers", cast_to=object)
        gone = await client.delete("/customers/c", cast_to=object)
        with pytest.raises(openai.NotFoundError):
            await client.get("/customers/c", cast_to=object)

    assert made["object"] == "customer"
    assert refused.value.code == "customer_exists"
    assert capped["monthly_budget_usd"] == 0.1
    assert listed["data"] == [capped]
    assert gone["deleted"] is True
