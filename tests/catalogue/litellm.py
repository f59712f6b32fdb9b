"""Reads prices and facts out of litellm's table of models, a JSON file of one object per name."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

RATE_KEYS: Final = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_token": "output",
}
PRICE_KEY: Final = re.compile(
    rf"({'|'.join(sorted(RATE_KEYS, key=len, reverse=True))})"
    r"(?:_above_(\d+)k_tokens)?(?:_(flex|priority))?"
)
CHAT_MODES: Final = ("chat", "completion", "responses")
FLAGS: Final = {
    "supports_function_calling": "tools",
    "supports_response_schema": "json_schema",
    "supports_reasoning": "reasoning",
    "supports_vision": "vision",
    "supports_prompt_caching": "prompt_caching",
}
MILLION: Final = 1_000_000


class Entry(msgspec.Struct, kw_only=True):
    """One name of the table. `deprecated_on` is empty or a date; `price` empty if unknown."""

    name: str
    facts: dict[str, Any]
    price: dict[str, Any]
    deprecated_on: str


def entries(
    table: dict[str, Any], providers: tuple[str, ...], prefixes: tuple[str, ...]
) -> Iterator[Entry]:
    """The models for text and embeddings of some of its providers, prefixes cut off."""
    for key, given in table.items():
        if given.get("litellm_provider") not in providers:
            continue
        is_chat = given.get("mode") in CHAT_MODES
        if not is_chat and given.get("mode") != "embedding":
            continue
        name = key
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        yield Entry(
            name=name,
            facts=_facts(given, is_chat=is_chat),
            price=_price(given, is_chat=is_chat),
            deprecated_on=given.get("deprecation_date") or "",
        )


def _facts(given: dict[str, Any], *, is_chat: bool) -> dict[str, Any]:
    if not is_chat:
        return _counts(given, "max_input_tokens", None) | {"supports": ["embeddings"]}
    supports = [ours for theirs, ours in FLAGS.items() if given.get(theirs)]
    return _counts(given, "max_input_tokens", "max_output_tokens") | {
        "supports": [*supports, "streaming"]
    }


def _counts(given: dict[str, Any], context: str, output: str | None) -> dict[str, Any]:
    counts = {"context_window": given.get(context)}
    if output is not None:
        counts["max_output_tokens"] = given.get(output)
    return {name: int(count) for name, count in counts.items() if count}


def _price(given: dict[str, Any], *, is_chat: bool) -> dict[str, Any]:
    """The price; empty where the table has none, or has nothing but zeros, which it means by that."""
    tiers: dict[tuple[str | None, int], dict[str, Decimal]] = {}
    for key, value in given.items():
        found = PRICE_KEY.fullmatch(key)
        if found is None or value is None:
            continue
        rate, above, service = found.groups()
        rates = tiers.setdefault((service, int(above or 0) * 1000), {})
        rates[RATE_KEYS[rate]] = Decimal(value) * MILLION
    usual = tiers.get((None, 0), {})
    if not is_chat:
        usual = {"input": usual["input"]} if "input" in usual else {}
        tiers = {(None, 0): usual}
    if not any(usual.values()) or "input" not in usual or (is_chat and "output" not in usual):
        return {}
    services = {
        name: usual | _tiered(tiers, name)
        for name in sorted({service for service, _ in tiers if service is not None})
    }
    fee = given.get("input_cost_per_request")
    return (
        _tiered(tiers, None)
        | ({"service_tiers": services} if services else {})
        | ({"per_request": Decimal(fee)} if fee else {})
    )


def _tiered(
    tiers: dict[tuple[str | None, int], dict[str, Decimal]], service: str | None
) -> dict[str, Any]:
    """The rates of one class of service; what a tier does not name goes on from below it."""
    base = tiers.get((None, 0), {}) | tiers.get((service, 0), {})
    made: dict[str, Any] = dict(base)
    higher = []
    for above in sorted({above for kind, above in tiers if kind == service and above}):
        base = base | tiers[service, above]
        higher.append({"above": above} | base)
    return made | ({"tiers": higher} if higher else {})
