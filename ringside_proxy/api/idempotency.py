"""Idempotency-Key, at the edge: a POST that comes with one is carried out once.

Whoever repeats it within 24 hours gets the same answer. A request without the header never comes
here. What happens to a key is told in `domain/idempotency.py`.
"""

import asyncio
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from ringside_proxy.api.context import CALLER, KEPT, caller, services
from ringside_proxy.api.failures import answer_to
from ringside_proxy.api.replays import replay
from ringside_proxy.api.request import INLINE_BYTES_MAX, read_raw
from ringside_proxy.domain.idempotency import (
    BODY_BYTES_MAX,
    Answer,
    fingerprint_of,
    key_of,
    scope_of,
)

KEY_HEADER: Final = "Idempotency-Key"
KEPT_HEADERS: Final = ("cache-control", "retry-after", "retry-after-ms", "x-accel-buffering")
OUR_PREFIXES: Final = ("x-ringside-", "x-should-")


async def once(request: web.Request, handler: Handler, *, shows_secret: bool) -> web.StreamResponse:
    """The handler's answer, or what it answered before; never the one that `shows_secret`.

    Raises InvalidRequestError for the key, IdempotencyError, and what reading a body raises.
    """
    key = key_of(request.headers.getall(KEY_HEADER))
    raw = await read_raw(request)
    scope = scope_of(caller(request).token_id, request.method, request.rel_url.raw_path, key)
    query = request.rel_url.raw_query_string
    fingerprint = (
        fingerprint_of(raw, query)
        if len(raw) <= INLINE_BYTES_MAX
        else await asyncio.to_thread(fingerprint_of, raw, query)
    )
    earlier = await services(request).idempotency.begin(scope, fingerprint)
    if earlier is not None:
        return await replay(request, raw, earlier)
    request[CALLER] = msgspec.structs.replace(caller(request), once=scope)
    work = _carried_out(request, handler, scope, shows_secret=shows_secret)
    return await services(request).idempotency.finish(work)


async def _carried_out(
    request: web.Request, handler: Handler, scope: bytes, *, shows_secret: bool
) -> web.StreamResponse:
    """The handler's answer, stored before it is given."""
    idempotency = services(request).idempotency
    response: web.StreamResponse
    try:
        response = await handler(request)
    except (asyncio.CancelledError, ConnectionResetError):
        await idempotency.give_up(scope)
        raise
    except Exception as error:  # noqa: BLE001 - the edge of this task: nobody else may be listening
        response = answer_to(request, error)
    shown = shows_secret and response.status < 400
    await idempotency.keep(scope, _kept(request, response, shows_secret=shown))
    return response


def _kept(request: web.Request, response: web.StreamResponse, *, shows_secret: bool) -> Answer:
    """What is stored of an answer."""
    body = response.body if isinstance(response, web.Response) else request.get(KEPT)
    if shows_secret or not isinstance(body, bytes) or len(body) > BODY_BYTES_MAX:
        body = None
    headers = {
        name: value
        for name, value in response.headers.items()
        if name.lower() in KEPT_HEADERS or name.lower().startswith(OUR_PREFIXES)
    }
    return Answer(
        status=response.status,
        content_type=response.headers["Content-Type"],
        headers=headers,
        body=body,
    )
