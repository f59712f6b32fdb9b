"""/v1/models."""

from typing import Final

from aiohttp import web

from ringside_proxy.api.context import json_response, services, snapshot

FILTERS: Final = ("supports", "supports[]")


async def index(request: web.Request) -> web.Response:
    """GET /v1/models: `?supports=` may be repeated, all must hold; `?provider=`."""
    supports = [value for name in FILTERS for value in request.query.getall(name, [])]
    found = await services(request).models.listed(
        snapshot(request), supports=supports, provider=request.query.get("provider")
    )
    return json_response({"object": "list", "data": found})


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/models/{id}: slashes and colons as they are, or percent-encoded."""
    name = request.match_info["model"]
    return json_response(await services(request).models.named(snapshot(request), name))
