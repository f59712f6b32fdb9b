"""What an attempt at a model call cost, and what one whose end nobody saw may have cost."""

from typing import Any, Final

import msgspec

from ringside_proxy.domain import model_ref
from ringside_proxy.domain.ledger import Call, bytes_as_tokens
from ringside_proxy.domain.money import markup
from ringside_proxy.domain.pricing import CONFIG, Price
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.reported_costs import machine_us, reported_cost_nano_usd
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.store.ledger import Closing, OrphanHold, Terms
from ringside_proxy.store.usage import Consumed

REPORTED: Final = "provider"
"""The price source of a cost that the provider itself named."""


def consumed_at(
    price: Price | None,
    provider: str,
    usage: TokenUsage,
    raw: dict[str, Any] | None,
    service_tier: str | None,
    terms: Terms,
) -> Consumed:
    """What an attempt cost: by the owner's price, else by the provider's own word, else as listed."""
    cost, source = None, None
    if price is not None:
        cost, source = _cost(price, usage, service_tier, machine_us(raw)), price.source
    if source != CONFIG and raw is not None:
        reported = reported_cost_nano_usd(provider, raw)
        cost, source = (cost, source) if reported is None else (reported, REPORTED)
    return Consumed(
        usage=usage,
        provider_cost_nano=cost,
        markup_nano=None if cost is None else markup(cost, terms.wallet.markup_ppm),
        price_source=source,
        service_tier=service_tier,
        raw=raw,
    )


def _cost(
    price: Price, usage: TokenUsage, service_tier: str | None, seconds_us: int | None
) -> int | None:
    """None if it depends on how long the call took, and nobody knows."""
    if seconds_us is None and price.beforehand is None:
        return None
    return price.cost_nano_usd(
        usage,
        service_tier=service_tier,
        cache_write_1h_tokens=usage.cache_write_1h_input_tokens,
        machine_us=seconds_us or 0,
    )


def at_most(usage: TokenUsage, call: Call) -> TokenUsage:
    """The usage; if it is estimated, with a prompt and an answer as long as they can have been."""
    prompt, answer = call.prompt_tokens_max, call.answer_tokens_max
    if not usage.is_estimated or prompt is None or answer is None:
        return usage
    return msgspec.structs.replace(
        usage,
        input_tokens=min(usage.input_tokens, prompt),
        output_tokens=min(usage.output_tokens, answer),
        reasoning_tokens=min(usage.reasoning_tokens, answer),
    )


def lost(orphan: OrphanHold, saved_bytes: int, snapshot: Snapshot, terms: Terms) -> Closing:
    """The end of a call whose process died: it went out, and nobody heard what came of it.

    Its prompt is known by its length, its answer by what was saved of it.
    """
    call = orphan.call
    price = snapshot.prices.find(model_ref.stored(call.model), orphan.created_ms)
    usage = TokenUsage(
        input_tokens=bytes_as_tokens(call.body_bytes),
        output_tokens=bytes_as_tokens(saved_bytes),
        is_estimated=True,
    )
    usage = at_most(usage, call)
    consumed = consumed_at(price, call.provider, usage, None, call.service_tier, terms)
    return Closing(hold_id=orphan.id, consumed=consumed)
