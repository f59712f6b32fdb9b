"""What is wrong with a configuration, said so that its owner can put it right."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final

import msgspec

SHOWN_CHARS_MAX: Final = 80


class Problem(msgspec.Struct, frozen=True):
    """One thing to put right. `remedy` says what would be right."""

    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.remedy}"


class SettingsError(Exception):
    """The configuration cannot be used. Carries every problem; its text has one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def shown(text: str) -> str:
    """Text from outside, quoted on one line of bounded length."""
    cut = text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"
    return msgspec.json.encode(cut).decode()


def join(path: str, key: str) -> str:
    """The path of a key below `path`."""
    name = key if key.isprintable() and len(key) <= SHOWN_CHARS_MAX else shown(key)
    return f"{path}.{name}" if path and name else path or name


def nearest(word: str, known: Collection[str]) -> str:
    """The remedy for a word that is not in `known`."""
    near = get_close_matches(word[:SHOWN_CHARS_MAX], known, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
