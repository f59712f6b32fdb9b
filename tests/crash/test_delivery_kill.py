"""kill -9 in the middle of delivery: what was announced reaches its receivers, and what they
acknowledged is not forgotten.
"""

import asyncio
import os
import random
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from aiohttp import web

from tests.crash.client import Client, LostError
from tests.crash.process import Home, kill
from tests.delivery.receiver import Received, Receiver
from tests.faults.sizes import TIMEOUT_S, size

KILLS: Final = size("kills in the middle of delivery")
ACTORS: Final = 4
SECRET: Final = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIDMyIGI="
SEED: Final = "RINGSIDE_CRASH_SEED"
ALIVE_S: Final = (0.05, 0.8)
"""How long a proxy works before it is killed."""
ANSWER_S_MAX: Final = 0.05


class World:
    """What was acknowledged, over all crashes."""

    def __init__(self, source: random.Random) -> None:
        self.random = source
        self.customers: set[str] = set()
        self.calls = 0
        self._last = 0

    def name(self) -> str:
        """A customer that never was."""
        self._last += 1
        return f"customer_{self._last}"


async def act(client: Client, world: World) -> None:
    """Make customers and call models until the server is gone."""
    try:
        while True:
            name = world.name()
            await client.post("/v1/customers", {"id": name})
            world.customers.add(name)
            body = {
                "model": "fc:sandbox/echo",
                "user": name,
                "messages": [{"role": "user", "content": "x"}],
            }
            await client.post("/v1/chat/completions", body)
            world.calls += 1
    except LostError:
        return


@asynccontextmanager
async def receivers(source: random.Random) -> AsyncIterator[tuple[Receiver, Receiver]]:
    """A webhook's receiver and an upstream; both are slow now and then, or out of order."""
    refused: set[str | None] = set()

    async def late(request: web.Request, handler: Any) -> web.StreamResponse:
        answer: web.StreamResponse = await handler(request)
        await asyncio.sleep(source.uniform(0, ANSWER_S_MAX))
        name = request.headers.get("webhook-id")
        if name not in refused and source.random() < 0.1:
            refused.add(name)  # but once: the waits double, and the test waits for all of them
            return web.Response(status=503)
        return answer

    async with (
        Receiver(web.middleware(late)) as hook,
        Receiver(web.middleware(late)) as upstream,
    ):
        yield hook, upstream


def configure(home: Home, hook: Receiver, upstream: Receiver) -> None:
    """A proxy that tells both."""
    home.configure(
        webhooks={
            "allow_private": ["127.0.0.1"],
            "endpoints": [{"url": hook.url, "secret": SECRET, "events": ["customer.created"]}],
        },
        upstream={"url": upstream.url, "secret": SECRET, "flush_interval": "100ms"},
    )


@pytest.mark.timeout(TIMEOUT_S)
async def test_nothing_announced_is_lost_by_kill_9(tmp_path: Path) -> None:
    """Each event comes at least once, under one id, in the same bytes, signed; and
    each usage record in the order of its sequence.
    """
    seed = os.environ.get(SEED) or os.urandom(4).hex()
    print(f"{SEED}={seed}")
    home, world = Home(tmp_path), World(random.Random(seed))
    async with receivers(random.Random(seed)) as (hook, upstream):
        configure(home, hook, upstream)
        for _ in range(KILLS):
            async with (
                home.serving() as server,
                Client.of(server.url) as client,
                asyncio.TaskGroup() as tasks,
            ):
                for _ in range(ACTORS):
                    tasks.create_task(act(client, world))
                await asyncio.sleep(world.random.uniform(*ALIVE_S))
                await kill(server.process)
        async with home.serving() as server, Client.of(server.url) as client:
            booked = await last_sequence(client)
            events = await hook.until(lambda found: world.customers <= named(found))
            batches = await upstream.until(lambda found: reported(found) >= booked)
            await nothing_waits(client)
            assert await server.stop() == 0

    assert world.customers
    assert booked >= world.calls > 0
    audit_events(events)
    audit_batches(batches, booked)
    print(f"{len(world.customers)} events in {len(events)} requests, {booked} records")
    assert "Traceback" not in home.logged()


async def last_sequence(client: Client) -> int:
    """The sequence of the newest usage record."""
    page = await client.get("/v1/usage/records?order=desc&limit=1")
    return int(page["data"][0]["sequence"])


async def nothing_waits(client: Client) -> None:
    """Until every delivery is over."""
    [webhook] = (await client.get("/v1/webhooks"))["data"]
    path = f"/v1/webhooks/{webhook['id']}/deliveries?limit=1&state="
    async with asyncio.timeout(240):
        while True:
            states = [await client.get(path + state) for state in ("pending", "in_flight")]
            if not any(page["data"] for page in states):
                return
            await asyncio.sleep(0.1)


def named(events: list[Received]) -> set[str]:
    """The customers whose making was told."""
    return {event.json["data"]["customer"] for event in events}


def reported(batches: list[Received]) -> int:
    """The newest sequence that was told."""
    return max((batch.json["sequence_to"] for batch in batches), default=0)


def audit_events(events: list[Received]) -> None:
    """Each customer has one id and one body, however often it came, and a good signature."""
    told: dict[str, set[tuple[str, bytes]]] = defaultdict(set)
    for event in events:
        told[event.json["data"]["customer"]].add((event.id, event.body))
        assert re.fullmatch(r"evt_[0-9a-f]{24}", event.id)
        verify(event)
    assert {len(versions) for versions in told.values()} == {1}
    ids = [next(iter(versions))[0] for versions in told.values()]
    assert len(set(ids)) == len(ids)


def audit_batches(batches: list[Received], booked: int) -> None:
    """One batch after the other, without a gap; one that comes again is the same."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    expected = 1
    seen: set[str] = set()
    for batch in batches:
        verify(batch)
        bodies[batch.id].add(batch.body)
        if batch.id in seen:
            continue
        seen.add(batch.id)
        assert batch.json["sequence_from"] == expected
        expected = batch.json["sequence_to"] + 1
    assert expected > booked
    assert {len(versions) for versions in bodies.values()} == {1}


def verify(received: Received) -> None:
    """What a receiver does who has OpenAI's SDK; the tests may come late."""
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9") as client:
        client.webhooks.verify_signature(
            received.body, received.headers, secret=SECRET, tolerance=3600
        )
