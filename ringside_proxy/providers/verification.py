"""What each provider's adapter was last shown to work against, and when: read, never written here.

`make verify` runs the contract suite and writes `verified.json`; `make live` adds what real keys
have shown. Nobody types into it.
"""

from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

FILE: Final = "verified.json"


class Against(StrEnum):
    """The kinds of evidence, the weakest first."""

    SAMPLE = "recorded sample"
    """Answers on the vendor's wire as its documentation shows them, from a far end that refuses
    what the vendor refuses."""
    TYPES = "vendor's SDK types"
    """Requests and those answers, judged by the types that the vendor publishes."""
    LIVE = "live"
    """The vendor itself."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of evidence: the day it was had, as YYYY-MM-DD, and the model that it was had with."""

    on: str
    against: Against
    model: str


@cache
def evidence() -> dict[str, tuple[Evidence, ...]]:
    """All there is, by provider, the weakest first."""
    raw = (files(__package__) / FILE).read_bytes()
    return msgspec.json.decode(raw, type=dict[str, tuple[Evidence, ...]])
