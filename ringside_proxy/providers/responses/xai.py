"""xAI: the Responses dialect; its chat completions are deprecated.

Source: https://docs.x.ai/docs/api-reference#create-new-response,
https://docs.x.ai/developers/model-capabilities/text/comparison and
https://docs.x.ai/developers/model-capabilities/text/best-practices, read 2026-11-21.
"""

from typing import Final

import msgspec

from ringside_proxy.providers.chat.openai_models import OPENAI_ABILITIES
from ringside_proxy.providers.chat.params import EFFORTS, ModelRules, ParamRules
from ringside_proxy.providers.responses.adapter import Responses, reasoning
from ringside_proxy.providers.responses.input import InputForm

BLIND: Final = msgspec.structs.replace(OPENAI_ABILITIES, image_urls=False, image_data=False)

MODELS: Final = (
    # Of a model that is not known yet, everything is left to xAI.
    ModelRules(prefixes=("",), default_effort="medium", efforts=reasoning(*EFFORTS)),
    ModelRules(
        prefixes=("grok-4.3",),
        default_effort="medium",
        efforts=reasoning("none", "low", "medium", "high"),
    ),
    ModelRules(
        prefixes=("grok-4.5",), default_effort="high", efforts=reasoning("low", "medium", "high")
    ),
    ModelRules(
        prefixes=("grok-4.6", "grok-4.7"),
        default_effort="high",
        efforts=reasoning("low", "medium", "high", "xhigh"),
    ),
    # They reason or do not by their name, and refuse to be told.
    ModelRules(prefixes=("grok-4.20", "grok-4-1-fast"), default_effort="medium"),
    ModelRules(
        prefixes=(
            "grok-4.20-non-reasoning",
            "grok-4.20-0309-non-reasoning",
            "grok-4-1-fast-non-reasoning",
        ),
        abilities=msgspec.structs.replace(OPENAI_ABILITIES, reasoning=False),
    ),
    ModelRules(prefixes=("grok-build", "grok-code"), default_effort="medium", abilities=BLIND),
)

XAI: Final = Responses(
    name="xai",
    base_url="https://api.x.ai/v1",
    docs_url="https://docs.x.ai/docs/api-reference#create-new-response",
    # Penalties and `stop` are refused even at their defaults; `service_tier` is not supported.
    params=ParamRules(
        allowed=frozenset(
            {"temperature", "top_p", "prompt_cache_key", "response_format"}
            | {"tools", "tool_choice", "parallel_tool_calls"}
        ),
        limit="max_completion_tokens",
        has_strict_mode=True,
    ),
    fixed={"store": False, "include": ["reasoning.encrypted_content"]},
    input_form=InputForm(has_developer_role=False),
    has_strict_tools=False,
    abilities=OPENAI_ABILITIES,
    models=MODELS,
)
