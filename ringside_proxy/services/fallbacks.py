"""Whether a slot's next model is asked, after one that failed before anything was told. Pure."""

from typing import Final

from ringside_proxy.domain.errors import (
    InvalidRequestError,
    ProviderError,
    ProviderRejectedError,
    ResponseSchemaValidationFailedError,
    RingsideError,
)
from ringside_proxy.services.model_routing import Route
from ringside_proxy.settings.slots import Refusal

REFUSALS: Final[dict[str, Refusal]] = {
    "content_filter": "content_policy",
    "content_policy_violation": "content_policy",
    "context_length_exceeded": "context_length_exceeded",
    "model_not_found": "model_not_found",
    "unsupported_parameter": "unsupported_parameter",
}
"""Codes of what one model says no to and another may not."""


def following(route: Route, error: RingsideError) -> Route | None:
    """Who is asked next; None if what went wrong is the answer."""
    if route.next is None:
        return None
    refusal = _refusal(error)
    if refusal is not None:
        return route.next if refusal in route.fallback_on else None
    return route.next if isinstance(error, ProviderError) else None


def _refusal(error: RingsideError) -> Refusal | None:
    """The refusal as slots name it; None for a failure, and for what is the caller's own fault."""
    if isinstance(error, ResponseSchemaValidationFailedError):
        return "response_schema_validation_failed"
    known = REFUSALS.get(error.code or "")
    if isinstance(error, ProviderRejectedError):
        return known or "invalid_request"
    return known if isinstance(error, InvalidRequestError) else None
