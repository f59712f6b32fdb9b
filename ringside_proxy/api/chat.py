"""/v1/chat/completions and /v1/embeddings."""

from aiohttp import web

from ringside_proxy.api import bodies, sse
from ringside_proxy.api.context import KEPT, REQUEST_ID, caller, customer, services, snapshot
from ringside_proxy.api.errors import envelope_of
from ringside_proxy.api.request import read_open_body
from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.services.chat_replay import ChatReplay
from ringside_proxy.services.completions import ChatCall
from ringside_proxy.services.model_routing import Route


async def create_completion(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    body, params = await read_open_body(request, bodies.ChatCompletion)
    customer(request, body.user)
    options = body.stream_options
    call = ChatCall(
        route=snapshot(request).router.route(body.model),
        messages=params.pop("messages"),
        params=params,
        request_id=request[REQUEST_ID],
        owner=caller(request).owner,
        include_usage=bool(options and options.include_usage),
        once=caller(request).once,
    )
    if body.stream:
        return await _stream(request, call)
    answer = await services(request).completions.chat(call)
    return _answer(answer, call.route, call.dropped_params)


async def create_embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    body, params = await read_open_body(request, bodies.Embeddings)
    customer(request, body.user)
    route = snapshot(request).router.route(body.model)
    answer = await services(request).completions.embeddings(
        route, body.input, params, request[REQUEST_ID], caller(request).once
    )
    return _answer(answer, route)


async def _stream(request: web.Request, call: ChatCall) -> web.StreamResponse:
    """Headers go out with the first frame that says something: until then an error has a status."""
    kept = ChatReplay()
    async with services(request).completions.chat_stream(call) as batches:
        stream = sse.Stream(request, _headers(call.route, call.dropped_params))
        await stream.begin()
        try:
            async for frames in batches:
                await stream.write(frames)
                if call.once is not None:
                    kept.feed(frames)
        except RingsideError as error:
            failure = sse.data_frame(envelope_of(error))
            await stream.write(failure)
            kept.fail(failure)
        request[KEPT] = kept.frames()
        return await stream.end()


def _answer(answer: bytes, route: Route, dropped_params: tuple[str, ...] = ()) -> web.Response:
    return web.Response(
        body=answer, content_type="application/json", headers=_headers(route, dropped_params)
    )


def _headers(route: Route, dropped_params: tuple[str, ...]) -> dict[str, str]:
    headers = {"x-ringside-model": str(route.ref)}
    if dropped_params:
        headers["x-ringside-dropped-params"] = ", ".join(dropped_params)
    return headers
