"""kill -9 of a real proxy, at random moments, under mixed load, on one store."""

import asyncio
import os
import random
from pathlib import Path
from typing import Final

import pytest

from tests.crash.audit import audit_everything, audit_rows, audit_touched
from tests.crash.client import Client
from tests.crash.journal import ThreadNotes
from tests.crash.load import TOOL, Actor, World
from tests.crash.process import Home, kill
from tests.faults.sizes import TIMEOUT_S, size

KILLS: Final = size("kills under mixed load")
START_UPS_KILLED: Final = 0.15
"""The share of kills that hit a process that is starting, recovering, or just ready."""
ACTORS: Final = 6
ANSWERS_MAX: Final = 80
AFTER_ANSWER_S_MAX: Final = 0.01
START_S_MAX: Final = 0.4
STUCK_S: Final = 30.0

SEED: Final = "RINGSIDE_CRASH_SEED"


@pytest.mark.timeout(TIMEOUT_S)
async def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path) -> None:
    """What was answered stays as it was answered, and every thread stays usable."""
    seed = os.environ.get(SEED) or os.urandom(4).hex()
    print(f"{SEED}={seed}")
    home, world = Home(tmp_path), await _new_world(Home(tmp_path), random.Random(seed))
    threads: list[list[ThreadNotes]] = [[] for _ in range(ACTORS)]
    kills = 0

    while kills < KILLS:
        if world.random.random() < START_UPS_KILLED:
            await _kill_while_starting(home, world.random.uniform(0, START_S_MAX))
        else:
            async with home.serving() as server, Client.of(server.url) as client:
                await audit_touched(client, world)
                await _load_until_killed(server.process, client, world, threads)
        kills += 1

    async with home.serving() as server, Client.of(server.url) as client:
        await audit_touched(client, world)
        await audit_everything(client, world)
        assert await server.stop() == 0
    audit_rows(home.store)
    assert "Traceback" not in home.logged()


async def _new_world(home: Home, source: random.Random) -> World:
    async with home.serving() as server, Client.of(server.url) as client:
        made = await client.post(
            "/v1/assistants",
            {"model": "fc:sandbox/echo", "instructions": "Be brief.", "tools": [TOOL]},
        )
        assert await server.stop() == 0
    return World(made["id"], source)


async def _load_until_killed(
    process: asyncio.subprocess.Process,
    client: Client,
    world: World,
    threads: list[list[ThreadNotes]],
) -> None:
    actors = [Actor(world, client, own) for own in threads]
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(STUCK_S):
        for actor in actors:
            tasks.create_task(actor.act())
        await world.more(world.random.randint(1, ANSWERS_MAX))
        if world.random.random() < 0.5:  # else in the moment of an answer
            await _pass(process, world.random.uniform(0, AFTER_ANSWER_S_MAX))
        await kill(process)


async def _kill_while_starting(home: Home, after_s: float) -> None:
    process = await home.launch("serve", "-c", str(home.config))
    await _pass(process, after_s)
    await kill(process)


async def _pass(process: asyncio.subprocess.Process, seconds: float) -> None:
    """Let time go by, in which the process must not end by itself."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.wait()
