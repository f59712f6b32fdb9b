"""A small load that touches every step of every kind of call, and what has to be true after it.

Every call has a name of its own. It is the key of those that have one, what the provider is asked,
and the request id that its bookings carry: so what a call did can be told apart from all others.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from tests.crash.client import ANSWER_S_MAX, POLL_S
from tests.crash.load import outputs_for
from tests.delivery.receiver import Received
from tests.e2e.ringside import TOKEN
from tests.fakes import FakeUpstream, Reply, Scripted, json_reply, text_reply, tool_reply

Json = dict[str, Any]

MODEL: Final = "fc:openai/gpt-4.1"
EMBEDDER: Final = "fc:openai/text-embedding-3-small"
FLUSH: Final = "100ms"
WORKERS: Final = ("a", "b")
TOOL: Final = {"type": "function", "function": {"name": "look_up"}}
CREDIT_USD: Final = 1000
SECRET_BYTES: Final = b"not a secret, only an example of"
SECRET: Final = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


def config(upstream: str, receiver: str) -> Json:
    """Everything is paid for twice, by a customer's cap and by the wallet, and told to others."""
    openai = {"api_key": "k", "base_url": upstream, "max_retries": 0}
    return {
        "providers": {"openai": openai},
        "wallet": {"enabled": True, "markup_percent": 10},
        "budgets": {"default_monthly_usd": 5, "customers": {"tight": {"monthly_usd": 0.02}}},
        "webhooks": {
            "endpoints": [{"url": f"{receiver}/events", "events": ["*"], "secret": SECRET}],
            "allow_private": ["127.0.0.1"],
        },
        "upstream": {"url": f"{receiver}/usage", "secret": SECRET, "flush_interval": FLUSH},
    }


RUN_EVENT: Final = re.compile(r"thread\.run\.[a-z_]+")
CREATED: Final = ("thread.run.created", "thread.message.created")
TO_BE_TOLD: Final = (
    "SELECT (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'in_flight')), "
    "(SELECT count(*) FROM usage_records) - (SELECT coalesce(max(acknowledged), 0) "
    "FROM usage_upstream)"
)
LOST: Final = (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError)


class Provider:
    """Answers everything, and counts by name how often it was asked what."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.asked = Counter[tuple[str, int]]()
        replies: list[Reply] = [self.answer] * 10_000
        upstream.enqueue(*replies)

    def answer(self, body: Json) -> Scripted:
        """A reply that no other call has; a call of the function offered, if it was not called yet."""
        if "input" in body:
            self.asked[body["input"], 0] += 1
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}]
            usage = {"prompt_tokens": 3, "total_tokens": 3}
            return json_reply(
                {"object": "list", "data": data, "model": body["model"], "usage": usage}
            )
        said = [message for message in body["messages"] if message["role"] == "user"]
        name, outputs = said[-1]["content"], body["messages"][-1]["role"] == "tool"
        self.asked[name, int(outputs)] += 1
        if body.get("tools") and not outputs:
            return tool_reply([("call_a", "look_up", "{}")], "One moment")(body)
        return text_reply(f"answer to {name}")(body)


class Call:
    """One call: how it is made, and what it was answered last."""

    def __init__(self, name: str, path: str, body: Json, *, is_keyed: bool = True) -> None:
        self.name = name
        self.path = path
        self.raw = orjson.dumps(body)
        self.is_keyed = is_keyed
        self.calls_provider = "messages" in body or "input" in body
        self.status: int | None = None
        self.body = b""

    async def make(self, http: aiohttp.ClientSession) -> None:
        """Send it, and wait while an earlier one is answered. Raises one of LOST."""
        headers = {"x-request-id": self.name}
        if self.is_keyed:
            headers["Idempotency-Key"] = self.name
        async with asyncio.timeout(ANSWER_S_MAX):
            while True:
                async with http.post(self.path, data=self.raw, headers=headers) as response:
                    body = await response.read()
                    code = self._code(response.status, body)
                if code != "idempotency_in_progress":
                    break
                await asyncio.sleep(POLL_S)
        self.status, self.body = response.status, body

    @staticmethod
    def _code(status: int, body: bytes) -> str | None:
        code: str | None = orjson.loads(body)["error"]["code"] if status >= 400 else None
        return code

    @property
    def code(self) -> str | None:
        """The code of the error that it was answered."""
        return None if self.status is None else self._code(self.status, self.body)

    @property
    def run(self) -> Json | None:
        """The run that it answered, or the last one that its stream told of."""
        if not self.body.startswith(b"event: "):
            return orjson.loads(self.body) if self.status == 200 else None
        runs = [data for name, data in events(self.body) if RUN_EVENT.fullmatch(name)]
        return runs[-1] if runs else None


def events(body: bytes) -> list[tuple[str, Any]]:
    """The events of a run's stream, also of one that broke off."""
    *frames, _rest = body.decode().split("\n\n")
    pairs = (frame.removeprefix("event: ").split("\ndata: ") for frame in frames)
    return [(name, orjson.loads(data)) for name, data in pairs if data != "[DONE]"]


class Mixed:
    """The load, over one store that fails and comes back."""

    def __init__(self, assistant: str, round_name: str) -> None:
        self.assistant = assistant
        self._round = round_name
        self.calls: list[Call] = []

    async def run(self, url: str) -> None:
        """Every kind of call, by two workers at once; a call that fails does not stop them."""
        async with session(url) as http:
            await asyncio.gather(*(self._work(http, worker) for worker in WORKERS))

    async def again(self, url: str) -> None:
        """Every call with a key once more: it has to be answered as it was, or legally else."""
        async with session(url) as http:
            for call in [each for each in self.calls if each.is_keyed]:
                before = (call.status, call.body)
                await call.make(http)
                check_again(call, *before)

    async def _work(self, http: aiohttp.ClientSession, worker: str) -> None:
        try:
            for number, (path, body, is_keyed) in enumerate(self._plan(worker)):
                call = Call(f"{self._round}-{worker}{number}", path, body, is_keyed=is_keyed)
                self.calls.append(call)
                await self._make(http, call)
                if path == "/v1/threads/runs" and call.status == 200:
                    await self._answer_calls(http, call)
        except LOST:
            return

    async def _make(self, http: aiohttp.ClientSession, call: Call) -> None:
        try:
            await call.make(http)
        except aiohttp.ClientPayloadError:  # a stream that broke off; the server may be there
            return

    async def _answer_calls(self, http: aiohttp.ClientSession, made: Call) -> None:
        """The outputs that a run waits for, or its end."""
        run = made.run
        if run is None:
            return
        path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
        async with asyncio.timeout(ANSWER_S_MAX):
            while run["status"] in ("queued", "in_progress"):
                async with http.get(path) as response:
                    run = orjson.loads(await response.read())
                await asyncio.sleep(POLL_S)
        if run["status"] == "requires_action":
            body = {**outputs_for(run), "stream": True}
            call = Call(f"{made.name}-outputs", f"{path}/submit_tool_outputs", body)
            self.calls.append(call)
            await self._make(http, call)

    def _plan(self, worker: str) -> list[tuple[str, Json, bool]]:
        """Path, body, and whether it has a key; the name of the call stands in its body."""
        name = iter(f"{self._round}-{worker}{number}" for number in range(100))

        def asks() -> list[Json]:
            return [{"role": "user", "content": next(name)}]

        chat, runs = "/v1/chat/completions", "/v1/threads/runs"
        user = {"user": f"customer_{worker}"}
        run = {"assistant_id": self.assistant, **user}
        return [
            ("/v1/threads", {"messages": asks()}, True),
            (chat, {"model": MODEL, "messages": asks(), **user}, True),
            (chat, {"model": MODEL, "messages": asks(), "stream": True, **user}, True),
            (runs, run | {"thread": {"messages": asks()}, "stream": True, "tools": [TOOL]}, True),
            (chat, {"model": MODEL, "messages": asks(), "user": "tight"}, False),
            ("/v1/embeddings", {"model": EMBEDDER, "input": next(name), **user}, True),
            ("/v1/wallet/top_ups", {"amount_usd": 1, "note": next(name)}, True),
            (runs, run | {"thread": {"messages": asks()}}, False),
            (chat, {"model": MODEL, "messages": asks(), "stream": True, **user}, False),
        ]


def session(url: str) -> aiohttp.ClientSession:
    """A client."""
    return aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {TOKEN}"})


async def prepared(url: str) -> str:
    """An assistant's id; and credit."""
    async with session(url) as http:
        async with http.post("/v1/assistants", json={"model": MODEL}) as response:
            assistant: str = orjson.loads(await response.read())["id"]
        async with http.post("/v1/wallet/top_ups", json={"amount_usd": CREDIT_USD}) as response:
            assert response.status == 200
    return assistant


def check_again(call: Call, status: int | None, body: bytes) -> None:
    """Raise AssertionError unless the new answer is legal after the old one, if there was one."""
    if status == 200:
        assert call.status == 200, (call.name, call.body)
        before, again = said(body), said(call.body)
        if not is_cut(body):
            assert again == before, call.name
            return
        for told, told_again in zip(before, again, strict=False):
            goes_on = isinstance(told, str) and told_again.startswith(told)
            assert goes_on or told_again == told, call.name
        assert len(again) >= len(before), call.name
        return
    if call.code == "idempotency_outcome_unknown":
        assert call.calls_provider, call.name
        return
    if call.status != 200:  # it came to an error, and to the same one again
        assert (call.status, call.body) == (status, body), call.name


def said(body: bytes) -> list[Any]:
    """What an answer says, however many pieces it came in; of a run, which objects it tells of."""
    if body.startswith(b"event: "):
        return [data["id"] for name, data in events(body) if name in CREATED]
    if not body.startswith(b"data: "):
        return [body]
    frames = [orjson.loads(frame[6:]) for frame in body.split(b"\n\n") if frame[6:7] == b"{"]
    deltas = [frame["choices"][0]["delta"] for frame in frames if "choices" in frame]
    text = "".join(delta.get("content") or "" for delta in deltas)
    return [text, *(frame for frame in frames if "error" in frame)]


def is_cut(body: bytes) -> bool:
    """Whether a stream broke off: what is told again may go further."""
    if body.startswith(b"event: "):
        return any(name == "error" for name, _ in events(body))
    return body.startswith(b"data: ") and b'data: {"error":' in body


def audit_calls(store: Path, load: Mixed, provider: Provider) -> None:
    """No call reached a provider twice, and each that did is booked once."""
    assert max(provider.asked.values(), default=1) == 1, provider.asked.most_common(3)
    booked = _booked(store)
    for call in load.calls:
        asked = sum(provider.asked[call.name, stage] for stage in (0, 1))
        # One more: kept back, and cut off before it was sent; nobody can know that it was not.
        assert asked <= booked[call.name] <= asked + 1, (call.name, asked, booked[call.name])
    unsent = booked.total() - sum(provider.asked.values())
    assert unsent <= len(WORKERS), booked - Counter(name for name, _ in provider.asked.elements())


def audit_told(store: Path, requests: list[Received]) -> None:
    """Every event and every booking was told at least once: signed, in one wording, none left out."""
    wordings: dict[str, set[bytes]] = {}
    for request in requests:
        assert request.headers["webhook-signature"] == _signature(request)
        wordings.setdefault(f"{request.path} {request.id}", set()).add(request.body)
    assert {len(bodies) for bodies in wordings.values()} <= {1}
    with closing(sqlite3.connect(store)) as connection:
        events = {name for (name,) in connection.execute("SELECT id FROM events")}
        bookings = {name for (name,) in connection.execute("SELECT id FROM usage_records")}
    assert events <= {request.id for request in requests if request.path == "/events"}
    batches = [request.json for request in requests if request.path == "/usage"]
    assert {record["id"] for batch in batches for record in batch["data"]} == bookings


async def is_told(store: Path) -> bool:
    """Whether nothing is left to be told."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        left: tuple[int, int] = connection.execute(TO_BE_TOLD).fetchone()
    return left == (0, 0)


def _signature(request: Received) -> str:
    stamp = request.headers["webhook-timestamp"]
    signed = f"{request.id}.{stamp}.".encode() + request.body
    digest = hmac.new(SECRET_BYTES, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _booked(store: Path) -> Counter[str]:
    """How many bookings each call has: a run's are known by what was asked on its thread."""
    query = (
        "SELECT coalesce((SELECT json_extract(CAST(i.body AS TEXT), '$.content[0].text') "
        "FROM items i JOIN runs r ON r.conversation = i.conversation "
        "WHERE r.id = u.run_id AND i.role = 'user'), u.request_id) FROM usage_records u"
    )
    with closing(sqlite3.connect(store)) as connection:
        return Counter(name for (name,) in connection.execute(query))
