"""/healthz, /readyz and /metrics."""

import asyncio
from typing import Final

from aiohttp import web

from ringside_proxy.api.context import json_response, services
from ringside_proxy.api.errors import plain_response
from ringside_proxy.domain.errors import OverloadedError, StorageFullError
from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from ringside_proxy.telemetry.metrics import METRICS_CONTENT_TYPE

WRITER_S_MAX: Final = 5.0
QUEUE_AGAIN_S: Final = 0.1
"""How soon a place is looked for again where too many wait for the writer."""


async def healthz(request: web.Request) -> web.Response:
    """Alive: the loop turns, and the store's writer answers within 5 s."""
    try:
        async with asyncio.timeout(WRITER_S_MAX):
            await _answer_of_the_writer(services(request).db)
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
    return web.Response(body=text, headers={"Content-Type": METRICS_CONTENT_TYPE})


async def _answer_of_the_writer(db: Database) -> None:
    """That the disk is full is an answer: whoever starts the proxy again makes no room by it."""
    while True:
        try:
            await db.write(_nothing)
        except StorageFullError:
            return
        except OverloadedError:
            await asyncio.sleep(QUEUE_AGAIN_S)
        else:
            return


def _nothing(tx: Tx) -> None:
    """A transaction without statements: it shows that the writer is there."""
