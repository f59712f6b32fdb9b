"""Slots: who answers when a model cannot, what is told of it, and what it costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import openai
import orjson
import pytest

from ringside_proxy.settings.money import (
    BudgetSettings,
    CustomerBudgetSettings,
    RateLimitSettings,
    RateSettings,
)
from ringside_proxy.settings.prices import PriceSettings
from ringside_proxy.settings.schema import ProviderSettings, TimeoutSettings
from ringside_proxy.settings.slots import SlotModelSettings, SlotSettings, SlotTimeoutSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import FUNCTION, Caller, Ringside, rows, serving
from tests.conformance.stream import check_run_stream
from tests.fakes import (
    Cut,
    FakeClock,
    FakeUpstream,
    Gate,
    Reply,
    Scripted,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    tool_reply,
)

FIRST: Final = "fc:openai/gpt-4o"
SECOND: Final = "fc:groq/llama-3.3-70b-versatile"
SLOT: Final = "slot:smart"
CHAT: Final[dict[str, Any]] = {"model": SLOT, "messages": [{"role": "user", "content": "hi"}]}
NANO: Final = 10**9


@dataclass(frozen=True)
class Pair:
    """A proxy and the two providers of its slot: `first` is asked before `second`."""

    ringside: Ringside
    first: FakeUpstream
    second: FakeUpstream

    @property
    def api(self) -> Caller:
        """The developer."""
        return self.ringside.developer

    @property
    def asked(self) -> tuple[int, int]:
        """How many requests each of them got."""
        return len(self.first.requests), len(self.second.requests)

    def booked(self) -> list[tuple[str, int]]:
        """Model and attempt of each usage record."""
        records = rows(self.ringside.home, "usage_records")
        return [(record["model"], record["attempt"]) for record in records]

    def held(self) -> list[Any]:
        """What is kept back at the moment."""
        return rows(self.ringside.home, "holds")


@asynccontextmanager
async def pair(
    home: Path,
    clock: FakeClock | None = None,
    *,
    slot: SlotSettings | None = None,
    max_retries: int = 0,
    **sections: Any,
) -> AsyncIterator[Pair]:
    """Two providers behind `slot:smart`."""
    async with FakeUpstream(is_strict=False) as first, FakeUpstream(is_strict=False) as second:
        providers = {
            name: ProviderSettings(
                api_key=Secret(f"the-key-of-{name}"),
                base_url=upstream.base_url,
                max_retries=max_retries,
                timeouts=TimeoutSettings(first_byte_s=20, total_s=20),
            )
            for name, upstream in (("openai", first), ("groq", second))
        }
        usual = {
            "providers": providers,
            "slots": {"smart": slot or SlotSettings(model=FIRST, fallbacks=(SECOND,))},
        }
        async with serving(home, clock, **(usual | sections)) as ringside:
            yield Pair(ringside, first, second)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Pair]:
    """The usual slot: the first, and the second as its fallback."""
    async with pair(tmp_path) as both:
        yield both


# ------------------------------------------------------------------------------- what makes it move


async def whole(two: Pair, **fields: Any) -> tuple[int, str, str | None]:
    """A whole chat completion: status, text and the model that the header names."""
    answer = await two.api.post("/v1/chat/completions", CHAT | fields)
    said = answer.json["choices"][0]["message"]["content"] if answer.status == 200 else ""
    return answer.status, said, answer.headers.get("x-ringside-model")


async def streamed(two: Pair, **fields: Any) -> tuple[int, str, str | None]:
    """A streamed one."""
    answer = await two.api.post("/v1/chat/completions", CHAT | {"stream": True} | fields)
    said = ""
    if answer.status == 200:
        lines = [line for line in answer.body.split(b"\n\n") if line]
        assert lines[-1] == b"data: [DONE]", lines[-1]
        for line in lines[:-1]:
            for choice in orjson.loads(line.removeprefix(b"data: "))["choices"]:
                said += choice["delta"].get("content") or ""
    return answer.status, said, answer.headers.get("x-ringside-model")


async def run(two: Pair, **fields: Any) -> tuple[int, str, str | None]:
    """A streamed run, whose events are those of any other."""
    assistant = await two.api.assistant(model=SLOT)
    body = {"assistant_id": assistant, "stream": True, "thread": {"messages": [*CHAT["messages"]]}}
    answer = await two.api.post("/v1/threads/runs", body | fields)
    assert answer.status == 200, answer.body
    events = check_run_stream(answer.body)
    ended = [data for name, data in events if name.startswith("thread.run.")][-1]
    path = f"/v1/threads/{ended['thread_id']}"
    found = await two.api.get(f"{path}/runs/{ended['id']}")
    messages = (await two.api.get(f"{path}/messages?limit=1")).json["data"]
    said = messages[0]["content"][0]["text"]["value"] if messages[0]["role"] != "user" else ""
    status = 200 if found.json["status"] == "completed" else 500
    return status, said if status == 200 else "", found.headers.get("x-ringside-model")


WAYS: Final = pytest.mark.parametrize("way", [whole, streamed, run])

FAILURES: Final[dict[str, Reply]] = {
    "500": error_reply(500),
    "503": error_reply(503),
    "529": error_reply(529),
    "429": error_reply(429, retry_after="3"),
    "no credit": error_reply(429, "insufficient_quota"),
    "bad key": error_reply(401),
    "no permission": error_reply(403),
    "garbage": Scripted([b"<html>"], 200, {"content-type": "text/html"}),
    "closed": Scripted([Cut()]),
    "broken before its first word": stream_reply(Cut()),
    "an error as the first event": stream_reply(
        {"error": {"message": "no", "type": "server_error"}}
    ),
}


@WAYS
@pytest.mark.parametrize("failure", FAILURES)
async def test_the_next_model_answers_when_one_fails(two: Pair, way: Any, failure: str) -> None:
    """Whatever the failure and however it was asked; the answer says whose it is."""
    two.first.enqueue(FAILURES[failure])
    two.second.enqueue(text_reply("Hello"))

    assert await way(two) == (200, "Hello", SECOND)
    assert two.asked == (1, 1)
    assert two.held() == []
    assert [model for model, _ in two.booked()][-1] == SECOND


@WAYS
async def test_the_first_model_answers_while_it_can(two: Pair, way: Any) -> None:
    """Nobody else is asked."""
    two.first.enqueue(text_reply("Hello"))

    assert await way(two) == (200, "Hello", FIRST)
    assert two.asked == (1, 0)
    assert two.booked() == [(FIRST, 1)]


@WAYS
async def test_the_last_failure_is_told_when_all_fail(two: Pair, way: Any) -> None:
    """With no more tries than models, and nothing kept back."""
    two.first.enqueue(error_reply(500))
    two.second.enqueue(error_reply(503))

    status, said, _ = await way(two)

    assert (status >= 500, said) == (True, "")
    assert two.asked == (1, 1)
    assert two.held() == []
    assert two.booked() == []


REFUSALS: Final[dict[str, Reply]] = {
    "content_policy": error_reply(400, "content_policy_violation"),
    "context_length_exceeded": error_reply(400, "context_length_exceeded"),
    "model_not_found": error_reply(404, "model_not_found"),
    "invalid_request": error_reply(400, "something_else"),
}


@WAYS
@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refusal_moves_on_only_if_the_slot_lists_it(
    tmp_path: Path, way: Any, refusal: str
) -> None:
    """What the provider refuses is the answer, unless the slot says otherwise."""
    for listed in (False, True):
        on = (refusal,) if listed else tuple(each for each in REFUSALS if each != refusal)
        slot = SlotSettings(model=FIRST, fallbacks=(SECOND,), fallback_on=on)
        (tmp_path / str(listed)).mkdir()
        async with pair(tmp_path / str(listed), slot=slot) as two:
            two.first.enqueue(REFUSALS[refusal])
            two.second.enqueue(text_reply("Hello"))

            status, said, _ = await way(two)

            assert (status == 200, said) == ((True, "Hello") if listed else (False, ""))
            assert two.asked == (1, int(listed))


@WAYS
async def test_what_a_model_cannot_do_moves_on_if_the_slot_says_so(
    tmp_path: Path, way: Any
) -> None:
    """An image that the first model does not take goes to the second: nobody was asked before."""
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    prompt = [{"role": "user", "content": [{"type": "text", "text": "hi"}, image]}]
    fields = {"thread": {"messages": prompt}} if way is run else {"messages": prompt}
    for on in ((), ("unsupported_parameter",)):
        slot = SlotSettings(model=SECOND, fallbacks=(FIRST,), fallback_on=on)
        (tmp_path / str(len(on))).mkdir()
        async with pair(tmp_path / str(len(on)), slot=slot) as two:
            two.first.enqueue(text_reply("A cat"))

            status, said, _ = await way(two, **fields)

            assert (status == 200, said) == ((True, "A cat") if on else (False, ""))
            assert two.asked == (len(on), 0)


@WAYS
async def test_a_schema_that_is_not_met_moves_on_if_the_slot_says_so(
    tmp_path: Path, way: Any
) -> None:
    """After the first model's own repairs; both models' tokens are booked."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    slot = SlotSettings(
        model=FIRST, fallbacks=(SECOND,), fallback_on=("response_schema_validation_failed",)
    )
    async with pair(tmp_path, slot=slot) as two:
        two.first.enqueue(*[text_reply("{}")] * 3)
        two.second.enqueue(text_reply('{"a": 1}'))

        status, said, model = await way(two, response_format=wanted)

    assert (status, said, model) == (200, '{"a": 1}', SECOND)
    assert two.asked == (3, 1)
    assert two.booked() == [(FIRST, 1), (FIRST, 2), (FIRST, 3), (SECOND, 4)]


@pytest.mark.parametrize("way", [streamed, run])
async def test_nothing_moves_once_something_was_told(two: Pair, way: Any) -> None:
    """A stream that breaks off ends as it is: two models in one answer would be none."""
    two.first.enqueue(stream_reply(chunk({"content": "Hel"}), Cut()))
    two.second.enqueue(text_reply("Hello"))
    if way is run:
        status, _, _ = await way(two)
        assert status == 500
    else:
        answer = await two.api.post("/v1/chat/completions", CHAT | {"stream": True})
        assert b'"code":"provider_bad_response"' in answer.body
        assert answer.headers["x-ringside-model"] == FIRST

    assert two.asked == (1, 0)
    assert two.held() == []


async def test_a_whole_answer_that_breaks_off_was_not_told(two: Pair) -> None:
    """Nobody has seen the half of it: the next one answers, and both are paid for."""
    two.first.enqueue(
        Scripted([b'{"id": "c", "choices": [', Cut()], 200, {"content-type": "application/json"})
    )
    two.second.enqueue(text_reply("Hello"))

    assert await whole(two) == (200, "Hello", SECOND)


async def test_embeddings_move_on_too(tmp_path: Path) -> None:
    """With the model that made them in the header."""
    slot = SlotSettings(model="fc:openai/e", fallbacks=("fc:together/e",))
    vectors = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
        "model": "e",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    async with FakeUpstream(is_strict=False) as first, FakeUpstream(is_strict=False) as second:
        providers = {
            name: ProviderSettings(api_key=Secret("k"), base_url=each.base_url, max_retries=0)
            for name, each in (("openai", first), ("together", second))
        }
        async with serving(tmp_path, providers=providers, slots={"smart": slot}) as ringside:
            first.enqueue(error_reply(500))
            second.enqueue(
                Scripted([orjson.dumps(vectors)], 200, {"content-type": "application/json"})
            )

            answer = await ringside.developer.post("/v1/embeddings", {"model": SLOT, "input": "hi"})

    assert answer.status == 200
    assert answer.json["data"][0]["embedding"] == [0.5]
    assert answer.headers["x-ringside-model"] == "fc:together/e"
    assert [row["model"] for row in rows(tmp_path, "usage_records")] == ["fc:together/e"]


async def test_a_provider_without_a_key_is_passed_over(tmp_path: Path) -> None:
    """It is not asked; a slot of which nobody is on says whose key is missing."""
    slots = {
        "smart": SlotSettings(model="fc:mistral/m", fallbacks=(SECOND,)),
        "none": SlotSettings(model="fc:mistral/m", fallbacks=("fc:xai/grok-4",)),
    }
    async with pair(tmp_path, slots=slots) as two:
        two.second.enqueue(text_reply("Hello"))

        answered = await whole(two)
        refused = await two.api.post("/v1/chat/completions", CHAT | {"model": "slot:none"})

    assert answered == (200, "Hello", SECOND)
    assert (refused.status, refused.error["code"]) == (400, "provider_not_configured")
    assert "providers.mistral.api_key" in refused.error["message"]


# ----------------------------------------------------------------------- limits, breakers, timeouts


async def test_a_rate_limit_is_passed_over_until_it_is_over(tmp_path: Path) -> None:
    """The second answers at once, without asking the first again before its time."""
    clock = FakeClock()
    async with pair(tmp_path, clock, max_retries=2) as two:
        two.first.enqueue(error_reply(429, retry_after="9"), text_reply("I am back"))
        two.second.enqueue(*[text_reply("Hello")] * 3)

        limited = [await whole(two) for _ in range(3)]
        asked = two.asked
        clock.advance(9)
        after = await whole(two)

    assert limited == [(200, "Hello", SECOND)] * 3
    assert asked == (1, 3)
    assert after == (200, "I am back", FIRST)


async def test_an_open_breaker_is_passed_over(tmp_path: Path) -> None:
    """A model that is down is not asked at all; without a fallback the call is a 503 at once."""
    clock = FakeClock()
    async with pair(tmp_path, clock) as two:
        two.first.enqueue(*[error_reply(500)] * 10, text_reply("I am back"))
        two.second.enqueue(*[text_reply("Hello")] * 15)

        answers = [await whole(two) for _ in range(15)]
        asked = two.asked
        alone = await two.api.post("/v1/chat/completions", CHAT | {"model": FIRST})
        metrics = (await two.ringside.admin("/metrics")).body.decode()
        clock.advance(5)
        after = await whole(two)

    assert answers == [(200, "Hello", SECOND)] * 15
    assert asked == (10, 15)
    assert (alone.status, alone.error["code"]) == (503, "provider_unavailable")
    assert alone.headers["retry-after"] == "5"
    assert alone.headers["x-should-retry"] == "false"
    assert 'ringside_breaker_state{model="gpt-4o",provider="openai"} 2.0' in metrics
    assert 'ringside_fallbacks_total{provider="openai",reason="provider_unavailable"}' in metrics
    assert after == (200, "I am back", FIRST)


@WAYS
async def test_a_slot_s_patience_is_its_own(tmp_path: Path, way: Any) -> None:
    """A model that says nothing for as long as the slot waits is passed over."""
    slot = SlotSettings(
        model=FIRST,
        fallbacks=(SECOND,),
        timeouts=SlotTimeoutSettings(first_byte_s=0.2, total_s=0.2),
    )
    async with pair(tmp_path, slot=slot) as two:
        two.first.enqueue(stream_reply(Gate()))
        two.second.enqueue(text_reply("Hello"))

        assert await way(two) == (200, "Hello", SECOND)
        # It may have been at work when its time was up: that is booked, as an estimate.
        assert two.booked() == [(FIRST, 1), (SECOND, 2)]
        records = rows(two.ringside.home, "usage_records")
        assert [record["estimated"] for record in records] == [1, 0]


async def test_own_retries_come_before_the_next_model(tmp_path: Path) -> None:
    """What one more try may mend is tried with the model that the slot names first."""
    async with pair(tmp_path, max_retries=1) as two:
        two.first.enqueue(error_reply(503), text_reply("Hello"))

        assert await whole(two) == (200, "Hello", FIRST)
        assert two.asked == (2, 0)


# --------------------------------------------------------------------------------------------- money


def priced(first: float, second: float) -> dict[str, PriceSettings]:
    """USD per million output tokens of the two models; input is free."""
    return {
        model: PriceSettings(input_nano_usd=0, output_nano_usd=round(usd * NANO))
        for model, usd in ((FIRST, first), (SECOND, second))
    }


def capped(usd: float) -> BudgetSettings:
    """A customer `u` who may spend so much."""
    return BudgetSettings(
        customers={"u": CustomerBudgetSettings(monthly_nano_usd=round(usd * NANO))}
    )


@WAYS
async def test_the_answer_is_held_and_booked_at_its_own_model_s_price(
    tmp_path: Path, way: Any
) -> None:
    """Four tokens of the second model, at what the second model costs."""
    async with pair(tmp_path, prices=priced(1, 1000), budgets=capped(100)) as two:
        two.first.enqueue(error_reply(500))
        two.second.enqueue(text_reply("Hello"))

        answered = await way(two, user="u")

    [record] = rows(tmp_path, "usage_records")
    assert answered == (200, "Hello", SECOND)
    assert record["model"] == SECOND
    assert record["requested_model"] == SLOT
    assert record["provider"] == "groq"
    assert record["provider_cost_nano"] == 4 * 1000 * NANO // 10**6


@WAYS
async def test_a_fallback_that_the_cap_cannot_pay_for_is_not_asked(
    tmp_path: Path, way: Any
) -> None:
    """What would have paid for the first model's answer does not pay for the second's."""
    async with pair(tmp_path, prices=priced(1, 10_000), budgets=capped(1)) as two:
        two.first.enqueue(error_reply(500))
        two.second.enqueue(text_reply("Hello"))

        status, _, _ = await way(two, user="u")
        events = [event["type"] for event in rows(tmp_path, "events")]

    assert status in (402, 500)
    assert two.asked == (1, 0)
    assert "customer.budget_exceeded" in events
    assert two.held() == []
    assert rows(tmp_path, "budget_periods")[0]["reserved_nano"] == 0


async def test_under_a_cap_the_fallback_s_answer_is_as_long_as_its_price_allows(
    tmp_path: Path,
) -> None:
    """The limit that goes upstream is that of the model that is asked."""
    async with pair(tmp_path, prices=priced(1, 1000), budgets=capped(1)) as two:
        two.first.enqueue(error_reply(500))
        two.second.enqueue(text_reply("Hello"))
        await whole(two, user="u")

        limits = [
            upstream.requests[0].body["max_completion_tokens"]
            for upstream in (two.first, two.second)
        ]

    assert limits == [16384, 1000]


async def test_rate_limits_count_what_the_fallback_consumed(tmp_path: Path) -> None:
    """A call is one call, whoever answers it."""
    limits = RateLimitSettings(
        developer=RateSettings(requests_per_minute=10, tokens_per_minute=10_000)
    )
    async with pair(tmp_path, FakeClock(), rate_limits=limits) as two:
        two.first.enqueue(error_reply(500))
        two.second.enqueue(text_reply("Hello"))

        answer = await two.api.post("/v1/chat/completions", CHAT)

    assert answer.headers["x-ratelimit-remaining-requests"] == "9"
    assert answer.headers["x-ratelimit-remaining-tokens"] == str(10_000 - 13)


# ------------------------------------------------------------------------------------ sharing, turns


def outputs_of(waiting: Any) -> dict[str, Any]:
    """An output for each call that a run waits for."""
    calls = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    return {
        "tool_outputs": [{"tool_call_id": call["id"], "output": "x"} for call in calls],
        "stream": True,
    }


async def test_calls_are_shared_out_by_weight(tmp_path: Path) -> None:
    """Of many calls each model gets about its share; the other one is its fallback."""
    slot = SlotSettings(
        models=(SlotModelSettings(model=FIRST, weight=3), SlotModelSettings(model=SECOND))
    )
    async with pair(tmp_path, slot=slot) as two:
        two.first.enqueue(*[text_reply("Hello")] * 200)
        two.second.enqueue(*[text_reply("Hello")] * 200)
        for _ in range(200):
            assert (await whole(two))[0] == 200

    first, second = two.asked
    assert first + second == 200
    assert 115 <= first <= 180  # 150, give or take five standard deviations


async def test_models_that_share_stand_in_for_each_other(tmp_path: Path) -> None:
    """Whichever is drawn first, the other one answers for it."""
    slot = SlotSettings(models=(SlotModelSettings(model=FIRST), SlotModelSettings(model=SECOND)))
    async with pair(tmp_path, slot=slot) as two:
        two.first.enqueue(*[error_reply(500)] * 9)
        two.second.enqueue(*[text_reply("Hello")] * 9)

        answers = [await whole(two) for _ in range(9)]

    assert answers == [(200, "Hello", SECOND)] * 9


async def test_a_run_goes_on_with_the_model_that_began_it(two: Pair) -> None:
    """Its outputs go to whoever called the functions, although the first model is back."""
    assistant = await two.api.assistant(model=SLOT, tools=[FUNCTION])
    two.first.enqueue(error_reply(500))
    two.second.enqueue(tool_reply([("call_1", "look_up", "{}")]), text_reply("Found"))
    waiting = await two.api.run(await two.api.thread("hi"), assistant)
    path = f"/v1/threads/{waiting['thread_id']}/runs/{waiting['id']}"

    answer = await two.api.post(
        f"{path}/submit_tool_outputs",
        outputs_of(waiting),
    )
    ended = await two.api.get(path)

    assert answer.headers["x-ringside-model"] == SECOND
    assert (ended.json["status"], ended.headers["x-ringside-model"]) == ("completed", SECOND)
    assert two.asked == (1, 2)
    assert [row["model"] for row in rows(two.ringside.home, "generations")] == [SECOND, SECOND]


async def test_a_run_moves_on_in_the_middle_of_its_turns(two: Pair) -> None:
    """If whoever called the functions is down when the outputs come, the other one takes over."""
    assistant = await two.api.assistant(model=SLOT, tools=[FUNCTION])
    two.first.enqueue(tool_reply([("call_1", "look_up", "{}")]), error_reply(500))
    two.second.enqueue(text_reply("Found"))
    waiting = await two.api.run(await two.api.thread("hi"), assistant)
    path = f"/v1/threads/{waiting['thread_id']}/runs/{waiting['id']}"

    await two.api.post(
        f"{path}/submit_tool_outputs",
        outputs_of(waiting),
    )

    assert (await two.api.get(path)).json["status"] == "completed"
    assert [row["model"] for row in rows(two.ringside.home, "generations")] == [FIRST, SECOND]
    assert [message["role"] for message in two.second.requests[0].body["messages"]] == [
        "user",
        "assistant",
        "tool",
    ]


async def test_the_slot_s_parameters_go_to_whoever_is_asked(tmp_path: Path) -> None:
    """Under those of the request."""
    slot = SlotSettings(model=FIRST, fallbacks=(SECOND,), params={"temperature": 0.2, "top_p": 0.9})
    async with pair(tmp_path, slot=slot) as two:
        two.first.enqueue(error_reply(500))
        two.second.enqueue(text_reply("Hello"))
        await whole(two, top_p=0.5)

        sent = [upstream.requests[0].body for upstream in (two.first, two.second)]

    assert [(body["temperature"], body["top_p"]) for body in sent] == [(0.2, 0.5), (0.2, 0.5)]
    assert [body["model"] for body in sent] == ["gpt-4o", "llama-3.3-70b-versatile"]


@pytest.mark.parametrize(
    ("of_slot", "own"),
    [
        ({"max_completion_tokens": 50}, {"max_tokens": 3}),
        ({"max_tokens": 50}, {"max_completion_tokens": 3}),
        ({"thinking_budget": 9000}, {"reasoning_effort": "low"}),
    ],
)
async def test_a_request_s_own_parameter_wins_under_any_of_its_names(
    tmp_path: Path, of_slot: dict[str, Any], own: dict[str, Any]
) -> None:
    """What goes out is what would without the slot's."""
    reasoner = "fc:openai/o3-mini"
    async with pair(tmp_path, slot=SlotSettings(model=reasoner, params=of_slot)) as two:
        two.first.enqueue(text_reply("Hello"), text_reply("Hello"))
        await whole(two, **own)
        await whole(two, **own, model=reasoner)

    with_slot, without = [request.body for request in two.first.requests]
    assert with_slot == without


async def test_a_client_that_leaves_while_the_next_is_asked_leaves_nothing(two: Pair) -> None:
    """The second call is ended, and nothing stays held."""
    gate = Gate()
    two.first.enqueue(error_reply(500))
    two.second.enqueue(stream_reply(gate))
    call = asyncio.create_task(
        two.ringside.session.post(
            f"{two.ringside.proxy.url}/v1/chat/completions",
            json=CHAT | {"stream": True},
            headers=two.api.headers,
        )
    )
    asked = await two.second.request(0)
    call.cancel()
    async with asyncio.timeout(20):
        await asked.gone.wait()
        while two.held():
            await two.api.get("/healthz")

    assert [model for model, _ in two.booked()] in ([], [SECOND])


async def test_the_sdk_sees_one_answer(two: Pair) -> None:
    """OpenAI's client knows nothing of slots: it gets its stream, and may read whose it was."""
    two.first.enqueue(error_reply(503))
    two.second.enqueue(text_reply("Hello there"))
    async with openai.AsyncOpenAI(
        base_url=f"{two.ringside.proxy.url}/v1", api_key=two.api.token, max_retries=0
    ) as client:
        raw = await client.chat.completions.with_raw_response.create(**CHAT, stream=True)
        said = [piece.choices[0].delta.content async for piece in raw.parse() if piece.choices]

    assert "".join(text or "" for text in said) == "Hello there"
    assert raw.headers["x-ringside-model"] == SECOND
