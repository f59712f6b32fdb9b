"""The provider table: rows of `chat/rows.py` where OpenAI's dialect is spoken, else a module."""

from collections.abc import Mapping
from typing import Final

from ringside_proxy.domain.errors import InvalidModelError
from ringside_proxy.providers.anthropic.adapter import Anthropic
from ringside_proxy.providers.bedrock.adapter import Bedrock
from ringside_proxy.providers.chat.adapter import OpenAICompatible
from ringside_proxy.providers.chat.rows import ROWS
from ringside_proxy.providers.cohere.adapter import Cohere
from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.ollama.adapter import Ollama
from ringside_proxy.providers.openai import OPENAI_BY_REQUEST, OpenAI
from ringside_proxy.providers.replicate.adapter import Replicate
from ringside_proxy.providers.responses.perplexity import PERPLEXITY
from ringside_proxy.providers.responses.xai import XAI
from ringside_proxy.providers.types import CompletionRequest, Provider

NATIVE: Final[tuple[Provider, ...]] = (
    Anthropic(),
    OPENAI_BY_REQUEST,
    XAI,
    PERPLEXITY,
    Google(),
    Bedrock(),
    Cohere(),
    Ollama(),
    Replicate(),
)

PROVIDERS: Final[dict[str, Provider]] = {row.name: row for row in (*ROWS, *NATIVE)}


def provider_named(name: str) -> Provider:
    """The provider behind `fc:<name>/…`. Raises InvalidModelError if this version has none."""
    provider = PROVIDERS.get(name)
    if provider is None:
        known = ", ".join(f"'{known}'" for known in PROVIDERS)
        raise InvalidModelError(
            f"Provider '{name}' is not served by this version; it serves {known}.", param="model"
        )
    return provider


def with_deployments(provider: Provider, base_models: Mapping[str, str]) -> Provider:
    """The provider, knowing which model of OpenAI's stands behind each deployment (Azure)."""
    if isinstance(provider, OpenAICompatible) and base_models:
        return provider.with_deployments(base_models)
    return provider


def remembering(provider: Provider) -> Provider:
    """The provider for a process that asks it again and again: what it knows is found out once."""
    return provider.remembering() if isinstance(provider, OpenAI | OpenAICompatible) else provider


def relays(provider: Provider, request: CompletionRequest) -> bool:
    """Whether the answer to `request` is OpenAI's own bytes, to be passed on as they are."""
    if isinstance(provider, OpenAI):
        return not provider.needs_responses(request)
    return provider.speaks_openai
