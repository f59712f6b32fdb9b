"""A proxy in this process and callers of it, for the tests of the HTTP surface.

Every answer that passes through a `Caller` is held to what holds for all of them: OpenAI's headers,
and OpenAI's body (`tests.conformance`).
"""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import orjson

from ringside_proxy.api.routes import Route
from ringside_proxy.app import Proxy, running
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
    TokenSettings,
)
from ringside_proxy.settings.values import Secret, TokenHash
from ringside_proxy.system import Clock
from tests.conformance.schema import check_response
from tests.fakes import FakeUpstream

DEVELOPER: Final = "ko_developer0000000000000000000000000000000000"
CLIENT_A: Final = "ko_clienta000000000000000000000000000000000000"
CLIENT_B: Final = "ko_clientb000000000000000000000000000000000000"
UPSTREAM_KEY: Final = "canary-of-the-owner-0123456789abcdef"
"""The owner's key at the fake provider; nothing about it says that it is a key."""

ECHO: Final = "fc:sandbox/echo"
UPSTREAM_MODEL: Final = "fc:openai/gpt-4o-mini"
"""A model of the fake provider."""

FUNCTION: Final = {"type": "function", "function": {"name": "look_up"}}

CONTENT_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
ANSWER_S_MAX: Final = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The inside of the error envelope."""
        error: dict[str, Any] = self.json["error"]
        return error


class Caller:
    """Calls the API with one token, or with none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None) -> None:
        self.session = session
        self.url = url
        self.token = token

    def using(self, token: str | None) -> "Caller":
        """The same, with another token."""
        return Caller(self.session, self.url, token)

    @property
    def headers(self) -> dict[str, str]:
        """The token, as the SDKs send it."""
        return {} if self.token is None else {"authorization": f"Bearer {self.token}"}

    async def call(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An answer, held to OpenAI's contract. `json` null sends no body, `data` sends bytes."""
        async with self.session.request(
            method,
            self.url + path,
            data=data if json is None else orjson.dumps(json),
            headers=self.headers | dict(headers or {}),
        ) as response:
            answer = Answer(response.status, response.headers, await response.read())
        check_headers(answer.headers)
        is_event_stream = answer.headers["content-type"].startswith("text/event-stream")
        if not is_event_stream:
            check_response(method, path, answer.status, answer.body)
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        """GET."""
        return await self.call("GET", path, **options)

    async def post(self, path: str, json: Any = None, **options: Any) -> Answer:
        """POST."""
        return await self.call("POST", path, json, **options)

    async def patch(self, path: str, json: Any = None) -> Answer:
        """PATCH."""
        return await self.call("PATCH", path, json)

    async def delete(self, path: str) -> Answer:
        """DELETE."""
        return await self.call("DELETE", path)

    async def make(self, path: str, json: Any = None) -> Any:
        """The object that a POST makes; the call has to succeed."""
        answer = await self.post(path, json)
        assert answer.status == 200, answer.body
        return answer.json

    async def assistant(self, **values: Any) -> str:
        """The id of a new assistant, on the echo unless said otherwise."""
        made = await self.make("/v1/assistants", {"model": ECHO, **values})
        return str(made["id"])

    async def thread(self, *texts: str, **values: Any) -> str:
        """The id of a new thread with these user messages."""
        messages = [{"role": "user", "content": text} for text in texts]
        made = await self.make("/v1/threads", {"messages": messages, **values})
        return str(made["id"])

    async def begin(self, thread_id: str, assistant_id: str, **values: Any) -> Any:
        """A new run, still at work."""
        body = {"assistant_id": assistant_id, **values}
        return await self.make(f"/v1/threads/{thread_id}/runs", body)

    async def run(self, thread_id: str, assistant_id: str, **values: Any) -> Any:
        """A new run, once its stream has ended."""
        body = {"assistant_id": assistant_id, "stream": True, **values}
        answer = await self.post(f"/v1/threads/{thread_id}/runs", body)
        assert answer.status == 200, answer.body
        page = await self.get(f"/v1/threads/{thread_id}/runs?limit=1")
        return page.json["data"][0]


@dataclass(frozen=True)
class Ringside:
    """A running proxy, the developer who calls it, and the provider behind `UPSTREAM_MODEL`."""

    proxy: Proxy
    developer: Caller
    upstream: FakeUpstream
    home: Path
    settings: Settings

    @property
    def session(self) -> aiohttp.ClientSession:
        """A client without a token."""
        return self.developer.session

    async def admin(self, path: str) -> Answer:
        """GET on the admin listener."""
        async with self.session.get(self.proxy.admin_url + path) as response:
            return Answer(response.status, response.headers, await response.read())


@asynccontextmanager
async def serving(
    home: Path,
    clock: Clock | None = None,
    *,
    max_retries: int = 0,
    body_s_max: float = ANSWER_S_MAX,
    more_providers: Mapping[str, ProviderSettings] | None = None,
    **sections: Any,
) -> AsyncIterator[Ringside]:
    """A proxy with one developer and two clients; `sections` replace those of the settings.

    `more_providers` without an address of their own are the fake provider too.
    """
    async with FakeUpstream(is_strict=False) as upstream:
        settings = _settings(home, upstream, max_retries, sections)
        more = {
            name: msgspec.structs.replace(more, base_url=more.base_url or upstream.base_url)
            for name, more in (more_providers or {}).items()
        }
        settings = msgspec.structs.replace(settings, providers=settings.providers | more)
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with (
            running(settings, clock, body_s_max=body_s_max) as proxy,
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
        ):
            developer = Caller(session, proxy.url, DEVELOPER)
            try:
                yield Ringside(proxy, developer, upstream, home, settings)
            finally:
                await stop(proxy)


PATH_IDS: Final = {
    "assistant_id": "asst_" + "0" * 24,
    "thread_id": "thread_" + "0" * 24,
    "message_id": "msg_" + "0" * 24,
    "run_id": "run_" + "0" * 24,
    "step_id": "step_" + "0" * 24,
    "token_id": "tok_" + "0" * 24,
    "customer_id": "nobody",
    "webhook_id": "wh_" + "0" * 24,
    "delivery_id": "del_" + "0" * 24,
    "model:.+": "fc:sandbox/nothing",
}
"""Well-formed ids of nothing."""


def path_of(route: Route, ids: Mapping[str, str] = PATH_IDS) -> str:
    """The route's path with ids in it."""
    return re.sub(r"\{([^}]+)\}", lambda field: ids[field[1]], route.path)


def rows(home: Path, table: str) -> list[dict[str, Any]]:
    """A table of the store, read from outside, oldest row first."""
    with closing(sqlite3.connect(f"file:{home}/ringside.db?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]  # noqa: S608 - a test's own word


async def exchange(url: str, data: bytes, *, patience_s: float = ANSWER_S_MAX) -> bytes:
    """The first answer to raw bytes, or nothing if the server closes without one.

    After `patience_s` without an answer it is told that nothing more will come.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(ANSWER_S_MAX):
            writer.write(data)
            reading = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
            done, _ = await asyncio.wait({reading}, timeout=patience_s)
            if not done:
                writer.write_eof()
            head = await reading
            length = CONTENT_LENGTH.search(head)
            return head + await reader.readexactly(int(length[1]) if length else 0)
    except (ConnectionError, asyncio.IncompleteReadError):
        return b""
    finally:
        writer.close()


async def stop(proxy: Proxy) -> None:
    """End what is at work, as a second SIGTERM does."""
    hurry = asyncio.Event()
    hurry.set()
    await proxy.drain(0, hurry)


def check_headers(headers: Mapping[str, str]) -> None:
    """What OpenAI sends on everything."""
    assert REQUEST_ID.fullmatch(headers["x-request-id"])
    assert headers["openai-version"] == "2020-10-01"
    assert headers["openai-processing-ms"].isdecimal()


def _settings(
    home: Path, upstream: FakeUpstream, max_retries: int, sections: dict[str, Any]
) -> Settings:
    fake = ProviderSettings(
        api_key=Secret(UPSTREAM_KEY), base_url=upstream.base_url, max_retries=max_retries
    )
    ordinary = Settings(
        server=ServerSettings(port=0),
        admin=AdminSettings(port=0),
        models=ModelListSettings(refresh_s=None),
        store=StoreSettings(url=f"sqlite:///{home}/ringside.db", synchronous="normal"),
        auth=AuthSettings(
            tokens=(
                TokenSettings(name="app", hash_of_token=TokenHash.of(DEVELOPER)),
                TokenSettings(
                    name="a",
                    hash_of_token=TokenHash.of(CLIENT_A),
                    role="client",
                    customer="customer_a",
                ),
                TokenSettings(
                    name="b",
                    hash_of_token=TokenHash.of(CLIENT_B),
                    role="client",
                    customer="customer_b",
                ),
            )
        ),
        providers={"sandbox": ProviderSettings(max_retries=0), "openai": fake},
        slots={
            "fast": SlotSettings(model=ECHO),
            "warm": SlotSettings(model=UPSTREAM_MODEL, params={"temperature": 0.2, "top_p": 0.9}),
        },
        runs=RunSettings(),
    )
    return msgspec.structs.replace(ordinary, **sections)
