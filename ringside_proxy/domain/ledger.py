"""The rules of the ledger: whose call it is, when it counts, how long its answer may be. Pure."""

import datetime
from collections.abc import Iterable, Sized
from functools import lru_cache
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import msgspec

from ringside_proxy.domain.durations import MINUTE_MS
from ringside_proxy.domain.tokens import BYTES_PER_TOKEN

CallKind = Literal["run", "chat.completion", "embedding"]

WORTH_ASKING_TOKENS: Final = 256
"""A shorter answer is not worth a call, unless the caller asked for no more."""

OUTPUT_TOKENS_FLOOR: Final = 16
"""No answer is held for as shorter: OpenAI's Responses dialect takes no smaller limit, and what is
asked for there is raised to it."""

CLOCK_JUMP_MS: Final = 35 * 24 * 3600 * 1000
"""A clock that is further ahead of the newest thing stored is not believed."""

BASE_TOKENS: Final = 128
HIDDEN_PROMPT_TOKENS: Final = {"xai": 768}
TOOLS_TOKENS: Final = 640
TOKENS_PER_TOOL: Final = 80
"""What models are told around a request and its tools, at most; what separates messages is shorter
than their JSON. Source: calibrations against live APIs published with ai-tokenizer 1.0.6, read
2026-11-21: up to 683 before any tool (Grok 4), 549 before the first tool and 71 for each (Claude
4.5, DeepSeek V3)."""

IMAGE_TOKENS_MAX: Final = 48_200
"""The dearest image in tokens: gpt-4o-mini counts 2,833 and 5,667 for each of eight tiles at most.
Source: OpenAI's vision guide, read 2026-11-21."""


INLINE_FILE: Final = {"file_data", "filename"}
"""What a file is told by that goes along whole."""

WINDOW_TOKENS_MAX: Final = 10_000_000
"""The largest window of any model in the table (Llama 4 Scout), for those whose own is not known."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """Whose call to a provider it is: what its usage row will say of it.

    `body_bytes` is the length of what went upstream; it stands for the prompt if nobody is left
    who counted it. `prompt_tokens_max` and `answer_tokens_max` are how long prompt and answer can have
    been, if the call is under a cap and held for as such.
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
    prompt_tokens_max: int | None = None
    answer_tokens_max: int | None = None
    service_tier: str | None = None

    def held_for(self, prompt_tokens: int, answer_tokens: int) -> "Call":
        """The same, of which it is known how long prompt and answer can be."""
        return msgspec.structs.replace(
            self, prompt_tokens_max=prompt_tokens, answer_tokens_max=answer_tokens
        )


def input_tokens_bound(
    body: bytes,
    messages: Iterable[dict[str, Any]],
    tools: Sized | None,
    provider: str,
    context_window: int | None,
    *,
    is_elsewhere: bool = False,
) -> int:
    """How many tokens the prompt can be at most.

    A token is at least a byte of text, so the length of what goes upstream bounds them; images
    count by themselves, however many bytes they are. No model reads more than its window.
    `is_elsewhere`: the provider has a part of the prompt already; of a file that it has, too, only
    the window is a bound.
    """
    tokens = len(body) + HIDDEN_PROMPT_TOKENS.get(provider, BASE_TOKENS)
    if tools:
        tokens += TOOLS_TOKENS + TOKENS_PER_TOOL * len(tools)
    for message in messages:
        parts = message.get("content")
        for part in parts if isinstance(parts, list) else ():
            if not isinstance(part, dict):
                continue
            if part.get("type") == "image_url":
                tokens += IMAGE_TOKENS_MAX - _inline_bytes(part)
            elif part.get("type") == "file":
                is_elsewhere = is_elsewhere or not _is_inline(part)
    window = context_window or WINDOW_TOKENS_MAX
    return window if is_elsewhere else min(tokens, window)


def _is_inline(part: dict[str, Any]) -> bool:
    file = part.get("file")
    return isinstance(file, dict) and file.keys() <= INLINE_FILE


def _inline_bytes(part: dict[str, Any]) -> int:
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    return len(url) if isinstance(url, str) and url.startswith("data:") else 0


def bytes_as_tokens(count: int) -> int:
    """About how many tokens so many bytes are."""
    return -(-count // BYTES_PER_TOKEN)


def day_of(ms: int, timezone: str) -> str:
    """The calendar day of a moment, `YYYY-MM-DD`; its first seven characters are its period."""
    return _day_of_minute(ms // MINUTE_MS, timezone)


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
    except (KeyError, OSError, ValueError):  # KeyError: ZoneInfoNotFoundError
        return False
    return True


@lru_cache(maxsize=8)
def _day_of_minute(minute: int, timezone: str) -> str:
    # Days begin with a minute, in every zone.
    moment = datetime.datetime.fromtimestamp(minute * MINUTE_MS // 1000, _zone(timezone))
    return moment.date().isoformat()


@lru_cache(maxsize=8)
def _zone(name: str) -> datetime.tzinfo:
    # A machine without a time zone database still knows this one.
    return datetime.UTC if name == "UTC" else ZoneInfo(name)
