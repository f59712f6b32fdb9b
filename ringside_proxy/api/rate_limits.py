"""Rate limits at the edge: model calls are let in once their body is known; what is left, as headers."""

from aiohttp import web
from aiohttp.typedefs import Handler

from ringside_proxy.api.context import admission
from ringside_proxy.domain.durations import written
from ringside_proxy.domain.errors import RateLimitExceededError
from ringside_proxy.services.rate_limits import RESOURCES, Admission


async def admit_call(
    request: web.Request, customer: str | None, output_tokens: int | None = None
) -> Admission:
    """Let in a model call for `customer` whose answer has so many tokens at most, None if any.

    To be called once the body has been read. Raises RateLimitExceededError.
    """
    body = await request.read()  # aiohttp has kept it
    admitted = admission(request)
    admitted.attribute(customer)
    admitted.reserve(body, output_tokens)
    return admitted


def released(handler: Handler) -> Handler:
    """The handler; when it ends, what its request still holds of its limits is free again."""

    async def handle(request: web.Request) -> web.StreamResponse:
        admitted = admission(request)
        try:
            return await handler(request)
        except RateLimitExceededError:
            admitted.refund()
            raise
        finally:
            admitted.close()

    return handle


def headers(admitted: Admission) -> dict[str, str]:
    """OpenAI's `x-ratelimit-*`, of the limits of which least is left."""
    named: dict[str, str] = {}
    for resource in RESOURCES:
        standing = admitted.standing(resource)
        if standing is not None:
            named[f"x-ratelimit-limit-{resource}"] = str(standing.limit)
            named[f"x-ratelimit-remaining-{resource}"] = str(standing.remaining)
            named[f"x-ratelimit-reset-{resource}"] = written(standing.reset_ms)
    return named
