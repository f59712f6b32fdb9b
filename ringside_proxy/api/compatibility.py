"""/v1/compatibility: Ringside's own."""

from aiohttp import web

from ringside_proxy.api.context import json_response
from ringside_proxy.services import compatibility


async def index(request: web.Request) -> web.Response:
    """GET /v1/compatibility: what each provider does by itself, and what is made up for."""
    del request
    return json_response({"object": "list", "data": compatibility.matrix()})
