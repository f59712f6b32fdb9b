"""Rate limits on the wire: who is held to which, what is told, and what counts."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import openai
import orjson
import pytest

from ringside_proxy.api.routes import ROUTES, Route
from ringside_proxy.services.tokens import configured_id
from ringside_proxy.settings.money import RateLimitSettings, RateSettings
from tests.api.rig import (
    CLIENT_A,
    CLIENT_B,
    ECHO,
    FUNCTION,
    UPSTREAM_MODEL,
    Caller,
    Ringside,
    path_of,
    serving,
    stop,
)
from tests.api.test_run_actions import settled
from tests.fakes import (
    Cut,
    FakeClock,
    Gate,
    Scripted,
    chunk,
    error_reply,
    json_reply,
    stream_reply,
    usage,
)

CHAT: Final[dict[str, Any]] = {"model": ECHO, "messages": [{"role": "user", "content": "hello"}]}
EMBEDDINGS: Final[dict[str, Any]] = {"model": "fc:sandbox/embed", "input": "hello"}


def limits(**kinds: RateSettings) -> RateLimitSettings:
    """Limits of the kinds given; the others have none."""
    return RateLimitSettings(**kinds)


def rpm(count: int) -> RateSettings:
    """So many requests a minute."""
    return RateSettings(requests_per_minute=count)


@asynccontextmanager
async def limited(
    home: Path, clock: FakeClock | None = None, **kinds: RateSettings
) -> AsyncIterator[Ringside]:
    """A proxy with these limits."""
    async with serving(home, clock, rate_limits=limits(**kinds)) as ringside:
        yield ringside


def told(headers: Mapping[str, str], resource: str = "requests") -> tuple[str | None, ...]:
    """Limit, remaining and reset, as the headers say."""
    return tuple(
        headers.get(f"x-ratelimit-{name}-{resource}") for name in ("limit", "remaining", "reset")
    )


async def chat(caller: Caller, **fields: Any) -> int:
    """The status of a chat completion."""
    return (await caller.post("/v1/chat/completions", CHAT | fields)).status


async def test_headers_count_down_and_refill(tmp_path: Path) -> None:
    """`x-ratelimit-*` say what is left, and when all of it is back, in OpenAI's words."""
    clock = FakeClock()
    async with limited(tmp_path, clock, developer=rpm(60)) as ringside:
        api = ringside.developer

        first = await api.get("/v1/models")
        second = await api.get("/v1/models")
        clock.advance(1.5)
        third = await api.get("/v1/models")

    assert told(first.headers) == ("60", "59", "1s")
    assert told(second.headers) == ("60", "58", "2s")
    assert told(third.headers) == ("60", "58", "1.5s")


async def test_past_the_limit_is_429_in_openai_s_words(tmp_path: Path) -> None:
    """With the limit, the remedy and how long to wait; after that it goes on."""
    clock = FakeClock()
    async with limited(tmp_path, clock, developer=rpm(2)) as ringside:
        api = ringside.developer
        assert [await chat(api), await chat(api)] == [200, 200]

        refused = await api.post("/v1/chat/completions", CHAT)
        clock.advance(29.999)
        still = await chat(api)
        clock.advance(0.001)
        again = await chat(api)

    assert refused.status == 429
    assert refused.error == {
        "message": "Rate limit reached for token 'app' on requests per min (RPM): Limit 2, Used 2, "
        "Requested 1. Please try again in 30s. To raise the limit, set "
        "rate_limits.developer.requests_per_minute in the configuration.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert refused.headers["retry-after"] == "30"
    assert refused.headers["retry-after-ms"] == "30000"
    assert "x-should-retry" not in refused.headers
    assert told(refused.headers) == ("2", "0", "1m0s")
    assert (still, again) == (429, 200)


async def test_unlimited_callers_are_told_of_no_limit(api: Caller) -> None:
    """Without `rate_limits` there are no headers of it."""
    answer = await api.post("/v1/chat/completions", CHAT)

    assert not [name for name in answer.headers if name.lower().startswith("x-ratelimit")]


async def test_every_answer_of_a_limited_caller_says_what_is_left(tmp_path: Path) -> None:
    """Errors and streams too, and what is not counted."""
    async with limited(tmp_path, FakeClock(), developer=rpm(60)) as ringside:
        api = ringside.developer
        streamed = await api.post("/v1/chat/completions", CHAT | {"stream": True})
        wrong = await api.post("/v1/chat/completions", {"model": 5})
        missing = await api.get(f"/v1/threads/thread_{'0' * 24}")
        polled = await api.get(f"/v1/threads/thread_{'0' * 24}/runs/run_{'0' * 24}")

    answers = [streamed, wrong, missing, polled]
    assert [answer.status for answer in answers] == [200, 400, 404, 404]
    assert [told(answer.headers)[1] for answer in answers] == ["59", "58", "57", "57"]


async def test_tokens_have_buckets_of_their_own(tmp_path: Path) -> None:
    """One client's requests take nothing from another's, nor from the developers'."""
    async with limited(tmp_path, FakeClock(), developer=rpm(1), client_token=rpm(2)) as ringside:
        developer = ringside.developer
        client_a, client_b = developer.using(CLIENT_A), developer.using(CLIENT_B)

        statuses = [
            (await caller.get("/v1/models")).status
            for caller in (client_a, client_a, client_a, client_b, developer, developer)
        ]

    assert statuses == [200, 200, 429, 200, 200, 429]


async def test_customers_are_limited_whoever_calls_for_them(tmp_path: Path) -> None:
    """Named as `user`, by header, by a thread or by a client token: it is one bucket."""
    async with limited(tmp_path, FakeClock(), customer=rpm(5)) as ringside:
        developer, client = ringside.developer, ringside.developer.using(CLIENT_A)
        assistant = await developer.assistant()
        thread = await developer.thread("hello", user="customer_a")  # the first one

        by_name = await chat(developer, user="customer_a")
        by_header = await developer.post(
            "/v1/embeddings", EMBEDDINGS, headers={"x-ringside-customer": "customer_a"}
        )
        by_token = await chat(client)
        by_thread = await developer.post(
            f"/v1/threads/{thread}/runs", {"assistant_id": assistant, "stream": True}
        )
        sixth = await developer.post("/v1/chat/completions", CHAT | {"user": "customer_a"})
        others = [await chat(developer), await chat(developer, user="customer_b")]

    assert (by_name, by_header.status, by_token, by_thread.status) == (200, 200, 200, 200)
    assert told(by_thread.headers)[1] == "0"
    assert sixth.status == 429
    assert (
        "customer 'customer_a' on requests per min (RPM): Limit 5, Used 5"
        in (sixth.error["message"])
    )
    assert "PATCH /v1/customers/customer_a" in sixth.error["message"]
    assert others == [200, 200]


async def test_headers_show_the_tightest_limit(tmp_path: Path) -> None:
    """Of a token's and a customer's limit the one of which less is left."""
    async with limited(tmp_path, FakeClock(), developer=rpm(10), customer=rpm(3)) as ringside:
        api = ringside.developer

        own = await api.post("/v1/chat/completions", CHAT)
        customers = await api.post("/v1/chat/completions", CHAT | {"user": "customer_a"})
        for _ in range(7):
            await chat(api)
        later = await api.post("/v1/chat/completions", CHAT | {"user": "customer_a"})

    assert told(own.headers)[:2] == ("10", "9")
    assert told(customers.headers)[:2] == ("3", "2")
    assert told(later.headers)[:2] == ("10", "0")


async def test_a_refused_customer_takes_nothing_from_the_token_it_shares(tmp_path: Path) -> None:
    """Whoever is past its limit may knock as often as it likes: others are served."""
    async with limited(tmp_path, FakeClock(), developer=rpm(5), customer=rpm(1)) as ringside:
        api = ringside.developer

        greedy = [await chat(api, user="greedy") for _ in range(20)]
        modest = [await chat(api, user=f"customer_{number}") for number in range(4)]

    assert greedy == [200] + [429] * 19
    assert modest == [200] * 4


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_what_counts_as_a_request(tmp_path: Path, route: Route) -> None:
    """OpenAI's endpoints do. Free are: what is polled, what ends a run, and what is not OpenAI's."""
    is_openai_s = not route.path.startswith(
        ("/v1/customers", "/v1/usage", "/v1/wallet", "/v1/webhooks", "/v1/tokens", "/v1/config")
    ) and route.path not in ("/healthz", "/openapi.json", "/v1/compatibility")
    is_polled = route.method == "GET" and "/runs" in route.path
    counts = is_openai_s and not is_polled and not route.path.endswith("/cancel")
    async with limited(tmp_path, FakeClock(), developer=rpm(1)) as ringside:
        assert (await ringside.developer.get("/v1/models")).status == 200  # the only one

        answer = await ringside.developer.call(route.method, path_of(route), headers={})

    assert (answer.status == 429) == counts


async def test_a_burst_gets_the_limit_and_no_more(tmp_path: Path) -> None:
    """Of a hundred requests in one moment, exactly as many as the limit has."""
    async with limited(tmp_path, FakeClock(), developer=rpm(37)) as ringside:
        answers = await asyncio.gather(*(chat(ringside.developer) for _ in range(100)))

    assert sorted(answers) == [200] * 37 + [429] * 63


async def test_a_minute_of_pressure_gets_the_limit_and_the_refill(tmp_path: Path) -> None:
    """Never more than a full bucket and what has come in since, however hard it is asked."""
    clock = FakeClock()
    served = 0
    async with limited(tmp_path, clock, developer=rpm(30)) as ringside:
        for second in range(60):
            answers = await asyncio.gather(*(chat(ringside.developer) for _ in range(4)))
            served += answers.count(200)
            assert served <= 30 + second * 30 // 60
            clock.advance(1)

    assert served == 30 + 29


# ----------------------------------------------------------------------------------------- tokens


def tpm(count: int) -> RateSettings:
    """So many tokens a minute."""
    return RateSettings(tokens_per_minute=count)


def answer_of(prompt: int, completion: int) -> Any:
    """A provider's whole answer that says what it consumed."""
    message = {"role": "assistant", "content": "Hello", "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return json_reply(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage(prompt, completion),
        }
    )


def remaining(ringside: Ringside, kind: str, key: str, limit: int) -> int:
    """What is left of a token limit at this moment."""
    rate_limits = ringside.proxy.services.rate_limits
    return rate_limits.buckets[kind, "tokens"].remaining(key, limit, rate_limits.now_ms())


def of_model(**fields: Any) -> dict[str, Any]:
    """A chat with the fake provider's model."""
    return CHAT | {"model": UPSTREAM_MODEL} | fields


async def test_a_call_is_charged_what_the_provider_says(tmp_path: Path) -> None:
    """The estimate goes when the answer is there: what is left is the limit less the real usage."""
    async with limited(tmp_path, FakeClock(), customer=tpm(10_000)) as ringside:
        ringside.upstream.enqueue(answer_of(120, 30))

        answer = await ringside.developer.post(
            "/v1/chat/completions", of_model(user="u", max_tokens=4000)
        )
        left = remaining(ringside, "customer", "u", 10_000)

    assert answer.status == 200
    assert told(answer.headers, "tokens") == ("10000", "9850", "900ms")
    assert left == 9850


async def test_a_call_at_work_holds_its_estimate(tmp_path: Path) -> None:
    """A quarter of the body's bytes and the output that was asked for, times the choices."""
    async with limited(tmp_path, FakeClock(), customer=tpm(10_000)) as ringside:
        gate = Gate()
        ringside.upstream.enqueue(stream_reply(gate, chunk({"content": "x"}), chunk({}, "stop")))
        body = of_model(user="u", max_completion_tokens=700, n=2, stream=True)
        call = asyncio.create_task(ringside.developer.post("/v1/chat/completions", body))
        await gate.reached.wait()

        held = 10_000 - remaining(ringside, "customer", "u", 10_000)
        gate.release()
        await call

    assert held == 1400 + -(-len(orjson.dumps(body)) // 4)


async def test_an_image_counts_as_one_however_large_its_data(tmp_path: Path) -> None:
    """A megabyte in base64 is a thousand tokens, not a quarter of a million."""
    async with limited(tmp_path, FakeClock(), customer=tpm(10_000)) as ringside:
        gate = Gate()
        ringside.upstream.enqueue(stream_reply(gate, chunk({"content": "x"}), chunk({}, "stop")))
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}
        messages = [{"role": "user", "content": [image]}]
        body = of_model(user="u", messages=messages, max_tokens=1, stream=True)
        call = asyncio.create_task(ringside.developer.post("/v1/chat/completions", body))
        await gate.reached.wait()

        held = 10_000 - remaining(ringside, "customer", "u", 10_000)
        gate.release()
        await call

    assert 1100 < held < 1200


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(500),
        error_reply(400, "context_length_exceeded"),
        Scripted([Cut()]),
    ],
    ids=["failed", "refused", "cut"],
)
async def test_a_call_that_consumed_nothing_costs_nothing(tmp_path: Path, reply: Scripted) -> None:
    """Whatever went wrong, nothing stays held and nothing is taken."""
    async with limited(tmp_path, FakeClock(), customer=tpm(10_000)) as ringside:
        ringside.upstream.enqueue(reply)

        answer = await ringside.developer.post("/v1/chat/completions", of_model(user="u"))
        left = remaining(ringside, "customer", "u", 10_000)

    assert answer.status >= 400
    assert left == 10_000


async def test_tokens_past_the_limit_are_refused_until_they_are_refilled(tmp_path: Path) -> None:
    """An answer that was longer than the estimate is a debt, paid off before the next call."""
    clock = FakeClock()
    async with limited(tmp_path, clock, customer=tpm(6000)) as ringside:
        api = ringside.developer
        ringside.upstream.enqueue(answer_of(5000, 4000), answer_of(1, 1))
        body = of_model(user="u", max_tokens=100)

        first = await api.post("/v1/chat/completions", body)
        refused = await api.post("/v1/chat/completions", body)
        wait_s = int(refused.headers["retry-after-ms"]) / 1000
        clock.advance(wait_s - 0.001)
        early = await api.post("/v1/chat/completions", body)
        clock.advance(0.001)
        later = await api.post("/v1/chat/completions", body)

    assert [each.status for each in (first, refused, early, later)] == [200, 429, 429, 200]
    assert "on tokens per min (TPM): Limit 6000, Used 9000, Requested " in refused.error["message"]
    assert refused.error["type"] == "rate_limit_error"
    assert refused.error["code"] == "rate_limit_exceeded"
    assert told(first.headers, "tokens")[:2] == ("6000", "0")


async def test_a_call_larger_than_the_limit_is_not_worth_another_try(tmp_path: Path) -> None:
    """What no full bucket holds is refused for good, and says so."""
    async with limited(tmp_path, FakeClock(), customer=tpm(1000)) as ringside:
        body = CHAT | {"user": "u", "max_tokens": 1001}

        answer = await ringside.developer.post("/v1/chat/completions", body)
        untold = await chat(ringside.developer, user="u")

    assert answer.status == 429
    assert answer.headers["x-should-retry"] == "false"
    assert answer.error["message"].startswith(
        "Request too large for customer 'u' on tokens per min (TPM): Limit 1000, Requested "
    )
    assert untold == 200


async def test_a_client_that_leaves_its_stream_leaves_nothing_held(tmp_path: Path) -> None:
    """What was said until then counts, what was held for the rest is free."""
    async with limited(tmp_path, FakeClock(), customer=tpm(100_000)) as ringside:
        gate = Gate()
        said = chunk({"content": "word " * 100})
        ringside.upstream.enqueue(stream_reply(said, gate, chunk({}, "stop")))
        body = of_model(user="u", stream=True, max_tokens=50_000)
        async with ringside.session.post(
            f"{ringside.proxy.url}/v1/chat/completions",
            json=body,
            headers=ringside.developer.headers,
        ) as response:
            await response.content.readuntil(b"\n\n")
            response.close()
        async with asyncio.timeout(20):
            while (left := remaining(ringside, "customer", "u", 100_000)) < 90_000:
                await ringside.developer.get("/healthz")

    assert 99_000 < left < 100_000


async def test_runs_are_charged_for_every_stretch(tmp_path: Path) -> None:
    """A run's tool turns count as its answers do, however long its outputs took to come."""
    async with limited(tmp_path, FakeClock(), customer=tpm(100_000)) as ringside:
        api = ringside.developer
        assistant = await api.assistant(model="fc:sandbox/tools", tools=[FUNCTION])
        run = await api.run(await api.thread("hi", user="u"), assistant)
        waiting = remaining(ringside, "customer", "u", 100_000)
        [call] = run["required_action"]["submit_tool_outputs"]["tool_calls"]

        await api.post(
            f"/v1/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs",
            {"tool_outputs": [{"tool_call_id": call["id"], "output": "x"}], "stream": True},
        )
        [run] = (await api.get(f"/v1/threads/{run['thread_id']}/runs")).json["data"]
        left = remaining(ringside, "customer", "u", 100_000)

    assert run["status"] == "completed"
    assert left == 100_000 - run["usage"]["total_tokens"]
    assert left < waiting < 100_000


async def test_the_api_s_limit_for_a_customer_wins_at_once(tmp_path: Path) -> None:
    """Raised, lowered and removed, it holds from the next request on."""

    async def set_rates(api: Caller, requests: int | None, tokens: int | None) -> None:
        limits = {"requests_per_minute": requests, "tokens_per_minute": tokens}
        await api.post("/v1/customers/u", {"rate_limits": limits})

    async with limited(tmp_path, FakeClock(), customer=rpm(2)) as ringside:
        api = ringside.developer
        by_config = [await chat(api, user="u") for _ in range(3)]
        await set_rates(api, 4, None)
        raised = [await chat(api, user="u") for _ in range(3)]
        await set_rates(api, 100, 1)
        no_tokens = await chat(api, user="u")
        await set_rates(api, None, None)
        removed = await chat(api, user="u")

    assert by_config == [200, 200, 429]
    assert raised == [200, 200, 429]
    assert (no_tokens, removed) == (429, 429)


# --------------------------------------------------------------------------------- runs at once


def at_once(count: int) -> RateSettings:
    """So many runs that have not ended."""
    return RateSettings(concurrent_runs=count)


async def begun(caller: Caller, assistant: str, **fields: Any) -> Any:
    """The answer to a new run on a new thread."""
    body = {"assistant_id": assistant, "thread": {"messages": []}, "instructions": "x", **fields}
    return await caller.post("/v1/threads/runs", body)


@pytest.mark.parametrize("kind", ["developer", "customer"])
async def test_runs_at_once_keep_to_the_limit(tmp_path: Path, kind: str) -> None:
    """Fifty that come together: as many as the limit begin, and one more when one has ended."""
    limit = {kind: RateSettings(concurrent_runs=3, requests_per_minute=60)}
    async with limited(tmp_path, FakeClock(), **limit) as ringside:
        api = ringside.developer
        assistant = await api.assistant(model="fc:sandbox/hang")

        answers = await asyncio.gather(*(begun(api, assistant, user="u") for _ in range(50)))
        runs = [answer.json for answer in answers if answer.status == 200]
        refused = next(answer for answer in answers if answer.status == 429)
        await api.post(f"/v1/threads/{runs[0]['thread_id']}/runs/{runs[0]['id']}/cancel")
        await settled(api, runs[0], "cancelled")
        freed = [(await begun(api, assistant, user="u")).status for _ in range(2)]
        threads = (await api.get("/v1/threads?limit=100")).json["data"]

    assert len(runs) == 3
    assert "on concurrent runs: Limit 3, Used 3, Requested 1." in refused.error["message"]
    assert (
        f"set rate_limits.{kind}.concurrent_runs in the configuration" in (refused.error["message"])
    )
    assert refused.headers["retry-after"] == "1"
    assert told(refused.headers)[0] == "60"
    assert freed == [200, 429]
    assert len(threads) == 4  # a run that was refused leaves no thread


async def test_a_run_that_waits_for_outputs_is_one_at_work(tmp_path: Path) -> None:
    """Also after a restart: what counts is what the store holds."""
    async with limited(tmp_path, client_token=at_once(1)) as ringside:
        client = ringside.developer.using(CLIENT_A)
        assistant = await client.assistant(model="fc:sandbox/tools", tools=[FUNCTION])
        run = await client.run(await client.thread("hi"), assistant)
        before = (await begun(client, assistant)).status
        await stop(ringside.proxy)

    async with limited(tmp_path, client_token=at_once(1)) as ringside:
        client = ringside.developer.using(CLIENT_A)
        after = (await begun(client, assistant)).status
        other = (await begun(ringside.developer, assistant)).status
        await client.post(f"/v1/threads/{run['thread_id']}/runs/{run['id']}/cancel")
        await settled(client, run, "cancelled")
        ended = (await begun(client, assistant)).status

    assert run["status"] == "requires_action"
    assert (before, after, other, ended) == (429, 429, 200, 200)


@pytest.mark.parametrize("model", ["echo", "fail-500", "refuse", "filter"])
async def test_a_run_is_one_no_more_however_it_ends(tmp_path: Path, model: str) -> None:
    """Completed, failed, incomplete: the next one begins."""
    async with limited(tmp_path, developer=at_once(1)) as ringside:
        api = ringside.developer
        assistant = await api.assistant(model=f"fc:sandbox/{model}")
        thread = await api.thread("hello")

        for _ in range(3):
            await api.run(thread, assistant)

        left = ringside.proxy.services.rate_limits
    assert all(not buckets.is_holding for buckets in left.buckets.values())


async def test_a_busy_thread_says_so_before_any_limit(tmp_path: Path) -> None:
    """A second run on one thread is a conflict, not too many."""
    async with limited(tmp_path, FakeClock(), developer=at_once(1)) as ringside:
        api = ringside.developer
        run = await api.begin(await api.thread("hi"), await api.assistant(model="fc:sandbox/hang"))

        second = await api.post(
            f"/v1/threads/{run['thread_id']}/runs", {"assistant_id": run["assistant_id"]}
        )

    assert (second.status, second.error["code"]) == (409, "conversation_locked")


async def test_refused_runs_give_back_what_they_took(tmp_path: Path) -> None:
    """Requests and tokens: a run that did not begin counts for nothing."""
    settings = RateSettings(requests_per_minute=10, tokens_per_minute=1000, concurrent_runs=1)
    async with limited(tmp_path, FakeClock(), customer=settings) as ringside:
        api = ringside.developer
        assistant = await api.assistant(model="fc:sandbox/hang")
        first = await begun(api, assistant, user="u", max_completion_tokens=100)

        refused = await begun(api, assistant, user="u", max_completion_tokens=100)

    assert (first.status, refused.status) == (200, 429)
    assert told(refused.headers)[1] == told(first.headers)[1] == "9"
    assert told(refused.headers, "tokens")[1] == told(first.headers, "tokens")[1]


# ------------------------------------------------------------------------------------ OpenAI's SDK


async def test_the_sdk_waits_as_it_is_told(tmp_path: Path) -> None:
    """OpenAI's SDK tries again when the bucket has what the call needs, and not before."""
    async with limited(tmp_path, developer=rpm(600)) as ringside, sdk(ringside, 1) as client:
        await client.models.list()
        rate_limits = ringside.proxy.services.rate_limits
        [token] = ringside.settings.auth.tokens[:1]
        rate_limits.buckets["developer", "requests"].take(
            configured_id(token), 602, 600, rate_limits.now_ms()
        )

        answer = await client.chat.completions.with_raw_response.create(**CHAT)

    assert answer.http_request.headers["x-stainless-retry-count"] == "1"
    assert answer.headers["x-ratelimit-limit-requests"] == "600"


async def test_the_sdk_knows_the_error(tmp_path: Path) -> None:
    """It is a RateLimitError with its code, after one try if another cannot help."""
    async with (
        limited(tmp_path, FakeClock(), developer=tpm(100)) as ringside,
        sdk(ringside, 2) as client,
    ):
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(**CHAT, max_tokens=1000)

    error = caught.value
    assert (error.code, error.type) == ("rate_limit_exceeded", "rate_limit_error")
    assert error.request.headers["x-stainless-retry-count"] == "0"


def sdk(ringside: Ringside, max_retries: int) -> openai.AsyncOpenAI:
    """The developer's own client."""
    assert ringside.developer.token is not None
    return openai.AsyncOpenAI(
        base_url=f"{ringside.proxy.url}/v1",
        api_key=ringside.developer.token,
        max_retries=max_retries,
    )
