"""An answer whose provider does not count: estimated, but never longer than it was allowed to be."""

from pathlib import Path
from typing import Any, Final

import pytest

from ringside_proxy.settings.money import BudgetSettings
from tests.api.rig import serving
from tests.api.test_money_watched import measured
from tests.api.test_spending import booked, nothing_is_held, period
from tests.api.test_spending_ends import CHAT, CUSTOMER, body
from tests.fakes import Scripted, chunk, stream_reply

CAP_NANO: Final = 600_000
"""Of gpt-4o-mini: less than 1,000 tokens out, so that the answer is limited by it."""
LONG_WORD: Final = " Donaudampfschifffahrtsgesellschaft" * 2
"""One piece of the stream; whatever it is in tokens, the provider keeps to its limit."""


def uncounted(request: dict[str, Any]) -> Scripted:
    """As many pieces as tokens are allowed, and no usage."""
    pieces = [chunk({"content": LONG_WORD}) for _ in range(request["max_completion_tokens"])]
    return stream_reply(*pieces, chunk({}, "length"), b"data: [DONE]\n\n")


@pytest.mark.parametrize("more", [{}, {"tools": [{"type": "function", "function": {"name": "f"}}]}])
async def test_an_estimate_passes_no_cap(tmp_path: Path, more: dict[str, Any]) -> None:
    """Its text looks like more tokens than were paid for; there cannot have been more."""
    async with serving(
        tmp_path, budgets=BudgetSettings(default_monthly_nano_usd=CAP_NANO)
    ) as proxy:
        proxy.upstream.enqueue(uncounted)

        answer = await proxy.developer.post(CHAT, body(stream=True, **more))

        assert answer.status == 200
        await nothing_is_held(proxy)
        [row], [asked] = booked(proxy), proxy.upstream.requests
        assert row["estimated"] == 1
        assert row["output_tokens"] == asked.body["max_completion_tokens"]
        assert period(proxy, CUSTOMER)[0] <= CAP_NANO
        assert await measured(proxy, "ringside_budget_overrun_total") == 0
