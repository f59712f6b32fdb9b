"""How callers name models: `fc:<provider>/<model>` or `slot:<alias>`."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Final

import msgspec

from ringside_proxy.domain.errors import InvalidModelError

PROVIDER_SCHEME: Final = "fc:"
SLOT_SCHEME: Final = "slot:"


class ModelRef(msgspec.Struct, frozen=True):
    """A model at a provider. `model` may hold further slashes: only the first one cuts."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{PROVIDER_SCHEME}{self.provider}/{self.model}"


def stored(name: str) -> ModelRef:
    """The `ModelRef` that was stored as its text."""
    provider, _, model = name.removeprefix(PROVIDER_SCHEME).partition("/")
    return ModelRef(provider, model)


def parse(name: str, providers: Collection[str], slots: Collection[str]) -> ModelRef | str:
    """A `ModelRef`, or the alias of a known slot. Raises InvalidModelError with the remedy."""
    if name.startswith(SLOT_SCHEME):
        alias = name.removeprefix(SLOT_SCHEME)
        if alias not in slots:
            raise _invalid(f"Unknown slot '{alias}' in model '{name}'.", alias, slots, SLOT_SCHEME)
        return alias
    if name.startswith(PROVIDER_SCHEME):
        provider, slash, model = name.removeprefix(PROVIDER_SCHEME).partition("/")
        # What is not printable could not stand in `x-ringside-model`.
        if not slash or not model or not model.isprintable():
            raise InvalidModelError(
                f"Invalid model '{name}': write 'fc:<provider>/<model>', "
                "for example 'fc:openai/gpt-4o-mini'.",
                param="model",
            )
        if provider not in providers:
            raise _invalid(
                f"Unknown provider '{provider}' in model '{name}'.", provider, providers, ""
            )
        return ModelRef(provider, model)
    raise InvalidModelError(
        f"Invalid model '{name}': a model needs its provider. Use 'fc:<provider>/<model>', "
        f"for example 'fc:openai/{name}', or 'slot:<alias>'.",
        param="model",
    )


def _invalid(said: str, word: str, known: Collection[str], scheme: str) -> InvalidModelError:
    near = get_close_matches(word, known, n=3, cutoff=0.5)
    names = ", ".join(f"'{scheme}{name}'" for name in near or sorted(known)) or "none configured"
    return InvalidModelError(
        f"{said} {'Did you mean' if near else 'Known'}: {names}.", param="model"
    )
