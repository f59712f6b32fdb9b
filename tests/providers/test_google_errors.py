"""What Gemini's refusals mean."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.providers.errors import error_from_reply
from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.google.errors import stream_error

QUOTA_TEXT = "You exceeded your current quota, please check your plan and billing details."
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "45.8s"}


def quota(quota_id: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": "requests", "quotaId": quota_id}],
    }


def reason(word: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": word,
        "domain": "googleapis.com",
    }


def refusal(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return {"error": error}


CASES = [
    (
        refusal(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, quota("RequestsPerMinutePerModel"), RETRY),
        (ProviderRateLimitedError, "rate_limit_exceeded", 45.8),
    ),
    (
        refusal(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, RETRY),
        (ProviderRateLimitedError, "rate_limit_exceeded", 45.8),
    ),
    (
        refusal(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, quota("RequestsPerDayPerModel"), RETRY),
        (ProviderQuotaExceededError, "insufficient_quota", None),
    ),
    (
        refusal(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted."),
        (ProviderRateLimitedError, "rate_limit_exceeded", None),
    ),
    (
        refusal(402, "UNKNOWN", "Pay first."),
        (ProviderQuotaExceededError, "insufficient_quota", None),
    ),
    (
        refusal(400, "INVALID_ARGUMENT", "API key not valid.", reason("API_KEY_INVALID")),
        (ProviderAuthenticationError, "provider_auth_failed", None),
    ),
    (
        refusal(400, "INVALID_ARGUMENT", "API key expired.", reason("API_KEY_INVALID")),
        (ProviderAuthenticationError, "provider_auth_failed", None),
    ),
    (
        refusal(401, "UNAUTHENTICATED", "Credentials are missing."),
        (ProviderAuthenticationError, "provider_auth_failed", None),
    ),
    (
        refusal(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        (ProviderPermissionDeniedError, "provider_permission_denied", None),
    ),
    (
        refusal(403, "PERMISSION_DENIED", "Denied.", reason("SERVICE_DISABLED")),
        (ProviderPermissionDeniedError, "provider_permission_denied", None),
    ),
    (
        refusal(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta."),
        (ProviderRejectedError, "model_not_found", None),
    ),
    (
        refusal(
            400,
            "INVALID_ARGUMENT",
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        ),
        (ProviderRejectedError, "context_length_exceeded", None),
    ),
    (
        refusal(400, "INVALID_ARGUMENT", "Function call is missing a thought_signature."),
        (ProviderRejectedError, "provider_state_rejected", None),
    ),
    (
        refusal(
            400,
            "INVALID_ARGUMENT",
            "The specified schema produces a constraint that has too many states for serving.",
        ),
        (ProviderRejectedError, "schema_not_supported", None),
    ),
    (
        refusal(400, "INVALID_ARGUMENT", "Unable to process input image."),
        (ProviderRejectedError, "invalid_request", None),
    ),
    (
        refusal(500, "INTERNAL", "An internal error has occurred."),
        (ProviderUnavailableError, "provider_unavailable", None),
    ),
    (
        refusal(503, "UNAVAILABLE", "The model is overloaded."),
        (ProviderUnavailableError, "provider_unavailable", None),
    ),
    (
        refusal(504, "DEADLINE_EXCEEDED", "Too late."),
        (ProviderTimeoutError, "provider_timeout", None),
    ),
    (
        refusal(499, "CANCELLED", "Cancelled."),
        (ProviderUnavailableError, "provider_unavailable", None),
    ),
]


def read(status: int, body: bytes, headers: dict[str, str] | None = None) -> ProviderError:
    return error_from_reply("google", *Google.restate(status, headers or {}, body), now_ms=0)


@pytest.mark.parametrize(("payload", "expected"), CASES)
def test_refusals_have_their_meaning(payload, expected):
    """As a body, inside an array, under a 200, and as a chunk: the same error each time."""
    status, message = payload["error"]["code"], payload["error"]["message"]
    errors = [
        read(status, orjson.dumps(payload)),
        read(status, orjson.dumps([payload])),
        read(200, orjson.dumps(payload)),
        stream_error("google", payload),
        stream_error("google", [payload]),
    ]

    for error in errors:
        assert (type(error), error.code, error.retry_after_s) == expected
        assert error.message.endswith(message.rpartition(",")[2])


def test_limit_per_minute_is_not_called_a_quota():
    """Google says for every limit that the quota is exceeded; here that would mean no more today."""
    [payload, *_] = [payload for payload, _ in CASES]

    assert "exceeded your current rate limit" in stream_error("google", payload).message


def test_delay_stands_beside_the_other_headers():
    """What Google's front end says is kept; its own header gives way to the body."""
    headers = {"Retry-After": "1", "X-Request-Id": "r"}
    payload = refusal(429, "RESOURCE_EXHAUSTED", "Slow.", RETRY)

    told = Google.restate(429, headers, orjson.dumps(payload))[1]

    assert told == {"retry-after": "45.8", "x-request-id": "r"}


def test_keys_are_not_told():
    """A message that repeats the key goes on without it."""
    key = "AIza" + "x" * 35
    payload = refusal(400, "INVALID_ARGUMENT", f"Bad key {key}.", reason("API_KEY_INVALID"))

    assert key not in stream_error("google", payload).message


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"error":"x"}', b"[1,2]"])
def test_bodies_that_are_not_googles_are_left_to_others(body):
    """A front proxy's page is read as everywhere."""
    assert Google.restate(502, {"a": "b"}, body) == (502, {"a": "b"}, body)


@pytest.mark.parametrize("delay", ["9999999999s", "-1s", "1m", "", 5, None, "1e9s"])
def test_delay_that_is_none_is_no_delay(delay):
    """Only seconds, as Google writes them, are a time to wait."""
    payload = refusal(429, "RESOURCE_EXHAUSTED", "Slow.", {"retryDelay": delay}, quota("PerMinute"))

    error = stream_error("google", payload)

    assert (type(error), error.retry_after_s) == (ProviderRateLimitedError, None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(390, 510) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "code",
                    "status",
                    "message",
                    "details",
                    "reason",
                    "violations",
                    "retryDelay",
                    "quotaId",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_error_is_a_provider_error(payload):
    """An error object of any shape is read without failing."""
    assert isinstance(stream_error("google", {"error": payload}), ProviderError)
    assert isinstance(stream_error("google", payload), ProviderError)
    assert isinstance(read(500, orjson.dumps(payload)), ProviderError)
