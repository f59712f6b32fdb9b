"""/openapi.json: this API as an OpenAPI document, for tools. Ringside's own."""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

DOCUMENT: Final = web.AppKey[Callable[[], bytes]]("openapi")
"""Makes the document, or gives the one that it has made."""


async def retrieve(request: web.Request) -> web.Response:
    """GET /openapi.json: the same for everybody, and nothing in it is secret."""
    body = await asyncio.to_thread(request.app[DOCUMENT])  # the first one takes a while
    return web.Response(body=body, content_type="application/json")
