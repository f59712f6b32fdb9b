"""Where each provider's models stand in the sources, and which of them are none of ours."""

from typing import Final

import msgspec


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's names in the three tables.

    `prefixes` are what litellm writes before the provider's own model names, `long` what may stand
    before them everywhere. Names like `skips` are none of its models (regions, containers);
    `not_listed` are ids that price names but cannot be called.
    """

    genai: tuple[str, ...] = ()
    litellm: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    models_dev: str = ""
    long: str = ""
    skips: str = "$^"
    not_listed: str = "$^"


SOURCES: Final = {
    "openai": Source(
        genai=("openai",),
        litellm=("openai",),
        prefixes=("openai/",),
        skips="^container$",
        models_dev="openai",
    ),
    "anthropic": Source(
        genai=("anthropic",),
        litellm=("anthropic",),
        prefixes=("anthropic/",),
        models_dev="anthropic",
    ),
    "google": Source(
        genai=("google",),
        litellm=("gemini",),
        prefixes=("gemini/",),
        models_dev="google",
        skips=r"^(claude|gemini-exp|gemini-gemma|learnlm)-",  # Vertex's, and long gone
    ),
    "mistral": Source(
        genai=("mistral",), litellm=("mistral",), prefixes=("mistral/",), models_dev="mistral"
    ),
    "cohere": Source(
        genai=("cohere",),
        litellm=("cohere", "cohere_chat"),
        prefixes=("cohere/", "cohere_chat/"),
        models_dev="cohere",
    ),
    "groq": Source(genai=("groq",), litellm=("groq",), prefixes=("groq/",), models_dev="groq"),
    "together": Source(
        genai=("together",),
        litellm=("together_ai",),
        prefixes=("together_ai/",),
        skips="^together-ai-",  # classes of size
        models_dev="togetherai",
    ),
    "fireworks": Source(
        genai=("fireworks",),
        litellm=("fireworks_ai", "fireworks_ai-embedding-models"),
        prefixes=("fireworks_ai/", "accounts/fireworks/models/"),
        long="accounts/fireworks/models/",
        models_dev="fireworks-ai",
    ),
    "perplexity": Source(
        genai=("perplexity",),
        litellm=("perplexity",),
        prefixes=("perplexity/",),
        skips=r"^(codellama|llama|mistral|mixtral|pplx-\d|sonar-(small|medium)|preset/)",
        models_dev="perplexity-agent",
    ),
    "deepseek": Source(
        genai=("deepseek",),
        litellm=("deepseek",),
        prefixes=("deepseek/",),
        models_dev="deepseek",
    ),
    "xai": Source(genai=("x-ai",), litellm=("xai",), prefixes=("xai/",), models_dev="xai"),
    "cerebras": Source(
        genai=("cerebras",),
        litellm=("cerebras",),
        prefixes=("cerebras/",),
        models_dev="cerebras",
    ),
    "sambanova": Source(litellm=("sambanova",), prefixes=("sambanova/",)),
    "openrouter": Source(
        genai=("openrouter",), models_dev="openrouter", not_listed=r"^[^/]+$|:batch$"
    ),
    "ollama": Source(litellm=("ollama",), prefixes=("ollama/",), not_listed=""),
    "azure": Source(
        genai=("azure",),
        litellm=("azure",),
        prefixes=("azure/",),
        models_dev="azure",
        skips=r"/|^container$",
    ),
    "bedrock": Source(
        genai=("aws",),
        litellm=("bedrock", "bedrock_converse"),
        prefixes=("bedrock/", "converse/"),
        models_dev="amazon-bedrock",
        skips=r"[/@]|^[^.]+$|^(\w+\.)?twelvelabs\.",
        not_listed=r"^regional\.",
    ),
    "huggingface": Source(models_dev="huggingface"),
    "replicate": Source(litellm=("replicate",), prefixes=("replicate/",)),
}

PARTNER: Final = "huggingface_"
"""How genai-prices names the prices of HuggingFace's partners."""
