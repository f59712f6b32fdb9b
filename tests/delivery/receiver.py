"""The far side of delivery: a receiver on a real socket, which keeps what it was sent."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

ANSWER_S_MAX: Final = 60.0
BODY_BYTES_MAX: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Received:
    """A request as it came; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def id(self) -> str:
        """The message's id: the same for all attempts."""
        return self.headers["webhook-id"]


class Receiver:
    """Answers 200, or as `answer` says; middlewares may make it slow, or worse."""

    def __init__(self, *middlewares: Middleware) -> None:
        self.requests: list[Received] = []
        self.answer: Callable[[Received], web.StreamResponse] = lambda _: web.Response()
        self._middlewares = middlewares
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=self._middlewares, client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where events are sent."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def received(self, count: int) -> list[Received]:
        """Everything it was sent, as soon as there are so many requests."""
        return await self.until(lambda requests: len(requests) >= count)

    async def until(self, holds: Callable[[list[Received]], bool]) -> list[Received]:
        """Everything it was sent, as soon as that is as wanted."""
        async with asyncio.timeout(ANSWER_S_MAX), self._arrived:
            await self._arrived.wait_for(lambda: holds(self.requests))
        return self.requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, headers, await request.read())
        async with self._arrived:
            self.requests.append(received)
            self._arrived.notify_all()
        return self.answer(received)
