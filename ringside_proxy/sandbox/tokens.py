"""The sandbox's tokens: a word with the space before it. Simple, and honest about what it counts."""

import re
from collections.abc import Iterator
from typing import Final

PIECE: Final = re.compile(r"\s*\S+|\s+")


def pieces(text: str) -> Iterator[str]:
    """`text`, token by token; joined they are `text` again."""
    return (match.group() for match in PIECE.finditer(text))


def count(text: str) -> int:
    """The number of tokens in `text`."""
    return sum(1 for _ in pieces(text))
