"""Runs that take longer than they may, on a real clock."""

import asyncio
from typing import Final

from tests.crash.client import Client, until
from tests.crash.load import TOOL
from tests.crash.process import Home, kill
from tests.crash.story import ask_again, begin, path_of

ENOUGH_S: Final = 10.0


async def test_a_run_that_hangs_expires(home: Home) -> None:
    """After `expires_after` its listener is told, it is `expired`, and its thread is free."""
    async with home.serving() as server, Client.of(server.url) as client:
        assistant = await client.post("/v1/assistants", {"model": "fc:sandbox/hang-midstream"})
        thread = {"messages": [{"role": "user", "content": "Well?"}]}
        body = {"assistant_id": assistant["id"], "thread": thread, "expires_after": 1}
        async with asyncio.timeout(ENOUGH_S):
            events = [event async for event in client.stream("/v1/threads/runs", body)]
        *_, (name, run), _ = events
        stored = await client.get(path_of(run))
        again = await ask_again(client, run, "fc:sandbox/echo")
        assert await server.stop() == 0

    assert (name, run["status"]) == ("thread.run.expired", "expired")
    assert stored == run
    assert again["status"] == "completed"


async def test_a_run_that_waits_too_long_for_outputs_expires(home: Home) -> None:
    """`requires_action` expires too, also if the time passes while no proxy runs."""
    async with home.serving() as server, Client.of(server.url) as client:
        live, dead = [
            await client.settled(
                await begin(client, "sandbox/tools", tools=[TOOL], expires_after=n)
            )
            for n in (1, 2)
        ]
        expired = await until(
            lambda: client.get(path_of(live)), lambda run: run["status"] == "expired"
        )
        [step] = await client.every(f"{path_of(live)}/steps")
        await kill(server.process)

    async with home.serving() as server, Client.of(server.url) as client:
        found = await until(
            lambda: client.get(path_of(dead)), lambda run: run["status"] == "expired"
        )
        again = await ask_again(client, dead, "fc:sandbox/echo")

    assert (live["status"], dead["status"]) == ("requires_action", "requires_action")
    assert (expired["required_action"], found["required_action"]) == (None, None)
    assert step["status"] == "expired"
    assert again["status"] == "completed"
