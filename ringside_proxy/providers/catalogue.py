"""The bundled table of models: what each can do, how much it takes, and its list price.

It fills `GET /v1/models`, which never waits for a provider, and sizes prompts. Prices are for
showing: they are those of the lowest tier.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec

SNAPSHOT_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")

Capability = Literal[
    "tools", "json_schema", "reasoning", "vision", "streaming", "embeddings", "prompt_caching"
]


class Pricing(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens; None where the model has no such price."""

    input: float
    cached_input: float | None
    cache_write: float | None
    output: float | None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model, as its provider names it. `created` is its release, in Unix seconds."""

    id: str
    created: int
    context_window: int | None
    max_output_tokens: int | None
    supports: tuple[Capability, ...]
    pricing: Pricing | None


def models(provider: str) -> tuple[Model, ...]:
    """The provider's models, newest families first; empty if the table has none."""
    return tuple(_table().get(provider, {}).values())


def find(provider: str, model: str) -> Model | None:
    """A model by its name, or by the name of one of its dated snapshots."""
    known = _table().get(provider, {})
    return known.get(model) or known.get(SNAPSHOT_DATE.sub("", model))


@cache
def _table() -> dict[str, dict[str, Model]]:
    """Read once, at the first question."""
    bundled = files(__package__).joinpath("models.json").read_bytes()
    providers: dict[str, Any] = msgspec.json.decode(bundled)
    return {
        provider: {row.id: row for row in msgspec.convert(rows, list[Model])}
        for provider, rows in providers.items()
        if not provider.startswith("_")
    }
