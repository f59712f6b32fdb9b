"""What a model takes and can do, and how the owner's word about it is found by its name."""

from collections.abc import Iterator, Mapping
from typing import Generic, Literal, TypeVar

import msgspec

from ringside_proxy.domain.model_ref import ModelRef

Capability = Literal[
    "tools", "json_schema", "reasoning", "vision", "streaming", "embeddings", "prompt_caching"
]

T = TypeVar("T")


class FactsOverride(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner says about a model; None: nothing.

    `like` names a model whose facts this one has too, if the table does not know it.
    """

    like: ModelRef | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    supports: tuple[Capability, ...] | None = None


class ByName(Generic[T]):
    """What the owner wrote by `fc:<provider>/<model>`, or with a trailing `*` for all that begin so.

    The whole name wins over a beginning, a longer beginning over a shorter one.
    """

    def __init__(self, given: Mapping[str, T]) -> None:
        self._exact = {name: said for name, said in given.items() if not name.endswith("*")}
        self._globs = sorted(
            ((name[:-1], said) for name, said in given.items() if name.endswith("*")),
            key=lambda glob: -len(glob[0]),
        )

    def find(self, ref: ModelRef) -> T | None:
        """What was said about a model; None if nothing was."""
        name = str(ref)
        exact = self._exact.get(name)
        return exact if exact is not None else next(self._beginning(name), None)

    def _beginning(self, name: str) -> Iterator[T]:
        return (said for start, said in self._globs if name.startswith(start))
