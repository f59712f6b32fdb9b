"""kill -9 at random moments of requests with keys: every key gives a legal answer afterwards.

Legal is what was answered, if it was; else the object that was made, once; else, for a call that
may have gone out, that its outcome is unknown; else a new answer. Never a second call or object.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest

from tests.conformance.stream import check_chat_stream, check_run_stream
from tests.crash.client import ANSWER_S_MAX, POLL_S
from tests.crash.process import Home, kill
from tests.e2e.ringside import TOKEN
from tests.fakes import FakeUpstream, Scripted, text_reply
from tests.faults.sizes import TIMEOUT_S, size

Json = dict[str, Any]

KILLS: Final = size("kills between requests with a key")
SEED: Final = "RINGSIDE_CRASH_SEED"
ACTORS: Final = 6
REQUESTS_MAX: Final = 40
AFTER_S_MAX: Final = 0.01
MODEL: Final = "fc:openai/gpt-4.1"
KINDS: Final = ("chat", "chat stream", "run", "run stream", "thread", "top-up")


class Request:
    """One keyed request, and what it was answered last."""

    def __init__(self, number: int, kind: str, assistant: str) -> None:
        self.kind = kind
        self.name = f"no {number}"
        self.path, self.body = _request(kind, self.name, assistant)
        self.answered: Any = None
        self.is_unknown = False

    @property
    def may_be_unknown(self) -> bool:
        """Whether a provider is called by the request itself."""
        return self.kind.startswith("chat")


def _request(kind: str, name: str, assistant: str) -> tuple[str, bytes]:
    question = [{"role": "user", "content": name}]
    bodies: dict[str, tuple[str, Json]] = {
        "chat": ("/v1/chat/completions", {"model": MODEL, "messages": question}),
        "run": (
            "/v1/threads/runs",
            {"assistant_id": assistant, "thread": {"messages": question}, "metadata": {"n": name}},
        ),
        "thread": ("/v1/threads", {"messages": question, "metadata": {"n": name}}),
        "top-up": ("/v1/wallet/top_ups", {"amount_usd": 1, "note": name}),
    }
    path, body = bodies[kind.removesuffix(" stream")]
    return path, orjson.dumps(body | ({"stream": True} if kind.endswith("stream") else {}))


class Load:
    """Every request that was ever made, and word of when there are more."""

    def __init__(self, source: random.Random, assistant: str) -> None:
        self.source = source
        self.requests: list[Request] = []
        self._assistant = assistant
        self._goal = 0
        self._reached = asyncio.Event()

    def request(self) -> Request:
        """A new one."""
        kind = self.source.choice(KINDS)
        self.requests.append(Request(len(self.requests), kind, self._assistant))
        if len(self.requests) >= self._goal:
            self._reached.set()
        return self.requests[-1]

    async def more(self, count: int) -> None:
        """Until that many more were made."""
        self._goal = len(self.requests) + count
        self._reached.clear()
        await self._reached.wait()


class Provider:
    """Answers every question and counts how often it was asked."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.asked = Counter[str]()
        upstream.enqueue(*[self.answer] * 100_000)

    def answer(self, body: Json) -> Scripted:
        """A reply that no other question has."""
        question = body["messages"][-1]["content"]
        self.asked[question] += 1
        return text_reply(f"answer to {question}")(body)


@pytest.mark.timeout(TIMEOUT_S)
async def test_no_key_is_carried_out_twice_across_kill_9(tmp_path: Path) -> None:
    """Over many kills no question reaches the provider twice, and no object is made twice."""
    seed = os.environ.get(SEED) or os.urandom(4).hex()
    print(f"{SEED}={seed}")
    async with FakeUpstream() as upstream:
        provider, home = Provider(upstream), Home(tmp_path)
        openai = {"api_key": "k", "base_url": upstream.base_url, "max_retries": 0}
        home.configure(providers={"openai": openai}, wallet={"enabled": True})
        load = Load(random.Random(seed), await _prepared(home))
        for _ in range(KILLS):
            async with home.serving() as server, _session(server.url) as http:
                await _all_again(http, load.requests[-ACTORS * 2 :])
                actors = [asyncio.create_task(_act(http, load)) for _ in range(ACTORS)]
                await load.more(load.source.randint(1, REQUESTS_MAX))
                await asyncio.sleep(load.source.uniform(0, AFTER_S_MAX))
                await kill(server.process)
                await asyncio.gather(*actors)
        async with home.serving() as server, _session(server.url) as http:
            await _all_again(http, load.requests)
            await _audit(http, load.requests, provider)
            assert await server.stop() == 0
        assert "Traceback" not in home.logged()


async def _prepared(home: Home) -> str:
    """An assistant, and credit to call with."""
    async with home.serving() as server, _session(server.url) as http:
        async with http.post("/v1/assistants", json={"model": MODEL}) as response:
            assistant: str = (await response.json())["id"]
        async with http.post("/v1/wallet/top_ups", json={"amount_usd": 1000}) as response:
            assert response.status == 200
        assert await server.stop() == 0
    return assistant


@asynccontextmanager
async def _session(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX),
    ) as session:
        yield session


async def _act(http: aiohttp.ClientSession, load: Load) -> None:
    """Send one request after the other, now and then one again, until the server is gone."""
    try:
        while True:
            request = load.request()
            await _ask(http, request)
            if load.source.random() < 0.2:
                await _ask(http, request)
    except (aiohttp.ClientError, ConnectionError):
        return


async def _all_again(http: aiohttp.ClientSession, requests: list[Request]) -> None:
    """Every request once more: what was lost is asked for, what was answered stays."""
    slots = asyncio.Semaphore(ACTORS)

    async def again(request: Request) -> None:
        async with slots:
            await _ask(http, request)

    await asyncio.gather(*map(again, requests))


async def _ask(http: aiohttp.ClientSession, request: Request) -> None:
    """Send it, and hold the answer to what is known."""
    while True:
        async with http.post(
            request.path, data=request.body, headers={"Idempotency-Key": request.name}
        ) as response:
            status, raw = response.status, await response.read()
        code = orjson.loads(raw)["error"]["code"] if status >= 400 else None
        if code != "idempotency_in_progress":
            break
        await asyncio.sleep(POLL_S)
    if code == "idempotency_outcome_unknown":
        assert request.may_be_unknown, request.kind
        assert request.answered is None, f"{request.name} was answered, and is unknown"
        request.is_unknown = True
        return
    assert status == 200, raw
    assert not request.is_unknown, f"{request.name} was unknown, and is answered"
    said = _said(request, raw)
    if request.answered is not None:
        assert said == request.answered
    request.answered = said


def _said(request: Request, raw: bytes) -> Any:
    """What an answer says that the next one has to say too."""
    if request.kind == "run":
        return orjson.loads(raw)["id"]
    if request.kind == "run stream":
        runs = [data for name, data in check_run_stream(raw) if name == "thread.run.created"]
        return runs[0]["id"]  # type: ignore[index]
    if request.kind == "chat stream":
        chunks = check_chat_stream(raw)
        texts = [each["choices"][0]["delta"].get("content") or "" for each in chunks]  # type: ignore[index]
        return chunks[0]["id"], "".join(texts)  # type: ignore[index]
    return orjson.loads(raw)


async def _audit(http: aiohttp.ClientSession, requests: list[Request], provider: Provider) -> None:
    """Each object was made once, each question asked at most once."""
    assert max(provider.asked.values()) == 1
    threads = Counter[str]()
    for thread in await _every(http, "/v1/threads"):
        threads[thread["metadata"].get("n", "")] += 1
    made = {request.name for request in requests if request.kind == "thread"}
    assert {name: count for name, count in threads.items() if name} == dict.fromkeys(made, 1)
    run_threads = [each for each in requests if each.kind.startswith("run")]
    assert threads[""] == len(run_threads)
    top_ups = Counter[str]()
    for moved in await _every(http, "/v1/wallet/transactions"):
        if moved["type"] == "top_up" and moved["note"]:
            top_ups[moved["note"]] += 1
    paid = {request.name for request in requests if request.kind == "top-up"}
    assert top_ups == dict.fromkeys(paid, 1)


async def _every(http: aiohttp.ClientSession, path: str) -> list[Json]:
    found: list[Json] = []
    while True:
        after = f"&after={found[-1]['id']}" if found else ""
        async with http.get(f"{path}?order=asc&limit=100{after}") as response:
            page = await response.json()
        found += page["data"]
        if not page["has_more"]:
            return found
