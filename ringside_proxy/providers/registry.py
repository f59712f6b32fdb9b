"""The provider table: rows of `openai_rows.py` where OpenAI's dialect is spoken, else a module."""

from collections.abc import Mapping
from typing import Final

from ringside_proxy.domain.errors import InvalidModelError
from ringside_proxy.providers.anthropic import Anthropic
from ringside_proxy.providers.bedrock import Bedrock
from ringside_proxy.providers.cohere import Cohere
from ringside_proxy.providers.google import Google
from ringside_proxy.providers.ollama import Ollama
from ringside_proxy.providers.openai import OPENAI_BY_REQUEST, OpenAI
from ringside_proxy.providers.openai_compatible import OpenAICompatible
from ringside_proxy.providers.openai_rows import ROWS
from ringside_proxy.providers.perplexity import PERPLEXITY
from ringside_proxy.providers.replicate import Replicate
from ringside_proxy.providers.types import CompletionRequest, Provider
from ringside_proxy.providers.xai import XAI

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


def relays(provider: Provider, request: CompletionRequest) -> bool:
    """Whether the answer to `request` is OpenAI's own bytes, to be passed on as they are."""
    if isinstance(provider, OpenAI):
        return not provider.needs_responses(request)
    return provider.speaks_openai
