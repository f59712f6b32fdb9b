"""A relay between an SDK and the server that reads every answer and holds it to the contract.

The SDK's own tolerance hides mistakes (most of them never validate an answer), so what matters on
the wire is checked here, once, for every version: shapes, stream order, request ids, no retries.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from tests.conformance.schema import NonConformance, check_error, check_response
from tests.conformance.stream import RunStreamChecker, check_chat_stream, check_run_stream

HOP_HEADERS: Final = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")
ID: Final = re.compile(r"\b(asst|thread|msg|run|step)_\w+")
CASE_HEADER: Final = "x-e2e-case"
"""A suite marks requests with it that are counted afterwards."""


@dataclass
class Relay:
    """What went through so far."""

    url: str
    violations: list[str] = field(default_factory=list)
    cases: Counter[str] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    """What succeeded, without ids: `GET /v1/threads/{}`; a streamed answer with ` (stream)`."""

    def record(self, exchange: "Exchange") -> None:
        """Checks one exchange and remembers what is wrong with it."""
        self.cases[exchange.request_headers.get(CASE_HEADER, "")] += 1
        if exchange.status == 200:
            mark = " (stream)" if exchange.is_stream else ""
            self.operations.add(f"{exchange.method} {ID.sub('{}', exchange.path)}{mark}")
        subject = f"{exchange.method} {exchange.path} -> {exchange.status}"
        self.violations += [f"{subject}: {fault}" for fault in faults(exchange)]


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as far as it came before `end`.

    `end` is `whole`, `client left` or `server broke off`.
    """

    method: str
    path: str
    request_headers: CIMultiDictProxy[str]
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    end: str

    @property
    def is_stream(self) -> bool:
        """Whether the answer is made of events."""
        return self.headers.get("content-type", "").startswith("text/event-stream")


def faults(exchange: Exchange) -> list[str]:
    """What is wrong with an exchange, in words; nothing if it keeps the contract."""
    found = []
    if not exchange.headers.get("x-request-id"):
        found.append("no x-request-id")
    if exchange.request_headers.get("x-stainless-retry-count", "0") != "0":
        found.append("the SDK retried, so the answer before it lacks x-should-retry: false")
    if exchange.end == "server broke off":
        found.append("the server broke its answer off")
    try:
        _check_body(exchange)
    except NonConformance as fault:
        found.append(f"{fault}\n{exchange.body.decode(errors='replace')}")
    return found


def _check_body(exchange: Exchange) -> None:
    if not exchange.is_stream:
        check_response(exchange.method, exchange.path, exchange.status, exchange.body)
    elif exchange.path == "/v1/chat/completions":
        # An SDK leaves at an error, so a part may be all there is to see.
        if exchange.end == "whole":
            _check_chat_stream(exchange.body)
    elif exchange.end == "whole":
        check_run_stream(exchange.body)
    else:
        _check_begun_run_stream(exchange.body)


def _check_chat_stream(body: bytes) -> None:
    """One that ends in an error has the error as its last frame, and is not finished."""
    last = body.removesuffix(b"data: [DONE]\n\n").rpartition(b"\n\n")[0].rpartition(b"\n\n")[2]
    if last.startswith(b'data: {"error":'):
        check_error(json.loads(last.removeprefix(b"data: ")), "the chat stream's last frame")
    else:
        check_chat_stream(body)


def _check_begun_run_stream(body: bytes) -> None:
    """What came before the client left has to be in order as well."""
    checker = RunStreamChecker()
    for frame in body.decode().split("\n\n")[:-1]:
        if not frame.startswith(":"):
            event, _, data = frame.partition("\n")
            checker.feed(event.removeprefix("event: "), data.removeprefix("data: "))


@asynccontextmanager
async def relaying(server_url: str) -> AsyncIterator[Relay]:
    """Runs a relay in front of `server_url` on a free loopback port."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        app = web.Application()
        # A client that leaves has to be felt by the server, as without a relay.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        relay = Relay(url="")

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _forward(request, session, server_url, relay)

        app.router.add_route("*", "/{path:.*}", handle)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            relay.url = f"http://{host}:{port}"
            yield relay
        finally:
            await runner.cleanup()


async def _forward(
    request: web.Request, session: aiohttp.ClientSession, server_url: str, relay: Relay
) -> web.StreamResponse:
    headers = _end_to_end(request.headers)
    # The answer is read here, so it has to come as it is.
    headers["accept-encoding"] = "identity"
    body, end = bytearray(), "client left"
    async with session.request(
        request.method,
        URL(server_url + request.raw_path, encoded=True),
        headers=headers,
        data=await request.read(),
        allow_redirects=False,
        skip_auto_headers=["content-type", "user-agent", "accept"],
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers=_end_to_end(answer.headers))
        try:
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                body += piece
                await response.write(piece)
            await response.write_eof()
            end = "whole"
        except aiohttp.ClientPayloadError:
            end = "server broke off"
            raise
        finally:
            relay.record(
                Exchange(
                    method=request.method,
                    path=request.path,
                    request_headers=request.headers,
                    status=answer.status,
                    headers=answer.headers,
                    body=bytes(body),
                    end=end,
                )
            )
    return response


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    kept = CIMultiDict(headers)
    for name in HOP_HEADERS:
        kept.popall(name, None)
    return kept
