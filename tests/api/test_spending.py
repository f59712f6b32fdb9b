"""What calls cost: held before they go out, cut to what is left, booked once when they end."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest

from ringside_proxy.settings.money import BudgetSettings, CustomerBudgetSettings, WalletSettings
from tests.api.rig import FUNCTION, UPSTREAM_MODEL, Caller, Ringside, rows, serving
from tests.fakes import (
    Cut,
    FakeUpstream,
    Gate,
    chunk,
    error_reply,
    json_reply,
    stream_reply,
    text_reply,
    tool_reply,
    usage,
)

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = [{"role": "user", "content": "hi"}]
IN, OUT = 150, 600
"""Nano-USD for a token of gpt-4o-mini in and out: 0.15 and 0.60 USD per million."""
USED: Final = 9 * IN + 4 * OUT
"""What an answer of the fake provider costs: 9 tokens in, 4 out."""

RICH: Final = "rich"
POOR: Final = "poor"
POOR_NANO: Final = 1_000_000
"""A tenth of a cent: 1,666 tokens out."""


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy where one customer has a small cap, and nobody else has any."""
    caps = {POOR: CustomerBudgetSettings(monthly_nano_usd=POOR_NANO)}
    async with serving(tmp_path, budgets=BudgetSettings(customers=caps), max_retries=2) as proxy:
        yield proxy


def body(user: str | None = POOR, **fields: Any) -> dict[str, Any]:
    return {"model": UPSTREAM_MODEL, "messages": MESSAGES, "user": user} | fields


def booked(ringside: Ringside) -> list[dict[str, Any]]:
    return rows(ringside.home, "usage_records")


def period(ringside: Ringside, customer: str = POOR) -> tuple[int, int]:
    """What a customer has spent, and what is held for it."""
    [row] = [row for row in rows(ringside.home, "budget_periods") if row["customer"] == customer]
    return row["settled_nano"], row["reserved_nano"]


async def nothing_is_held(ringside: Ringside) -> None:
    """Once every call at work has been booked."""
    async with asyncio.timeout(30):
        while rows(ringside.home, "holds"):  # noqa: ASYNC110 - the store has no event to wait for
            await asyncio.sleep(0)


async def rejections(ringside: Ringside) -> float:
    """How many calls and runs were refused for want of money, as the metric says."""
    metrics = (await ringside.admin("/metrics")).body.decode()
    [counted] = re.findall(r"^ringside_budget_rejections_total (\S+)$", metrics, re.MULTILINE)
    return float(counted)


def told(ringside: Ringside) -> list[str]:
    return [row["type"] for row in rows(ringside.home, "events")]


async def test_answer_may_be_as_long_as_the_cap_pays_for(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """The output limit goes upstream; the answer says what it cost and what is left."""
    upstream.enqueue(text_reply("Hello there you"))

    answer = await api.post(CHAT, body())

    assert answer.status == 200
    [sent] = upstream.requests
    limit = sent.body["max_completion_tokens"]
    assert 1_000 < limit < POOR_NANO // OUT
    assert answer.headers["x-ringside-cost-usd"] == "0.00000375"
    assert answer.headers["x-ringside-budget-remaining-usd"] == "0.00099625"
    assert period(ringside) == (USED, 0)
    [row] = booked(ringside)
    assert (row["customer"], row["kind"], row["provider_cost_nano"]) == (
        POOR,
        "chat.completion",
        USED,
    )
    assert orjson.loads(row["raw"]) == usage(9, 4)


@pytest.mark.parametrize(
    ("customer", "asked", "sent"),
    [
        (POOR, None, "default"),
        (POOR, "auto", "default"),
        (POOR, "flex", "flex"),
        (RICH, None, None),
        (RICH, "auto", "auto"),
    ],
)
async def test_under_a_cap_a_project_s_own_tier_is_not_used(
    api: Caller, upstream: FakeUpstream, customer: str, asked: str | None, sent: str | None
) -> None:
    """It may be a dearer one than was held for; a tier that the request names is priced as such."""
    upstream.enqueue(text_reply("Hello"))
    fields = {} if asked is None else {"service_tier": asked}

    assert (await api.post(CHAT, body(customer, **fields))).status == 200

    assert upstream.requests[0].body.get("service_tier") == sent


async def test_customer_without_a_cap_is_not_cut(api: Caller, upstream: FakeUpstream) -> None:
    """Nothing is added to the request; it is booked all the same."""
    upstream.enqueue(text_reply("Hello there you"))

    answer = await api.post(CHAT, body(RICH))

    assert "max_completion_tokens" not in upstream.requests[0].body
    assert answer.headers["x-ringside-cost-usd"] == "0.00000375"
    assert "x-ringside-budget-remaining-usd" not in answer.headers


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_call_past_the_cap_is_refused_before_it_goes_out(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, is_streamed: bool
) -> None:
    """402 with the remedy; the outbox is told, nothing is held and nobody was asked."""
    text = "x" * 6_000

    answer = await api.post(
        CHAT, body(messages=[{"role": "user", "content": text}], stream=is_streamed)
    )

    assert (answer.status, answer.error["code"]) == (402, "customer_budget_exceeded")
    assert answer.error["type"] == "billing_error"
    assert answer.headers["x-should-retry"] == "false"
    assert upstream.requests == []
    assert period(ringside) == (0, 0)
    assert told(ringside) == ["customer.created", "customer.budget_exceeded"]
    assert await rejections(ringside) == 1


async def test_streamed_answer_is_booked_before_its_end_is_told(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Whoever reads [DONE] finds the row."""
    upstream.enqueue(text_reply("Hello there you"))

    answer = await api.post(CHAT, body(stream=True))

    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert period(ringside) == (USED, 0)
    assert len(booked(ringside)) == 1


async def test_client_that_leaves_its_stream_leaves_one_row(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """What had come is estimated and booked; nothing stays held."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate))
    async with api.session.post(
        api.url + CHAT, json=body(stream=True), headers=api.headers
    ) as response:
        await response.content.readany()
    await nothing_is_held(ringside)

    [row] = booked(ringside)
    assert row["estimated"] == 1
    assert 0 < row["output_tokens"] < 10
    assert period(ringside) == (row["provider_cost_nano"], 0)


async def test_refused_call_costs_nothing(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """A provider's error ends the hold without a row."""
    upstream.enqueue(error_reply(400, "invalid_request", "bad"))

    answer = await api.post(CHAT, body())

    assert answer.status == 400
    assert (booked(ringside), period(ringside)) == ([], (0, 0))


async def test_retry_after_a_refusal_is_one_attempt_that_cost(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """The first try consumed nothing."""
    upstream.enqueue(error_reply(503, None, "down"), text_reply("Hello there you"))

    answer = await api.post(CHAT, body())

    assert answer.status == 200
    assert len(upstream.requests) == 2
    assert [row["provider_cost_nano"] for row in booked(ringside)] == [USED]


async def test_retry_after_a_broken_answer_is_paid_twice(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """The provider was at work when the first broke off: it is estimated, and held for anew."""
    broken = stream_reply(chunk({"role": "assistant"}), Cut())
    upstream.enqueue(broken, text_reply("Hello there you"))

    answer = await api.post(CHAT, body(stream=True, max_tokens=500))

    assert answer.status == 200
    first, second = booked(ringside)
    assert (first["estimated"], first["attempt"]) == (1, 1)
    assert (second["estimated"], second["attempt"], second["provider_cost_nano"]) == (0, 2, USED)
    assert period(ringside)[1] == 0


async def test_broken_answer_is_not_asked_for_again_without_money(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """What the first may have consumed is gone: its failure stands."""
    upstream.enqueue(stream_reply(chunk({"role": "assistant"}), Cut()))

    answer = await api.post(CHAT, body(stream=True))

    assert (answer.status, answer.error["code"]) == (502, "provider_bad_response")
    assert len(upstream.requests) == 1
    assert len(booked(ringside)) == 1


async def test_repairs_are_booked_each(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Every answer that was asked for costs, also those that are thrown away."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    upstream.enqueue(text_reply('{"b": 1}'), text_reply('{"a": 1}'))

    answer = await api.post(CHAT, body(response_format=wanted))

    assert answer.status == 200
    assert [row["attempt"] for row in booked(ringside)] == [1, 2]
    assert answer.headers["x-ringside-cost-usd"] == "0.0000075"


async def test_embeddings_are_booked(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """By their own price."""
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    counted = {"prompt_tokens": 5, "total_tokens": 5}
    upstream.enqueue(
        json_reply({"object": "list", "data": [vector], "model": "m", "usage": counted})
    )

    answer = await api.post(
        "/v1/embeddings",
        {"model": "fc:openai/text-embedding-3-small", "input": "hi", "user": POOR},
    )

    assert answer.headers["x-ringside-cost-usd"] == "0.0000001"
    [row] = booked(ringside)
    assert (row["kind"], row["input_tokens"], row["provider_cost_nano"]) == ("embedding", 5, 100)


async def test_run_is_booked_with_its_end(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Row, message, status and event are one transaction; the row names run, thread and step."""
    upstream.enqueue(text_reply("Hello there you"))
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    thread = await api.thread("hi")

    run = await api.run(thread, assistant, user=POOR)

    [row] = booked(ringside)
    steps = await api.get(f"/v1/threads/{thread}/runs/{run['id']}/steps")
    assert (row["run_id"], row["thread_id"]) == (run["id"], thread)
    assert row["step_id"] == steps.json["data"][0]["id"]
    assert period(ringside) == (USED, 0)
    [event] = [row for row in rows(ringside.home, "events") if row["type"] == "run.completed"]
    data = orjson.loads(event["data"])
    assert (data["run_id"], data["customer"], data["cost_usd"]) == (run["id"], POOR, USED / 1e9)
    assert data["usage"]["input_tokens"] == 9


async def test_run_of_a_customer_without_money_is_not_created(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """402 at once, on an existing thread and on a new one; the thread stays free."""
    upstream.enqueue(json_reply(completion(1_600)))
    await api.post(CHAT, body(max_tokens=1_600))
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    thread = await api.thread("hi")
    wanted = {"assistant_id": assistant, "user": POOR}

    on_old = await api.post(f"/v1/threads/{thread}/runs", wanted)
    on_new = await api.post("/v1/threads/runs", wanted | {"thread": {"messages": MESSAGES}})

    assert [on_old.error["code"], on_new.error["code"]] == ["customer_budget_exceeded"] * 2
    assert await rejections(ringside) == 2
    assert len(rows(ringside.home, "conversations")) == 1
    assert rows(ringside.home, "runs") == []


async def test_run_that_runs_out_of_money_between_its_calls_fails(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """The first call was paid for; the second is refused, and says why."""
    upstream.enqueue(
        tool_reply([("call_1aaaaaaa", "look_up", "{}")]), json_reply(completion(1_600))
    )
    assistant = await api.assistant(model=UPSTREAM_MODEL, tools=[FUNCTION])
    thread = await api.thread("hi")
    run = await api.run(thread, assistant, user=POOR)
    await api.post(CHAT, body(max_tokens=1_600))
    [call] = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    path = f"/v1/threads/{thread}/runs/{run['id']}/submit_tool_outputs"
    outputs = [{"tool_call_id": call["id"], "output": "x"}]

    await api.post(path, {"tool_outputs": outputs, "stream": True})

    ended = (await api.get(f"/v1/threads/{thread}/runs/{run['id']}")).json
    assert ended["status"] == "failed"
    assert ended["last_error"]["code"] == "rate_limit_exceeded"
    assert ended["last_error"]["message"].startswith("customer_budget_exceeded: ")
    [event] = [row for row in rows(ringside.home, "events") if row["type"] == "run.failed"]
    assert orjson.loads(event["data"])["reason"] == "customer_budget_exceeded"
    assert period(ringside)[1] == 0
    assert await rejections(ringside) == 1


async def test_cancelled_run_is_booked(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """What a provider at work may have consumed is estimated."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate))
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    thread = await api.thread("hi")
    run = await api.begin(thread, assistant, user=POOR)
    await gate.reached.wait()

    await api.post(f"/v1/threads/{thread}/runs/{run['id']}/cancel")
    await nothing_is_held(ringside)

    [row] = booked(ringside)
    assert (row["run_id"], row["estimated"]) == (run["id"], 1)


async def test_thread_deleted_under_its_run_loses_no_booking(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """The run's rows go; what it consumed stays."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate))
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    thread = await api.thread("hi")
    await api.begin(thread, assistant, user=POOR)
    await gate.reached.wait()

    await api.delete(f"/v1/threads/{thread}")

    assert len(booked(ringside)) == 1
    assert period(ringside)[1] == 0


async def test_two_hundred_runs_of_twenty_customers_pass_no_cap(tmp_path: Path) -> None:
    """All at once, at a slow provider that writes, every other time, as much as it is let.

    It says nothing until every run either waits for it or was refused, so that the holds of a
    customer's runs are all there at the same time. Those that were refused and whose customer has
    money left are served afterwards.
    """
    cap, wanted = 3_000_000, 600
    slow = Gate()
    ended: list[str] = []
    budgets = BudgetSettings(default_monthly_nano_usd=cap)
    as_many_as_calls = aiohttp.TCPConnector(limit=0)
    async with (
        serving(tmp_path, budgets=budgets) as ringside,
        aiohttp.ClientSession(connector=as_many_as_calls) as session,
    ):
        ringside.upstream.enqueue(*[_as_allowed(slow, 1), _as_allowed(slow, 4)] * 250)
        api = Caller(session, ringside.proxy.url, ringside.developer.token)
        assistant = await api.assistant(model=UPSTREAM_MODEL)

        async def run(number: int) -> None:
            asked = {
                "assistant_id": assistant,
                "user": f"c{number % 20}",
                "stream": True,
                "max_completion_tokens": wanted,
                "thread": {"messages": MESSAGES},
            }
            answer = await api.post("/v1/threads/runs", asked)
            assert answer.status in (200, 402)
            is_served = answer.status == 200 and b"event: thread.run.failed" not in answer.body
            ended.append("served" if is_served else "refused")

        runs = [asyncio.create_task(run(number)) for number in range(200)]
        async with asyncio.timeout(60):
            while len(ringside.upstream.requests) + len(ended) < len(runs):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        refused, held = len(ended), rows(tmp_path, "budget_periods")
        slow.release()
        await asyncio.gather(*runs)
        for row in held:
            assert 0 < row["reserved_nano"] + row["settled_nano"] <= cap
        assert 0 < refused < len(runs)
        assert set(ended[:refused]) == {"refused"}

        left = {row["customer"]: row for row in rows(tmp_path, "budget_periods")}
        again = [f"c{number}" for number in range(20)]
        able = [name for name in again if cap - left[name]["settled_nano"] > 2 * wanted * OUT]
        del ended[:]
        await asyncio.gather(*(run(again.index(name)) for name in able))

        assert able
        assert ended == ["served"] * len(able)
        periods = rows(tmp_path, "budget_periods")
        assert len(periods) == 20
        for row in periods:
            own = [use for use in booked(ringside) if use["customer"] == row["customer"]]
            assert row["settled_nano"] == sum(use["provider_cost_nano"] for use in own)
            assert 0 < row["settled_nano"] <= cap
            assert row["reserved_nano"] == 0


async def test_wallet_limits_nobodys_calls_too(tmp_path: Path) -> None:
    """Enabled and empty: 402 wallet_exhausted for everyone."""
    async with serving(tmp_path, wallet=WalletSettings(enabled=True)) as ringside:
        answer = await ringside.developer.post(CHAT, body(None))

    assert (answer.status, answer.error["code"]) == (402, "wallet_exhausted")


def completion(tokens: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "words", "refusal": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(9, tokens),
    }


def _as_allowed(slow: Gate, share: int) -> Any:
    """An answer of a share of the tokens that the request allows, once the gate lets it."""

    def answer(asked: dict[str, Any]) -> Any:
        allowed = asked.get("max_completion_tokens", 100_000)
        last = chunk(None, usage=usage(9, allowed // share))
        return stream_reply(slow, chunk({"content": "word"}, "length"), last, b"data: [DONE]\n\n")

    return answer
