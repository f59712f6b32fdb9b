"""Puts the compatibility matrix into the README, as the code and the evidence make it."""

from pathlib import Path
from typing import Final

from ringside_proxy.services.compatibility import markdown

README: Final = Path(__file__).parent.parent.parent / "README.md"
HEAD: Final = "| provider | tools: auto"


def written(text: str) -> str:
    """The README with the matrix in place of the one that it had."""
    start = text.index(HEAD)
    return text[:start] + markdown() + text[text.index("\n\n", start) :]


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
