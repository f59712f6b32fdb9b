"""The sandbox's server: OpenAI's routes over the simulated models."""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from ringside_proxy.domain.ids import NewId
from ringside_proxy.sandbox import embeddings, errors
from ringside_proxy.sandbox.errors import APIError
from ringside_proxy.sandbox.models import ROWS, Turn, find
from ringside_proxy.sandbox.requests import ChatRequest, parse_chat
from ringside_proxy.sandbox.script import Cut, Output, Page, Silence, Step, Wait, perform
from ringside_proxy.sandbox.wire import Answer, frame
from ringside_proxy.system import Clock

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
BODIES_REMEMBERED_MAX: Final = 1_000
SHUTDOWN_S: Final = 1.0
MS_PER_S: Final = 1000
OWNER: Final = "ringside-sandbox"
EVENT_STREAM: Final = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
}
REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")


class Attempts:
    """How often each body was seen; beyond BODIES_REMEMBERED_MAX the oldest are forgotten."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def count(self, body: bytes) -> int:
        """Counts one more attempt; the first one gives 1."""
        key = hashlib.sha256(body).digest()
        self._seen[key] = self._seen.pop(key, 0) + 1
        if len(self._seen) > BODIES_REMEMBERED_MAX:
            self._seen.popitem(last=False)
        return self._seen[key]


class Sandbox:
    """What the handlers share."""

    def __init__(self, clock: Clock, new_id: NewId) -> None:
        self.clock = clock
        self.new_id = new_id
        self.attempts = Attempts()
        self.closing = asyncio.Event()
        self.started_at = self.now_s()

    def now_s(self) -> int:
        """Seconds since the Unix epoch."""
        return self.clock.now_ms() // MS_PER_S


SANDBOX: Final = web.AppKey("sandbox", Sandbox)


@asynccontextmanager
async def serve(
    clock: Clock, new_id: NewId, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[int]:
    """Serves the sandbox while the block runs; gives the port, which for 0 is any free one."""
    runner = web.AppRunner(
        create_app(clock, new_id),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=SHUTDOWN_S,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def create_app(clock: Clock, new_id: NewId) -> web.Application:
    """The sandbox as an application. Run it with `handler_cancellation`, as `serve` does."""
    app = web.Application(middlewares=[_as_openai], client_max_size=BODY_BYTES_MAX)
    app[SANDBOX] = Sandbox(clock, new_id)
    app.on_response_prepare.append(_name_request)
    app.on_shutdown.append(_close)
    app.add_routes(
        [
            web.post("/v1/chat/completions", _create_chat_completion),
            web.post("/v1/embeddings", _create_embeddings),
            web.get("/v1/models", _list_models),
        ]
    )
    return app


async def _close(app: web.Application) -> None:
    app[SANDBOX].closing.set()


async def _name_request(request: web.Request, response: web.StreamResponse) -> None:
    given = request.headers.get("x-request-id", "")
    is_usable = REQUEST_ID.fullmatch(given) is not None
    response.headers["x-request-id"] = given if is_usable else request.app[SANDBOX].new_id("req")


@web.middleware
async def _as_openai(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        _authenticate(request)
        return await handler(request)
    except APIError as error:
        return _refusal(error)
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        return _refusal(_without_route(request, answer.status))
    except ConnectionError:  # ours, for a model that cuts the connection, or the client's
        if request.transport is not None:
            request.transport.close()
        return web.Response()


def _authenticate(request: web.Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise errors.no_key()


def _refusal(error: APIError) -> web.Response:
    return _json(error.body(), status=error.status, headers=error.headers)


def _without_route(request: web.Request, status: int) -> APIError:
    if status == 404:
        return APIError(404, f"Invalid URL ({request.method} {request.path})")
    if status == 405:
        return APIError(405, f"Not allowed to {request.method} on {request.path}")
    return errors.of_status(status)


def _json(
    payload: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=orjson.dumps(payload), status=status, headers=headers, content_type="application/json"
    )


async def _list_models(request: web.Request) -> web.Response:
    named = [(row.example, row.description) for row in ROWS]
    models = [
        {
            "id": name,
            "object": "model",
            "created": request.app[SANDBOX].started_at,
            "owned_by": OWNER,
            "description": description,
        }
        for name, description in [*named, (embeddings.NAME, embeddings.DESCRIPTION)]
    ]
    return _json({"object": "list", "data": models})


async def _create_embeddings(request: web.Request) -> web.Response:
    return _json(embeddings.embed(await request.read()))


async def _create_chat_completion(request: web.Request) -> web.StreamResponse:
    sandbox, body = request.app[SANDBOX], await request.read()
    chat = parse_chat(body)
    answer = Answer(chat, sandbox.new_id, sandbox.now_s())
    script = perform(_script(sandbox.attempts, chat, body), chat.tokens_max, chat.stops)
    async with aclosing(_acted(script, sandbox.closing)) as steps:
        if chat.is_stream:
            return await _stream(request, answer, steps)
        async for step in steps:
            answer.take(step)
        return _json(answer.completion())


def _script(attempts: Attempts, chat: ChatRequest, body: bytes) -> Iterator[Step]:
    if chat.model == embeddings.NAME:
        raise APIError(
            404,
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint.",
            param="model",
        )
    model, number = find(chat.model)
    attempt = attempts.count(body) if model.counts_attempts else 1
    return model.behaviour(Turn(request=chat, number=number, attempt=attempt))


async def _acted(script: Iterator[Step], closing: asyncio.Event) -> AsyncGenerator[Output, None]:
    """What is said, when it is said. Raises ConnectionError where the connection is to break."""
    for step in script:
        match step:
            case Wait(ms):
                await _pause(ms / MS_PER_S, closing)
            case Silence():
                await closing.wait()
                raise ConnectionResetError
            case Cut():
                raise ConnectionResetError
            case Page(html):
                raise web.HTTPOk(text=html, content_type="text/html")
            case _:
                yield step


async def _pause(seconds: float, closing: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await closing.wait()
    except TimeoutError:
        return
    raise ConnectionResetError


async def _stream(
    request: web.Request, answer: Answer, steps: AsyncIterator[Output]
) -> web.StreamResponse:
    response = web.StreamResponse(headers=EVENT_STREAM)
    try:
        async for step in steps:
            if not response.prepared:
                await response.prepare(request)
                await response.write(answer.opening(step))
            await response.write(answer.event(step))
    except APIError as error:
        if not response.prepared:
            raise
        await response.write(frame(error.body()))
    else:
        await response.write(answer.closing())
    return response
