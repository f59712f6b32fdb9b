"""Which status and type an error has on the wire: one table, looked up along the class's MRO."""

from math import ceil
from typing import Any, Final

import orjson
from aiohttp import web

from ringside_proxy.domain import errors

STATUS_AND_TYPE: Final[dict[type[errors.RingsideError], tuple[int, str]]] = {
    errors.InvalidRequestError: (400, "invalid_request_error"),
    errors.NotFoundError: (404, "invalid_request_error"),
    errors.AuthenticationError: (401, "authentication_error"),
    errors.PermissionDeniedError: (403, "permission_error"),
    errors.RateLimitExceededError: (429, "rate_limit_error"),
    errors.BillingError: (402, "billing_error"),
    errors.CustomerExistsError: (409, "conflict_error"),
    errors.ConversationLockedError: (409, "conflict_error"),
    errors.ConversationFullError: (409, "conflict_error"),
    errors.IdempotencyError: (409, "idempotency_error"),
    errors.IdempotencyKeyReusedError: (422, "idempotency_error"),
    errors.ManagedByConfigError: (409, "conflict_error"),
    errors.ResponseSchemaValidationFailedError: (422, "invalid_request_error"),
    errors.RequestTimeoutError: (408, "invalid_request_error"),
    errors.RequestTooLargeError: (413, "invalid_request_error"),
    errors.UnavailableError: (503, "server_error"),
    errors.ProviderRateLimitedError: (429, "rate_limit_error"),
    errors.ProviderQuotaExceededError: (429, "insufficient_quota"),
    errors.ProviderAuthenticationError: (502, "provider_error"),
    errors.ProviderPermissionDeniedError: (502, "provider_error"),
    errors.ProviderRejectedError: (400, "invalid_request_error"),
    errors.ProviderUnavailableError: (503, "provider_error"),
    errors.ProviderTimeoutError: (504, "provider_error"),
    errors.ProviderBadReplyError: (502, "provider_error"),
    errors.ProviderError: (502, "provider_error"),
    errors.RingsideError: (500, "server_error"),
}

DEFAULT_RETRY_AFTER_S: Final = 1.0
RETRY_AFTER_STATUSES: Final = frozenset({429, 503})


def status_and_type(error: errors.RingsideError) -> tuple[int, str]:
    """The HTTP status and `error.type` of an error."""
    return next(STATUS_AND_TYPE[cls] for cls in type(error).__mro__ if cls in STATUS_AND_TYPE)


def envelope(message: str, error_type: str, param: str | None, code: str | None) -> dict[str, Any]:
    """OpenAI's error body: all four keys, always."""
    return {"error": {"message": message, "type": error_type, "param": param, "code": code}}


def envelope_of(error: errors.RingsideError) -> dict[str, Any]:
    """The body of an error."""
    body = envelope(error.message, status_and_type(error)[1], error.param, error.code)
    if isinstance(error, errors.ResponseSchemaValidationFailedError):
        body["error"]["content"] = error.content
    return body


def error_response(error: errors.RingsideError) -> web.Response:
    """The answer that says what went wrong, and when trying again may help."""
    status, _ = status_and_type(error)
    response = plain_response(status, envelope_of(error))
    if error.is_retryable_by_client is not None:
        response.headers["x-should-retry"] = str(error.is_retryable_by_client).lower()
    if status in RETRY_AFTER_STATUSES or isinstance(error, errors.IdempotencyInProgressError):
        seconds = DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
        response.headers["Retry-After"] = str(max(1, ceil(seconds)))
        response.headers["retry-after-ms"] = str(max(1, round(seconds * 1000)))
    return response


def plain_response(status: int, body: Any) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
