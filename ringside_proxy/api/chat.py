"""/v1/chat/completions and /v1/embeddings: passed on as bytes."""

from typing import Any

from aiohttp import web

from ringside_proxy.api import bodies, sse
from ringside_proxy.api.context import REQUEST_ID, customer, services, snapshot
from ringside_proxy.api.errors import envelope_of
from ringside_proxy.api.request import read_open_body
from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.services.model_routing import Route


async def create_completion(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    body, params = await read_open_body(request, bodies.ChatCompletion)
    customer(request, body.user)
    route = snapshot(request).router.route(body.model)
    if body.stream:
        return await _stream(request, body, params, route)
    answer = await services(request).completions.chat(
        route, body.messages, params, request[REQUEST_ID]
    )
    return _relayed(answer, route)


async def create_embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    body, params = await read_open_body(request, bodies.Embeddings)
    customer(request, body.user)
    route = snapshot(request).router.route(body.model)
    answer = await services(request).completions.embeddings(
        route, body.input, params, request[REQUEST_ID]
    )
    return _relayed(answer, route)


async def _stream(
    request: web.Request, body: bodies.ChatCompletion, params: dict[str, Any], route: Route
) -> web.StreamResponse:
    """Headers go out with the first frame that says something: until then an error has a status."""
    options = body.stream_options
    async with services(request).completions.chat_stream(
        route,
        body.messages,
        params,
        request[REQUEST_ID],
        include_usage=bool(options and options.include_usage),
    ) as batches:
        response = web.StreamResponse(headers=sse.HEADERS | _headers(route))
        await response.prepare(request)
        try:
            async for frames in batches:
                await sse.write(response, b"".join(frames))
        except ProviderError as error:
            await sse.write(response, sse.data_frame(envelope_of(error)))
        await response.write_eof()
    return response


def _relayed(answer: bytes, route: Route) -> web.Response:
    return web.Response(body=answer, content_type="application/json", headers=_headers(route))


def _headers(route: Route) -> dict[str, str]:
    return {"x-ringside-model": str(route.ref)}
