"""A disk that fills up under a real process: it serves on what it can, ends when it is told to, and
goes on by itself when there is room.
"""

import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.api.rig import rows
from tests.crash.client import Client
from tests.crash.journal import RESTARTED
from tests.crash.process import Home, Server
from tests.crash.story import path_of
from tests.e2e.ringside import TOKEN
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply, usage

DRAIN_S: Final = 1
AFTER_DRAIN_S_MAX: Final = 8.0
"""What is left of 28 s after a drain of 20."""
HEADERS: Final = {"authorization": f"Bearer {TOKEN}"}
MODEL: Final = "fc:openai/gpt-4.1"
BODY: Final[dict[str, Any]] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, upstream: FakeUpstream) -> Home:
    made = Home(tmp_path)
    provider = {"api_key": "k", "base_url": upstream.base_url, "max_retries": 0}
    made.configure(providers={"openai": provider}, server={"port": 0, "drain": f"{DRAIN_S}s"})
    return made


@contextmanager
def full(home: Home, server: Server) -> Iterator[None]:
    """None of the process's files may grow beyond the store's log meanwhile."""
    pid, size = server.process.pid, Path(f"{home.store}-wal").stat().st_size
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        if server.process.returncode is None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


def begins(upstream: FakeUpstream) -> Gate:
    """The next answer begins, and waits with its end for the gate."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(
            chunk({"role": "assistant", "content": "Hello"}),
            gate,
            chunk({}, "stop"),
            chunk(None, usage=usage(9, 4)),
            b"data: [DONE]\n\n",
        )
    )
    return gate


@asynccontextmanager
async def streaming(
    http: aiohttp.ClientSession, server: Server, upstream: FakeUpstream
) -> AsyncIterator[tuple[aiohttp.ClientResponse, Gate]]:
    """An answer that has begun, and what holds up its end."""
    gate = begins(upstream)
    url = f"{server.url}/v1/chat/completions"
    async with http.post(url, json=BODY | {"stream": True}) as response:
        await response.content.readline()
        yield response, gate


async def filled(http: aiohttp.ClientSession, server: Server) -> None:
    """Until a write is refused."""
    while True:
        async with http.post(f"{server.url}/v1/threads", json={}) as answer:
            if answer.status == 503:
                return
            assert answer.status == 200


async def test_it_ends_on_a_full_disk(home: Home, upstream: FakeUpstream) -> None:
    """In its time, although ends wait to be stored; the next start stores them, estimated."""
    async with (
        home.serving() as server,
        aiohttp.ClientSession(headers=HEADERS) as http,
        Client.of(server.url) as client,
    ):
        assistant = (await client.post("/v1/assistants", {"model": MODEL}))["id"]
        thread = (await client.post("/v1/threads", {"messages": BODY["messages"]}))["id"]
        async with streaming(http, server, upstream) as (_, gate):
            gate_of_run = begins(upstream)
            run = await client.post(f"/v1/threads/{thread}/runs", {"assistant_id": assistant})
            await gate_of_run.reached.wait()
            with full(home, server):
                await filled(http, server)
                gate.release()
                gate_of_run.release()
                begun_s = time.monotonic()
                assert await server.stop() == 0
                took_s = time.monotonic() - begun_s

    async with home.serving() as server, Client.of(server.url) as client:
        ended = await client.get(path_of(run))
        assert await server.stop() == 0

    assert took_s < DRAIN_S + AFTER_DRAIN_S_MAX
    assert (ended["status"], ended["last_error"]) == ("failed", RESTARTED)
    assert [row["estimated"] for row in rows(home.path, "usage_records")] == [1, 1]
    assert rows(home.path, "holds") == []


async def test_it_goes_on_by_itself(home: Home, upstream: FakeUpstream) -> None:
    """The probes see it alive and not ready; then what waited is stored, and it writes again."""
    async with home.serving() as server, aiohttp.ClientSession(headers=HEADERS) as http:

        async def asked(page: str) -> int:
            async with http.get(f"{server.admin_url}/{page}") as answer:
                return answer.status

        async with streaming(http, server, upstream) as (response, gate):
            with full(home, server):
                await filled(http, server)
                gate.release()
                probes = [await asked(page) for page in ("healthz", "readyz")]
            rest = await response.content.read()
        async with http.post(f"{server.url}/v1/threads", json={}) as answer:
            written = answer.status
        after = [await asked(page) for page in ("healthz", "readyz")]
        assert await server.stop() == 0

    [record] = rows(home.path, "usage_records")
    assert (probes, after, written) == ([200, 503], [200, 200], 200)
    assert rest.endswith(b"data: [DONE]\n\n")
    assert (record["output_tokens"], record["estimated"]) == (4, 0)
