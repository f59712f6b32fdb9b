"""The models that can be named here.

Answered from the bundled table and from what providers listed last; never waits for one of them.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.model_facts import Capability
from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.money import usd, usd_or_null
from ringside_proxy.domain.price_lists import ListedRates
from ringside_proxy.providers import catalogue
from ringside_proxy.providers.catalogue import Model
from ringside_proxy.providers.listings import ListedModel
from ringside_proxy.providers.types import Capabilities, Provider, Support
from ringside_proxy.sandbox import embeddings as sandbox_embeddings
from ringside_proxy.sandbox import models as sandbox_models
from ringside_proxy.services.live_models import LiveModels
from ringside_proxy.services.model_routing import ModelRouter, unknown_model
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.system import Clock

SANDBOX_CREATED: Final = 1795219200
"""When the sandbox's models were made, Unix seconds."""
SANDBOX_SUPPORTS: Final[tuple[Capability, ...]] = ("tools", "json_schema", "vision", "streaming")
LiveLists = Mapping[str, tuple[ListedModel, ...]]
KEPT_MS: Final = 10 * 60_000


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens of a short request, for showing; None where there is no such price."""

    input: float
    cached_input: float | None
    cache_write: float | None
    output: float | None


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


class Models:
    """What `/v1/models` answers.

    Made on a thread, for it may take a tenth of a second where many providers are on; and kept for a
    while: all that changes by itself are prices of hours.
    """

    def __init__(self, clock: Clock, live: LiveModels) -> None:
        self._clock = clock
        self.live = live
        self._making = asyncio.Lock()
        self._kept: tuple[Snapshot, tuple[int, int], list[ModelObject]] | None = None

    async def listed(
        self, snapshot: Snapshot, supports: Collection[str] = (), provider: str | None = None
    ) -> list[ModelObject]:
        """Every model of every provider that is on, and every slot, that pass the filters."""
        return [
            model
            for model in await self._every(snapshot)
            if (provider is None or model.provider == provider)
            and set(supports) <= set(model.supports)
        ]

    async def named(self, snapshot: Snapshot, name: str) -> ModelObject:
        """The model or slot of this id. Raises NotFoundError, in OpenAI's words."""
        for model in await self._every(snapshot):
            if model.id == name:
                return model
        raise NotFoundError(
            f"The model '{name}' does not exist", param="model", code="model_not_found"
        )

    async def _every(self, snapshot: Snapshot) -> list[ModelObject]:
        async with self._making:
            now_ms = self._clock.now_ms()
            state = (self.live.version, now_ms // KEPT_MS)
            if self._kept is None or self._kept[0] is not snapshot or self._kept[1] != state:
                made = await asyncio.to_thread(_every, snapshot, self.live.known, now_ms)
                self._kept = (snapshot, state, made)
            return self._kept[2]


def _every(snapshot: Snapshot, live: LiveLists, at_ms: int) -> list[ModelObject]:
    models = [
        _object(snapshot, at_ms, ModelRef(provider, model.id), model)
        for provider in snapshot.router.active
        for model in _of(snapshot.router, provider, live.get(provider, ()))
    ]
    return [*models, *_slots(snapshot, at_ms, {model.id: model for model in models})]


def _of(router: ModelRouter, provider: str, live: tuple[ListedModel, ...]) -> Iterable[Model]:
    """A provider's models: where the owner named some (Azure's deployments), those and no others;
    else those of the table, and those that the provider lists beside them.
    """
    own = [ref for ref in router.behind if ref.provider == provider]
    if own:
        return [
            msgspec.structs.replace(router.facts(ref) or unknown_model(ref.model), id=ref.model)
            for ref in own
        ]
    if provider == "sandbox":
        return _sandbox_models()
    models = {model.id: model for model in catalogue.models(provider)}
    for one in live:
        known = catalogue.find(provider, one.id)
        name = one.id if known is None or known.id.lower() != one.id.lower() else known.id
        models[name] = _seen(name, one, known, router.active[provider].provider)
    return models.values()


def _seen(name: str, live: ListedModel, known: Model | None, provider: Provider) -> Model:
    """What the table knows of a model that its provider lists, or else what the list says."""
    if known is None:
        supports = live.supports or _default_abilities(provider.capabilities(name))
        known = msgspec.structs.replace(unknown_model(name), supports=supports)
    return msgspec.structs.replace(
        known,
        id=name,
        created=live.created or known.created,
        context_window=known.context_window or live.context_window,
        max_output_tokens=known.max_output_tokens or live.max_output_tokens,
    )


def _default_abilities(able: Capabilities) -> tuple[Capability, ...]:
    """What models of a provider can do as a rule, where neither table nor list says."""
    flags: dict[Capability, bool] = {
        "tools": able.tools is Support.NATIVE,
        "json_schema": able.json_schema,
        "streaming": True,
    }
    return tuple(name for name, holds in flags.items() if holds)


def _slots(snapshot: Snapshot, at_ms: int, models: dict[str, ModelObject]) -> Iterator[ModelObject]:
    for alias, slot in snapshot.router.slots.items():
        ref = slot.ref
        target = models.get(str(ref))
        if target is None:
            facts = snapshot.router.facts(ref) or unknown_model(ref.model)
            target = _object(snapshot, at_ms, ref, facts)
        yield msgspec.structs.replace(target, id=f"slot:{alias}", resolves_to=str(ref))


def _object(snapshot: Snapshot, at_ms: int, ref: ModelRef, model: Model) -> ModelObject:
    model = snapshot.router.as_told(ref, model)
    rates = snapshot.prices.rates(ref, model.prices, at_ms)
    active = snapshot.router.active.get(ref.provider)
    supports = model.supports if active is None else _served(model.supports, active.provider, ref)
    return ModelObject(
        id=str(ref),
        created=model.created,
        owned_by=ref.provider,
        provider=ref.provider,
        supports=supports,
        context_window=model.context_window,
        max_output_tokens=model.max_output_tokens,
        pricing=_pricing(rates, is_embedding="embeddings" in model.supports) if rates else None,
    )


def _served(
    supports: tuple[Capability, ...], provider: Provider, ref: ModelRef
) -> tuple[Capability, ...]:
    """What the model can do and is to be had of it through this proxy."""
    able = provider.capabilities(ref.model)
    lacking = {
        "tools": able.tools is not Support.NATIVE,
        "vision": not (able.image_urls or able.image_data),
        "embeddings": not provider.has_embeddings,
    }
    return tuple(each for each in supports if not lacking.get(each))


def _pricing(rates: ListedRates, *, is_embedding: bool) -> Pricing:
    return Pricing(
        input=usd(rates.input or 0),
        cached_input=usd_or_null(rates.cached_input),
        cache_write=usd_or_null(rates.cache_write),
        output=None if is_embedding else usd_or_null(rates.output),
    )


def _sandbox_models() -> tuple[Model, ...]:
    chat = tuple(_sandbox_model(row.example, SANDBOX_SUPPORTS) for row in sandbox_models.ROWS)
    return (*chat, _sandbox_model(sandbox_embeddings.NAME, ("embeddings",)))


def _sandbox_model(name: str, supports: tuple[Capability, ...]) -> Model:
    return msgspec.structs.replace(unknown_model(name), created=SANDBOX_CREATED, supports=supports)
