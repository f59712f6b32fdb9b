"""The models that can be named here. Answers from the bundled table; never waits for a provider."""

from collections.abc import Collection
from typing import Final, Literal

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.providers import catalogue
from ringside_proxy.providers.catalogue import Capability, Model, Pricing
from ringside_proxy.sandbox import embeddings as sandbox_embeddings
from ringside_proxy.sandbox import models as sandbox_models
from ringside_proxy.services.model_routing import ModelRouter

SANDBOX_CREATED: Final = 1795219200
"""When the sandbox's models were made, Unix seconds."""
SANDBOX_SUPPORTS: Final[tuple[Capability, ...]] = ("tools", "json_schema", "vision", "streaming")


class ModelObject(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """`model`: OpenAI's four keys first, then Ringside's own."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    provider: str
    supports: tuple[Capability, ...] = ()
    context_window: int | None = None
    max_output_tokens: int | None = None
    pricing: Pricing | None = None
    resolves_to: str | msgspec.UnsetType = msgspec.UNSET


def listed(
    router: ModelRouter, supports: Collection[str] = (), provider: str | None = None
) -> list[ModelObject]:
    """Every model of every provider that is on, and every slot, that pass the filters."""
    every = [*_of_providers(router), *_slots(router)]
    return [
        model
        for model in every
        if (provider is None or model.provider == provider) and set(supports) <= set(model.supports)
    ]


def named(router: ModelRouter, name: str) -> ModelObject:
    """The model or slot of this id. Raises NotFoundError, in OpenAI's words."""
    for model in listed(router):
        if model.id == name:
            return model
    raise NotFoundError(f"The model '{name}' does not exist", param="model", code="model_not_found")


def _of_providers(router: ModelRouter) -> list[ModelObject]:
    return [
        _object(provider, model)
        for provider in router.active
        for model in (_sandbox_models() if provider == "sandbox" else catalogue.models(provider))
    ]


def _slots(router: ModelRouter) -> list[ModelObject]:
    known = {model.id: model for model in _of_providers(router)}
    slots = []
    for alias, slot in router.slots.items():
        target = known.get(str(slot.ref)) or _object(slot.ref.provider, _unknown(slot.ref.model))
        slots.append(msgspec.structs.replace(target, id=f"slot:{alias}", resolves_to=str(slot.ref)))
    return slots


def _object(provider: str, model: Model) -> ModelObject:
    return ModelObject(
        id=f"fc:{provider}/{model.id}",
        created=model.created,
        owned_by=provider,
        provider=provider,
        supports=model.supports,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        pricing=model.pricing,
    )


def _unknown(name: str) -> Model:
    """A model that the table does not have: a fine-tuned one, or one newer than this version."""
    return Model(
        id=name,
        created=0,
        context_window=None,
        max_output_tokens=None,
        supports=(),
        pricing=None,
    )


def _sandbox_models() -> tuple[Model, ...]:
    chat = tuple(_sandbox_model(row.example, SANDBOX_SUPPORTS) for row in sandbox_models.ROWS)
    return (*chat, _sandbox_model(sandbox_embeddings.NAME, ("embeddings",)))


def _sandbox_model(name: str, supports: tuple[Capability, ...]) -> Model:
    return msgspec.structs.replace(_unknown(name), created=SANDBOX_CREATED, supports=supports)
