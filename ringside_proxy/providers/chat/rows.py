# long: one table, a row for each provider; splitting it would part facts that are read together
"""The rows: every provider that speaks OpenAI's chat completions, as data.

Each row's facts come from the page that `docs_url` names and from the vendor's SDK types, read
2026-11-21.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.providers.chat.adapter import OPTION_HEADERS, OpenAICompatible
from ringside_proxy.providers.chat.huggingface import HuggingFace
from ringside_proxy.providers.chat.messages import MessageRules
from ringside_proxy.providers.chat.openai_models import (
    NO_SCHEMA,
    OPENAI_ABILITIES,
    OPENAI_MODELS,
    OPENAI_PARAMS,
    ROUTED_OPENAI_MODELS,
)
from ringside_proxy.providers.chat.params import (
    EFFORTS,
    ModelRules,
    ParamRules,
    levels,
    switch,
)
from ringside_proxy.providers.types import Capabilities, Support

SAMPLING: Final = frozenset({"temperature", "top_p", "stop"})
PENALTIES: Final = frozenset({"presence_penalty", "frequency_penalty"})
TOOLS: Final = frozenset({"tools", "tool_choice", "parallel_tool_calls"})
FORMAT: Final = frozenset({"response_format"})
SEED: Final = frozenset({"seed"})
DIMENSIONS: Final = {"dimensions": "dimensions"}
OPENAI_EMBEDDINGS: Final = DIMENSIONS | {"encoding_format": "encoding_format"}
LOW_TO_HIGH: Final = levels("low", "medium", "high")

CALLS: Final = msgspec.structs.replace(
    OPENAI_ABILITIES,
    json_object=False,
    json_schema=False,
    json_schema_with_tools=False,
    image_urls=False,
    image_data=False,
    reasoning=False,
    prompt_caching=False,
)
"""Tools and every choice among them, and nothing else."""


def _able(base: Capabilities = CALLS, **changes: Any) -> Capabilities:
    return msgspec.structs.replace(base, **changes)


OPENAI: Final = OpenAICompatible(
    name="openai",
    key_variables=("OPENAI_API_KEY",),
    base_url="https://api.openai.com/v1",
    docs_url="https://platform.openai.com/docs/api-reference/chat",
    speaks_openai=True,
    embeddings_path="/embeddings",
    embeddings_params=OPENAI_EMBEDDINGS,
    option_headers=OPTION_HEADERS,
    params=ParamRules(
        allowed=OPENAI_PARAMS,
        limit="max_completion_tokens",
        has_choices=True,
        only_functions=False,
        has_strict_mode=True,
    ),
    messages=MessageRules(is_openai=True),
    abilities=OPENAI_ABILITIES,
    models=OPENAI_MODELS,
    pads_streams=True,
    needs_json_word=True,
)

SANDBOX: Final = OpenAICompatible(
    name="sandbox",
    base_url=None,
    docs_url="https://platform.openai.com/docs/api-reference/chat",
    speaks_openai=True,
    embeddings_path="/embeddings",
    embeddings_params=OPENAI_EMBEDDINGS,
    params=ParamRules(
        allowed=OPENAI_PARAMS,
        limit="max_completion_tokens",
        has_choices=True,
        only_functions=False,
    ),
    messages=MessageRules(is_openai=True),
    abilities=OPENAI_ABILITIES,
    models=(ModelRules(prefixes=("",), efforts=levels(*EFFORTS)),),
)

# Its chunks carry content filter results, and the first one neither an id nor a model, so that
# they are not passed on as they are.
AZURE: Final = OpenAICompatible(
    name="azure",
    key_variables=("AZURE_OPENAI_API_KEY",),
    base_url=None,
    docs_url="https://learn.microsoft.com/azure/ai-foundry/openai/latest",
    key_header="api-key",
    embeddings_path="/embeddings",
    embeddings_params=DIMENSIONS,
    params=ParamRules(
        allowed=OPENAI_PARAMS
        - {"audio", "modalities", "n", "functions", "function_call", "web_search_options"}
        - {"logprobs", "top_logprobs", "service_tier", "prompt_cache_options"},
        limit="max_completion_tokens",
        has_strict_mode=True,
    ),
    messages=MessageRules(is_openai=True),
    abilities=OPENAI_ABILITIES,
    models=(
        *OPENAI_MODELS,
        # Azure writes the version without its point.
        ModelRules(prefixes=("gpt-35",), abilities=_able(NO_SCHEMA, image_urls=False)),
    ),
    needs_json_word=True,
)

MISTRAL_SEES: Final = _able(
    json_object=True,
    json_schema=True,
    json_schema_with_tools=True,
    tool_choice_none=Support.EMULATED,
    image_urls=True,
    image_data=True,
    prompt_caching=True,
)
MISTRAL_THINKS: Final = _able(MISTRAL_SEES, reasoning=True)
MISTRAL: Final = OpenAICompatible(
    name="mistral",
    key_variables=("MISTRAL_API_KEY",),
    base_url="https://api.mistral.ai/v1",
    docs_url="https://docs.mistral.ai/api",
    embeddings_path="/embeddings",
    embeddings_params={"dimensions": "output_dimension"},
    params=ParamRules(
        allowed=SAMPLING | PENALTIES | TOOLS | FORMAT | SEED | {"prediction"},
        limit="max_tokens",
        renamed={"seed": "random_seed"},
        choice_words={"required": "any"},
        drops_addresses=True,
        needs_parameters=True,
    ),
    messages=MessageRules(
        merges_system=True,
        named_roles=("tool",),
        null_content="empty",
        has_strict_order=True,
        tool_ids="alnum9",
        replay="thinking",
    ),
    abilities=_able(MISTRAL_SEES, image_urls=False, image_data=False),
    models=(
        ModelRules(prefixes=("pixtral", "ministral", "mistral-large"), abilities=MISTRAL_SEES),
        ModelRules(
            prefixes=("mistral-medium", "mistral-small"),
            efforts=levels("none", "high"),
            abilities=MISTRAL_THINKS,
        ),
        ModelRules(
            prefixes=("mistral-large-4",),
            default_effort="medium",
            efforts=LOW_TO_HIGH,
            abilities=MISTRAL_THINKS,
        ),
        ModelRules(
            prefixes=("magistral",),
            default_effort="high",
            extra={"prompt_mode": "reasoning"},
            abilities=MISTRAL_THINKS,
        ),
        ModelRules(
            prefixes=("zai-glm",),
            default_effort="high",
            efforts=levels("low", "high", "max"),
            abilities=_able(MISTRAL_THINKS, image_urls=False, image_data=False),
        ),
    ),
    asks_for_usage=False,
    needs_json_word=True,
)

GROQ_PLAIN: Final = _able(json_object=True)
GROQ: Final = OpenAICompatible(
    name="groq",
    key_variables=("GROQ_API_KEY",),
    base_url="https://api.groq.com/openai/v1",
    docs_url="https://console.groq.com/docs/api-reference",
    params=ParamRules(
        allowed=SAMPLING | TOOLS | FORMAT | SEED,
        limit="max_completion_tokens",
        format_with_tools=False,
    ),
    messages=MessageRules(
        developer_prefixes=("",), named_roles=(), null_content="omit", replay="reasoning"
    ),
    abilities=GROQ_PLAIN,
    models=(
        # A model that does not reason refuses these knobs, one that does wants its own.
        ModelRules(
            prefixes=("openai/gpt-oss",),
            default_effort="medium",
            efforts=LOW_TO_HIGH,
            extra={"include_reasoning": True},
            abilities=_able(GROQ_PLAIN, json_schema=True, reasoning=True, prompt_caching=True),
        ),
        ModelRules(
            prefixes=("qwen/qwen3",),
            default_effort="high",
            efforts=switch({"reasoning_effort": "none"}, {"reasoning_effort": "default"}),
            extra={"reasoning_format": "parsed"},
            abilities=_able(GROQ_PLAIN, reasoning=True),
        ),
        ModelRules(
            prefixes=("qwen/qwen3.8",),
            default_effort="high",
            efforts=levels("none", "low", "medium", "high"),
            extra={"reasoning_format": "parsed"},
            abilities=_able(GROQ_PLAIN, reasoning=True),
        ),
        ModelRules(
            prefixes=("meta-llama/llama-4",),
            abilities=_able(GROQ_PLAIN, image_urls=True, image_data=True),
        ),
    ),
    needs_json_word=True,
    think_tags=True,
)

TOGETHER_PLAIN: Final = _able(json_object=True, image_urls=True, image_data=True)
TOGETHER_THINKS: Final = _able(TOGETHER_PLAIN, reasoning=True)
TOGETHER: Final = OpenAICompatible(
    name="together",
    key_variables=("TOGETHER_API_KEY",),
    base_url="https://api.together.ai/v1",
    docs_url="https://docs.together.ai/reference/chat-completions-1",
    embeddings_path="/embeddings",
    params=ParamRules(
        allowed=SAMPLING | PENALTIES | TOOLS | FORMAT | SEED | {"logit_bias"},
        limit="max_tokens",
        stop_is_list=True,
        keeps_strict=False,
    ),
    messages=MessageRules(has_image_detail=False),
    abilities=TOGETHER_PLAIN,
    models=(
        ModelRules(
            prefixes=("openai/gpt-oss",),
            default_effort="medium",
            efforts={k: v for k, v in LOW_TO_HIGH.items() if k != "none"},
            abilities=TOGETHER_THINKS,
        ),
        ModelRules(
            prefixes=("deepseek-ai/deepseek-v4",),
            default_effort="high",
            efforts={k: v for k, v in levels("high", "max").items() if k != "none"},
            abilities=TOGETHER_THINKS,
        ),
        ModelRules(
            prefixes=("qwen/qwen3", "zai-org/glm", "moonshotai/kimi"),
            default_effort="high",
            efforts=switch({"reasoning": {"enabled": False}}, {"reasoning": {"enabled": True}}),
            abilities=TOGETHER_THINKS,
        ),
        ModelRules(prefixes=("deepseek-ai/deepseek-r1",), abilities=TOGETHER_THINKS),
    ),
    think_tags=True,
)

FIREWORKS_EFFORTS: Final = levels("none", "low", "medium", "high")
FIREWORKS_MODELS: Final = "accounts/fireworks/models/"
FIREWORKS: Final = OpenAICompatible(
    name="fireworks",
    key_variables=("FIREWORKS_API_KEY",),
    base_url="https://api.fireworks.ai/inference/v1",
    docs_url="https://docs.fireworks.ai/api-reference/post-chatcompletions",
    embeddings_path="/embeddings",
    embeddings_params=DIMENSIONS,
    model_prefix=FIREWORKS_MODELS,
    params=ParamRules(
        allowed=SAMPLING
        | PENALTIES
        | TOOLS
        | FORMAT
        | SEED
        | {"logit_bias", "prediction", "prompt_cache_key"},
        limit="max_tokens",
        keeps_strict=False,
        format_with_tools=False,
        # The default cuts the conversation without a word.
        extra={"context_length_exceeded_behavior": "error"},
    ),
    messages=MessageRules(named_roles=(), replay="reasoning_content"),
    abilities=_able(
        json_object=True,
        json_schema=True,
        image_urls=True,
        image_data=True,
        reasoning=True,
        prompt_caching=True,
    ),
    models=(
        ModelRules(prefixes=("",), efforts=FIREWORKS_EFFORTS),
        ModelRules(
            prefixes=(f"{FIREWORKS_MODELS}minimax",),
            default_effort="high",
            efforts={k: v for k, v in LOW_TO_HIGH.items() if k != "none"},
        ),
    ),
    needs_json_word=True,
    needs_schema_words=True,
    think_tags=True,
)

DEEPSEEK_ABLE: Final = _able(
    single_tool_call=Support.EMULATED, json_object=True, reasoning=True, prompt_caching=True
)
DEEPSEEK_RULES: Final = ModelRules(
    prefixes=("",),
    default_effort="high",
    efforts=levels("low", "high", "max")
    | {"none": {"thinking": {"type": "disabled"}}, "xhigh": {"reasoning_effort": "high"}},
    off_for="forced_tools",
    refused_params=frozenset({"temperature", "top_p"}),
)
DEEPSEEK: Final = OpenAICompatible(
    name="deepseek",
    key_variables=("DEEPSEEK_API_KEY",),
    base_url="https://api.deepseek.com",
    docs_url="https://api-docs.deepseek.com",
    params=ParamRules(
        allowed=SAMPLING | FORMAT | {"tools", "tool_choice"},
        limit="max_tokens",
        keeps_strict=False,
    ),
    messages=MessageRules(replay="reasoning_content", replay_is_required=True),
    abilities=DEEPSEEK_ABLE,
    models=(
        DEEPSEEK_RULES,
        msgspec.structs.replace(
            DEEPSEEK_RULES,
            prefixes=("deepseek-flash",),
            abilities=_able(DEEPSEEK_ABLE, image_urls=True, image_data=True),
        ),
    ),
    needs_json_word=True,
)

CEREBRAS: Final = OpenAICompatible(
    name="cerebras",
    key_variables=("CEREBRAS_API_KEY",),
    base_url="https://api.cerebras.ai/v1",
    docs_url="https://inference-docs.cerebras.ai/api-reference/chat-completions",
    params=ParamRules(
        allowed=SAMPLING | PENALTIES | TOOLS | FORMAT | SEED | {"prediction", "prompt_cache_key"},
        limit="max_completion_tokens",
        # The limiter reserves the maximum of a call that sets none, and refuses the next one.
        limit_default=16_384,
        closes_schemas=True,
        extra={"reasoning_format": "parsed"},
    ),
    messages=MessageRules(developer_prefixes=("gpt-oss",), replay="reasoning"),
    abilities=_able(json_object=True, json_schema=True, reasoning=True, prompt_caching=True),
    models=(
        ModelRules(prefixes=("gpt-oss",), default_effort="medium", efforts=LOW_TO_HIGH),
        ModelRules(
            prefixes=("qwen",),
            default_effort="medium",
            efforts=levels("none", "low", "medium", "high"),
        ),
        ModelRules(prefixes=("kimi",), default_effort="high", efforts=levels("low", "high", "max")),
        ModelRules(
            prefixes=("zai-glm",),
            default_effort="high",
            efforts=levels("low", "high", "max"),
            has_replay=False,
        ),
    ),
)

# Its JSON modes only check what the model wrote, and fail the call: they are never asked for.
SAMBANOVA_ABLE: Final = _able(image_data=True)
SAMBANOVA: Final = OpenAICompatible(
    name="sambanova",
    key_variables=("SAMBANOVA_API_KEY",),
    base_url="https://api.sambanova.ai/v1",
    docs_url="https://docs.sambanova.ai/docs/en/api-reference/overview",
    embeddings_path="/embeddings",
    params=ParamRules(
        allowed=SAMPLING | TOOLS | SEED | {"logit_bias"}, limit="max_tokens", keeps_strict=False
    ),
    messages=MessageRules(merges_system=True),
    abilities=SAMBANOVA_ABLE,
    models=(
        ModelRules(
            prefixes=("gpt-oss",),
            default_effort="medium",
            efforts=LOW_TO_HIGH,
            abilities=_able(SAMBANOVA_ABLE, reasoning=True),
        ),
        ModelRules(
            prefixes=("qwen3", "deepseek-v3.1", "deepseek-v3.2"),
            efforts=switch(
                {"chat_template_kwargs": {"enable_thinking": False}},
                {"chat_template_kwargs": {"enable_thinking": True}},
            ),
            abilities=_able(SAMBANOVA_ABLE, reasoning=True),
        ),
        ModelRules(prefixes=("deepseek-r1",), abilities=_able(SAMBANOVA_ABLE, reasoning=True)),
    ),
    think_tags=True,
)

# Routes differ: only required parameters and the plain choices are sure on all that are taken.
OPENROUTER: Final = OpenAICompatible(
    name="openrouter",
    key_variables=("OPENROUTER_API_KEY",),
    base_url="https://openrouter.ai/api/v1",
    docs_url="https://openrouter.ai/docs/api-reference/chat-completion",
    embeddings_path="/embeddings",
    embeddings_params=DIMENSIONS,
    option_headers={"referer": "HTTP-Referer", "title": "X-Title"},
    params=ParamRules(
        allowed=SAMPLING
        | PENALTIES
        | TOOLS
        | FORMAT
        | SEED
        | {"logit_bias", "verbosity", "provider"},
        limit="max_tokens",
        keeps_cache_control=True,
        drops_neutral=True,
        has_strict_mode=True,
        requires_support=True,
    ),
    messages=MessageRules(
        developer_prefixes=("openai/", "anthropic/"),
        flattens_text=False,
        keeps_cache_control=True,
        replay="reasoning_details",
    ),
    abilities=_able(
        tool_choice_named=Support.EMULATED,
        single_tool_call=Support.EMULATED,
        json_object=True,
        json_schema=True,
        image_urls=True,
        image_data=True,
        reasoning=True,
        prompt_caching=True,
    ),
    models=(
        ModelRules(
            prefixes=("",),
            efforts=levels(
                *("none", "minimal", "low", "medium", "high", "xhigh"),
                field="effort",
                inside="reasoning",
            ),
        ),
        *ROUTED_OPENAI_MODELS,
    ),
)

# What a partner heeds is the partner's business; only of a pinned one is it known beforehand.
PARTNER: Final = _able(json_object=True, json_schema=True, single_tool_call=Support.EMULATED)
HUGGINGFACE: Final = HuggingFace(
    name="huggingface",
    key_variables=("HF_TOKEN",),
    base_url="https://router.huggingface.co/v1",
    docs_url="https://huggingface.co/docs/inference-providers/tasks/chat-completion",
    option_headers={"bill_to": "X-HF-Bill-To"},
    params=ParamRules(
        allowed=SAMPLING | PENALTIES | FORMAT | SEED | {"tools", "tool_choice"},
        limit="max_tokens",
        keeps_strict=False,
    ),
    abilities=Capabilities(
        tools=Support.NATIVE, json_object=True, image_urls=True, image_data=True, reasoning=True
    ),
    partner_abilities={
        "cerebras": _able(PARTNER, reasoning=True),
        "fireworks-ai": _able(PARTNER, image_urls=True, image_data=True, reasoning=True),
    },
    models=(
        ModelRules(prefixes=("",), efforts={k: v for k, v in LOW_TO_HIGH.items() if k != "none"}),
    ),
    think_tags=True,
)

ROWS: Final = (
    OPENAI,
    MISTRAL,
    GROQ,
    TOGETHER,
    FIREWORKS,
    DEEPSEEK,
    CEREBRAS,
    SAMBANOVA,
    OPENROUTER,
    AZURE,
    HUGGINGFACE,
    SANDBOX,
)
