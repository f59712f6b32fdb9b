"""What each provider does by itself, and what the proxy makes up for: the compatibility matrix.

Generated from the adapters' own capabilities, for one model of each provider that is typical of
what people use it for; other models of it may do more or less.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Capabilities, Provider, Support
from ringside_proxy.providers.verification import Against, Evidence, evidence

TYPICAL_MODELS: Final = {
    "openai": "gpt-4.1",
    "anthropic": "claude-sonnet-4-5",
    "google": "gemini-3.5-flash",
    "mistral": "mistral-large-latest",
    "cohere": "command-a-03-2025",
    "groq": "openai/gpt-oss-120b",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks": "accounts/fireworks/models/llama-v3p3-70b-instruct",
    "perplexity": "sonar",
    "deepseek": "deepseek-flash",
    "xai": "grok-4.3",
    "cerebras": "gpt-oss-120b",
    "sambanova": "Meta-Llama-3.3-70B-Instruct",
    "openrouter": "openai/gpt-4.1",
    "ollama": "qwen3:8b",
    "azure": "gpt-4.1",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "huggingface": "openai/gpt-oss-120b",
    "replicate": "meta/meta-llama-3-70b-instruct",
}

Enforced = Literal["native", "enforced"]


class ToolChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The four forms of `tool_choice`."""

    auto: Support
    none: Support
    required: Support
    named: Support


class Compatibility(msgspec.Struct, frozen=True, kw_only=True):
    """One provider. `enforced`: asked for in words, and the answer checked and repaired.

    `verified_on` and `verified_against` are the strongest of the evidence in `verified`.
    """

    provider: str
    model: str
    docs_url: str
    tool_choice: ToolChoice
    single_tool_call: Support
    json_object: Enforced
    json_schema: Enforced
    streaming: Literal["native"] = "native"
    reasoning: bool
    prompt_caching: bool
    embeddings: bool
    images: Literal["url and data", "none"]
    verified_on: str | None
    verified_against: Against | None
    verified: tuple[Evidence, ...]


def matrix() -> list[Compatibility]:
    """Every provider, in the order of the documentation."""
    return [_row(PROVIDERS[name], model) for name, model in TYPICAL_MODELS.items()]


def markdown() -> str:
    """The matrix as it stands in the README."""
    return "\n".join(_lines())


def _row(provider: Provider, model: str) -> Compatibility:
    able = provider.capabilities(model)
    has_tools = able.tools is not Support.UNSUPPORTED
    none = Support.UNSUPPORTED
    shown = evidence().get(provider.name, ())
    return Compatibility(
        provider=provider.name,
        model=model,
        docs_url=provider.docs_url,
        tool_choice=ToolChoice(
            auto=able.tools,
            none=able.tool_choice_none if has_tools else none,
            required=able.tool_choice_required if has_tools else none,
            named=able.tool_choice_named if has_tools else none,
        ),
        single_tool_call=able.single_tool_call if has_tools else none,
        json_object="native" if able.json_object else "enforced",
        json_schema="native" if able.json_schema else "enforced",
        reasoning=able.reasoning,
        prompt_caching=able.prompt_caching,
        embeddings=provider.has_embeddings,
        images=_images(able),
        verified_on=shown[-1].on if shown else None,
        verified_against=shown[-1].against if shown else None,
        verified=shown,
    )


def _images(able: Capabilities) -> Literal["url and data", "none"]:
    """What a model does not fetch is fetched for it."""
    return "url and data" if able.image_urls or able.image_data else "none"


def _verified(row: Compatibility) -> str:
    return f"{row.verified_on}, {row.verified_against}" if row.verified_on else "not yet"


def _lines() -> Iterator[str]:
    yield (
        "| provider | tools: auto / none / required / named | one call only | json_schema "
        "| reasoning | caching | embeddings | images | verified |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in matrix():
        choice = row.tool_choice
        forms = " / ".join((choice.auto, choice.none, choice.required, choice.named))
        flags = (row.reasoning, row.prompt_caching, row.embeddings)
        yield (
            f"| `{row.provider}` ({row.model}) | {forms} | {row.single_tool_call} "
            f"| {row.json_schema} | "
            + " | ".join("yes" if flag else "no" for flag in flags)
            + f" | {row.images} | {_verified(row)} |"
        )
