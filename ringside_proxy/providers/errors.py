"""What a provider's refusal means, read from its status and words.

The words come first, because providers disagree about the status of a full account or a prompt
that is too long; then the status; then, for errors inside a stream, the error's own type.
Source: the vendors' error pages and SDKs, read 2026-11-21.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderBadReplyError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)

MESSAGE_CHARS_MAX: Final = 500
SECRET_CHARS_MIN: Final = 12
RETRY_AFTER_S_MAX: Final = 24 * 60 * 60

SCHEMA_REJECTED: Final = "schema_not_supported"
"""The strict decoder does not take the schema: the call may pass with the schema in words."""
STATE_REJECTED: Final = "provider_state_rejected"
"""What came back does not fit this conversation: the call may pass without it."""

ErrorClass = type[ProviderError]


class Meaning(msgspec.Struct, frozen=True, kw_only=True):
    """Words that decide whatever the status says, as long as it is one of `statuses`.

    No status stands for an error inside a stream.
    """

    words: re.Pattern[str]
    statuses: frozenset[int | None]
    error: ErrorClass
    code: str | None = None
    is_retryable: bool | None = None
    """None: as the error itself says."""


MEANINGS: Final = (
    # The provider has judged its own model's answer, not the request: the next one may pass.
    Meaning(
        words=re.compile(r"tool_use_failed|json_validate_failed"),
        statuses=frozenset({400, 422, None}),
        error=ProviderBadReplyError,
        is_retryable=True,
    ),
    Meaning(
        words=re.compile(
            r"insufficient_(quota|credits?|balance|funds)|insufficient (credit|balance|funds)"
            r"|billing_(hard_limit|not_active)|exceeded your current quota"
            r"|credit balance|(spend|spending|credit)[ _]limit|out of credits"
        ),
        statuses=frozenset({400, 402, 403, 429, None}),
        error=ProviderQuotaExceededError,
    ),
    Meaning(
        words=re.compile(
            r"context_length_exceeded|maximum context length|context (length|window|limit)"
            r"|(prompt|input) is too long|too many tokens|exceeds? the (maximum|model's) .{0,20}tokens"
        ),
        statuses=frozenset({400, 403, 413, 422, None}),
        error=ProviderRejectedError,
        code="context_length_exceeded",
    ),
    Meaning(
        words=re.compile(
            r"content_policy_violation|content_filter|content (management )?policy|safety system"
        ),
        statuses=frozenset({400, 403, 422, None}),
        error=ProviderRejectedError,
        code="content_policy_violation",
    ),
    Meaning(
        words=re.compile(r"invalid_api_key|(incorrect|invalid) api key|api key not valid"),
        statuses=frozenset({400, 403, None}),
        error=ProviderAuthenticationError,
    ),
    Meaning(  # Cohere's; Groq's 498 is about capacity
        words=re.compile(r"token.{0,40}(invalid|blocked)|(invalid|blocked).{0,40}token"),
        statuses=frozenset({498}),
        error=ProviderAuthenticationError,
    ),
    Meaning(  # xAI's, under 200
        words=re.compile(r"client specified an invalid argument"),
        statuses=frozenset({None}),
        error=ProviderRejectedError,
        code="invalid_request",
    ),
    Meaning(
        words=re.compile(r"model"),
        statuses=frozenset({404, 410}),
        error=ProviderRejectedError,
        code="model_not_found",
    ),
    Meaning(
        words=re.compile(r"model_not_found|model_not_supported"),
        statuses=frozenset({400, 403, None}),
        error=ProviderRejectedError,
        code="model_not_found",
    ),
)

STATUSES: Final[dict[int, ErrorClass]] = {
    400: ProviderRejectedError,
    401: ProviderAuthenticationError,
    402: ProviderQuotaExceededError,
    403: ProviderPermissionDeniedError,
    404: ProviderRejectedError,
    408: ProviderTimeoutError,
    409: ProviderUnavailableError,
    410: ProviderRejectedError,
    412: ProviderRejectedError,
    413: ProviderRejectedError,
    422: ProviderRejectedError,
    424: ProviderUnavailableError,
    425: ProviderUnavailableError,
    429: ProviderRateLimitedError,
    498: ProviderUnavailableError,
    504: ProviderTimeoutError,
}
"""412 is Fireworks' for a model that is not deployed, 424 HuggingFace's for a partner that failed,
498 Groq's for a flex tier without capacity, and Cohere's for a key that is blocked. The rest: 5xx is unavailable, anything else is no answer
to the call that was made."""

NEVER_RETRIED: Final = frozenset({501, 505, 506, 507, 508, 510, 511})
"""A 5xx that says what the provider cannot do, not how it is."""

TYPES: Final[dict[str, ErrorClass]] = {
    "invalid_request_error": ProviderRejectedError,
    "not_found_error": ProviderRejectedError,
    "authentication_error": ProviderAuthenticationError,
    "permission_error": ProviderPermissionDeniedError,
    "rate_limit_error": ProviderRateLimitedError,
    "rate_limit_exceeded": ProviderRateLimitedError,
    "requests": ProviderRateLimitedError,
    "tokens": ProviderRateLimitedError,
    "timeout_error": ProviderTimeoutError,
}
"""For an error that comes without a status; the rest is a failure of the provider."""

SAYINGS: Final[dict[ErrorClass, str]] = {
    ProviderRejectedError: "rejected the request",
    ProviderAuthenticationError: "refused the configured API key",
    ProviderPermissionDeniedError: "does not permit this call with the configured API key",
    ProviderQuotaExceededError: "says that the account is out of credit",
    ProviderRateLimitedError: "is limiting the rate of calls",
    ProviderTimeoutError: "timed out",
    ProviderUnavailableError: "is unavailable",
    ProviderBadReplyError: "sent an answer that cannot be used",
}

CODE: Final = re.compile(r"[a-z][a-z0-9_]{2,63}")
GENERIC_CODES: Final = frozenset(
    {"invalid_request_error", "invalid_request", "error", "bad_request"}
)

SECRETS: Final = re.compile(
    r"(?i)\bbearer\s+\S+|\b(?:sk|pk|ko|gsk|xai|whsec)[-_][\w*.\-]{6,}|\bAIza[\w\-]{10,}|\bAKIA\w{12,}"
)
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
RESET: Final = "x-ratelimit-reset"
"""What follows names the limit: `-requests`, `-tokens-minute`, or nothing."""
LEFT: Final = "x-ratelimit-remaining"
MOMENT_S_MIN: Final = 10**9
MOMENT_MS_MIN: Final = 10**12
"""A reset that is no time to wait but a moment, in seconds or milliseconds."""
UNIT_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """What the providers' many error envelopes have in common."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str | None = None
    status: int | None = None


def error_from_reply(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, now_ms: int
) -> ProviderError:
    """The error that an HTTP answer stands for; `headers` must not care about case.

    A 2xx is an error too when it comes here: its body says which, or it is of no use.
    """
    said = _read(body)
    hint_s = retry_after_s(headers, now_ms)
    if status < 300:
        if said is None:
            kind = headers.get("content-type", "no content type").partition(";")[0]
            return ProviderBadReplyError(
                _message(provider, ProviderBadReplyError, status, f"it is {kind}."),
                provider=provider,
            )
        return _error(provider, said.status, said, hint_s)
    return _error(
        provider,
        status,
        said if said is not None else ErrorBody(message=_plain_text(body)),
        hint_s,
        # OpenAI's own SDKs obey this header; so do we, in the direction that saves calls.
        may_retry=headers.get("x-should-retry") != "false",
    )


def error_from_frame(provider: str, payload: Any) -> ProviderError:
    """The error that an error object inside a stream stands for."""
    said = _envelope(payload) or ErrorBody()
    return _error(provider, said.status, said, None)


def redact(text: str, secret: str = "") -> str:
    """`text` without what looks like a key, and without `secret`.

    A shorter one is a placeholder such as `none`, which would take plain words out of the text.
    """
    if len(secret) >= SECRET_CHARS_MIN:
        text = text.replace(secret, "***")
    return SECRETS.sub("***", text)


def retry_after_s(headers: Mapping[str, str], now_ms: int) -> float | None:
    """How long the provider asks us to wait; None if it does not say.

    Order: `retry-after-ms`, `retry-after` in seconds or as a date, then the reset time of the
    limit that is used up.
    """
    if (wait_ms := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(wait_ms / 1000)
    if (text := headers.get("retry-after")) is not None:
        wait_s = _number(text)
        return _bounded(wait_s if wait_s is not None else _until(text, now_ms))
    resets = {
        kind: wait_s
        for name, value in headers.items()
        if (kind := name.lower()).startswith(RESET)
        and (wait_s := _reset_s(value, now_ms)) is not None
    }
    used_up = [s for kind, s in resets.items() if headers.get(kind.replace(RESET, LEFT)) == "0"]
    # None is at zero when the call alone was too large: the nearer reset is the better guess.
    return _bounded(max(used_up) if used_up else min(resets.values(), default=None))


def _error(
    provider: str,
    status: int | None,
    said: ErrorBody,
    hint_s: float | None,
    *,
    may_retry: bool = True,
) -> ProviderError:
    words = f"{said.code} {said.type} {said.message}".lower()
    meaning = next((m for m in MEANINGS if status in m.statuses and m.words.search(words)), None)
    kind = meaning.error if meaning else _class_of(status, said)
    code = meaning.code if meaning else None
    if code is None and kind is ProviderRejectedError:
        code = _own_code(said)
    can_retry = may_retry and status not in NEVER_RETRIED
    return kind(
        _message(provider, kind, status, said.message),
        provider=provider,
        param=said.param,
        code=code,
        retry_after_s=hint_s,
        is_retryable=(meaning.is_retryable if meaning else None) if can_retry else False,
    )


def _class_of(status: int | None, said: ErrorBody) -> ErrorClass:
    if status is None:
        return TYPES.get(said.type) or TYPES.get(said.code) or ProviderUnavailableError
    if 500 <= status < 600:
        return STATUSES.get(status, ProviderUnavailableError)
    return STATUSES.get(status, ProviderBadReplyError)


def _own_code(said: ErrorBody) -> str | None:
    """The provider's code, if it is a word that a program can match."""
    for word in (said.code, said.type):
        if CODE.fullmatch(word) and word not in GENERIC_CODES:
            return word
    return None


def _message(provider: str, kind: ErrorClass, status: int | None, text: str) -> str:
    said = f"{provider} {SAYINGS[kind]}" + (f" (HTTP {status})" if status else "")
    text = " ".join(redact(text[: 4 * MESSAGE_CHARS_MAX]).split())
    message = f"{said}: {text}" if text else f"{said}."
    return message if len(message) <= MESSAGE_CHARS_MAX else f"{message[: MESSAGE_CHARS_MAX - 1]}…"


def _read(body: bytes) -> ErrorBody | None:
    try:
        return _envelope(orjson.loads(body))
    except orjson.JSONDecodeError:
        return None


def _plain_text(body: bytes) -> str:
    """The words of a front proxy; a web page says nothing that its status does not."""
    text = body[: 4 * MESSAGE_CHARS_MAX].decode("utf-8", "replace").strip()
    return "" if text.startswith("<") else text


def _envelope(payload: Any) -> ErrorBody | None:
    """Reads `{error: {…}}`, `{error: "text", code}`, `{message, type, code}` and `{detail: […]}`."""
    if isinstance(payload, str):
        return ErrorBody(message=payload)
    if not isinstance(payload, dict):
        return None
    error = payload.get("error")
    if isinstance(error, str):
        error = {"message": error, "code": payload.get("code")}
    if not isinstance(error, dict):
        error = payload
    if not error.keys() & {"message", "detail", "code", "type"}:
        return None
    code, param = error.get("code"), error.get("param")
    return ErrorBody(
        message=_text(error.get("message") or error.get("detail")),
        type=_word(error.get("type")),
        code=_word(code),
        param=param if isinstance(param, str) else None,
        status=_status(payload.get("status_code"), payload.get("raw_status_code"), code),
    )


def _text(message: Any) -> str:
    """A message, or the list of problems that validating servers send in its place."""
    if isinstance(message, dict):
        message = message.get("detail") or message.get("message")
    if isinstance(message, list):
        problems = (p for p in message if isinstance(p, dict))
        return "; ".join(f"{_place(p.get('loc'))}: {p.get('msg')}" for p in problems)
    return message if isinstance(message, str) else ""


def _place(steps: Any) -> str:
    return ".".join(map(str, steps)) if isinstance(steps, list) else ""


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _status(*candidates: Any) -> int | None:
    return next((c for c in candidates if isinstance(c, int) and 400 <= c < 600), None)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _duration(text: str) -> float | None:
    """Seconds in `1m12.5s`, `250ms` or `30`; None for anything else."""
    if (plain := _number(text)) is not None:
        return plain
    parts = DURATION.findall(text)
    if not parts or DURATION.sub("", text):
        return None
    return sum(float(amount) * UNIT_S[unit] for amount, unit in parts)


def _reset_s(text: str, now_ms: int) -> float | None:
    """Seconds until a limit is reset; OpenRouter names the moment."""
    wait_s = _duration(text)
    if wait_s is None or wait_s < MOMENT_S_MIN:
        return wait_s
    return (wait_s if wait_s >= MOMENT_MS_MIN else wait_s * 1000) / 1000 - now_ms / 1000


def _until(date: str, now_ms: int) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now_ms / 1000
    except (ValueError, OverflowError):
        return None


def _bounded(wait_s: float | None) -> float | None:
    if wait_s is None or not isfinite(wait_s):
        return None
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)
