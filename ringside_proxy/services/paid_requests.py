"""A request as money was kept back for it: no longer an answer, and no dearer a service. Pure."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ringside_proxy.providers.types import LIMIT_PARAMS, CompletionRequest

TIER: Final = "service_tier"
UNNAMED_TIERS: Final = (None, "auto")
USUAL_TIER: Final[dict[str, str]] = {"openai": "default"}
"""Where an unnamed tier is the one of the project's settings, the name of that at the list price."""

PROJECT_TIERS: Final = ("azure",)
"""Where a deployment may be of another tier than the usual one, and a request names none."""


def tiers_possible(provider: str, asked: str | None, known: Iterable[str]) -> set[str | None]:
    """The tiers that an answer may be billed at: any provider may fall back to the usual one."""
    if asked in UNNAMED_TIERS:
        return {None, *known} if provider in PROJECT_TIERS else {None}
    return {None, asked}


def given_limit(request: CompletionRequest) -> int | None:
    """How long an answer its caller wants at most; None if that was left open."""
    params = request.params
    given = params.get(LIMIT_PARAMS[0]) or params.get(LIMIT_PARAMS[1])
    return given if isinstance(given, int) and given > 0 else None


def as_paid(
    request: CompletionRequest, tokens: int | None, provider: str, *, is_capped: bool
) -> CompletionRequest:
    """The request for an answer of at most so many tokens; under a cap, at the tier that was priced."""
    params: dict[str, Any] = {}
    if tokens != given_limit(request):
        params[LIMIT_PARAMS[0]] = tokens
    if is_capped and provider in USUAL_TIER and request.params.get(TIER) in UNNAMED_TIERS:
        params[TIER] = USUAL_TIER[provider]
    if not params:
        return request
    replaced = LIMIT_PARAMS if LIMIT_PARAMS[0] in params else ()
    kept = {name: value for name, value in request.params.items() if name not in replaced}
    return msgspec.structs.replace(request, params=kept | params)
