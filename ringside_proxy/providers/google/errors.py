"""What a refusal of Gemini's means, in the words that `errors.py` reads. Pure.

It is a `google.rpc.Status`, whose details say more than its status: the same 429, in the same words
("exceeded your current quota"), stands for a limit per minute and for one per day; a wrong key is a
400; and how long to wait stands in the body, not in a header.
Source: https://github.com/googleapis/python-genai (errors.py of 3.4.0), and for the details how
litellm reads them, read 2026-11-21.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.errors import (
    SCHEMA_REJECTED,
    STATE_REJECTED,
    error_from_frame,
    error_from_reply,
)
from ringside_proxy.providers.loose_json import objects_of

DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
PER_DAY: Final = "PerDay"
QUOTA_WORDS: Final = ("exceeded your current quota", "exceeded your current rate limit")
"""What Google says for every limit → what it says here for one that is over in a minute."""

REASONS: Final = {"API_KEY_INVALID": "invalid_api_key", "API_KEY_EXPIRED": "invalid_api_key"}
"""`google.rpc.ErrorInfo.reason` → OpenAI's code; it says more than the 400 that it comes with."""
STATUSES: Final = {"FAILED_PRECONDITION": 403, "CANCELLED": 503}
"""The owner's region or billing, and Google's own change of mind, are not the request's fault."""

WORDS: Final = {
    "thought_signature": STATE_REJECTED,
    "thought signature": STATE_REJECTED,
    "schema produces a constraint": SCHEMA_REJECTED,
    "response_json_schema": SCHEMA_REJECTED,
}
"""What only the message of a 400 tells: a part of it → our code."""


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    message: str
    code: str | None = None
    wait_s: str | None = None

    def told(self, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        if self.wait_s is not None:
            lower = {name.lower(): value for name, value in headers.items()}
            headers = {**lower, "retry-after": self.wait_s}
        body = orjson.dumps({"error": {"message": self.message, "code": self.code}})
        return self.status, headers, body


def restated(
    status: int, headers: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str], bytes]:
    """A refusal with its meaning where everyone's stands; an error under 200 with its status."""
    try:
        refusal = _read(orjson.loads(body), status)
    except orjson.JSONDecodeError:
        refusal = None
    return refusal.told(headers) if refusal else (status, headers, body)


def stream_error(provider: str, payload: Any) -> ProviderError:
    """The error that an error object in the place of a chunk stands for."""
    refusal = _read(payload, 200)
    if refusal is None:
        return error_from_frame(provider, unwrapped(payload))
    return error_from_reply(provider, *refusal.told({}), now_ms=0)


def unwrapped(payload: Any) -> Any:
    """What is inside an array of one, in which errors sometimes come."""
    return payload[0] if isinstance(payload, list) and len(payload) == 1 else payload


def _read(payload: Any, status: int) -> _Refusal | None:
    payload = unwrapped(payload)
    error = payload.get("error") if isinstance(payload, dict) else None
    if not isinstance(error, dict):
        return None
    own = error.get("code")
    if status < 300:
        status = own if isinstance(own, int) and 400 <= own < 600 else 500
    message, word = error.get("message"), error.get("status")
    text = message if isinstance(message, str) else ""
    details = objects_of(error.get("details"))
    if status == 429:
        return _limit(text, details)
    reasons = (detail.get("reason") for detail in details)
    code = next((REASONS[r] for r in reasons if isinstance(r, str) and r in REASONS), None)
    if code is None and isinstance(word, str):
        status = STATUSES.get(word, status)
    if code is None and status == 400:
        code = next((WORDS[words] for words in WORDS if words in text.lower()), None)
    return _Refusal(status=status, message=text, code=code)


def _limit(text: str, details: list[dict[str, Any]]) -> _Refusal:
    """A limit that is today's, one that waiting helps with, or one that says no more than its words."""
    violations = [v for detail in details for v in objects_of(detail.get("violations"))]
    quotas = [str(violation.get("quotaId", "")) for violation in violations]
    if any(PER_DAY in quota for quota in quotas):
        return _Refusal(status=429, message=text, code="insufficient_quota")
    delays = (detail.get("retryDelay") for detail in details)
    found = (DURATION.fullmatch(delay) for delay in delays if isinstance(delay, str))
    wait_s = next((match[1] for match in found if match), None)
    if quotas or wait_s is not None:
        text = text.replace(*QUOTA_WORDS)
    return _Refusal(status=429, message=text, wait_s=wait_s)
