"""Classes of service: an answer may be of another one than was asked for, and no cap is passed."""

from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.settings.money import BudgetSettings
from ringside_proxy.settings.schema import DeploymentSettings, ProviderSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import Ringside, serving
from tests.api.test_money_watched import measured
from tests.api.test_spending import IN, OUT, booked, completion, period
from tests.api.test_spending_ends import CHAT, CUSTOMER, body
from tests.fakes import Scripted, chunk, json_reply, stream_reply, usage

CAP_NANO: Final = 20_000_000
CAPPED: Final = BudgetSettings(default_monthly_nano_usd=CAP_NANO)


async def an_answer(ringside: Ringside, tier: str | None, **asked: Any) -> None:
    """The longest that its request allows, of this class of service."""

    def longest(request: dict[str, Any]) -> Scripted:
        tokens, told = (
            request["max_completion_tokens"],
            {} if tier is None else {"service_tier": tier},
        )
        if not request.get("stream"):
            return json_reply(completion(tokens) | told)
        last = chunk(None, usage=usage(9, tokens), **told)
        words = chunk({"role": "assistant", "content": "words"})
        return stream_reply(words, chunk({}, "stop"), last, b"data: [DONE]\n\n")

    ringside.upstream.enqueue(longest)
    answer = await ringside.developer.post(CHAT, body(**asked))
    assert answer.status == 200, answer.body


@pytest.mark.parametrize("asked", ["flex", "priority", None])
async def test_an_answer_at_the_usual_tier_instead_passes_no_cap(
    tmp_path: Path, asked: str | None
) -> None:
    """A provider may serve a request of a cheaper class as the usual one, at its price."""
    async with serving(tmp_path, budgets=CAPPED) as ringside:
        tier = {} if asked is None else {"service_tier": asked}
        await an_answer(ringside, "default", model="fc:openai/gpt-5.4", **tier)

        assert period(ringside, CUSTOMER)[0] <= CAP_NANO
        assert await measured(ringside, "ringside_budget_overrun_total") == 0


@pytest.mark.parametrize(("tier", "times"), [(None, 1), ("default", 1), ("priority", 1.75)])
@pytest.mark.parametrize("asked", [{}, {"service_tier": "priority"}])
async def test_a_deployment_s_own_tier_passes_no_cap(
    tmp_path: Path, tier: str | None, times: float, asked: dict[str, str]
) -> None:
    """Azure's deployments may be of a dearer class, and a request cannot name another one.

    What the caller asked for did not go out: the answer alone says what it was.
    """
    deployments = {"mine": DeploymentSettings(base_model="gpt-4.1")}
    azure = {"azure": ProviderSettings(api_key=Secret("k"), deployments=deployments)}
    async with serving(tmp_path, budgets=CAPPED, more_providers=azure) as ringside:
        await an_answer(ringside, tier, model="fc:azure/mine", **asked)

        [row] = booked(ringside)
        usual = 9 * 2_000 + row["output_tokens"] * 8_000
        assert row["provider_cost_nano"] == usual * times
        assert period(ringside, CUSTOMER)[0] <= CAP_NANO
        assert await measured(ringside, "ringside_budget_overrun_total") == 0
        assert "service_tier" not in ringside.upstream.requests[0].body


async def test_a_tier_without_a_price_of_its_own_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is booked at the usual price; what providers call the usual one is nothing to tell of."""
    tiers = ["scale", "scale", "default", "priority", None]
    async with serving(tmp_path, budgets=CAPPED) as ringside:
        for tier in tiers:
            await an_answer(ringside, tier, max_tokens=5)
        for no_name in ("", "x" * 65):
            await an_answer(ringside, None, max_tokens=5, service_tier=no_name)

        costs = [row["provider_cost_nano"] for row in booked(ringside)]
    told = [record for record in caplog.records if record.name.endswith("unpriced_tiers")]
    assert [vars(record)["code"] for record in told] == ["scale"]
    assert costs[0] == costs[2] == 9 * IN + 5 * OUT
    assert costs[3] > costs[2]
