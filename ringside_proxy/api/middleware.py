"""What surrounds every handler: request id → metrics and log → errors → authentication → limits."""

import asyncio
import logging
import re
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from multidict import istr

from ringside_proxy.api import rate_limits
from ringside_proxy.api.context import (
    ADMISSION,
    CALLER,
    REQUEST_ID,
    SNAPSHOT,
    services,
    snapshot,
)
from ringside_proxy.api.edge import OPENAI_VERSION, SERVER
from ringside_proxy.api.failures import ERROR_CODE, answer_to
from ringside_proxy.api.idempotency import KEY_HEADER, once
from ringside_proxy.api.routes import Route
from ringside_proxy.domain.errors import OverloadedError
from ringside_proxy.services.tokens import require_developer
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.waits import WAIT, Wait

logger = logging.getLogger(__name__)

ID_HEADER: Final = istr("x-request-id")
VERSION_HEADER: Final = istr("openai-version")
PROCESSING_HEADER: Final = istr("openai-processing-ms")
"""Names that are folded once, not for each answer."""
GIVEN_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
REQUESTS_AT_ONCE_MAX: Final = 2_000
CLIENT_CLOSED_REQUEST: Final = 499
PROCESSING_STARTED: Final = web.RequestKey("started_s", float)


class Traffic:
    """How many requests are being answered; `idle` is set while there are none."""

    def __init__(self) -> None:
        self.count = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def __enter__(self) -> None:
        self.count += 1
        self.idle.clear()

    def refuse_too_many(self) -> None:
        """Raise OverloadedError while there are more than can be answered."""
        if self.count > REQUESTS_AT_ONCE_MAX:
            raise OverloadedError("Too many requests at once. Try again in a second.")

    def __exit__(self, *_: object) -> None:
        self.count -= 1
        if self.count == 0:
            self.idle.set()


def measured(traffic: Traffic) -> Middleware:
    """Names, counts, times and logs every request; every error is in OpenAI's envelope."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        called = services(request)
        given = request.headers.get(ID_HEADER, "")
        request[REQUEST_ID] = given if GIVEN_REQUEST_ID.fullmatch(given) else called.new_id("req")
        request[SNAPSHOT] = called.live_config.snapshot
        started_s = called.monotonic_s()
        request[PROCESSING_STARTED] = started_s
        wait = Wait()
        WAIT.set(wait)
        status = CLIENT_CLOSED_REQUEST
        with traffic:
            try:
                traffic.refuse_too_many()
                response = await handler(request)
                status = response.status
            except Exception as error:  # noqa: BLE001 - the edge: nothing goes further up
                response = answer_to(request, error)
                status = response.status
            finally:
                _note(request, status, called.monotonic_s() - started_s, wait.seconds)
        return response

    return middleware


def _note(request: web.Request, status: int, duration_s: float, waited_s: float) -> None:
    resource = request.match_info.route.resource
    route = "other" if resource is None else resource.canonical
    services(request).metrics.request_done(route, request.method, status, duration_s, waited_s)
    if logger.isEnabledFor(logging.INFO):
        logger.info(
            "request",
            extra=fields(
                request_id=request[REQUEST_ID],
                method=request.method,
                route=route,
                status=status,
                code=request.get(ERROR_CODE),
                duration_ms=round(duration_s * 1000, 3),
            ),
        )


def guarded(route: Route) -> Handler:
    """The route's handler behind the tokens that it is open to, and their rate limits."""

    handler = rate_limits.released(route.handler)

    async def handle(request: web.Request) -> web.StreamResponse:
        if route.open_to == "everybody":
            return await route.handler(request)
        called = services(request)
        caller = called.tokens.authenticate(request.headers.get(hdrs.AUTHORIZATION))
        request[CALLER] = caller
        if route.open_to == "developers":
            require_developer(caller)
        limits = snapshot(request).settings.rate_limits
        admission = request[ADMISSION] = called.rate_limits.admission(caller, limits)
        if route.is_counted:
            admission.count()
        if request.method == "POST" and KEY_HEADER in request.headers:
            return await once(request, handler, shows_secret=route.shows_secret)
        return await handler(request)

    return handle


async def name_answer(request: web.Request, response: web.StreamResponse) -> None:
    """The headers that OpenAI sends on everything, and those of the caller's rate limits."""
    headers = response.headers
    if REQUEST_ID in request:
        elapsed_s = services(request).monotonic_s() - request[PROCESSING_STARTED]
        headers[ID_HEADER] = request[REQUEST_ID]
        headers[hdrs.SERVER] = SERVER
        headers[VERSION_HEADER] = OPENAI_VERSION
        headers[PROCESSING_HEADER] = str(round(elapsed_s * 1000))
    if ADMISSION in request and request[ADMISSION].is_limited:
        headers.update(rate_limits.headers(request[ADMISSION]))
