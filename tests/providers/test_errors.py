from email.utils import formatdate

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from ringside_proxy.providers.errors import (
    MESSAGE_CHARS_MAX,
    error_from_frame,
    error_from_reply,
    retry_after_s,
)

NOW_MS = 1_763_700_000_000


def error(status: int, payload: object = None, **headers: str) -> ProviderError:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return error_from_reply("acme", status, names, body, NOW_MS)


def openai(message: str = "No.", kind: str = "invalid_request_error", code: str | None = None):
    return {"error": {"message": message, "type": kind, "param": "messages", "code": code}}


MEANINGS = [
    # status, body, class, code, retried
    (400, openai(code="invalid_value"), ProviderRejectedError, "invalid_value", False),
    (400, openai(), ProviderRejectedError, "invalid_request", False),
    (400, openai(code="context_length_exceeded"), ProviderRejectedError, "context_length_exceeded", False),
    (403, openai("prompt + max_tokens exceeds context length"), ProviderRejectedError, "context_length_exceeded", False),
    (413, openai("The prompt is too long."), ProviderRejectedError, "context_length_exceeded", False),
    (400, {"message": "too many tokens: 9000 of 8000"}, ProviderRejectedError, "context_length_exceeded", False),
    (400, openai(code="content_policy_violation"), ProviderRejectedError, "content_policy_violation", False),
    (400, openai(code="content_filter"), ProviderRejectedError, "content_policy_violation", False),
    (404, openai("The model `x` does not exist", code="model_not_found"), ProviderRejectedError, "model_not_found", False),
    (404, openai("model x not found"), ProviderRejectedError, "model_not_found", False),
    (410, openai("Model x was removed"), ProviderRejectedError, "model_not_found", False),
    (404, b"404 page not found", ProviderRejectedError, "invalid_request", False),
    (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs", "type": "extra_forbidden"}]}, ProviderRejectedError, "invalid_request", False),
    (401, openai(code="invalid_api_key"), ProviderAuthenticationError, "provider_auth_failed", False),
    (400, openai("Incorrect API key provided"), ProviderAuthenticationError, "provider_auth_failed", False),
    (403, openai("Not for your region"), ProviderPermissionDeniedError, "provider_permission_denied", False),
    (402, openai("Payment required"), ProviderQuotaExceededError, "insufficient_quota", False),
    (400, openai(code="tool_use_failed"), ProviderBadReplyError, "provider_bad_response", True),
    (400, openai(code="json_validate_failed"), ProviderBadReplyError, "provider_bad_response", True),
    (498, {"message": "invalid token"}, ProviderAuthenticationError, "provider_auth_failed", False),
    (498, openai("Flex tier is out of capacity", code="capacity_exceeded"), ProviderUnavailableError, "provider_unavailable", True),
    (429, openai(kind="insufficient_quota", code="insufficient_quota"), ProviderQuotaExceededError, "insufficient_quota", False),
    (429, openai("You exceeded your current quota"), ProviderQuotaExceededError, "insufficient_quota", False),
    (403, openai("Your credit balance is too low"), ProviderQuotaExceededError, "insufficient_quota", False),
    (429, openai(code="rate_limit_exceeded"), ProviderRateLimitedError, "rate_limit_exceeded", True),
    (408, None, ProviderTimeoutError, "provider_timeout", True),
    (504, b"<html>504</html>", ProviderTimeoutError, "provider_timeout", True),
    (409, openai("lock"), ProviderUnavailableError, "provider_unavailable", True),
    (500, openai(kind="server_error"), ProviderUnavailableError, "provider_unavailable", True),
    (501, None, ProviderUnavailableError, "provider_unavailable", False),
    (502, b"upstream connect error", ProviderUnavailableError, "provider_unavailable", True),
    (503, b"", ProviderUnavailableError, "provider_unavailable", True),
    (529, openai(kind="overloaded_error"), ProviderUnavailableError, "provider_unavailable", True),
    (302, b"", ProviderBadReplyError, "provider_bad_response", False),
    (405, b"", ProviderBadReplyError, "provider_bad_response", False),
    (200, {"code": "Client specified an invalid argument", "error": "No such field"}, ProviderRejectedError, "invalid_request", False),
    (200, {"error": {"code": 429, "message": "slow down", "metadata": {}}, "user_id": "u"}, ProviderRateLimitedError, "rate_limit_exceeded", True),
    (200, b"<html>hello</html>", ProviderBadReplyError, "provider_bad_response", False),
    (200, {"id": "chatcmpl-1", "choices": []}, ProviderBadReplyError, "provider_bad_response", False),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "code", "is_retried"), MEANINGS)
def test_refusal_has_its_meaning(status, body, kind, code, is_retried):
    """Status and words give one class, OpenAI's code, and whether a second try can help."""
    said = error(status, body)

    assert (type(said), said.code, said.is_retryable) == (kind, code, is_retried)
    assert said.message.startswith("acme ")
    assert said.provider == "acme"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (openai("No."), "No."),
        ({"object": "error", "message": "No.", "type": "x", "code": "1300"}, "No."),
        ({"message": {"detail": [{"loc": ["body", "a"], "msg": "No."}]}}, "body.a: No."),
        ({"detail": [{"loc": ["a", 0], "msg": "No."}, {"msg": "Never."}]}, "a.0: No.; : Never."),
        ({"message": "No.", "type": "x", "param": "p", "code": "c"}, "No."),
        ({"error": {"object": "error", "type": "x", "code": "c", "message": "No."}}, "No."),
        ({"code": "c", "error": "No."}, "No."),
        (
            {"error": {"code": 400, "message": "No.", "metadata": {"raw": "r"}}, "user_id": "u"},
            "No.",
        ),
        ("No.", "No."),
        (b"No.\n  Really.", "No. Really."),
        (b"<html><body>No.</body></html>", None),
        (b"\xff\xfe", "��"),
        (b"[]", "[]"),
    ],
)
def test_every_envelope_is_read(body, text):
    """The provider's own words reach the caller, out of each of its envelopes."""
    said = "acme rejected the request (HTTP 400)"

    assert error(400, body).message == (f"{said}: {text}" if text else f"{said}.")


def test_param_is_passed_on():
    """The parameter that the provider names is the one that the caller sent."""
    assert error(400, openai()).param == "messages"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "sk-abc***************xyz9",
        "Bearer abcdef0123456789",
        "gsk_0123456789abcdef",
        "xai-0123456789abcdef",
        "AIzaSyA0123456789abcdef",
        "AKIA0123456789ABCDEF",
    ],
)
def test_keys_are_never_repeated(secret):
    """Providers quote the key that they refuse; we do not."""
    message = error(401, openai(f"Incorrect API key {secret} (see docs)")).message

    assert message.endswith("Incorrect API key *** (see docs)")


def test_message_is_bounded():
    """A provider that returns a book is quoted in a line."""
    message = error(400, openai("word " * 100_000)).message

    assert len(message) == MESSAGE_CHARS_MAX
    assert message.endswith("…")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": formatdate(NOW_MS / 1000 + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW_MS / 1000 - 30, usegmt=True)}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "9999999"}, 86_400),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"x-ratelimit-reset-requests": "12ms"}, 0.012),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "1.57s"}, 1.57),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "1.5s",
                "x-ratelimit-remaining-tokens": "70",
            },
            360,
        ),
        ({"x-ratelimit-reset-tokens": "12.5"}, 12.5),
        ({"x-ratelimit-reset-tokens": "soon"}, None),
        ({"X-RateLimit-Reset": "12"}, 12),
        (
            {
                "x-ratelimit-remaining-requests-day": "0",
                "x-ratelimit-reset-requests-day": "3600.5",
                "x-ratelimit-reset-tokens-minute": "21.5",
            },
            3600.5,
        ),
        ({"X-RateLimit-Reset": str(NOW_MS + 9_000)}, 9),
        ({"x-ratelimit-reset": str(NOW_MS // 1000 + 9)}, 9),
        ({"x-ratelimit-reset": "nan"}, None),
        ({"x-ratelimit-reset-tokens": "1h2m3s"}, 3723),
    ],
)
def test_wait_is_read_from_the_headers(headers, wait_s):
    """Milliseconds, seconds, dates and the vendors' durations, in that order."""
    assert retry_after_s(headers, NOW_MS) == (wait_s if wait_s is None else pytest.approx(wait_s))


def test_wait_belongs_to_the_error():
    """The caller is told how long the provider asked for."""
    assert error(429, openai(), retry_after="42").retry_after_s == 42


def test_provider_may_forbid_a_retry():
    """`x-should-retry: false` is obeyed, as OpenAI's own SDK does."""
    assert not error(503, None, x_should_retry="false").is_retryable
    assert error(503, None, x_should_retry="true").is_retryable


@settings(deadline=None)
@given(
    st.integers(200, 599),
    st.binary()
    | st.recursive(
        st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["error", "message", "detail", "code", "type", "param", "loc"]),
                inner,
            )
        ),
    ),
)
def test_any_body_is_some_error(status, body):
    """No answer, however wrong, breaks its own reading."""
    for said in (error(status, body), error_from_frame("acme", body)):
        assert isinstance(said, ProviderError)
        assert len(said.message) <= MESSAGE_CHARS_MAX
