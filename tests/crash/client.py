"""A client of the API that knows when an answer was lost, and checks every one it got."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

import aiohttp
import orjson

from tests.conformance.schema import check_response
from tests.conformance.stream import RunStreamChecker
from tests.e2e.ringside import TOKEN

ANSWER_S_MAX: Final = 30.0
POLL_S: Final = 0.02
AT_WORK: Final = ("queued", "in_progress", "cancelling")

Json = dict[str, Any]
T = TypeVar("T")


class LostError(Exception):
    """The connection ended before the answer was whole: what was asked may or may not be done."""


class RefusedError(AssertionError):
    """The server answered with an error."""

    def __init__(self, method: str, path: str, status: int, error: Json) -> None:
        super().__init__(f"{method} {path}: {status} {error['message']}")
        self.status = status
        self.code = error["code"]
        self.message = error["message"]


class Client:
    """Calls one server."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def of(cls, url: str) -> AsyncIterator[Self]:
        """A client with connections of its own."""
        async with aiohttp.ClientSession(
            url,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
            connector=aiohttp.TCPConnector(limit=0),
        ) as session:
            yield cls(session)

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """The answer. Raises RefusedError, LostError."""
        try:
            async with self._session.request(method, path, json=body) as response:
                status, raw = response.status, await response.read()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise LostError(str(error)) from error
        check_response(method, path, status, raw)
        answer: Json = orjson.loads(raw)
        if status != 200:
            raise RefusedError(method, path, status, answer["error"])
        return answer

    async def get(self, path: str) -> Json:
        """A GET."""
        return await self.call("GET", path)

    async def post(self, path: str, body: Json | None = None) -> Json:
        """A POST."""
        return await self.call("POST", path, body or {})

    async def delete(self, path: str) -> Json:
        """A DELETE."""
        return await self.call("DELETE", path)

    async def find(self, path: str) -> Json | None:
        """An object; None if there is none."""
        try:
            return await self.get(path)
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    async def stream(self, path: str, body: Json) -> AsyncGenerator[tuple[str, Any], None]:
        """The events of a streamed run, each as soon as it is whole. Raises as `call` does."""
        checker, buffer = RunStreamChecker(), b""
        try:
            async with self._session.post(path, json={**body, "stream": True}) as response:
                if response.status != 200:
                    answer = orjson.loads(await response.read())
                    raise RefusedError("POST", path, response.status, answer["error"])
                async for chunk in response.content.iter_any():
                    *frames, buffer = (buffer + chunk).split(b"\n\n")
                    for frame in frames:
                        event, data = frame.decode().split("\n")
                        name = event.removeprefix("event: ")
                        yield name, checker.feed(name, data.removeprefix("data: "))
        except (aiohttp.ClientError, ConnectionError) as error:
            raise LostError(str(error)) from error
        checker.finish()

    async def every(self, path: str) -> list[Json]:
        """All objects of a list, oldest first."""
        found: list[Json] = []
        while True:
            after = f"&after={found[-1]['id']}" if found else ""
            page = await self.get(f"{path}?order=asc&limit=100{after}")
            found += page["data"]
            if not page["has_more"]:
                return found

    async def settled(self, run: Json) -> Json:
        """The run as soon as it is no longer at work."""
        path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
        return await until(lambda: self.get(path), lambda found: found["status"] not in AT_WORK)


async def until(look: Callable[[], Awaitable[T]], holds: Callable[[T], object]) -> T:
    """What `look` finds, as soon as it is what is waited for."""
    async with asyncio.timeout(ANSWER_S_MAX):
        while True:
            found = await look()
            if holds(found):
                return found
            await asyncio.sleep(POLL_S)
