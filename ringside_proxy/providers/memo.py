"""What was found out about models, so that it is found out once."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

MODELS_KEPT_MAX: Final = 1024
"""Callers choose names, so there is no end of them."""

T = TypeVar("T")


class Memo(Generic[T]):
    """What a question about a model came to, by its name."""

    def __init__(self) -> None:
        self._kept: dict[str, T] = {}

    def of(self, model: str, find: Callable[[str], T]) -> T:
        """What `find` says of the model; asked once."""
        kept = self._kept.get(model)
        if kept is None:
            if len(self._kept) >= MODELS_KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            kept = self._kept[model] = find(model)
        return kept
