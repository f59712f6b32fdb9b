"""From the name a caller writes to the provider that answers."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from ringside_proxy.domain import model_ref
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.errors import ProviderNotConfiguredError
from ringside_proxy.domain.model_facts import ByName, FactsOverride
from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.providers import catalogue
from ringside_proxy.providers.catalogue import Model
from ringside_proxy.providers.chat.params import EFFORT_PARAMS
from ringside_proxy.providers.client import Target, Timeouts
from ringside_proxy.providers.registry import provider_named
from ringside_proxy.providers.retries import Uniform
from ringside_proxy.providers.types import LIMIT_PARAMS, Credentials, Provider

OUTPUT_TOKENS_RESERVED: Final = 4096
"""Kept free in a context window for the answer when nobody has said how long it may be."""
REASONING_FIRST_BYTE_S: Final = 120.0
"""What the default of 60 s becomes for a reasoning model."""
SAME_MATTER: Final = (LIMIT_PARAMS, EFFORT_PARAMS)
"""Parameters that say the same under several names: one of a request's own stands for all."""
ROUTES_KEPT_MAX: Final = 1024
"""Names whose routes are at hand; callers choose names, so there is no end of them."""


class AnswerRules(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are held to what was asked for, and what may be fetched for the question.

    `repairs_max`: how often an answer that does not pass is asked for again. `tells_at_once`:
    streams are not held back until they pass. `images`: where images may come from.
    """

    repairs_max: int = 2
    tells_at_once: bool = False
    images: AddressRules = AddressRules("images.allow_private")


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model call goes.

    `facts` are what the bundled table knows of the model. `params` are the slot's own, under the
    caller's. `next` is who is asked after it, if it fails or refuses for one of `fallback_on`
    before anything of its answer was told.
    """

    ref: ModelRef
    provider: Provider
    credentials: Credentials
    target: Target
    facts: Model | None = None
    params: dict[str, Any] = {}
    rules: AnswerRules = AnswerRules()
    fallback_on: frozenset[str] = frozenset()
    next: "Route | None" = None

    def with_own(self, own: dict[str, Any]) -> dict[str, Any]:
        """A request's parameters: its own, and the slot's for what it leaves open."""
        if not self.params:
            return own
        names = {name for name, value in own.items() if value is not None}
        said = {name for same in SAME_MATTER if names.intersection(same) for name in same}
        return {name: value for name, value in self.params.items() if name not in said} | own

    def prompt_tokens_max(self, output_tokens: int | None) -> int | None:
        """How long a prompt may be so that the answer fits the window; None if that is unknown."""
        if self.facts is None or self.facts.context_window is None:
            return None
        return max(self.facts.context_window - (output_tokens or OUTPUT_TOKENS_RESERVED), 1)


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """An alias, and what it stands for: models that share its calls by weight, then others in turn.

    `fallback_on` are the refusals after which the next one is asked, besides failures of the
    provider. `timeouts` are those that it has of its own.
    """

    models: tuple[tuple[ModelRef, int], ...]
    fallbacks: tuple[ModelRef, ...] = ()
    fallback_on: frozenset[str] = frozenset()
    params: dict[str, Any] = {}
    timeouts: dict[str, float] = {}

    @property
    def ref(self) -> ModelRef:
        """The first of its models."""
        return self.models[0][0]

    @property
    def refs(self) -> list[ModelRef]:
        """Every model that may be asked, in the order in which they are written."""
        return [*(ref for ref, _ in self.models), *self.fallbacks]


class ActiveProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that has what it needs."""

    provider: Provider
    credentials: Credentials
    target: Target
    """With an empty model."""


class ModelRouter:
    """The models that can be named here. Immutable: a new configuration makes a new one.

    `behind` says which model stands behind a name of the owner's own (Azure's deployments), `told`
    what the owner says that models take and can do, by their names (`ByName`).
    `uniform` shares out the calls of a slot with several models.
    """

    def __init__(
        self,
        known: Collection[str],
        active: Mapping[str, ActiveProvider],
        slots: Mapping[str, Slot],
        rules: AnswerRules,
        behind: Mapping[ModelRef, ModelRef] | None = None,
        told: Mapping[str, FactsOverride] | None = None,
        uniform: Uniform = lambda low, high: low,
    ) -> None:
        self._uniform = uniform
        self._rules = rules
        self._known = known
        self.active = active
        self.slots = slots
        self.behind = behind or {}
        self._told = ByName(told or {})
        self._kept: dict[str, Route] = {}

    def facts(self, ref: ModelRef) -> Model | None:
        """What is known of a model, by the name that is used here: by the owner, else the table."""
        behind, told = self.behind.get(ref, ref), self._told.find(ref)
        known = catalogue.find(behind.provider, behind.model)
        if told is None:
            return known
        if known is None and told.like is not None:
            known = catalogue.find(told.like.provider, told.like.model)
        return self.as_told(ref, known or unknown_model(ref.model))

    def as_told(self, ref: ModelRef, known: Model) -> Model:
        """What is known of a model, with what the owner says over it."""
        told = self._told.find(ref)
        if told is None:
            return known
        return msgspec.structs.replace(
            known,
            context_window=told.context_window or known.context_window,
            max_output_tokens=told.max_output_tokens or known.max_output_tokens,
            supports=known.supports if told.supports is None else told.supports,
        )

    def check(self, name: str) -> None:
        """Raise InvalidModelError for a name that can never be served here."""
        model_ref.parse(name, self._known, self.slots)

    def route(self, name: str, prefer: str | None = None) -> Route:
        """Where a call to `name` goes, and where it goes after that.

        `prefer` is the model that has begun what this call goes on with: it goes first. Raises
        InvalidModelError, ProviderNotConfiguredError.
        """
        kept = self._kept.get(name) if prefer is None else None
        if kept is not None:
            return kept
        parsed = model_ref.parse(name, self._known, self.slots)
        slot = Slot(models=((parsed, 1),)) if isinstance(parsed, ModelRef) else self.slots[parsed]
        refs = self._in_turn(slot, prefer)
        if not refs:
            provider_named(slot.ref.provider)
            raise ProviderNotConfiguredError(
                f"Model '{name}' needs the provider '{slot.ref.provider}', which has no key here. "
                f"Set providers.{slot.ref.provider}.api_key in the configuration.",
                param="model",
            )
        route = None
        for ref in reversed(refs):
            route = self._to(ref, slot, route)
        assert route is not None  # noqa: S101 - there is at least one
        if prefer is None and len(slot.models) == 1:  # always the same one
            if len(self._kept) >= ROUTES_KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            self._kept[name] = route
        return route

    def _in_turn(self, slot: Slot, prefer: str | None) -> list[ModelRef]:
        """The slot's models whose providers are on, in the order in which they are asked."""
        on = [ref for ref in slot.refs if ref.provider in self.active]
        sharing = [(ref, weight) for ref, weight in slot.models if ref in on]
        first = next((ref for ref in on if str(ref) == prefer), None)
        if first is None and sharing:
            point = self._uniform(0, sum(weight for _, weight in sharing))
            first = _at(point, sharing)
        return sorted(on, key=lambda ref: ref != first)

    def _to(self, ref: ModelRef, slot: Slot, following: Route | None) -> Route:
        active, facts = self.active[ref.provider], self.facts(ref)
        timeouts = msgspec.structs.replace(
            _timeouts(active.target.timeouts, facts), **slot.timeouts
        )
        return Route(
            ref=ref,
            provider=active.provider,
            credentials=active.credentials,
            target=msgspec.structs.replace(
                active.target, model=ref.model, timeouts=timeouts, has_next=following is not None
            ),
            facts=facts,
            params=slot.params,
            rules=self._rules,
            fallback_on=slot.fallback_on,
            next=following,
        )


def unknown_model(name: str) -> Model:
    """A model that the table does not have: a fine-tuned one, or one newer than this version."""
    return Model(
        id=name,
        created=0,
        context_window=None,
        max_output_tokens=None,
        supports=(),
    )


def _at(point: float, sharing: list[tuple[ModelRef, int]]) -> ModelRef:
    for ref, weight in sharing:
        point -= weight
        if point < 0:
            return ref
    return sharing[-1][0]


def _timeouts(configured: Timeouts, facts: Model | None) -> Timeouts:
    """As configured; a model that thinks first is waited for longer, unless told otherwise."""
    is_default = configured.first_byte_s == Timeouts().first_byte_s
    if is_default and facts is not None and "reasoning" in facts.supports:
        return msgspec.structs.replace(configured, first_byte_s=REASONING_FIRST_BYTE_S)
    return configured
