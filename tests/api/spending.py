"""Calls that were made, booked straight into a running proxy's store."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.pricing import Price, Rates, Tier
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.store import ledger
from ringside_proxy.store.ledger import Ask, Hold, Terms
from ringside_proxy.store.usage import Consumed
from tests.api.rig import Ringside

NANO_PER_TOKEN: Final = 1_000
"""What an output token costs here; input costs nothing."""
RATES: Final = Rates(
    input=0, cached_input=0, cache_write=0, cache_write_1h=0, output=NANO_PER_TOKEN * 10**6
)
PRICE: Final = Price(source="test", tiers=(Tier(0, RATES),))
MODEL: Final = "fc:openai/gpt-4o-mini"


async def hold(
    ringside: Ringside, customer: str | None, tokens: int, **call: Any
) -> Hold | RingsideError:
    """Keep back what so many output tokens cost; 1 is the least that makes sense."""
    usual = {"kind": "chat.completion", "model": MODEL, "requested_model": "slot:fast"}
    usual |= {"provider": "openai", "token": "tok_1", "customer": customer}
    ask = Ask(
        hold_id=ringside.proxy.services.new_id("hold"),
        boot="boot_test",
        call=msgspec.convert(usual | call, Call),
        price=PRICE,
        input_tokens_max=0,
        output_tokens_max=tokens,
        output_tokens_min=tokens,
    )
    return await ringside.proxy.services.db.write(ledger.reserve, ask, terms(ringside))


async def spend(
    ringside: Ringside,
    customer: str | None,
    tokens: int,
    *,
    is_priced: bool = True,
    markup_nano: int = 0,
    usage: dict[str, Any] | None = None,
    **call: Any,
) -> str:
    """A call that gave so many output tokens, booked; gives the id of its usage record."""
    held = await hold(ringside, customer, tokens, **call)
    assert isinstance(held, Hold), held
    used = TokenUsage(output_tokens=tokens, **usage or {})
    consumed = Consumed(
        usage=used,
        provider_cost_nano=PRICE.cost_nano_usd(used) if is_priced else None,
        markup_nano=markup_nano if is_priced else None,
        price_source="test" if is_priced else None,
    )
    assert await ringside.proxy.services.db.write(
        ledger.settle, held.id, consumed, terms(ringside), None
    )
    return held.id.replace("hold_", "use_")


def terms(ringside: Ringside) -> Terms:
    """What the proxy's configuration says of money."""
    return Terms(budgets=ringside.settings.budgets, wallet=ringside.settings.wallet)
