"""OpenAI's error answers: status, words and headers.

Source of the words: recorded answers of api.openai.com as public issue threads quote them, read 2026-11-21.
"""

from collections.abc import Mapping
from typing import Any, Final

INVALID: Final = "invalid_request_error"
SERVER_ERROR: Final = "server_error"
MS_PER_S: Final = 1000


class APIError(Exception):
    """An answer other than 200: as a status before the first byte, as an error event after it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.error_type = error_type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """OpenAI's envelope."""
        return {
            "error": {
                "message": self.message,
                "type": self.error_type,
                "param": self.param,
                "code": self.code,
            }
        }


STATUS_ERRORS: Final[dict[int, tuple[str, str, str | None]]] = {
    400: ("The request could not be processed.", INVALID, None),
    401: ("Incorrect API key provided: sandbox.", INVALID, "invalid_api_key"),
    402: ("Your account has no credit left.", "billing_error", "billing_hard_limit_reached"),
    403: ("You are not allowed to sample from this model", INVALID, None),
    404: ("The requested resource was not found.", INVALID, None),
    405: ("This method is not allowed for this resource.", INVALID, None),
    408: ("The request took too long to arrive.", INVALID, None),
    409: ("The resource was changed by another request.", INVALID, None),
    413: ("The request body is too large.", INVALID, "request_too_large"),
    422: ("The request was well-formed, but could not be followed.", INVALID, None),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: (
        "The server had an error while processing your request. Sorry about that!",
        SERVER_ERROR,
        None,
    ),
    503: ("The server is currently overloaded with other requests.", SERVER_ERROR, None),
}
"""Message, type and code by status; a status without a row answers as its class's first."""


def of_status(status: int) -> APIError:
    """The error that goes with a bare status."""
    fallback = STATUS_ERRORS[500 if status >= 500 else 400]
    message, error_type, code = STATUS_ERRORS.get(status, fallback)
    return APIError(status, message, error_type=error_type, code=code)


def invalid(message: str, param: str | None = None, code: str | None = None) -> APIError:
    """A request that cannot be served as it is."""
    return APIError(400, message, param=param, code=code)


def missing(path: str) -> APIError:
    """A parameter that has to be there."""
    return invalid(f"Missing required parameter: '{path}'.", path, "missing_required_parameter")


def no_such_model(name: str) -> APIError:
    """A model that is not served here."""
    return APIError(
        404, f"The model '{name}' does not exist", param="model", code="model_not_found"
    )


def no_key() -> APIError:
    """A request without a bearer token."""
    return APIError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization "
        "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    )


def rate_limited(model: str, wait_s: int) -> APIError:
    """Too many requests: come back in `wait_s` seconds."""
    return APIError(
        429,
        f"Rate limit reached for {model} on requests per min (RPM): Limit 1, Used 1, Requested 1. "
        f"Please try again in {wait_s}s.",
        error_type="requests",
        code="rate_limit_exceeded",
        headers={"retry-after": str(wait_s), "retry-after-ms": str(wait_s * MS_PER_S)},
    )


def out_of_quota() -> APIError:
    """The account is out of credit; waiting does not help."""
    return APIError(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        error_type="insufficient_quota",
        code="insufficient_quota",
    )


def context_too_long(limit_tokens: int, prompt_tokens: int) -> APIError:
    """The messages do not fit into the model's context."""
    return invalid(
        f"This model's maximum context length is {limit_tokens} tokens. However, your messages "
        f"resulted in {prompt_tokens} tokens. Please reduce the length of the messages.",
        "messages",
        "context_length_exceeded",
    )
