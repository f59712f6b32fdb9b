"""What an application lets through ends at the edge: in the envelope, and said to the log alone."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from ringside_proxy.api.edge import Runner
from ringside_proxy.system import system_ids
from tests.api.rig import exchange

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """The URL of an application with one route and nothing around it."""
    app = web.Application()
    app.router.add_get("/", handler)
    runner = Runner(app, system_ids(), shutdown_timeout=1.0, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_an_error_that_nobody_caught_says_nothing_outside(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A 500 in the envelope; what happened stands in the log, once."""

    async def handler(request: web.Request) -> web.Response:
        raise ValueError("a secret")

    async with served(handler) as url:
        answer = await exchange(url, GET)

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert orjson.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "internal_error"
    assert b"secret" not in answer
    [logged] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert logged.exc_info is not None


async def test_an_answer_that_has_begun_is_cut_off() -> None:
    """What fails in the middle of a body gets no second head."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "9"})
        await response.prepare(request)
        await response.write(b"half")
        raise ValueError

    async with served(handler) as url:
        answer = await exchange(url, GET)

    assert answer == b""


async def test_refusals_close_the_connection() -> None:
    """Nothing that follows broken HTTP is taken for a request."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text="served")

    async with served(handler) as url:
        answer = await exchange(url, b"G\x00T / HTTP/1.1\r\n\r\n" + GET)

    assert b"400" in answer
    assert b"\r\nConnection: close" in answer or answer.startswith(b"HTTP/1.0")
    assert b"served" not in answer
