"""Chats and embeddings that a stop finds at work: each is told, and nothing is held for them."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any, Final

import aiohttp
import openai
import orjson
import pytest

from tests.crash.process import Home, Server
from tests.crash.test_shutdown import draining
from tests.e2e.ringside import TOKEN
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply

CHAT: Final = {"model": "fc:openai/gpt-4.1", "messages": [{"role": "user", "content": "Hi"}]}
EMBEDDINGS: Final = {"model": "fc:openai/text-embedding-3-small", "input": "Hi"}
ASKED: Final = (
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", CHAT | {"stream": True}),
    ("/v1/embeddings", EMBEDDINGS),
)
OFF: Final = {"type": "server_error", "param": None, "code": "shutting_down"}


@pytest.fixture
async def upstream(home: Home) -> AsyncIterator[FakeUpstream]:
    """A provider that the proxy asks."""
    async with FakeUpstream() as far:
        home.configure(providers={"openai": {"api_key": "k", "base_url": far.base_url}})
        yield far


@asynccontextmanager
async def session(server: Server) -> AsyncIterator[aiohttp.ClientSession]:
    """A client's connections."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as opened:
        yield opened


async def ask(client: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any, bytes]:
    """Status, headers and body of the whole answer."""
    async with client.post(path, json=body) as answer:
        return answer.status, answer.headers, await answer.read()


async def told_twice(server: Server) -> None:
    """Ends the drain that the first signal begins."""
    server.signal(signal.SIGTERM)
    await draining(server)
    server.signal(signal.SIGTERM)


def held(home: Home) -> list[Any]:
    """What is kept back, once the process has gone."""
    with closing(sqlite3.connect(home.store)) as store:
        return store.execute("SELECT * FROM holds").fetchall()


async def test_what_has_said_nothing_yet_is_a_503(home: Home, upstream: FakeUpstream) -> None:
    """In the envelope, and with the time after which another try makes sense."""
    upstream.enqueue(*[stream_reply(Gate()) for _ in ASKED])
    async with home.serving() as server, session(server) as client:
        calls = [asyncio.create_task(ask(client, *asked)) for asked in ASKED]
        await upstream.request(len(ASKED) - 1)
        await told_twice(server)
        answers = await asyncio.gather(*calls)
        assert await server.exit_code() == 0

    for status, headers, body in answers:
        error = orjson.loads(body)["error"]
        assert (status, error | OFF) == (503, error)
        assert int(headers["Retry-After"]) > 0
    assert held(home) == []
    assert "Traceback" not in home.logged()


async def test_a_stream_that_has_begun_ends_with_the_error(
    home: Home, upstream: FakeUpstream
) -> None:
    """As an error of the SDK's, not as a connection that broke; what was said before stays said."""
    upstream.enqueue(stream_reply(chunk({"role": "assistant", "content": "So far"}), Gate()))
    async with (
        home.serving() as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as sdk,
    ):
        stream = await sdk.chat.completions.create(**CHAT, stream=True)
        said = [(await anext(stream)).choices[0].delta.content]
        await told_twice(server)
        with pytest.raises(openai.APIError) as caught:
            said += [piece.choices[0].delta.content async for piece in stream]
        assert await server.exit_code() == 0

    assert said == ["So far"]
    assert caught.value.body == {"message": caught.value.message} | OFF
    assert held(home) == []
    assert "Traceback" not in home.logged()
