"""Which day a call is booked on, and when the machine's clock is not believed.

A clock that is set back opens no old month: what was left of its caps is not to be had again. One
that jumps far ahead opens no new one, until it is set right or somebody vouches for it.
"""

from typing import Final

from ringside_proxy.domain.ledger import CLOCK_JUMP_MS, day_of
from ringside_proxy.store.tx import Tx

GET: Final = "SELECT period, seen_ms FROM ledger_clock WHERE id = 1"
OPEN_PERIOD: Final = (
    "UPDATE ledger_clock SET period = ?, seen_ms = max(seen_ms, ?) WHERE id = 1 AND period < ?"
)
SEEN: Final = "UPDATE ledger_clock SET seen_ms = ? WHERE id = 1 AND seen_ms < ?"


def opened_day(tx: Tx, timezone: str) -> str | None:
    """The day that a call is booked on now, its period open; None if the clock is not believed.

    The day is never in a period before the newest.
    """
    period, seen_ms = _clock(tx)
    day, is_believed = _day(tx, timezone, period, seen_ms)
    if not is_believed:
        return None
    if day[:7] != period:
        tx.run(OPEN_PERIOD, day[:7], tx.now_ms, day[:7])
    return day


def today(tx: Tx, timezone: str) -> str:
    """The day that a call would be booked on now. Reads only.

    It is not in a new period that only a clock opens that is not believed.
    """
    period, seen_ms = _clock(tx)
    day, is_believed = _day(tx, timezone, period, seen_ms)
    return f"{period}-01" if period and not is_believed else day


def see(tx: Tx, *, is_trusted: bool = False) -> bool:
    """Note the time as seen, unless it jumped and nobody vouches for it; whether it is believed."""
    if _is_jump(tx, _clock(tx)[1]) and not is_trusted:
        return False
    tx.run(SEEN, tx.now_ms, tx.now_ms)
    return True


def is_believed(tx: Tx) -> bool:
    """Whether the time is not far ahead of everything stored. Reads only."""
    return not _is_jump(tx, _clock(tx)[1])


def _day(tx: Tx, timezone: str, period: str, seen_ms: int) -> tuple[str, bool]:
    """The day of now, and whether the clock is believed."""
    day = day_of(tx.now_ms, timezone)
    if day[:7] < period:
        return f"{period}-01", True
    return day, day[:7] == period or not _is_jump(tx, seen_ms)


def _is_jump(tx: Tx, seen_ms: int) -> bool:
    return seen_ms > 0 and tx.now_ms - seen_ms > CLOCK_JUMP_MS


def _clock(tx: Tx) -> tuple[str, int]:
    row = tx.one(GET)
    return ("", 0) if row is None else (row[0], row[1])
