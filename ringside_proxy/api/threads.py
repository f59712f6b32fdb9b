"""/v1/threads."""

from aiohttp import web

from ringside_proxy.api import bodies, decode_domain
from ringside_proxy.api.context import (
    admission,
    caller,
    customer,
    json_response,
    services,
    snapshot,
)
from ringside_proxy.api.decode import ThreadListQuery, decode_query
from ringside_proxy.api.request import read_body, thread_id
from ringside_proxy.services.threads import NewMessage, NewThread, default_customer
from ringside_proxy.store import threads as store


async def create(request: web.Request) -> web.Response:
    """POST /v1/threads."""
    body = await read_body(request, bodies.CreateThread)
    new = new_thread(request, body)
    admission(request).attribute(default_customer(caller(request), new))
    limit = snapshot(request).settings.runs.max_messages_per_thread
    return json_response(await services(request).threads.create(caller(request), new, limit))


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}."""
    record = services(request).db.get(store.get, thread_id(request), caller(request))
    return json_response(record.thread)


async def update(request: web.Request) -> web.Response:
    """POST /v1/threads/{thread_id}."""
    body = await read_body(request, bodies.ModifyThread)
    decode_domain.refuse_tool_resources(body.tool_resources)
    changes = {} if body.metadata is None else {"metadata": body.metadata}
    return json_response(
        await services(request).threads.update(caller(request), thread_id(request), changes)
    )


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/threads/{thread_id}."""
    found = thread_id(request)
    await services(request).threads.delete(caller(request), found)
    return json_response({"id": found, "object": "thread.deleted", "deleted": True})


async def index(request: web.Request) -> web.Response:
    """GET /v1/threads: Ringside's own list, with `metadata[key]=value` filters."""
    query = decode_query(request.query, ThreadListQuery)
    db = services(request).db
    page = await db.read(store.page, caller(request), query, query.metadata or {})
    return json_response(page)


def new_thread(request: web.Request, body: bodies.CreateThread, path: str = "") -> NewThread:
    """The thread that a body describes; `path` leads to it, such as `thread.`."""
    decode_domain.refuse_tool_resources(body.tool_resources, f"{path}tool_resources")
    return NewThread(
        messages=new_messages(body.messages, f"{path}messages"),
        metadata=body.metadata or {},
        customer=customer(request, body.user),
    )


def new_messages(given: list[bodies.CreateMessage] | None, path: str) -> list[NewMessage]:
    """Messages inside another body."""
    return [new_message(message, f"{path}[{index}].") for index, message in enumerate(given or [])]


def new_message(body: bodies.CreateMessage, prefix: str = "") -> NewMessage:
    """The message that a body describes."""
    return NewMessage(
        role=body.role,
        content=decode_domain.content_parts(body, prefix),
        metadata=body.metadata or {},
    )
