"""What a call costs at each family of usage counts, against sums made by hand.

Every provider counts in its own words: cached tokens inside the prompt or beside it, reasoning
inside the answer or beside it, cache writes apart. The prices of this test make a token in cost
1,000 nano-USD, a cached one 100, a cache write 1,250 and a token out 10,000.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp
import pytest
import yaml

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.e2e.nineteen import CHAT, CONFIG, WEATHER, Proxy, key_of, last_run, model_of
from tests.e2e.ringside import TOKEN, Ringside, serving
from tests.vendors.far_end import FarEnd, far_end
from tests.vendors.speech import Count, Say
from tests.vendors.wires import says

PRICE: Final = {"input": 1, "cached_input": 0.1, "cache_write": 1.25, "output": 10}
TIER: Final = {"above": 10, "input": 2, "cached_input": 0.2, "cache_write": 2.5, "output": 20}
TIMED: Final = "fc:replicate/acme/timed"
LISTED: Final = ("xai", "perplexity", "openrouter")
"""Providers whose own word for the cost counts here: the configuration has no price for them."""

DEAR: Final = "gpt-5.5-pro"
"""A model of the Responses API; a token out costs a cent here."""
CAPS: Final = {"pays-for-10": {"monthly_usd": 0.1}, "pays-for-20": {"monthly_usd": 0.2}}

SUMS: Final = {
    ("openai", "plain"): 24 * 1_000 + 9 * 10_000,
    ("openai", "reasoning"): 18 * 1_000 + (11 + 192) * 10_000,
    ("anthropic", "plain"): 42 * 1_000 + 2_048 * 100 + 100 * 1_250 + 9 * 10_000,
    ("anthropic", "tool_call"): 42 * 1_000 + 2_048 * 100 + (49 + 12) * 10_000,
    ("bedrock", "plain"): 9 * 1_000 + 4 * 10_000,
    ("bedrock", "reasoning"): 10 * 1_000 + 1_200 * 1_250 + 60 * 10_000,
    ("google", "plain"): 16 * 1_000 + 8 * 100 + 9 * 10_000,
    ("google", "thoughts_inside"): 15 * 100 + (10 + 20) * 10_000,
    ("cohere", "plain"): 3 * 100 + 418 * 10_000,
    ("ollama", "plain"): 26 * 1_000 + 282 * 10_000,
    ("replicate", "metrics"): 120 * 1_000 + 18 * 10_000,
    ("deepseek", "plain"): 26 * 1_000 + 64 * 100 + (5 + 7) * 10_000,
    ("mistral", "plain"): 4 * 1_000 + 16 * 100 + 5 * 10_000,
    ("together", "plain"): 16 * 1_000 + 4 * 100 + 5 * 10_000,
    ("groq", "plain"): 12 * 2_000 + 8 * 200 + 5 * 20_000,  # 20 tokens in: above the tier's bound
    ("xai", "plain"): 124,  # 1,234 ticks, ten to a nano-USD, rounded up
    ("perplexity", "plain"): 5_300_000,  # 0.0053 USD, a search included
}


def prices() -> dict[str, Any]:
    """The configuration's prices, by model."""
    every: dict[str, Any] = {
        model_of(name): dict(PRICE) for name in TYPICAL_MODELS if name not in LISTED
    }
    own = {TIMED: {"per_second": 0.0014}, f"fc:openai/{DEAR}": {"input": 0, "output": 10_000}}
    return every | {model_of("groq"): PRICE | {"tiers": [TIER]}} | own


@pytest.fixture(scope="module")
def priced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ringside, FarEnd]]:
    """A proxy with all nineteen providers and with prices of its own."""
    with far_end() as far:
        providers = {
            name: {"api_key": key_of(name), "base_url": f"{far.url}/{name}", "max_retries": 0}
            for name in TYPICAL_MODELS
        }
        sections = yaml.safe_dump(
            {"providers": providers, "prices": prices(), "budgets": {"customers": CAPS}}
        )
        with serving(tmp_path_factory.mktemp("priced"), CONFIG + sections) as ringside:
            yield ringside, far


@pytest.fixture
async def proxy(priced: tuple[Ringside, FarEnd]) -> AsyncIterator[Proxy]:
    ringside, far = priced
    far.forget()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        yield Proxy(ringside.url, session, far)


async def records(priced: tuple[Ringside, FarEnd], run_id: str) -> list[dict[str, Any]]:
    """The usage records of a run, oldest first."""
    found: list[dict[str, Any]] = []
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url, after = priced[0].url + "/v1/usage/records?limit=100", ""
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(url + after) as response:
                page = await response.json()
            found += page["data"]
            if not page["has_more"]:
                return [each for each in found if each["run_id"] == run_id]
            after = f"&after={page['last_id']}"


@pytest.mark.parametrize(("provider", "answer"), SUMS, ids=["-".join(case) for case in SUMS])
async def test_cost_is_the_sum_made_by_hand(
    provider: str, answer: str, proxy: Proxy, priced: tuple[Ringside, FarEnd]
) -> None:
    """To the nano-dollar, whatever words the provider counts in."""
    proxy.answers(provider, answer)

    run = last_run(await proxy.run(provider, tools=[WEATHER] if answer == "tool_call" else []))

    [record] = await records(priced, run["id"])
    assert record["cost_usd"] == SUMS[provider, answer] / 10**9
    assert record["estimated"] is False


def of_seconds(metrics: str) -> tuple[bytes, str]:
    """A prediction of a model that counts no tokens."""
    told = f'event: output\ndata: Hello\n\nevent: done\ndata: {{"metrics": {metrics}}}\n\n'
    return told.encode(), "text/event-stream"


@pytest.mark.parametrize(
    ("metrics", "cost_usd"), [('{"predict_time": 2.5000001}', 0.003500002), ("{}", None)]
)
async def test_seconds_of_a_machine_are_booked(
    metrics: str, cost_usd: float | None, proxy: Proxy, priced: tuple[Ringside, FarEnd]
) -> None:
    """2.500001 s, rounded up, at 0.0014 USD; nobody knows the cost of those that are not told."""
    proxy.answers("replicate", of_seconds(metrics))

    run = last_run(await proxy.run("replicate", model=TIMED))

    [record] = await records(priced, run["id"])
    assert record["cost_usd"] == cost_usd
    assert record["estimated"] is True
    assert record["output_tokens"] > 0


async def test_no_cap_is_held_by_the_second(proxy: Proxy) -> None:
    """How long a call takes is known to nobody before it: under a cap that is no price."""
    path = "/v1/customers/by-the-second"
    await proxy.call(path, {"monthly_budget_usd": 1})
    messages = [{"role": "user", "content": "hi"}]
    asked = {"model": TIMED, "messages": messages, "user": "by-the-second"}

    refused = await proxy.call("/v1/chat/completions", asked, status=400)

    assert refused["error"]["code"] == "model_price_unknown"
    assert not proxy.sent("replicate")


async def test_tool_turns_are_booked_each(proxy: Proxy, priced: tuple[Ringside, FarEnd]) -> None:
    """Two calls of one run are two rows, each with the step it made; the run shows their sum."""
    proxy.answers("anthropic", "tool_call", "plain")
    waiting = last_run(await proxy.run("anthropic", tools=[WEATHER]))

    run = last_run(await proxy.submit(waiting, "12 degrees"))

    first, second = await records(priced, run["id"])
    assert [first["cost_usd"], second["cost_usd"]] == [
        SUMS["anthropic", "tool_call"] / 10**9,
        SUMS["anthropic", "plain"] / 10**9,
    ]
    assert first["step_id"] != second["step_id"]
    assert run["usage"]["prompt_tokens"] == first["input_tokens"] + second["input_tokens"]
    assert run["usage"]["completion_tokens"] == first["output_tokens"] + second["output_tokens"]


@pytest.mark.parametrize(("customer", "status"), [("pays-for-10", 402), ("pays-for-20", 200)])
async def test_a_limit_that_a_provider_raises_is_paid_for(
    customer: str, status: int, proxy: Proxy
) -> None:
    """Responses take no limit below 16: under a cap those have to be affordable, or nobody is asked."""
    written = Say("Yes.", count=Count(read=1, written=16))
    proxy.answers("openai", says("openai", written))
    body = {"model": f"fc:openai/{DEAR}", "messages": [{"role": "user", "content": "Is it warm?"}]}
    body |= {"user": customer, "max_completion_tokens": 5}

    await proxy.post(CHAT, body, status=status)

    assert [sent["max_output_tokens"] for sent in proxy.sent("openai")] == [16] * (status == 200)
    period = (await proxy.get(f"/v1/customers/{customer}"))["current_period"]
    assert period["spent_usd"] == (0.16 if status == 200 else 0)
