"""The provider table. A provider that speaks OpenAI's dialect is a row of `openai_rows.py`."""

from collections.abc import Mapping
from typing import Final

from ringside_proxy.domain.errors import InvalidModelError
from ringside_proxy.providers.openai_compatible import OpenAICompatible
from ringside_proxy.providers.openai_rows import ROWS
from ringside_proxy.providers.types import Provider

PROVIDERS: Final[dict[str, Provider]] = {row.name: row for row in ROWS}


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
