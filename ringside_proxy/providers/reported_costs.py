"""What a call cost, where the provider says so itself beside the usage.

Sources, read 2026-11-21: https://openrouter.ai/docs/use-cases/usage-accounting (`cost` in USD;
with `is_byok` what the provider behind it charges stands in `cost_details`),
https://docs.x.ai/docs/api-reference (`cost_in_usd_ticks`, 10,000,000,000 of them a USD),
https://docs.perplexity.ai/api-reference/agent-post (`cost.total_cost` in USD, searches included).
"""

from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from ringside_proxy.domain.money import NANO_PER_USD
from ringside_proxy.providers.loose_json import object_of

TICKS_PER_NANO_USD: Final = 10
PREDICT_TIME: Final = "predict_time"
"""Seconds that Replicate's machine was at work, among a prediction's metrics."""
MACHINE_S_MAX: Final = 24 * 3600
US_PER_S: Final = 10**6
COST_USD_MAX: Final = 10_000
"""A larger cost of one call is a mistake."""


def reported_cost_nano_usd(provider: str, raw_usage: dict[str, Any]) -> int | None:
    """The cost in the provider's own usage, rounded up; None if it names none that can be true."""
    read = READERS.get(provider)
    cost = read(raw_usage) if read is not None else None
    return cost if cost is not None and 0 <= cost <= COST_USD_MAX * NANO_PER_USD else None


def machine_us(raw_usage: dict[str, Any] | None) -> int | None:
    """How long the provider's machine was at work, rounded up; None if it does not say."""
    seconds: Any = (raw_usage or {}).get(PREDICT_TIME)
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= MACHINE_S_MAX:
        return None
    return int((Decimal(str(seconds)) * US_PER_S).to_integral_value(ROUND_CEILING))


def _openrouter(usage: dict[str, Any]) -> int | None:
    cost = _nano_usd(usage.get("cost"))
    if cost is None or usage.get("is_byok") is not True:
        return cost
    behind = _nano_usd(object_of(usage.get("cost_details")).get("upstream_inference_cost"))
    return None if behind is None else cost + behind


def _xai(usage: dict[str, Any]) -> int | None:
    ticks = usage.get("cost_in_usd_ticks")
    if not isinstance(ticks, int) or isinstance(ticks, bool):
        return None
    return -(-ticks // TICKS_PER_NANO_USD)


def _perplexity(usage: dict[str, Any]) -> int | None:
    return _nano_usd(object_of(usage.get("cost")).get("total_cost"))


READERS: Final[dict[str, Callable[[dict[str, Any]], int | None]]] = {
    "openrouter": _openrouter,
    "perplexity": _perplexity,
    "xai": _xai,
}


def _nano_usd(usd: Any) -> int | None:
    """An amount as the provider wrote it: a float's shortest decimal form is what was sent."""
    is_number = isinstance(usd, int | float) and not isinstance(usd, bool)
    if not is_number or not 0 <= usd <= COST_USD_MAX:
        return None
    return int((Decimal(str(usd)) * NANO_PER_USD).to_integral_value(ROUND_CEILING))
