"""Tables for the eye."""

from collections.abc import Collection, Sequence
from typing import Final

GAP: Final = "  "


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> str:
    """Lines of aligned columns, those of the names in `right` to the right; ends in a line end."""
    lines = [[_printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    is_right = [name in right for name in header]
    return "".join(
        GAP.join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, is_right, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def _printable(text: str) -> str:
    """What a terminal shows and does not obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
