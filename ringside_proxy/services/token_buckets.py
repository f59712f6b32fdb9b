"""Token buckets: a minute's worth each, full at first, refilled evenly. Exact, in whole numbers.

What is kept of a bucket is how much of it is used, in units of a 60,000th: then a limit of n per
minute refills n units per millisecond. A full bucket is not kept at all, so the memory is that of
the callers who asked for something in the last minute, however many there are; and never more than
`entries_max`.

Limits are given with each call and kept nowhere: a changed one is in effect at once.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

ENTRIES_MAX: Final = 65_536
FORGOTTEN_AT_ONCE: Final = 2
"""Entries looked at for each one that is written: more than come in, so that they do not pile up."""
EVICTION_SAMPLE: Final = 8

UNITS: Final = 60_000


class _Entry(NamedTuple):
    used: int
    at_ms: int
    full_ms: int


class Standing(NamedTuple):
    """What is left of a limit, and how long until it is all there if nobody takes anything."""

    limit: int
    remaining: int
    reset_ms: int


class Buckets:
    """The buckets of one kind of limit, by the id of whom it limits.

    A full table gives up one of those that were written longest ago: of a few, the one that would
    be full soonest. So whoever has used most is remembered longest, and cannot get a fresh bucket by
    calling under many names.
    """

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._held: dict[str, int] = {}

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._entries)

    @property
    def is_holding(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def remaining(self, key: str, limit: int, now_ms: int) -> int:
        """What could be taken now; below 0 after more was taken than there was."""
        return (limit * UNITS - self._level(key, limit, now_ms)) // UNITS

    def wait_ms(self, key: str, amount: int, limit: int, now_ms: int) -> int:
        """How long until `amount` can be taken if nobody else takes anything; 0: it can be now."""
        lacking = self._level(key, limit, now_ms) + (amount - limit) * UNITS
        return max(0, -(-lacking // limit))

    def standing(self, key: str, limit: int, now_ms: int) -> "Standing":
        """What a caller is told of the bucket."""
        level = self._level(key, limit, now_ms)
        return Standing(limit, max(0, (limit * UNITS - level) // UNITS), -(-level // limit))

    def take(self, key: str, amount: int, limit: int, now_ms: int) -> None:
        """Take `amount`, even if it is not there: what comes after waits the longer."""
        self._write(key, self._used(key, limit, now_ms) + amount * UNITS, limit, now_ms)

    def give_back(self, key: str, amount: int, limit: int, taken_ms: int, now_ms: int) -> None:
        """Undo a `take`, less what may have been refilled since: a bucket never overflows by it."""
        back = max(0, amount * UNITS - limit * (now_ms - taken_ms))
        self._write(key, max(0, self._used(key, limit, now_ms) - back), limit, now_ms)

    def hold(self, key: str, amount: int) -> None:
        """Keep `amount` from others until `release`; it is not refilled meanwhile."""
        self._held[key] = self._held.get(key, 0) + amount

    def release(self, key: str, amount: int) -> None:
        """End a `hold`, or a part of one."""
        left = self._held[key] - amount
        if left:
            self._held[key] = left
        else:
            del self._held[key]

    def _level(self, key: str, limit: int, now_ms: int) -> int:
        return self._used(key, limit, now_ms) + self._held.get(key, 0) * UNITS

    def _used(self, key: str, limit: int, now_ms: int) -> int:
        entry = self._entries.get(key)
        return 0 if entry is None else max(0, entry.used - limit * (now_ms - entry.at_ms))

    def _write(self, key: str, used: int, limit: int, now_ms: int) -> None:
        self._entries.pop(key, None)
        full_ms = now_ms - (-used // limit)
        if used:
            self._entries[key] = _Entry(used, now_ms, full_ms)
        self._forget(now_ms, full_ms)
        if len(self._entries) > self._entries_max:
            self._evict()

    def _forget(self, now_ms: int, full_ms: int) -> None:
        for _ in range(min(FORGOTTEN_AT_ONCE, len(self._entries))):
            key, entry = next(iter(self._entries.items()))
            if entry.full_ms <= now_ms:
                del self._entries[key]
            elif entry.full_ms > full_ms:  # a debtor must not keep those behind it
                self._entries.move_to_end(key)
            else:
                return

    def _evict(self) -> None:
        oldest = [key for key, _ in zip(self._entries, range(EVICTION_SAMPLE), strict=False)]
        del self._entries[min(oldest, key=lambda key: self._entries[key].full_ms)]
