"""SIGTERM while two hundred streams are open: each ends as OpenAI's would, and then the process."""

import asyncio
import signal
from collections import Counter
from contextlib import AsyncExitStack
from typing import Final

from tests.crash.client import Client
from tests.crash.process import Home
from tests.crash.story import path_of
from tests.crash.test_shutdown import SHUT_DOWN, Listener, draining, streaming

STREAMS: Final = 200
DRAIN_S: Final = 4
AFTER_DRAIN_S: Final = 25.0
"""Alone on a machine it takes a second; a pod is given 60 s in all, of which the drain takes 20."""
AT_ONCE: Final = 20
ENDINGS: Final = ("thread.run.completed", "thread.run.failed")


async def test_two_hundred_streams_end_legally(home: Home) -> None:
    """Half of them could go on for ever: all are told how they ended, in order, and it is stored."""
    home.configure(server={"port": 0, "drain": f"{DRAIN_S}s"})
    async with home.serving() as server, Client.of(server.url) as client, AsyncExitStack() as stack:
        models = ("hang-midstream", "slow-200")
        listeners: list[Listener] = []
        while len(listeners) < STREAMS:
            opening = (streaming(client, models[number % 2]) for number in range(AT_ONCE))
            listeners += await asyncio.gather(*map(stack.enter_async_context, opening))
        server.signal(signal.SIGTERM)
        await draining(server)
        async with asyncio.timeout(DRAIN_S + AFTER_DRAIN_S):
            await asyncio.gather(*(listener.task for listener in listeners))
            assert await server.exit_code() == 0

    told = [ending_of(listener) for listener in listeners]
    async with home.serving() as server, Client.of(server.url) as client:
        stored = [await client.get(path_of(run)) for run in told]

    assert stored == told
    assert Counter(run["status"] for run in told)["failed"] >= STREAMS // 2
    assert all(run["last_error"] in (None, SHUT_DOWN) for run in told)
    assert "Traceback" not in home.logged()


def ending_of(listener: Listener) -> dict[str, object]:
    """The run as its last event but `done` shows it; the order was checked as they came."""
    [*_, (name, run), (last, _)] = listener.events
    assert name in ENDINGS
    assert last == "done"
    return dict(run)
