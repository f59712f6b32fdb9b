"""Which web pages may call the API from a browser; none, unless the configuration lists them.

A browser asks first, without a token, whether it may (an `OPTIONS`); and reads of an answer only
what it is told to show. Tokens come in a header, never in a cookie: who may not call is still
refused by the token.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

ANY: Final = "*"
METHODS: Final = "GET, POST, PATCH, DELETE"
ASKED_HEADERS: Final = re.compile(r"[A-Za-z0-9_, -]{1,2048}")
REMEMBERED_S: Final = 600
SHOWN: Final = ", ".join(
    (
        *("x-request-id", "retry-after", "retry-after-ms", "x-should-retry"),
        *("openai-version", "openai-processing-ms", "openai-poll-after-ms", "idempotent-replayed"),
        *(
            f"x-ratelimit-{part}-{unit}"
            for part in ("limit", "remaining", "reset")
            for unit in ("requests", "tokens")
        ),
        *("x-ringside-model", "x-ringside-cost-usd", "x-ringside-budget-remaining-usd"),
        "x-ringside-dropped-params",
    )
)
"""What of an answer's head a page may read, beside what it always may."""

Signal = Callable[[web.Request, web.StreamResponse], Awaitable[None]]


def preflight(origins: Collection[str]) -> Middleware:
    """Answers browsers that ask whether a page may call."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_question = (
            request.method == hdrs.METH_OPTIONS
            and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        )
        if not is_question or _allowed(request, origins) is None:
            return await handler(request)
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
            hdrs.ACCESS_CONTROL_MAX_AGE: str(REMEMBERED_S),
        }
        asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
        if ASKED_HEADERS.fullmatch(asked):
            headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = asked
        return web.Response(status=204, headers=headers)

    return middleware


def shown(origins: Collection[str]) -> Signal:
    """Names on each answer the page that may read it."""

    async def name(request: web.Request, response: web.StreamResponse) -> None:
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = _allowed(request, origins)
        if origin is not None:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = SHOWN

    return name


def _allowed(request: web.Request, origins: Collection[str]) -> str | None:
    origin = request.headers.get(hdrs.ORIGIN)
    return origin if origin is not None and (origin in origins or ANY in origins) else None
