"""Token counts of model calls, in one form for all providers."""

from typing import Any

import msgspec


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What a model call consumed.

    `input_tokens` includes cached and cache-write tokens, `output_tokens` includes reasoning
    tokens, whatever the provider reports. `cache_write_1h_input_tokens` is the part of the
    cache-write tokens that is kept for an hour, at a price of its own. `is_estimated`: the
    provider did not say.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_input_tokens: int = 0
    cache_write_1h_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    is_estimated: bool = False

    def __add__(self, other: "TokenUsage") -> "TokenUsage":
        return TokenUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            cache_write_input_tokens=self.cache_write_input_tokens + other.cache_write_input_tokens,
            cache_write_1h_input_tokens=self.cache_write_1h_input_tokens
            + other.cache_write_1h_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            is_estimated=self.is_estimated or other.is_estimated,
        )


NO_USAGE = TokenUsage()
UNCOUNTED = TokenUsage(is_estimated=True)
"""Of a provider that says something of a call, but not how many tokens it was."""


def assistants_usage(usage: TokenUsage) -> dict[str, Any]:
    """The `usage` of a run or step, with the real service's own misspelt key.

    Source: recorded traffic of 2026-03 (`prompt_token_details`), read 2026-11-21.
    """
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_token_details": {"cached_tokens": usage.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def canonical_usage(usage: TokenUsage) -> dict[str, int]:
    """The counts in Ringside's own words, as usage reports and events have them."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "cache_write_input_tokens": usage.cache_write_input_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
