"""What is answered before there is a request that a handler could see, in the same envelope.

aiohttp refuses HTTP that it cannot parse by itself, as text and with the versions of what runs
here, and looks at `Expect` before any middleware, repeating what was expected. Both end here.
"""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final

from aiohttp import HttpVersion11, hdrs, web

from ringside_proxy.api.errors import envelope, plain_response
from ringside_proxy.domain.ids import NewId

logger = logging.getLogger(__name__)

SERVER: Final = "ringside"
OPENAI_VERSION: Final = "2020-10-01"
CONTINUE: Final = "100-continue"
BROKEN: Final = "The request is not valid HTTP/1.1, or its head is too large."
UNEXPECTED: Final = f"Only 'Expect: {CONTINUE}' can be met."
FAILED: Final = "The server had an error while processing your request."
THEIRS: Final = ("invalid_request_error", None)
OURS: Final = ("server_error", "internal_error")


class Runner(web.AppRunner):
    """Serves an application behind an `Edge`; `options` are those of a connection."""

    def __init__(
        self, app: web.Application, new_id: NewId, *, shutdown_timeout: float, **options: Any
    ) -> None:
        super().__init__(
            app, shutdown_timeout=shutdown_timeout, handler_cancellation=True, **options
        )
        self._new_id = new_id
        self._options = options

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Edge(made, self._new_id, self._options)


class Edge(web.Server):
    """The server of an application, with what stands before it."""

    def __init__(self, inner: web.Server, new_id: NewId, options: dict[str, Any]) -> None:
        super().__init__(
            self._handle,
            request_factory=inner.request_factory,
            handler_cancellation=inner.handler_cancellation,
        )
        self._application = inner.request_handler
        self._new_id = new_id
        self._options = options

    def __call__(self) -> web.RequestHandler:
        """A connection."""
        return Connection(self, loop=asyncio.get_running_loop(), **self._options)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get(hdrs.EXPECT) or CONTINUE
        if expected.lower() != CONTINUE and request.version == HttpVersion11:
            return self.refusal(HTTPStatus.EXPECTATION_FAILED, UNEXPECTED)
        return await self._application(request)

    def refusal(self, status: int, message: str) -> web.Response:
        """An error of which no middleware knows; the connection ends with it."""
        is_ours = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        kind, code = OURS if is_ours else THEIRS
        response = plain_response(status, envelope(message, kind, None, code))
        response.headers["x-request-id"] = self._new_id("req")
        response.headers["Server"] = SERVER
        response.headers["openai-version"] = OPENAI_VERSION
        response.force_close()
        return response


class Connection(web.RequestHandler):
    """A connection to an `Edge`."""

    __slots__ = ("_edge",)

    def __init__(self, edge: Edge, **options: Any) -> None:
        super().__init__(edge, **options)
        self._edge = edge

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, and to what the application let through."""
        del message  # it quotes what could not be parsed
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.debug("not HTTP", exc_info=exc)
            return self._edge.refusal(status, BROKEN)
        logger.error("request failed", exc_info=exc)
        return self._edge.refusal(status, FAILED)
