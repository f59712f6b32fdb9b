"""/v1/threads/{thread_id}/runs and /v1/threads/runs."""

from contextlib import aclosing
from typing import Any, Final, get_args

from aiohttp import web

from ringside_proxy.api import answer_headers, bodies, decode_domain, sse
from ringside_proxy.api.context import (
    REQUEST_ID,
    caller,
    customer,
    json_response,
    services,
    snapshot,
)
from ringside_proxy.api.decode import IncludeQuery, decode_query
from ringside_proxy.api.failures import envelope_in_stream
from ringside_proxy.api.rate_limits import admit_call
from ringside_proxy.api.request import read_body, require_prefix, thread_id
from ringside_proxy.api.threads import new_messages, new_thread
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.events import StreamEvent
from ringside_proxy.domain.lists import ListQuery, Page
from ringside_proxy.domain.money import usd_text
from ringside_proxy.domain.runs import ACTIVE, Run
from ringside_proxy.services.event_channel import EventChannel
from ringside_proxy.services.run_transactions import WhenBusy
from ringside_proxy.services.runs import BegunRun, RunParams
from ringside_proxy.services.threads import NewThread, default_customer
from ringside_proxy.store import runs, threads
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.tx import Tx

WHEN_BUSY_HEADER: Final = "x-ringside-when-busy"
WAYS: Final[tuple[WhenBusy, ...]] = get_args(WhenBusy)

POLL_AFTER_MS: Final = "300"
"""What the SDKs' poll helpers wait between two looks; without it Node waits 5 s."""


async def create(request: web.Request) -> web.StreamResponse:
    """POST /v1/threads/{thread_id}/runs."""
    decode_query(request.query, IncludeQuery)
    body = await read_body(request, bodies.CreateRun)
    found = thread_id(request)
    params = _params(
        request,
        body,
        reasoning_effort=body.reasoning_effort,
        additional_instructions=body.additional_instructions,
        additional_messages=body.additional_messages,
    )
    return await _begin(request, found, params, is_streamed=bool(body.stream))


async def create_with_thread(request: web.Request) -> web.StreamResponse:
    """POST /v1/threads/runs."""
    body = await read_body(request, bodies.CreateThreadAndRun)
    decode_domain.refuse_tool_resources(body.tool_resources)
    thread = new_thread(request, body.thread or bodies.CreateThread(), "thread.")
    params = _params(request, body)
    return await _begin(request, thread, params, is_streamed=bool(body.stream))


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}/runs/{run_id}."""
    run, model = services(request).db.get(
        _run_and_model, caller(request), thread_id(request), request.match_info["run_id"]
    )
    headers = {"openai-poll-after-ms": POLL_AFTER_MS} if run.status in ACTIVE else {}
    if model is not None:
        headers["x-ringside-model"] = model
    return json_response(run, headers)


async def update(request: web.Request) -> web.Response:
    """POST /v1/threads/{thread_id}/runs/{run_id}."""
    body = await read_body(request, bodies.ModifyRun)
    return json_response(
        await services(request).runs.update(
            caller(request), thread_id(request), request.match_info["run_id"], body.metadata
        )
    )


async def cancel(request: web.Request) -> web.Response:
    """POST /v1/threads/{thread_id}/runs/{run_id}/cancel."""
    return json_response(
        await services(request).runs.cancel(
            caller(request), thread_id(request), request.match_info["run_id"]
        )
    )


async def submit_tool_outputs(request: web.Request) -> web.StreamResponse:
    """POST /v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs."""
    body = await read_body(request, bodies.SubmitToolOutputs)
    run_id = request.match_info["run_id"]
    run = services(request).db.get(_record, caller(request), thread_id(request), run_id)
    admitted = await admit_call(request, run.customer, run.settings.call_max_tokens)
    begun = await services(request).runs.submit_tool_outputs(
        caller(request),
        snapshot(request),
        thread_id(request),
        run_id,
        [(output.tool_call_id, output.output or "") for output in body.tool_outputs],
        is_streamed=bool(body.stream),
        request_id=request[REQUEST_ID],
        admission=admitted,
    )
    return await _answer(request, begun, is_streamed=bool(body.stream))


async def index(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}/runs."""
    query = decode_query(request.query, ListQuery)
    page = await services(request).db.read(_page, caller(request), thread_id(request), query)
    return json_response(page)


async def _begin(
    request: web.Request, thread: str | NewThread, params: RunParams, *, is_streamed: bool
) -> web.StreamResponse:
    admitted = await admit_call(request, _customer_of(request, thread, params), _output(params))
    begun = await services(request).runs.create(
        caller(request),
        snapshot(request),
        thread,
        params,
        is_streamed=is_streamed,
        request_id=request[REQUEST_ID],
        admission=admitted,
    )
    return await _answer(request, begun, is_streamed=is_streamed)


async def _answer(
    request: web.Request, begun: BegunRun, *, is_streamed: bool
) -> web.StreamResponse:
    """The run at once, or its events until it ends."""
    headers = {"x-ringside-model": str(begun.live.route.ref)}
    if begun.live.dropped_params:
        headers["x-ringside-dropped-params"] = answer_headers.names(begun.live.dropped_params)
    if begun.remaining_nano is not None:
        headers["x-ringside-budget-remaining-usd"] = usd_text(begun.remaining_nano)
    if not is_streamed or begun.live.channel is None:
        return json_response(begun.run, headers)
    stream = sse.Stream(request, headers)
    try:
        try:
            last = await _tell(stream, begun.first_events, begun.live.channel)
        except Exception as error:
            if not stream.has_begun:
                raise
            last = sse.frame("error", envelope_in_stream(request, error))
        return await stream.end(last + sse.DONE)
    finally:
        services(request).runs.leave(begun, snapshot(request))


async def _tell(stream: sse.Stream, first: list[StreamEvent], channel: EventChannel) -> bytes:
    """Every event of a run, until it ends; gives the last frames, which go out with the end."""
    await stream.begin()
    await stream.write(sse.frames(first))
    last = b""
    async with aclosing(channel.batches(sse.KEEP_ALIVE_S)) as batches:
        async for batch in batches:
            frames = sse.frames(batch) or sse.KEEP_ALIVE
            if channel.is_over:
                last = frames
            else:
                await stream.write(frames)
    return last


def _params(
    request: web.Request,
    body: bodies.RunOptions,
    *,
    reasoning_effort: str | None = None,
    additional_instructions: str | None = None,
    additional_messages: list[bodies.CreateMessage] | None = None,
) -> RunParams:
    require_prefix(body.assistant_id, "assistant_id", "asst")
    return RunParams(
        assistant_id=body.assistant_id,
        overrides=_overrides(body, reasoning_effort),
        additional_instructions=additional_instructions,
        messages=new_messages(additional_messages, "additional_messages"),
        metadata=body.metadata or {},
        customer=customer(request, body.user),
        when_busy=_when_busy(request),
        expires_after_s=decode_domain.expires_after_s(body.expires_after),
    )


def _when_busy(request: web.Request) -> WhenBusy | None:
    """What the caller wants for a busy thread; None: as the configuration says."""
    given = request.headers.get(WHEN_BUSY_HEADER)
    if given is None:
        return None
    for known in WAYS:
        if given == known:
            return known
    raise InvalidRequestError(
        f"Invalid '{WHEN_BUSY_HEADER}': '{given}'. Supported values are: 'reject', 'queue' and "
        "'replace'.",
        param=WHEN_BUSY_HEADER,
        code="invalid_value",
    )


def _overrides(body: bodies.RunOptions, reasoning_effort: str | None) -> dict[str, Any]:
    given = {
        "model": body.model,
        "instructions": body.instructions,
        "tools": None if body.tools is None else decode_domain.function_tools(body.tools),
        "temperature": body.temperature,
        "top_p": body.top_p,
        "reasoning_effort": reasoning_effort,
        "max_completion_tokens": body.max_completion_tokens,
        "max_prompt_tokens": body.max_prompt_tokens,
        "truncation_strategy": decode_domain.truncation_strategy(body.truncation_strategy),
        "response_format": None
        if body.response_format is None
        else decode_domain.response_format(body.response_format),
        "tool_choice": decode_domain.tool_choice(body.tool_choice),
        "parallel_tool_calls": body.parallel_tool_calls,
        "call_max_tokens": body.max_tokens,
        "seed": body.seed,
    }
    return {name: value for name, value in given.items() if value is not None}


def _customer_of(request: web.Request, thread: str | NewThread, params: RunParams) -> str | None:
    """Whom the run will be attributed to."""
    who = caller(request)
    named = who.customer or params.customer
    if named is not None:
        return named
    if isinstance(thread, NewThread):
        return default_customer(who, thread)
    return services(request).db.get(threads.get, thread, who).customer


def _output(params: RunParams) -> int | None:
    limits = (
        params.overrides.get("call_max_tokens"),
        params.overrides.get("max_completion_tokens"),
    )
    return min((limit for limit in limits if limit is not None), default=None)


def _run_and_model(tx: Tx, who: Caller, found: str, run_id: str) -> tuple[Run, str | None]:
    """The run, and the model that was asked last for it."""
    record = _record(tx, who, found, run_id)
    return runs.wire_object(tx, record), runs.last_model(tx, record)


def _record(tx: Tx, who: Caller, found: str, run_id: str) -> RunRecord:
    return runs.get(tx, threads.get(tx, found, who), run_id)


def _page(tx: Tx, who: Caller, found: str, query: ListQuery) -> Page[Run]:
    return runs.page(tx, threads.get(tx, found, who), query)
