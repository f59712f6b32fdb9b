"""What a refusal of Anthropic's means, in the words that `errors.py` reads. Pure.

`{"type": "error", "error": {"type", "message", "details": {"error_code"}}}`: the exact code stands
in the details, and inside a stream only the type tells the status.
Source: https://platform.claude.com/docs/en/api/errors and types/shared of anthropic 2.11.0, read
2026-11-21.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.errors import SCHEMA_REJECTED, STATE_REJECTED, error_from_frame

STATUSES: Final = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

WORDS: Final = {
    "bound to a different conversation": STATE_REJECTED,
    "invalid `signature` in `thinking`": STATE_REJECTED,
    "schema is too complex": SCHEMA_REJECTED,
    "compiled grammar is too large": SCHEMA_REJECTED,
    "content filtering policy": "content_policy_violation",
}
"""What only the message tells: a part of it → OpenAI's code, or ours."""


def restated(
    status: int, headers: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str], bytes]:
    """A refusal with its exact code where everyone's stands; an error under 200 with its status."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return status, headers, body
    if (error := _error(payload)) is None:
        return status, headers, body
    if status < 300:
        status = STATUSES.get(str(error.get("type")), 500)
    return status, headers, orjson.dumps({"error": _said(error)})


def stream_error(provider: str, payload: Any) -> ProviderError:
    """The error that an `error` event stands for."""
    error = _error(payload)
    if error is None:
        return error_from_frame(provider, {"error": {"message": ""}, "status_code": 500})
    status = STATUSES.get(str(error.get("type")), 500)
    return error_from_frame(provider, {"error": _said(error), "status_code": status})


def _error(payload: Any) -> dict[str, Any] | None:
    error = payload.get("error") if isinstance(payload, dict) else None
    return error if isinstance(error, dict) else None


def _said(error: dict[str, Any]) -> dict[str, Any]:
    message, details = error.get("message"), error.get("details")
    text = message if isinstance(message, str) else ""
    code = details.get("error_code") if isinstance(details, dict) else None
    told = next((code for words, code in WORDS.items() if words in text.lower()), None)
    return {"type": error.get("type"), "message": text, "code": told or code}
