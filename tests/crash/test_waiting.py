"""kill -9 of a proxy on whose threads runs wait: what was accepted has its turn, in its order."""

import asyncio
import os
import random
from typing import Any, Final

import pytest

from tests.api.rig import rows
from tests.crash.client import Client, LostError, until
from tests.crash.journal import RESTARTED
from tests.crash.process import Home, kill
from tests.crash.story import path_of, text_of

Json = dict[str, Any]

KILLS: Final = 12
THREADS: Final = 3
RUNS_PER_LIFE: Final = 8
SEED: Final = "RINGSIDE_CRASH_SEED"


def bringing(assistant: str, text: str) -> Json:
    """A run that says something."""
    messages = [{"role": "user", "content": text}]
    return {"assistant_id": assistant, "additional_messages": messages}


async def texts_of(client: Client, thread: str) -> list[str]:
    """What is on a thread, oldest first."""
    return [text_of(each) for each in await client.every(f"/v1/threads/{thread}/messages")]


async def test_those_that_wait_survive_and_keep_their_order(home: Home) -> None:
    """The one at work failed with the process; behind it nobody lost place or messages."""
    home.configure(runs={"when_busy": "queue"})
    async with home.serving() as server, Client.of(server.url) as client:
        hang = (await client.post("/v1/assistants", {"model": "fc:sandbox/hang"}))["id"]
        echo = (await client.post("/v1/assistants", {"model": "fc:sandbox/echo"}))["id"]
        thread = (await client.post("/v1/threads"))["id"]
        path = f"/v1/threads/{thread}/runs"
        first = await client.post(path, bringing(hang, "0"))
        runs = [await client.post(path, bringing(echo, str(number))) for number in range(1, 6)]
        await until(lambda: client.get(path_of(first)), lambda run: run["status"] == "in_progress")
        await kill(server.process)

    async with home.serving() as server, Client.of(server.url) as client:
        ended = [await client.settled(run) for run in (first, *runs)]
        texts = await texts_of(client, thread)
        assert await server.stop() == 0

    assert ended[0]["last_error"] == RESTARTED
    assert [run["status"] for run in ended[1:]] == ["completed"] * 5
    assert texts == ["0", *(str(number) for number in range(1, 6) for _ in "ab")]


async def test_a_clean_stop_leaves_those_that_wait_for_the_next_start(home: Home) -> None:
    """What only waits is not failed by a deployment."""
    home.configure(runs={"when_busy": "queue"}, server={"port": 0, "drain": "0s"})
    async with home.serving() as server, Client.of(server.url) as client:
        hang = (await client.post("/v1/assistants", {"model": "fc:sandbox/hang"}))["id"]
        echo = (await client.post("/v1/assistants", {"model": "fc:sandbox/echo"}))["id"]
        thread = (await client.post("/v1/threads"))["id"]
        path = f"/v1/threads/{thread}/runs"
        first = await client.post(path, bringing(hang, "0"))
        runs = [await client.post(path, bringing(echo, str(number))) for number in (1, 2)]
        assert await server.stop() == 0

    async with home.serving() as server, Client.of(server.url) as client:
        ended = [await client.settled(run) for run in (first, *runs)]
        assert await server.stop() == 0

    assert [run["status"] for run in ended] == ["failed", "completed", "completed"]


@pytest.mark.timeout(300)
async def test_kill_9_at_any_moment_strands_nobody(home: Home) -> None:
    """Twelve kills among runs that queue: every accepted one ends, those that had their turn had
    it in order, and every thread takes another run in the end.
    """
    seed = os.environ.get(SEED) or os.urandom(4).hex()
    print(f"{SEED}={seed}")
    source = random.Random(seed)
    home.configure(runs={"when_busy": "queue"})
    async with home.serving() as server, Client.of(server.url) as client:
        echo = (await client.post("/v1/assistants", {"model": "fc:sandbox/slow-5"}))["id"]
        threads = [(await client.post("/v1/threads"))["id"] for _ in range(THREADS)]
        assert await server.stop() == 0
    accepted: list[Json] = []

    for life in range(KILLS):
        async with home.serving() as server, Client.of(server.url) as client:
            asking = [
                asyncio.create_task(_ask(client, source.choice(threads), echo, f"{life}-{number}"))
                for number in range(RUNS_PER_LIFE)
            ]
            done, _ = await asyncio.wait(asking, timeout=source.uniform(0, 0.3))
            await kill(server.process)
            await asyncio.wait(asking)
            accepted += [run for task in asking if (run := task.result()) is not None]
            assert len(done) <= RUNS_PER_LIFE

    async with home.serving() as server, Client.of(server.url) as client:
        ended = [await client.settled(run) for run in accepted]
        every = {thread: await client.every(f"/v1/threads/{thread}/runs") for thread in threads}
        for thread in threads:
            for run in every[thread]:
                await client.settled(run)
            after = await client.settled(await _ask(client, thread, echo, "?") or {})
            assert after["status"] == "completed"
        assert await server.stop() == 0

    assert {run["status"] for run in ended} <= {"completed", "failed"}
    assert all(run["last_error"] in (None, RESTARTED) for run in ended)
    for thread in threads:
        stored = [run for run in rows(home.path, "runs") if run["thread_id"] == thread]
        begun = [run["started_ms"] for run in stored if run["started_ms"] is not None]
        assert begun == sorted(begun)
        assert all(run["waiting"] is None for run in stored)
        assert {run["id"] for run in accepted if run["thread_id"] == thread} <= {
            run["id"] for run in stored
        }
    assert "Traceback" not in home.logged()


async def _ask(client: Client, thread: str, assistant: str, text: str) -> Json | None:
    """A run, if its answer came before the end."""
    try:
        return await client.post(f"/v1/threads/{thread}/runs", bringing(assistant, text))
    except LostError:
        return None
