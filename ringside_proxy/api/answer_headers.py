"""What a request said, as a header of its answer can say it."""

import re
from collections.abc import Iterable
from itertools import islice
from typing import Final

NO_WORD: Final = re.compile(r"[^!-+\--~]")
"""What may stand in no header, or not in a list whose names are parted by commas and blanks."""
NAME_CHARS_MAX: Final = 64
NAMES_MAX: Final = 50


def names(given: Iterable[str]) -> str:
    """The names of parameters, which are a caller's own words: cut, and without what does not fit."""
    return ", ".join(NO_WORD.sub("?", name[:NAME_CHARS_MAX]) for name in islice(given, NAMES_MAX))
