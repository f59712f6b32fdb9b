"""The rules of the ledger: whose call it is, when it counts, how long its answer may be. Pure."""

import datetime
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

CallKind = Literal["run", "chat.completion", "embedding"]

WORTH_ASKING_TOKENS: Final = 256
"""A shorter answer is not worth a call, unless the caller asked for no more."""

CLOCK_JUMP_MS: Final = 35 * 24 * 3600 * 1000
"""A clock that is further ahead of the newest thing stored is not believed."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call to a provider it is: what its usage row will say of it.

    `body_bytes` is the length of what went upstream; it stands for the prompt if nobody is left
    who counted it.
    """

    kind: CallKind
    model: str
    requested_model: str
    provider: str
    token: str
    customer: str | None = None
    thread_id: str | None = None
    run_id: str | None = None
    request_id: str | None = None
    attempt: int = 1
    body_bytes: int = 0
    service_tier: str | None = None


def day_of(ms: int, timezone: str) -> str:
    """The calendar day of a moment, `YYYY-MM-DD`; its first seven characters are its period."""
    return datetime.datetime.fromtimestamp(ms / 1000, _zone(timezone)).date().isoformat()


def period_bounds(period: str, timezone: str) -> tuple[int, int]:
    """When a period starts and ends, in Unix seconds; the end is the next one's start."""
    year, month = int(period[:4]), int(period[5:7])
    zone = _zone(timezone)
    start = datetime.datetime(year, month, 1, tzinfo=zone)
    end = datetime.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=zone)
    return int(start.timestamp()), int(end.timestamp())


def is_timezone(name: str) -> bool:
    """Whether this machine knows the time zone."""
    try:
        _zone(name)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError in some versions
        return False
    except KeyError:
        return False
    return True


@lru_cache(maxsize=8)
def _zone(name: str) -> datetime.tzinfo:
    # A machine without a time zone database still knows this one.
    return datetime.UTC if name == "UTC" else ZoneInfo(name)
