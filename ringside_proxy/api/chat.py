"""/v1/chat/completions and /v1/embeddings."""

from contextlib import AbstractContextManager, nullcontext

from aiohttp import web

from ringside_proxy.api import answer_headers, bodies, decode_domain, sse
from ringside_proxy.api.context import KEPT, REQUEST_ID, caller, customer, services, snapshot
from ringside_proxy.api.failures import envelope_in_stream
from ringside_proxy.api.rate_limits import admit_call
from ringside_proxy.api.request import read_open_body
from ringside_proxy.domain.ledger import CallKind
from ringside_proxy.domain.money import usd_text
from ringside_proxy.services.calls import call_of
from ringside_proxy.services.chat_replay import ChatReplay
from ringside_proxy.services.completions import ChatCall, EmbeddingsCall
from ringside_proxy.services.metering import Meter
from ringside_proxy.services.model_routing import Route


async def create_completion(request: web.Request) -> web.StreamResponse:
    """POST /v1/chat/completions."""
    body, params = await read_open_body(request, bodies.ChatCompletion)
    decode_domain.refuse_chat_tools(body.tools)
    options = body.stream_options
    route = snapshot(request).router.route(body.model)
    call = ChatCall(
        route=route,
        meter=await _meter(request, "chat.completion", route, body, _output_tokens(body)),
        messages=params.pop("messages"),
        params=params,
        request_id=request[REQUEST_ID],
        owner=caller(request).owner,
        include_usage=bool(options and options.include_usage),
    )
    if body.stream:
        return await _stream(request, call)
    with _until_stopped(request):
        answer = await services(request).completions.chat(call)
    return _answer(answer, call.route, call.meter, call.dropped_params)


async def create_embeddings(request: web.Request) -> web.Response:
    """POST /v1/embeddings."""
    body, params = await read_open_body(request, bodies.Embeddings)
    route = snapshot(request).router.route(body.model)
    meter = await _meter(request, "embedding", route, body, output_tokens=0)
    call = EmbeddingsCall(
        route=route, meter=meter, input=body.input, params=params, request_id=request[REQUEST_ID]
    )
    with _until_stopped(request):
        answer = await services(request).completions.embeddings(call)
    return _answer(answer, call.route, meter, call.dropped_params)


async def _meter(
    request: web.Request,
    kind: CallKind,
    route: Route,
    body: bodies.ChatCompletion | bodies.Embeddings,
    output_tokens: int | None,
) -> Meter:
    """What counts the call, once the caller's rate limits have let it in."""
    who, whose = caller(request), customer(request, body.user)
    admitted = await admit_call(request, whose, output_tokens)
    call = call_of(
        kind, route, body.model, who.token_id, customer=whose, request_id=request[REQUEST_ID]
    )
    return services(request).books.meter(
        snapshot(request), route, call, once=who.once, reservation=admitted.reservation
    )


def _output_tokens(body: bodies.ChatCompletion) -> int | None:
    """How many tokens all choices may have; None if the caller did not say."""
    limit = body.max_completion_tokens or body.max_tokens
    return None if limit is None else limit * (body.n or 1)


async def _stream(request: web.Request, call: ChatCall) -> web.StreamResponse:
    """Headers go out with the first frame that says something: until then an error has a status."""
    kept = ChatReplay()
    is_kept = caller(request).once is not None
    stream: sse.Stream | None = None
    try:
        with _until_stopped(request):
            async with services(request).completions.chat_stream(call) as (first, rest):
                stream = sse.Stream(request, _headers(call.route, call.meter, call.dropped_params))
                await stream.begin()
                if is_kept:
                    kept.feed(first)  # first: what may have been told is told again
                await stream.write(first)
                async for frames in rest:
                    if is_kept:
                        kept.feed(frames)
                    await stream.write(frames)
    except Exception as error:
        if stream is None or not stream.has_begun:
            raise
        failure = sse.data_frame(envelope_in_stream(request, error))
        await stream.write(failure)
        kept.fail(failure)
    request[KEPT] = kept.frames()
    return await stream.end()


def _until_stopped(request: web.Request) -> AbstractContextManager[None]:
    """A stop of the proxy ends the call with an error; one with an Idempotency-Key ends by itself."""
    if caller(request).once is not None:
        return nullcontext()
    return services(request).completions.cutoff.around()


def _answer(
    answer: bytes, route: Route, meter: Meter, dropped_params: tuple[str, ...]
) -> web.Response:
    headers = _headers(route, meter, dropped_params)
    if meter.cost_nano is not None:
        headers["x-ringside-cost-usd"] = usd_text(meter.cost_nano)
    return web.Response(body=answer, content_type="application/json", headers=headers)


def _headers(route: Route, meter: Meter, dropped_params: tuple[str, ...]) -> dict[str, str]:
    headers = {"x-ringside-model": str(route.ref)}
    if meter.remaining_nano is not None:
        headers["x-ringside-budget-remaining-usd"] = usd_text(meter.remaining_nano)
    if dropped_params:
        headers["x-ringside-dropped-params"] = answer_headers.names(dropped_params)
    return headers
