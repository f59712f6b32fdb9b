"""/v1/config: Ringside's own."""

from aiohttp import web

from ringside_proxy.api.context import json_response, services


async def status(request: web.Request) -> web.Response:
    """GET /v1/config/status: whether the file is in effect, and if not, what is wrong where."""
    return json_response(services(request).live_config.status())
