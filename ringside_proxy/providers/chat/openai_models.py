"""What OpenAI's models take, by the beginning of their names.

Source: https://platform.openai.com/docs/models and the live-verified profiles of pydantic-ai
2.68.0, read 2026-11-21.
"""

from typing import Final

import msgspec

from ringside_proxy.providers.chat.params import EFFORTS, SAMPLING_PARAMS, ModelRules, levels
from ringside_proxy.providers.types import Capabilities, Support

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

OPENAI_ABILITIES: Final = Capabilities(
    tools=Support.NATIVE,
    tool_choice_none=Support.NATIVE,
    tool_choice_required=Support.NATIVE,
    tool_choice_named=Support.NATIVE,
    single_tool_call=Support.NATIVE,
    json_object=True,
    json_schema=True,
    json_schema_with_tools=True,
    image_urls=True,
    image_data=True,
    reasoning=True,
    prompt_caching=True,
)
PLAIN: Final = msgspec.structs.replace(OPENAI_ABILITIES, reasoning=False)
NO_SCHEMA: Final = msgspec.structs.replace(
    PLAIN, json_schema=False, json_schema_with_tools=False, prompt_caching=False
)
BLIND: Final = {"image_urls": False, "image_data": False}

REFUSED: Final = SAMPLING_PARAMS | {"stop"}
LOW_TO_HIGH: Final = levels("low", "medium", "high")
UP_TO_XHIGH: Final = levels("none", "low", "medium", "high", "xhigh")

OPENAI_MODELS: Final = (
    # Of a model that is not known yet, everything is left to OpenAI.
    ModelRules(prefixes=("",), efforts={word: {"reasoning_effort": word} for word in EFFORTS}),
    ModelRules(prefixes=("gpt-4.", "gpt-4o", "chatgpt-4o", "gpt-5-chat"), abilities=PLAIN),
    ModelRules(prefixes=("gpt-4-turbo", "gpt-4o-2024-05-13"), abilities=NO_SCHEMA),
    ModelRules(
        prefixes=("gpt-3.5", "gpt-4"), abilities=msgspec.structs.replace(NO_SCHEMA, **BLIND)
    ),
    ModelRules(
        prefixes=("o1",),
        default_effort="medium",
        efforts=LOW_TO_HIGH,
        refused_params=SAMPLING_PARAMS,
    ),
    ModelRules(
        prefixes=("o3", "o4-mini"),
        default_effort="medium",
        efforts=LOW_TO_HIGH,
        refused_params=REFUSED,
    ),
    ModelRules(
        prefixes=("o3-mini",),
        default_effort="medium",
        efforts=LOW_TO_HIGH,
        refused_params=REFUSED,
        abilities=msgspec.structs.replace(OPENAI_ABILITIES, **BLIND),
    ),
    ModelRules(
        prefixes=("gpt-5",),
        default_effort="medium",
        efforts=levels("minimal", "low", "medium", "high"),
        refused_params=REFUSED,
    ),
    ModelRules(
        # Their effort is fixed: to say it changes nothing, and is refused beside tools.
        prefixes=("gpt-5.1-chat", "gpt-5.2-chat", "gpt-5.3-chat"),
        default_effort="medium",
        efforts={word: {} for word in EFFORTS},
        refused_params=REFUSED,
    ),
    ModelRules(
        prefixes=("gpt-5.1",),
        efforts=levels("none", "low", "medium", "high"),
        refused_params=REFUSED,
    ),
    ModelRules(
        prefixes=("gpt-5.2", "gpt-5.3", "gpt-5.4"),
        efforts=UP_TO_XHIGH,
        off_for="tools",
        refused_params=REFUSED,
    ),
    ModelRules(
        prefixes=("gpt-5.5", "gpt-5.6", "gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra"),
        default_effort="medium",
        efforts=UP_TO_XHIGH,
        off_for="tools",
        refused_params=REFUSED,
    ),
    # Always reasoning, so with tools they answer on the Responses API alone; OpenAI says so itself.
    ModelRules(
        prefixes=("gpt-6-astra", "gpt-6.1-sol"),
        default_effort="medium",
        efforts=levels("low", "medium", "high", "xhigh"),
        off_for="tools",
        refused_params=REFUSED,
    ),
)

ROUTED_OPENAI_MODELS: Final = tuple(
    msgspec.structs.replace(
        rules,
        prefixes=tuple(f"openai/{prefix}" for prefix in rules.prefixes if prefix),
        efforts={
            word: {"reasoning": {"effort": said["reasoning_effort"]}} if said else {}
            for word, said in rules.efforts.items()
        },
        off_for="nothing",
        abilities=None,
    )
    for rules in OPENAI_MODELS
    if rules.prefixes != ("",)
)
"""The same models at OpenRouter, which has its own words for reasoning and takes tools with it."""
