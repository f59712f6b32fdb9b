"""How often each fault is injected: a part in `make test`, as often as fits ten minutes on two cores
in `make faults`, and as often as the bar asks for in `make faults FULL=1` and `make hostile`.
"""

import os
from typing import Final, Literal, NamedTuple, cast

Scale = Literal["part", "suite", "full"]


class Size(NamedTuple):
    """How often, by scale; `full` is the bar."""

    part: int
    suite: int
    full: int


SCALE: Final = cast(Scale, os.environ.get("RINGSIDE_FAULTS", "part"))
TIMEOUT_S: Final = 300 if SCALE == "part" else 7_200
"""For one test of the table: those of the suite are watched by whoever started it."""

SIZES: Final = {
    "kills under mixed load": Size(30, 60, 300),
    "kills between requests with a key": Size(8, 12, 30),
    "kills in the middle of delivery": Size(6, 10, 20),
    "kills of the store": Size(40, 250, 1_000),
    "images after a power loss": Size(60, 500, 500),
    "points of a full disk": Size(30, 100, 100),
    "clients that leave": Size(1_000, 20_000, 20_000),
    "steps of the clock": Size(200, 1_000, 1_000),
    "reservations": Size(100_000, 100_000, 100_000),
    "keys": Size(300, 10_000, 10_000),
    "events beside one that hangs": Size(150, 1_000, 10_000),
    "reloads": Size(1_000, 1_000, 1_000),
    "lives": Size(100, 300, 2_000),
    "bodies": Size(2_000, 10_000, 50_000),
    "raw requests": Size(1_500, 4_000, 20_000),
    "schemas": Size(1_000, 2_000, 5_000),
    "described cases": Size(240, 480, 10_000),
}


def size(name: str) -> int:
    """How often the fault of this name is injected now."""
    found: int = getattr(SIZES[name], SCALE)
    return found
