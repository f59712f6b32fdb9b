"""Durations as OpenAI's headers write them: `0s`, `120ms`, `1.5s`, `6m0s`, `1h2m3s`."""

from typing import Final

SECOND_MS: Final = 1000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS


def written(ms: int) -> str:
    """A duration that is not negative. Go's way of writing it, which OpenAI's servers use.

    Source: `x-ratelimit-reset-*` in OpenAI's guide to rate limits, read 2026-11-21.
    """
    if 0 < ms < SECOND_MS:
        return f"{ms}ms"
    hours, rest = divmod(ms, HOUR_MS)
    minutes, rest = divmod(rest, MINUTE_MS)
    text = f"{rest // SECOND_MS}.{rest % SECOND_MS:03}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
