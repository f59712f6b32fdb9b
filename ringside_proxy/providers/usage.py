"""The token counts that providers report, in the one form that is billed."""

from typing import Any, Final

from ringside_proxy.domain.usage import TokenUsage

TOKENS_MAX: Final = 1_000_000_000
"""A larger count is a mistake, not a call."""

SERVICE_TIER_CHARS_MAX: Final = 64

CACHED_KEYS: Final = (
    ("prompt_tokens_details", "cached_tokens"),
    ("prompt_token_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),
    ("num_cached_tokens",),
    ("cached_tokens",),
)
"""Where cached input stands, first one wins: OpenAI and most, Mistral, DeepSeek, Mistral, Together."""


def token_usage(reported: Any) -> TokenUsage | None:
    """A chat-shaped `usage` in canonical form; None if it is missing or cannot be true.

    Cached tokens are part of the prompt, and reasoning tokens of the completion, except where the
    total shows that they come on top (xAI).
    """
    if not isinstance(reported, dict):
        return None
    prompt = _count(reported, "prompt_tokens")
    completion = _count(reported, "completion_tokens") if "completion_tokens" in reported else 0
    if prompt is None or completion is None:
        return None

    cached = 0
    for keys in CACHED_KEYS:
        if keys[0] in reported and (found := _count(reported, *keys)):
            cached = found
            break
    reasoning = _count(reported, "completion_tokens_details", "reasoning_tokens") or 0
    total = _count(reported, "total_tokens")
    if cached > prompt and total in (
        prompt + cached + completion,
        prompt + cached + completion + reasoning,
    ):
        prompt += cached
    is_additive = total == prompt + completion + reasoning
    return TokenUsage(
        input_tokens=prompt,
        cached_input_tokens=min(cached, prompt),
        cache_write_input_tokens=min(
            _count(reported, "prompt_tokens_details", "cache_write_tokens") or 0,
            prompt - min(cached, prompt),
        ),
        output_tokens=completion + reasoning if is_additive else completion,
        reasoning_tokens=reasoning if is_additive else min(reasoning, completion),
    )


def service_tier(answer: dict[str, Any]) -> str | None:
    """The tier that an answer, or a part of it, says it was served at."""
    return known_tier(answer.get("service_tier"))


def known_tier(tier: Any) -> str | None:
    """A tier as a provider names it; None if that is no name."""
    return tier if isinstance(tier, str) and 0 < len(tier) <= SERVICE_TIER_CHARS_MAX else None


def token_count(value: Any) -> int | None:
    """A number of tokens as it was reported; None if it is missing or cannot be true."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= TOKENS_MAX
    return value if is_count else None


def _count(reported: dict[str, Any], *keys: str) -> int | None:
    value: Any = reported
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return token_count(value)
