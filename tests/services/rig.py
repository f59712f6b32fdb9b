"""A whole proxy in this process, with the test on both sides: its client and its provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from ringside_proxy.app import Proxy, running
from ringside_proxy.services.live_runs import LiveRun
from ringside_proxy.services.sweeper import Sweeper
from ringside_proxy.settings.schema import (
    AdminSettings,
    AuthSettings,
    ModelListSettings,
    ProviderSettings,
    RunSettings,
    ServerSettings,
    Settings,
    SlotSettings,
    StoreSettings,
    TimeoutSettings,
    TokenSettings,
)
from ringside_proxy.settings.values import Secret, TokenHash
from tests.conformance.schema import check_response
from tests.conformance.stream import RunStreamChecker, check_run_stream
from tests.fakes import FakeClock, FakeUpstream

Json = dict[str, Any]
Event = tuple[str, Any]

TOKEN: Final = "ko_test00000000000000000000000000000000"
MODEL: Final = "fc:openai/gpt-4o"
WAIT_S_MAX: Final = 20.0

WEATHER: Final[Json] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CLOCK: Final[Json] = {"type": "function", "function": {"name": "clock"}}


@dataclass(frozen=True)
class Refusal:
    """An answer that is an error."""

    status: int
    code: str | None
    message: str
    headers: dict[str, str]


class Reading:
    """A run's stream that is read event by event, and held to OpenAI's wire as it comes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.events: list[Event] = []
        self._checker = RunStreamChecker()
        self._buffer = b""

    async def next(self) -> Event | None:
        """The next event, its name without `thread.`; None at the end."""
        while True:
            frame, blank, rest = self._buffer.partition(b"\n\n")
            if blank:
                self._buffer = rest
                if frame.startswith(b":"):
                    continue
                name, data = (line.partition(b": ")[2].decode() for line in frame.split(b"\n"))
                self.events.append((name.removeprefix("thread."), self._checker.feed(name, data)))
                return self.events[-1]
            chunk = await self.response.content.readany()
            if not chunk:
                return None
            self._buffer += chunk

    async def until(self, name: str) -> Any:
        """Reads on to the first event of that name; gives its payload."""
        async with asyncio.timeout(WAIT_S_MAX):
            while (event := await self.next()) is not None:
                if event[0] == name:
                    return event[1]
        raise AssertionError(f"no {name} in {self.names}")

    async def rest(self) -> list[str]:
        """Reads to the end, which has to be a proper one; gives all names."""
        async with asyncio.timeout(WAIT_S_MAX):
            while await self.next() is not None:
                pass
        self._checker.finish()
        return self.names

    @property
    def names(self) -> list[str]:
        """What has come so far."""
        return [name for name, _ in self.events]


class Rig:
    """Calls the proxy as an application does. Every answer is held to OpenAI's wire."""

    def __init__(
        self, proxy: Proxy, upstream: FakeUpstream, http: aiohttp.ClientSession, clock: FakeClock
    ) -> None:
        self.proxy = proxy
        self.upstream = upstream
        self.http = http
        self.clock = clock

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """The object that a call answers."""
        status, raw, _ = await self._exchange(method, path, body)
        assert status == 200, raw
        return orjson.loads(raw)

    async def get(self, path: str) -> Any:
        """GET below /v1."""
        return await self.call("GET", path)

    async def post(self, path: str, body: Any = None) -> Any:
        """POST below /v1."""
        return await self.call("POST", path, {} if body is None else body)

    async def refusal(self, method: str, path: str, body: Any = None) -> Refusal:
        """The error that a call answers."""
        status, raw, headers = await self._exchange(method, path, body)
        assert status >= 400, raw
        error = orjson.loads(raw)["error"]
        return Refusal(status, error["code"], error["message"], headers)

    async def attempt(self, path: str, body: Any) -> tuple[int, Any]:
        """A POST that may be refused: its status and its body."""
        status, raw, _ = await self._exchange("POST", path, body)
        return status, orjson.loads(raw)

    async def assistant(self, **fields: Any) -> str:
        """A new assistant's id."""
        given = {"model": MODEL, "instructions": "Be brief.", **fields}
        created: str = (await self.post("/assistants", given))["id"]
        return created

    async def thread(self, *texts: str) -> str:
        """A new thread's id; `texts` are the user's messages on it."""
        messages = [{"role": "user", "content": text} for text in texts]
        created: str = (await self.post("/threads", {"messages": messages}))["id"]
        return created

    async def say(self, thread: str, text: str) -> str:
        """Adds a user's message; gives its id."""
        body = {"role": "user", "content": text}
        created: str = (await self.post(f"/threads/{thread}/messages", body))["id"]
        return created

    async def run(self, thread: str, assistant: str, **fields: Any) -> Json:
        """A run that nobody streams, once its work has stopped."""
        body = {"assistant_id": assistant, **fields}
        created = await self.post(f"/threads/{thread}/runs", body)
        return await self.settled(created)

    async def settled(self, run: Json) -> Json:
        """The run as it is stored, once nothing is at work on it any more."""
        if live := self.live(run["id"]):
            assert live.task is not None
            async with asyncio.timeout(WAIT_S_MAX):
                await asyncio.wait({live.task})
        found: Json = await self.get(f"/threads/{run['thread_id']}/runs/{run['id']}")
        return found

    def live(self, run_id: str) -> LiveRun | None:
        """The run at work, if it is."""
        return self.proxy.services.live_runs.find(run_id)

    async def stream(self, path: str, body: Json) -> list[Event]:
        """All events of a streamed run, names without `thread.`."""
        async with self._post(path, {**body, "stream": True}) as response:
            raw = await response.read()
            assert response.status == 200, raw
        return [(name.removeprefix("thread."), data) for name, data in check_run_stream(raw)]

    async def stream_run(self, thread: str, assistant: str, **fields: Any) -> list[Event]:
        """All events of a new run."""
        return await self.stream(f"/threads/{thread}/runs", {"assistant_id": assistant, **fields})

    @asynccontextmanager
    async def reading(self, thread: str, assistant: str, **fields: Any) -> AsyncIterator[Reading]:
        """A new run's stream, to be read piece by piece; leaving the block closes it."""
        body = {"assistant_id": assistant, **fields}
        async with self.reading_of(f"/threads/{thread}/runs", body) as reading:
            yield reading

    @asynccontextmanager
    async def reading_of(self, path: str, body: Json) -> AsyncIterator[Reading]:
        """A run's stream, to be read piece by piece; leaving the block closes it."""
        async with self._post(path, {**body, "stream": True}) as response:
            assert response.status == 200, await response.read()
            yield Reading(response)
            response.close()

    async def submit(self, run: Json, **outputs: str) -> Json:
        """The run after its outputs, given by call id, once its work has stopped."""
        given = [{"tool_call_id": call, "output": output} for call, output in outputs.items()]
        path = f"/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs"
        return await self.settled(await self.post(path, {"tool_outputs": given}))

    async def cancel(self, run: Json) -> Json:
        """The answer to a cancel."""
        answer: Json = await self.post(f"/threads/{run['thread_id']}/runs/{run['id']}/cancel")
        return answer

    async def messages(self, thread: str) -> list[Json]:
        """The thread's messages, oldest first."""
        listed = await self.get(f"/threads/{thread}/messages?order=asc&limit=100")
        data: list[Json] = listed["data"]
        return data

    async def texts(self, thread: str) -> list[str]:
        """What was said on the thread, oldest first."""
        return [text_of(message) for message in await self.messages(thread)]

    async def steps(self, run: Json) -> list[Json]:
        """The run's steps, oldest first."""
        path = f"/threads/{run['thread_id']}/runs/{run['id']}/steps?order=asc&limit=100"
        data: list[Json] = (await self.get(path))["data"]
        return data

    async def require_free(self, thread: str) -> None:
        """Fails unless the thread takes a message, which it does only without an active run."""
        await self.say(thread, "Is the thread free?")

    def sent(self, number: int = -1) -> Json:
        """The body of a request that the provider got."""
        body: Json = self.upstream.requests[number].body
        return body

    def seen(self, number: int = -1) -> list[Json]:
        """The chat that the provider was shown."""
        messages: list[Json] = self.sent(number)["messages"]
        return messages

    async def sweep(self) -> None:
        """What the sweeper does when its time has come."""
        services = self.proxy.services
        await Sweeper(
            services.db,
            services.runs,
            services.idempotency,
            self.clock,
            asyncio.Event(),
            partial(services.books.sweep, services.live_config.snapshot),
        ).sweep()

    async def _exchange(self, method: str, path: str, body: Any) -> tuple[int, bytes, Json]:
        async with self.http.request(method, f"/v1{path}", json=body) as response:
            raw = await response.read()
            headers = {name.lower(): value for name, value in response.headers.items()}
        check_response(method, f"/v1{path}", response.status, raw)
        return response.status, raw, headers

    def _post(self, path: str, body: Json) -> Any:
        return self.http.post(f"/v1{path}", json=body)


@asynccontextmanager
async def rigged(
    folder: Path,
    upstream: FakeUpstream,
    *,
    runs: RunSettings | None = None,
    slots: dict[str, SlotSettings] | None = None,
    timeouts: TimeoutSettings | None = None,
    max_retries: int = 0,
) -> AsyncIterator[Rig]:
    """A proxy whose provider `openai` is `upstream`, on a clock that only the test moves."""
    clock = FakeClock()
    provider = ProviderSettings(
        api_key=Secret("not-a-key"),
        base_url=upstream.base_url,
        timeouts=timeouts or TimeoutSettings(),
        max_retries=max_retries,
    )
    settings = Settings(
        server=ServerSettings(port=0),
        admin=AdminSettings(port=0),
        models=ModelListSettings(refresh_s=None),
        store=StoreSettings(url=f"sqlite:///{folder / 'ringside.db'}", synchronous="normal"),
        auth=AuthSettings(tokens=(TokenSettings(name="app", hash_of_token=TokenHash.of(TOKEN)),)),
        providers={"openai": provider},
        slots=slots or {},
        runs=runs or RunSettings(),
    )
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with (
        running(settings, clock) as proxy,
        aiohttp.ClientSession(
            proxy.url, headers=headers, connector=aiohttp.TCPConnector(limit=0)
        ) as http,
    ):
        yield Rig(proxy, upstream, http, clock)


def text_of(message: Json) -> str:
    """What a message says."""
    return "".join(part["text"]["value"] for part in message["content"] if part["type"] == "text")


def names(events: list[Event]) -> list[str]:
    """The events' names."""
    return [name for name, _ in events]


def payload(events: list[Event], name: str) -> Any:
    """The payload of the one event of that name."""
    [found] = [data for each, data in events if each == name]
    return found
