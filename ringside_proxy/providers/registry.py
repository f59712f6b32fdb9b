"""The provider table. A provider that speaks OpenAI's dialect is a row here and nothing else."""

from typing import Final

from ringside_proxy.domain.errors import InvalidModelError
from ringside_proxy.providers.openai_compatible import (
    SAMPLING_PARAMS,
    OpenAICompatible,
    ReasoningModels,
)
from ringside_proxy.providers.types import Provider

OPENAI_PARAMS: Final = SAMPLING_PARAMS | {
    "audio",
    "function_call",
    "functions",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "tool_choice",
    "tools",
    "verbosity",
    "web_search_options",
}
"""Left out: `user`, `metadata` and `store`, which would leave the owner's data at the provider."""

OPENAI_REASONING: Final = (
    ReasoningModels(prefixes=("o1",), default_effort="medium", refused_params=SAMPLING_PARAMS),
    ReasoningModels(
        prefixes=("o3", "o4-mini", "gpt-5", "gpt-5.1-chat", "gpt-5.2-chat", "gpt-5.3-chat"),
        default_effort="medium",
    ),
    ReasoningModels(prefixes=("gpt-5-chat",), default_effort="none"),
    ReasoningModels(prefixes=("gpt-5.1",), default_effort="none", can_turn_off=True),
    ReasoningModels(
        prefixes=("gpt-5.2", "gpt-5.3", "gpt-5.4"),
        default_effort="none",
        can_turn_off=True,
        tools_need_off=True,
    ),
    ReasoningModels(
        prefixes=("gpt-5.5", "gpt-5.6", "gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"),
        default_effort="medium",
        can_turn_off=True,
        tools_need_off=True,
    ),
    # Always reasoning, so with tools they answer on the Responses API alone; OpenAI says so itself.
    ReasoningModels(
        prefixes=("gpt-6-astra", "gpt-6.1-sol"), default_effort="medium", tools_need_off=True
    ),
)

PROVIDERS: Final[dict[str, OpenAICompatible]] = {
    row.name: row
    for row in (
        OpenAICompatible(
            name="openai",
            base_url="https://api.openai.com/v1",
            docs_url="https://platform.openai.com/docs/api-reference/chat",
            verified_on=None,
            key_variables=("OPENAI_API_KEY",),
            max_tokens_field="max_completion_tokens",
            allowed_params=OPENAI_PARAMS,
            pads_streams=True,
            reasoning_models=OPENAI_REASONING,
        ),
        OpenAICompatible(
            name="sandbox",
            base_url=None,
            docs_url="https://platform.openai.com/docs/api-reference/chat",
            verified_on="2026-11-21",
            max_tokens_field="max_completion_tokens",
            allowed_params=OPENAI_PARAMS,
        ),
    )
}


def provider_named(name: str) -> Provider:
    """The provider behind `fc:<name>/…`. Raises InvalidModelError if this version has none."""
    provider = PROVIDERS.get(name)
    if provider is None:
        known = ", ".join(f"'{known}'" for known in PROVIDERS)
        raise InvalidModelError(
            f"Provider '{name}' is not served by this version; it serves {known}.", param="model"
        )
    return provider
