"""Prompts of which a part is at the provider already: the length of a request says nothing of it."""

from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.settings.money import BudgetSettings
from ringside_proxy.settings.schema import ProviderSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import serving
from tests.api.test_money_watched import measured
from tests.api.test_spending import IN, OUT, completion, period
from tests.api.test_spending_ends import CHAT, CUSTOMER, body
from tests.fakes import json_reply, usage

WINDOW: Final = 128_000
"""Of gpt-4o-mini."""
ENOUGH: Final = WINDOW * IN + 300 * OUT
PDF: Final = {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}


def reading(file: dict[str, Any]) -> dict[str, Any]:
    """A request about a file."""
    parts = [{"type": "text", "text": "What is it?"}, {"type": "file", "file": file}]
    return body(messages=[{"role": "user", "content": parts}], max_tokens=300)


def whole_window() -> dict[str, Any]:
    """An answer whose prompt was as long as the model reads."""
    return completion(300) | {"usage": usage(WINDOW, 300)}


@pytest.mark.parametrize(
    "file", [{"file_id": "file-1"}, PDF | {"file_id": "file-1"}, {"file_url": "https://x"}]
)
async def test_a_file_at_the_provider_is_held_for_at_the_whole_window(
    tmp_path: Path, file: dict[str, Any]
) -> None:
    """However long it is, the cap is not passed; a cap that cannot pay for that is 402."""
    too_little = BudgetSettings(default_monthly_nano_usd=WINDOW * IN + 255 * OUT)
    async with serving(tmp_path, budgets=too_little) as ringside:
        refused = await ringside.developer.post(CHAT, reading(file) | {"user": "another"})
        assert (refused.status, ringside.upstream.requests) == (402, [])

    enough = BudgetSettings(default_monthly_nano_usd=ENOUGH)
    async with serving(tmp_path, budgets=enough) as ringside:
        ringside.upstream.enqueue(json_reply(whole_window()))
        assert (await ringside.developer.post(CHAT, reading(file))).status == 200
        assert period(ringside, CUSTOMER) == (ENOUGH, 0)
        assert await measured(ringside, "ringside_budget_overrun_total") == 0


async def test_a_file_that_goes_along_is_held_for_at_its_length(tmp_path: Path) -> None:
    """As text is: a small one is affordable under a small cap."""
    small = BudgetSettings(default_monthly_nano_usd=2_000 * IN + 300 * OUT)
    async with serving(tmp_path, budgets=small) as ringside:
        ringside.upstream.enqueue(json_reply(completion(300)))
        assert (await ringside.developer.post(CHAT, reading(PDF))).status == 200


async def test_cached_content_is_held_for_at_the_whole_window(tmp_path: Path) -> None:
    """Gemini reads what a cache of the owner's holds, at the price of cached input."""
    google = {"google": ProviderSettings(api_key=Secret("k"), max_retries=0)}
    a_dollar = BudgetSettings(default_monthly_nano_usd=10**9)
    async with serving(tmp_path, budgets=a_dollar, more_providers=google) as ringside:
        asked = body(model="fc:google/gemini-2.5-pro", max_tokens=300)
        plain = await ringside.developer.post(CHAT, asked)
        cached = await ringside.developer.post(CHAT, asked | {"cached_content": "cachedContents/1"})

    assert plain.status != 402
    assert (cached.status, len(ringside.upstream.requests)) == (402, 1)
