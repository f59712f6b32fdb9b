"""/v1/threads/{thread_id}/messages."""

from aiohttp import web

from ringside_proxy.api import bodies
from ringside_proxy.api.context import caller, json_response, services, snapshot
from ringside_proxy.api.decode import MessageListQuery, decode_query
from ringside_proxy.api.request import read_body, thread_id
from ringside_proxy.api.threads import new_message
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.items import message_object
from ringside_proxy.domain.lists import ListQuery, Page
from ringside_proxy.domain.messages import Message
from ringside_proxy.store import items, threads
from ringside_proxy.store.tx import Tx


async def create(request: web.Request) -> web.Response:
    """POST /v1/threads/{thread_id}/messages."""
    body = await read_body(request, bodies.CreateMessage)
    limit = snapshot(request).settings.runs.max_messages_per_thread
    return json_response(
        await services(request).threads.add_message(
            caller(request), thread_id(request), new_message(body), limit
        )
    )


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}/messages/{message_id}."""
    message_id = request.match_info["message_id"]
    db = services(request).db
    return json_response(db.get(_message, caller(request), thread_id(request), message_id))


async def update(request: web.Request) -> web.Response:
    """POST /v1/threads/{thread_id}/messages/{message_id}."""
    body = await read_body(request, bodies.ModifyMessage)
    return json_response(
        await services(request).threads.update_message(
            caller(request), thread_id(request), request.match_info["message_id"], body.metadata
        )
    )


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/threads/{thread_id}/messages/{message_id}."""
    message_id = request.match_info["message_id"]
    await services(request).threads.delete_message(caller(request), thread_id(request), message_id)
    return json_response({"id": message_id, "object": "thread.message.deleted", "deleted": True})


async def index(request: web.Request) -> web.Response:
    """GET /v1/threads/{thread_id}/messages."""
    query = decode_query(request.query, MessageListQuery)
    page = await services(request).db.read(
        _page, caller(request), thread_id(request), query, query.run_id
    )
    return json_response(page)


def _message(tx: Tx, who: Caller, found: str, message_id: str) -> Message:
    item = items.get_message(tx, threads.get(tx, found, who), message_id)
    return message_object(item, found)


def _page(tx: Tx, who: Caller, found: str, query: ListQuery, run_id: str | None) -> Page[Message]:
    return items.message_page(tx, threads.get(tx, found, who), query, run_id)
