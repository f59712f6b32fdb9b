"""/healthz, /readyz and /metrics."""

import asyncio
from typing import Final

from aiohttp import web

from ringside_proxy.api.context import json_response, services
from ringside_proxy.api.errors import plain_response
from ringside_proxy.store.tx import Tx

WRITER_S_MAX: Final = 5.0


async def healthz(request: web.Request) -> web.Response:
    """Alive: the loop turns, and the store's writer answers within 5 s."""
    try:
        async with asyncio.timeout(WRITER_S_MAX):
            await services(request).db.write(_nothing)
    except TimeoutError:
        return plain_response(503, {"status": "unhealthy", "reasons": ["store_writer_stuck"]})
    return json_response({"status": "ok", "reasons": []})


async def readyz(request: web.Request) -> web.Response:
    """Ready for requests. Never asks a provider."""
    reasons = services(request).unready_reasons()
    if reasons:
        return plain_response(503, {"status": "unready", "reasons": reasons})
    return json_response({"status": "ok", "reasons": []})


async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text format; rendered in a thread, because it takes a while."""
    text = await asyncio.to_thread(services(request).metrics.render)
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})


def _nothing(tx: Tx) -> None:
    """A transaction without statements: it shows that the writer is there."""
