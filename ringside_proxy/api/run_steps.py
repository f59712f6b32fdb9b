"""/v1/threads/{thread_id}/runs/{run_id}/steps."""

from aiohttp import web

from ringside_proxy.api.context import caller, json_response, services
from ringside_proxy.api.decode import IncludeQuery, StepListQuery, decode_query
from ringside_proxy.api.request import thread_id
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.lists import ListQuery, Page
from ringside_proxy.domain.run_steps import RunStep
from ringside_proxy.store import run_steps, runs, threads
from ringside_proxy.store.tx import Tx


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}."""
    decode_query(request.query, IncludeQuery)
    match = request.match_info
    step = services(request).db.get(
        _step, caller(request), thread_id(request), match["run_id"], match["step_id"]
    )
    return json_response(step)


async def index(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}/runs/{run_id}/steps."""
    query = decode_query(request.query, StepListQuery)
    page = await services(request).db.read(
        _page, caller(request), thread_id(request), request.match_info["run_id"], query
    )
    return json_response(page)


def _step(tx: Tx, who: Caller, found: str, run_id: str, step_id: str) -> RunStep:
    run = runs.get(tx, threads.get(tx, found, who), run_id)
    return run_steps.get(tx, run.seq, step_id)


def _page(tx: Tx, who: Caller, found: str, run_id: str, query: ListQuery) -> Page[RunStep]:
    run = runs.get(tx, threads.get(tx, found, who), run_id)
    return run_steps.page(tx, run.seq, query)
