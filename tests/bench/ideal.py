"""A run engine that does only what cannot be left out: two durable transactions and the answer.

It stores thread, message and run in one commit, asks the model, stores the answer and the run's end
in a second one, and tells both as events. No checks, no money, no steps, no lists: the measure that
Ringside's engine is held against.
"""

import argparse
import asyncio
import os
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop
from aiohttp import web

SCHEMA = """
CREATE TABLE threads (id TEXT PRIMARY KEY, created_ms INTEGER NOT NULL) STRICT;
CREATE TABLE items (id TEXT PRIMARY KEY, thread TEXT NOT NULL, role TEXT NOT NULL,
  body BLOB NOT NULL, created_ms INTEGER NOT NULL) STRICT;
CREATE TABLE runs (id TEXT PRIMARY KEY, thread TEXT NOT NULL, status TEXT NOT NULL,
  usage BLOB, created_ms INTEGER NOT NULL) STRICT;
"""

Write = tuple["asyncio.Future[None]", Callable[[sqlite3.Connection], None]]


class Store:
    """One writer thread; what waits together shares a commit."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SCHEMA)
        self._waiting: deque[Write] = deque()
        self._pump: asyncio.Task[None] | None = None

    async def write(self, fn: Callable[[sqlite3.Connection], None]) -> None:
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


STORE = web.AppKey("store", Store)
UPSTREAM = web.AppKey("upstream", str)
SESSION = web.AppKey("session", aiohttp.ClientSession)


def new_id(prefix: str) -> str:
    """An id."""
    return f"{prefix}_{os.urandom(12).hex()}"


def event(name: str, data: Any) -> bytes:
    """A frame."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(data))


async def run(request: web.Request) -> web.StreamResponse:
    """A thread with a message, and a run on it, streamed to its end."""
    asked = orjson.loads(await request.read())
    thread, message, run_id = new_id("thread"), asked["thread"]["messages"][0], new_id("run")
    now = time.time_ns() // 1_000_000

    def begin(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO threads VALUES (?, ?)", (thread, now))
        db.execute(
            "INSERT INTO items VALUES (?, ?, 'user', ?, ?)",
            (new_id("msg"), thread, orjson.dumps(message), now),
        )
        db.execute("INSERT INTO runs VALUES (?, ?, 'in_progress', NULL, ?)", (run_id, thread, now))

    await request.app[STORE].write(begin)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    await response.write(event("thread.run.in_progress", {"id": run_id}))
    text, usage = [], None
    body = orjson.dumps({"model": asked["model"], "messages": [message], "stream": True})
    headers = {"content-type": "application/json"}
    async with request.app[SESSION].post(
        request.app[UPSTREAM], data=body, headers=headers
    ) as answer:
        rest = b""
        async for piece in answer.content.iter_any():
            *frames, rest = (rest + piece).split(b"\n\n")
            told = []
            for frame in frames:
                data = frame.removeprefix(b"data: ")
                if data == b"[DONE]":
                    continue
                chunk = orjson.loads(data)
                usage = chunk["usage"] or usage
                for choice in chunk["choices"]:
                    word = choice["delta"].get("content")
                    if word:
                        text.append(word)
                        told.append(event("thread.message.delta", {"text": word}))
            await response.write(b"".join(told))

    def end(db: sqlite3.Connection) -> None:
        said = orjson.dumps({"text": "".join(text)})
        db.execute(
            "INSERT INTO items VALUES (?, ?, 'assistant', ?, ?)", (new_id("msg"), thread, said, now)
        )
        db.execute(
            "UPDATE runs SET status = 'completed', usage = ? WHERE id = ?",
            (orjson.dumps(usage), run_id),
        )

    await request.app[STORE].write(end)
    await response.write(event("thread.run.completed", {"id": run_id}))
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
