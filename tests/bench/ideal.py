"""A run engine that does only what cannot be left out: the same rows, in two commits; the same events.

It stores thread, message, run and the money that is kept back in one commit, asks the model, stores
answer, step, usage, what is booked and what is to be told to others in a second one, and sends every
event that OpenAI's SDKs wait for. It checks nothing and refuses nothing, knows no tools, no lists, no
faults and no second run: the measure that Ringside's engine is held against.
"""

import argparse
import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import uvloop
from aiohttp import web

SCHEMA: Final = """
CREATE TABLE conversations (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL, metadata TEXT NOT NULL, message_count INTEGER NOT NULL) STRICT;
CREATE TABLE aliases (thread TEXT PRIMARY KEY, conversation INTEGER NOT NULL) STRICT;
CREATE TABLE items (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conversation INTEGER NOT NULL,
  ordinal INTEGER NOT NULL, role TEXT NOT NULL, run INTEGER, created_ms INTEGER NOT NULL,
  body BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX item_order ON items (conversation, ordinal);
CREATE TABLE runs (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, conversation INTEGER NOT NULL,
  status TEXT NOT NULL, created_ms INTEGER NOT NULL, ended_ms INTEGER, settings BLOB NOT NULL,
  usage BLOB) STRICT;
CREATE UNIQUE INDEX one_active ON runs (conversation) WHERE status = 'in_progress';
CREATE TABLE steps (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, run INTEGER NOT NULL,
  message TEXT NOT NULL, ended_ms INTEGER NOT NULL, usage BLOB NOT NULL) STRICT;
CREATE TABLE holds (id TEXT PRIMARY KEY, customer TEXT NOT NULL, nano INTEGER NOT NULL) STRICT;
CREATE TABLE periods (customer TEXT NOT NULL, month TEXT NOT NULL, reserved_nano INTEGER NOT NULL,
  settled_nano INTEGER NOT NULL, PRIMARY KEY (customer, month)) STRICT, WITHOUT ROWID;
CREATE TABLE records (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, customer TEXT NOT NULL,
  model TEXT NOT NULL, run TEXT NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
  nano INTEGER NOT NULL, created_ms INTEGER NOT NULL) STRICT;
CREATE TABLE days (day TEXT NOT NULL, customer TEXT NOT NULL, model TEXT NOT NULL,
  requests INTEGER NOT NULL, nano INTEGER NOT NULL,
  PRIMARY KEY (day, customer, model)) STRICT, WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
  created_ms INTEGER NOT NULL, data BLOB NOT NULL) STRICT;
INSERT INTO periods VALUES ('customer_1', '2026-11', 0, 0);
"""
CUSTOMER: Final = "customer_1"
HOLD_NANO: Final = 9_912_600
COST_NANO: Final = 33_000

Db = sqlite3.Connection
Write = tuple["asyncio.Future[None]", Callable[[Db], None]]


class Store:
    """One writer thread; what waits together shares a commit."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SCHEMA)
        self._waiting: deque[Write] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def write(self, fn: Callable[[Db], None]) -> None:
        """Run `fn`; returns once it is durable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, fn))
        if self._pump is None:
            self._pump = asyncio.create_task(self._drain())
        await future

    async def _drain(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(64, len(self._waiting)))]
            await asyncio.to_thread(self._commit, batch)
            for future, _ in batch:
                future.set_result(None)
        self._pump = None

    def _commit(self, batch: list[Write]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for _, fn in batch:
            fn(self._connection)
        self._connection.execute("COMMIT")


STORE: Final = web.AppKey("store", Store)
UPSTREAM: Final = web.AppKey("upstream", str)
SESSION: Final = web.AppKey("session", aiohttp.ClientSession)


def new_id(prefix: str) -> str:
    """An id."""
    return f"{prefix}_{os.urandom(12).hex()}"


class Run:
    """A thread with a message and a run on it: its rows and its events."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.model: str = asked["model"]
        self.message = asked["thread"]["messages"][0]
        self.thread_id, self.run_id = new_id("thread"), new_id("run")
        self.message_id, self.step_id, self.hold_id = new_id("msg"), new_id("step"), new_id("hold")
        self.now_ms = time.time_ns() // 1_000_000
        self.now = self.now_ms // 1000
        self.text: list[str] = []
        self.usage: dict[str, Any] = {}
        self.conversation = self.run = 0
        self.settings = {"model": self.model, "tools": [], "instructions": None}
        self._delta = (
            b'event: thread.message.delta\ndata: {"id":"%b","object":"thread.message.delta","delta":'
            b'{"content":[{"index":0,"type":"text","text":{"value":%%b}}]}}\n\n'
            % self.message_id.encode()
        )

    def begin(self, db: Db) -> None:
        """The first transaction."""
        self.conversation = _insert(
            db,
            "INSERT INTO conversations (id, created_ms, metadata, message_count) VALUES (?, ?, ?, 1)",
            (new_id("conv"), self.now_ms, "{}"),
        )
        db.execute("INSERT INTO aliases VALUES (?, ?)", (self.thread_id, self.conversation))
        self._add_item(db, new_id("msg"), 1, "user", orjson.dumps(self.message), None)
        self.run = _insert(
            db,
            "INSERT INTO runs (id, conversation, status, created_ms, settings) "
            "VALUES (?, ?, 'in_progress', ?, ?)",
            (self.run_id, self.conversation, self.now_ms, orjson.dumps(self.settings)),
        )
        db.execute(
            "UPDATE periods SET reserved_nano = reserved_nano + ? WHERE customer = ? AND month = ?",
            (HOLD_NANO, CUSTOMER, "2026-11"),
        )
        db.execute("INSERT INTO holds VALUES (?, ?, ?)", (self.hold_id, CUSTOMER, HOLD_NANO))

    def end(self, db: Db) -> None:
        """The second transaction."""
        now_ms, usage = time.time_ns() // 1_000_000, orjson.dumps(self.usage)
        db.execute(
            "UPDATE runs SET status = 'completed', ended_ms = ?, usage = ? WHERE seq = ?",
            (now_ms, usage, self.run),
        )
        db.execute(
            "INSERT INTO steps (id, run, message, ended_ms, usage) VALUES (?, ?, ?, ?, ?)",
            (self.step_id, self.run, self.message_id, now_ms, usage),
        )
        db.execute(
            "UPDATE conversations SET message_count = message_count + 1 WHERE seq = ?",
            (self.conversation,),
        )
        said = orjson.dumps({"text": "".join(self.text)})
        self._add_item(db, self.message_id, 2, "assistant", said, self.run)
        db.execute("DELETE FROM holds WHERE id = ?", (self.hold_id,))
        self._book(db, now_ms)
        told = orjson.dumps({"run_id": self.run_id, "thread_id": self.thread_id})
        db.execute(
            "INSERT INTO events (id, type, created_ms, data) VALUES (?, 'run.completed', ?, ?)",
            (new_id("evt"), now_ms, told),
        )

    def _book(self, db: Db, now_ms: int) -> None:
        tokens = (self.usage["prompt_tokens"], self.usage["completion_tokens"])
        db.execute(
            "INSERT INTO records (id, customer, model, run, tokens_in, tokens_out, nano, created_ms) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (new_id("use"), CUSTOMER, self.model, self.run_id, *tokens, COST_NANO, now_ms),
        )
        db.execute(
            "INSERT INTO days VALUES ('2026-11-30', ?, ?, 1, ?) ON CONFLICT (day, customer, model) "
            "DO UPDATE SET requests = requests + 1, nano = nano + excluded.nano",
            (CUSTOMER, self.model, COST_NANO),
        )
        db.execute(
            "UPDATE periods SET reserved_nano = reserved_nano - ?, settled_nano = settled_nano + ? "
            "WHERE customer = ? AND month = ?",
            (HOLD_NANO, COST_NANO, CUSTOMER, "2026-11"),
        )

    def _add_item(
        self, db: Db, item_id: str, ordinal: int, role: str, body: bytes, run: int | None
    ) -> None:
        db.execute(
            "INSERT INTO items (id, conversation, ordinal, role, run, created_ms, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (item_id, self.conversation, ordinal, role, run, self.now_ms, body),
        )

    def opening(self) -> bytes:
        """The events until the model speaks."""
        thread = {"id": self.thread_id, "object": "thread", "created_at": self.now}
        thread |= {"metadata": {}, "tool_resources": {}}
        queued = self._run("queued", None, None)
        step, message = self._step("in_progress"), self._message("in_progress")
        return b"".join(
            (
                event("thread.created", thread),
                event("thread.run.created", queued),
                event("thread.run.queued", queued),
                event("thread.run.in_progress", self._run("in_progress", self.now, None)),
                event("thread.run.step.created", step),
                event("thread.run.step.in_progress", step),
                event("thread.message.created", message),
                event("thread.message.in_progress", message),
            )
        )

    def feed(self, frames: list[bytes]) -> bytes:
        """The deltas of what has come."""
        told = []
        for frame in frames:
            data = frame.removeprefix(b"data: ")
            if data == b"[DONE]":
                continue
            chunk = orjson.loads(data)
            self.usage = chunk["usage"] or self.usage
            for choice in chunk["choices"]:
                word = choice["delta"].get("content")
                if word:
                    self.text.append(word)
                    told.append(self._delta % orjson.dumps(word))
        return b"".join(told)

    def closing(self) -> bytes:
        """The events once the end is stored."""
        return b"".join(
            (
                event("thread.message.completed", self._message("completed")),
                event("thread.run.step.completed", self._step("completed")),
                event("thread.run.completed", self._run("completed", self.now, self.usage)),
                b"event: done\ndata: [DONE]\n\n",
            )
        )

    def _run(
        self, status: str, started_at: int | None, usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "id": self.run_id,
            "object": "thread.run",
            "created_at": self.now,
            "assistant_id": "asst_1",
            "thread_id": self.thread_id,
            "status": status,
            "started_at": started_at,
            "expires_at": self.now + 600,
            "cancelled_at": None,
            "failed_at": None,
            "completed_at": self.now if status == "completed" else None,
            "required_action": None,
            "last_error": None,
            "model": self.model,
            "instructions": None,
            "tools": [],
            "tool_resources": {},
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1.0,
            "reasoning_effort": None,
            "max_completion_tokens": None,
            "max_prompt_tokens": None,
            "truncation_strategy": {"type": "auto", "last_messages": None},
            "incomplete_details": None,
            "usage": usage,
            "response_format": "auto",
            "tool_choice": "auto",
            "parallel_tool_calls": True,
        }

    def _step(self, status: str) -> dict[str, Any]:
        return {
            "id": self.step_id,
            "object": "thread.run.step",
            "created_at": self.now,
            "run_id": self.run_id,
            "assistant_id": "asst_1",
            "thread_id": self.thread_id,
            "type": "message_creation",
            "status": status,
            "cancelled_at": None,
            "completed_at": self.now if status == "completed" else None,
            "expires_at": self.now + 600,
            "expired_at": None,
            "failed_at": None,
            "last_error": None,
            "step_details": {
                "type": "message_creation",
                "message_creation": {"message_id": self.message_id},
            },
            "usage": self.usage or None,
            "metadata": {},
        }

    def _message(self, status: str) -> dict[str, Any]:
        text = {"value": "".join(self.text), "annotations": []}
        return {
            "id": self.message_id,
            "object": "thread.message",
            "created_at": self.now,
            "assistant_id": "asst_1",
            "thread_id": self.thread_id,
            "run_id": self.run_id,
            "status": status,
            "incomplete_details": None,
            "incomplete_at": None,
            "completed_at": self.now if status == "completed" else None,
            "role": "assistant",
            "content": [{"type": "text", "text": text}] if self.text else [],
            "attachments": [],
            "metadata": {},
        }


def _insert(db: Db, statement: str, values: tuple[Any, ...]) -> int:
    return db.execute(statement, values).lastrowid or 0


def event(name: str, data: Any) -> bytes:
    """A frame."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


async def run(request: web.Request) -> web.StreamResponse:
    """A thread with a message, and a run on it, streamed to its end."""
    at_work = Run(orjson.loads(await request.read()))
    store = request.app[STORE]
    await store.write(at_work.begin)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(at_work.opening())
    body = {"model": at_work.model, "messages": [at_work.message], "stream": True}
    headers, rest = {"content-type": "application/json"}, b""
    async with request.app[SESSION].post(
        request.app[UPSTREAM], data=orjson.dumps(body), headers=headers
    ) as answer:
        async for piece in answer.content.iter_any():
            *frames, rest = (rest + piece).split(b"\n\n")
            told = at_work.feed(frames)
            if told:
                await response.write(told)
    await store.write(at_work.end)
    await response.write(at_work.closing())
    await response.write_eof()
    return response


async def session(app: web.Application) -> AsyncIterator[None]:
    """The connections to the upstream."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2000)) as client:
        app[SESSION] = client
        yield


async def serve(port: int, upstream: str, store: Path) -> None:
    """Serve until the process is ended."""
    app = web.Application()
    app[UPSTREAM], app[STORE] = upstream, Store(store)
    app.cleanup_ctx.append(session)
    app.router.add_post("/v1/threads/runs", run)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    parser.add_argument("store", type=Path)
    given = parser.parse_args()
    uvloop.run(serve(given.port, given.upstream, given.store))
