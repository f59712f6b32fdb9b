"""/v1/assistants."""

from typing import Any

from aiohttp import web
from msgspec import UNSET

from ringside_proxy.api import decode_domain
from ringside_proxy.api.bodies import AssistantOptions, CreateAssistant, ModifyAssistant
from ringside_proxy.api.context import caller, json_response, services, snapshot
from ringside_proxy.api.decode import decode_query
from ringside_proxy.api.request import read_body
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.store import assistants as store


async def create(request: web.Request) -> web.Response:
    """POST /v1/assistants."""
    body = await read_body(request, CreateAssistant)
    values = {
        "model": body.model,
        "name": body.name,
        "description": body.description,
        "instructions": body.instructions,
    } | _options(body)
    return json_response(
        await services(request).assistants.create(caller(request), snapshot(request).router, values)
    )


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/assistants/{assistant_id}."""
    db = services(request).db
    return json_response(db.get(store.get, request.match_info["assistant_id"], caller(request)))


async def update(request: web.Request) -> web.Response:
    """POST /v1/assistants/{assistant_id}: only what is given changes."""
    body = await read_body(request, ModifyAssistant)
    texts = {"name": body.name, "description": body.description, "instructions": body.instructions}
    changes = {name: text for name, text in texts.items() if text is not UNSET} | _options(body)
    if body.model is not None:
        changes["model"] = body.model
    return json_response(
        await services(request).assistants.update(
            caller(request), snapshot(request).router, request.match_info["assistant_id"], changes
        )
    )


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/assistants/{assistant_id}."""
    assistant_id = request.match_info["assistant_id"]
    await services(request).assistants.delete(caller(request), assistant_id)
    return json_response({"id": assistant_id, "object": "assistant.deleted", "deleted": True})


async def index(request: web.Request) -> web.Response:
    """GET /v1/assistants."""
    query = decode_query(request.query, ListQuery)
    db = services(request).db
    return json_response(await db.read(store.page, caller(request), query))


def _options(body: AssistantOptions) -> dict[str, Any]:
    """What was given of the options, in the assistant's own terms."""
    decode_domain.refuse_tool_resources(body.tool_resources)
    options = {
        "tools": None if body.tools is None else decode_domain.function_tools(body.tools),
        "metadata": body.metadata,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "response_format": None
        if body.response_format is None
        else decode_domain.response_format(body.response_format),
        "reasoning_effort": body.reasoning_effort,
    }
    return {name: value for name, value in options.items() if value is not None}
