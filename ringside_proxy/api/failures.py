"""What a handler raises, as an answer: the one place where errors turn into responses."""

import logging
from typing import Any, Final

from aiohttp import web

from ringside_proxy.api.context import REQUEST_ID, services
from ringside_proxy.api.errors import envelope, envelope_of, error_response, plain_response
from ringside_proxy.domain.errors import ConversationLockedError, RingsideError
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

ERROR_CODE: Final = web.RequestKey("error_code", str)


def answer_to(request: web.Request, error: Exception) -> web.Response:
    """The answer in OpenAI's envelope. What nobody foresaw is logged, and says nothing outside.

    Raises the error again if there is nobody to tell: the client has left.
    """
    if isinstance(error, RingsideError):
        return _of_ours(request, error)
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(request, error)
    return plain_response(500, _unforeseen(request, error))


def envelope_in_stream(request: web.Request, error: Exception) -> dict[str, Any]:
    """What a stream that has begun tells of an error; as `answer_to`, without a status."""
    if isinstance(error, RingsideError):
        return envelope_of(error)
    return _unforeseen(request, error)


def _unforeseen(request: web.Request, error: Exception) -> dict[str, Any]:
    if isinstance(error, ConnectionResetError):
        raise error
    logger.error("request failed", exc_info=error, extra=fields(request_id=request[REQUEST_ID]))
    services(request).metrics.error_answered("internal_error")
    message = (
        "The server had an error while processing your request. If it happens again, look up "
        f"{request[REQUEST_ID]} in the proxy's log."
    )
    return envelope(message, "server_error", None, "internal_error")


def _of_ours(request: web.Request, error: RingsideError) -> web.Response:
    metrics = services(request).metrics
    if isinstance(error, ConversationLockedError):
        metrics.run_lock_conflicts_total.inc()
    metrics.error_answered(error.code)
    if error.code is not None:
        request[ERROR_CODE] = error.code
    return error_response(error)


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals: no such URL, not with this method."""
    if error.status == 405:
        message = f"Not allowed to {request.method} on {request.path}."
    elif error.status == 404:
        message = f"Invalid URL ({request.method} {request.path})"
    else:
        message = error.reason
    response = plain_response(error.status, envelope(message, "invalid_request_error", None, None))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
