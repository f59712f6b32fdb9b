"""A full disk, as callers and the kubelet see it: reads go on, writes wait or are refused, nothing
that was paid for is lost, and with room again all is as before, without a restart.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.api.rig import UPSTREAM_MODEL, Answer, Ringside, rows, serving
from tests.fakes import Gate, chunk, stream_reply, usage
from tests.store.writing import file_limit

CHAT: Final = "/v1/chat/completions"
DONE: Final = b"data: [DONE]\n\n"


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    async with serving(tmp_path) as started:
        yield started


@asynccontextmanager
async def full(ringside: Ringside) -> AsyncIterator[Answer]:
    """While the block runs the store's log cannot grow, and is full; what that was told."""
    with file_limit(ringside.proxy.services.db.wal_bytes):
        while (answer := await ringside.developer.post("/v1/threads", {})).status == 200:
            pass
        yield answer


async def readiness(ringside: Ringside) -> tuple[int, list[str]]:
    """What the kubelet is told."""
    answer = await ringside.admin("/readyz")
    return answer.status, answer.json["reasons"]


async def test_writes_are_refused_and_reads_go_on(ringside: Ringside) -> None:
    """503 with the time to come back; then, with room, it writes by itself."""
    thread = await ringside.developer.thread("kept")
    async with full(ringside) as refused:
        read = await ringside.developer.get(f"/v1/threads/{thread}/messages")
        unready = await readiness(ringside)
        alive = await ringside.admin("/healthz")
    written = await ringside.developer.post("/v1/threads", {})

    assert (refused.status, refused.error["code"]) == (503, "storage_full")
    assert refused.headers["retry-after"] == "30"
    assert (read.status, len(read.json["data"])) == (200, 1)
    assert unready == (503, ["disk_full"])
    assert alive.status == 200
    assert written.status == 200
    assert await readiness(ringside) == (200, [])


async def test_no_call_goes_out_that_could_not_be_booked(ringside: Ringside) -> None:
    """A model call is held for first: without room it is refused, and nobody is asked."""
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}]}
    async with full(ringside):
        refused = await ringside.developer.post(CHAT, body)

    assert (refused.status, refused.error["code"]) == (503, "storage_full")
    assert ringside.upstream.requests == []


async def test_what_was_at_work_is_booked_once_there_is_room(ringside: Ringside) -> None:
    """An answer that ends on a full disk is kept in memory: its reader waits for its end."""
    gate = Gate()
    ringside.upstream.enqueue(
        stream_reply(
            chunk({"role": "assistant", "content": "Hello"}),
            gate,
            chunk({}, "stop"),
            chunk(None, usage=usage(9, 4)),
            DONE,
        )
    )
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}]}
    async with ringside.session.post(
        ringside.proxy.url + CHAT, json=body | {"stream": True}, headers=ringside.developer.headers
    ) as response:
        await response.content.readline()
        async with full(ringside):
            gate.release()
            reading = asyncio.create_task(_rest(response))
            await ringside.admin("/healthz")
            held = rows(ringside.home, "holds")
        rest = await reading

    [record] = rows(ringside.home, "usage_records")
    assert len(held) == 1
    assert rest.endswith(DONE)
    assert (record["input_tokens"], record["output_tokens"]) == (9, 4)
    assert rows(ringside.home, "holds") == []


async def test_a_run_ends_once_there_is_room(ringside: Ringside) -> None:
    """With its text, and its thread free."""
    gate = Gate()
    ringside.upstream.enqueue(
        stream_reply(
            chunk({"role": "assistant", "content": "Hello"}), gate, chunk({}, "stop"), DONE
        )
    )
    assistant = await ringside.developer.assistant(model=UPSTREAM_MODEL)
    thread = await ringside.developer.thread("hi")
    run = await ringside.developer.begin(thread, assistant)
    await gate.reached.wait()
    async with full(ringside):
        gate.release()
        await ringside.admin("/healthz")
    path = f"/v1/threads/{thread}/runs/{run['id']}"
    async with asyncio.timeout(20):
        while (ended := (await ringside.developer.get(path)).json)["completed_at"] is None:
            await ringside.admin("/healthz")
    said = (await ringside.developer.get(f"/v1/threads/{thread}/messages?limit=1")).json["data"]

    assert ended["status"] == "completed"
    assert said[0]["content"][0]["text"]["value"] == "Hello"


async def _rest(response: aiohttp.ClientResponse) -> bytes:
    return await response.content.read()
