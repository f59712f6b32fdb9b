"""Ten receivers on real sockets, one of which hangs: the other nine never notice.

`make faults FULL=1` sends as many events as the bar asks for. It prints how long each took from the commit that made it to its receiver.
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy.delivery.post import Poster
from ringside_proxy.delivery.secrets import Secrets
from ringside_proxy.delivery.worker import Worker
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.deliveries import ATTEMPTS_AT_ONCE_MAX, PER_RECEIVER_MAX
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.store import deliveries, events, webhooks
from ringside_proxy.store.db import Database
from ringside_proxy.store.vault import Vault
from ringside_proxy.system import SystemClock, system_ids, system_uniform
from ringside_proxy.telemetry.metrics import Metrics
from tests.delivery.rig import KEY, secret
from tests.faults.sizes import size

EVENTS: Final = size("events beside one that hangs")
RECEIVERS: Final = 10
HANGS: Final = 0
WAITING_MAX: Final = 10
"""How many events may be on their way to healthy receivers before the next one happens."""
LOCAL: Final = AddressRules.of("webhooks.allow_private", ["127.0.0.1"])
HEALTHY_P99_S_MAX: Final = 2.0
WAIT_S_MAX: Final = 60 + EVENTS / 10


class Sink:
    """A receiver that is as small as one can be; it notes when which event came."""

    def __init__(self) -> None:
        self.arrived_s: dict[str, float] = {}
        self.requests = 0
        self.at_once = self.at_once_max = 0
        self.open = asyncio.Event()
        self.open.set()
        self.changed = asyncio.Event()

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request: it is noted when it is there, and answered when the sink is open."""
        with closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            by_name = {name.lower(): value for name, value in fields.items()}
            await reader.readexactly(int(by_name[b"content-length"]))
            self.arrived_s.setdefault(by_name[b"webhook-id"].decode(), time.monotonic())
            self.requests += 1
            self.at_once += 1
            self.at_once_max = max(self.at_once_max, self.at_once)
            self.changed.set()
            try:
                await self._may_answer(reader)
            finally:
                self.at_once -= 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()

    async def _may_answer(self, reader: asyncio.StreamReader) -> None:
        """Until the sink is open, or the caller has hung up."""
        if not self.open.is_set():
            waits = {asyncio.ensure_future(self.open.wait()), asyncio.ensure_future(reader.read())}
            _, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in left:
                wait.cancel()

    async def has(self, count: int) -> None:
        """Until so many different events have come."""
        while len(self.arrived_s) < count:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def sinks() -> AsyncIterator[list[tuple[Sink, str]]]:
    """The receivers and their URLs; the first one hangs."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(RECEIVERS):
            sink = Sink()
            server = await asyncio.start_server(sink.speak, "127.0.0.1", 0, backlog=512)
            stack.callback(server.close)
            made.append((sink, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        made[HANGS][0].open.clear()
        yield made
        made[HANGS][0].open.set()


@asynccontextmanager
async def working(home: Path, urls: list[str]) -> AsyncIterator[Database]:
    """A store with these receivers, and a worker at work on it."""
    clock, new_id = SystemClock(), system_ids()
    db = await Database.open(home / "ringside.db", clock, "normal")
    client = GuardedClient()
    poster = Poster(client, clock)
    secrets = Secrets(Vault([KEY]))
    for number, url in enumerate(urls):
        name = f"wh_{number:024x}"
        sealed = secrets.seal(name, secret(name))
        await db.write(webhooks.insert, name, url, ["*"], sealed, "whsec_…")
    worker = Worker(
        db,
        lambda url, headers, body: poster.post(LOCAL, url, headers, body),
        secrets.of,
        clock,
        system_uniform(),
        new_id,
        Metrics("test"),
    )
    running = asyncio.create_task(worker.run())
    try:
        yield db
    finally:
        running.cancel()
        await asyncio.wait({running})
        await worker.stop(0)
        await client.close()
        await db.close()


async def happen(db: Database, healthy: list[Sink]) -> dict[str, float]:
    """Events, as fast as the healthy receivers get them; when each was stored, by its id."""
    stored_s: dict[str, float] = {}
    for number in range(EVENTS):
        while number - min(len(sink.arrived_s) for sink in healthy) >= WAITING_MAX:
            slowest = min(healthy, key=lambda sink: len(sink.arrived_s))
            await slowest.has(len(slowest.arrived_s) + 1)
        await db.write(events.emit, "wallet.low", {"number": number})
        stored_s[str(number)] = time.monotonic()
    rows = await db.read(events.after, 0, EVENTS)
    return {row.id: stored_s[str(number)] for number, row in enumerate(rows)}


@pytest.mark.timeout(60 + 4 * WAIT_S_MAX)
async def test_one_that_hangs_is_noticed_by_nobody(tmp_path):
    """The nine get everything while it hangs; when it lets go, it gets everything too."""
    async with sinks() as receivers, asyncio.timeout(3 * WAIT_S_MAX):
        [hanging, *healthy] = [sink for sink, _ in receivers]
        async with working(tmp_path, [url for _, url in receivers]) as db:
            begun_s, begun_cpu_s = time.monotonic(), time.process_time()
            stored_s = await happen(db, healthy)
            for sink in healthy:
                await sink.has(EVENTS)
            took_s, cpu_s = time.monotonic() - begun_s, time.process_time() - begun_cpu_s
            while_hanging = len(hanging.arrived_s)
            hanging.open.set()
            await hanging.has(EVENTS)
            states = await settled(db)

    delays_s = [sink.arrived_s[name] - at for sink in healthy for name, at in stored_s.items()]
    p50, p99 = (statistics.quantiles(delays_s, n=100)[rank - 1] for rank in (50, 99))
    print(
        f"{EVENTS} events to nine healthy receivers in {took_s:.1f} s "
        f"({9 * EVENTS / took_s:.0f} deliveries/s, {cpu_s / EVENTS / 9 * 1e6:.0f} us of CPU each, "
        f"receivers included): p50 {p50:.3f} s, p99 {p99:.3f} s, "
        f"max {max(delays_s):.3f} s; the hanging one had begun {while_hanging}"
    )
    assert all(set(sink.arrived_s) == set(stored_s) for sink in (hanging, *healthy))
    assert p99 < HEALTHY_P99_S_MAX
    assert set(states) == {"delivered"}
    assert sum(states.values()) == RECEIVERS * EVENTS
    assert hanging.at_once_max <= PER_RECEIVER_MAX
    assert while_hanging < EVENTS / 2  # it did hang, all the time
    assert all(sink.requests == EVENTS for sink in healthy)
    assert all(sink.at_once_max <= PER_RECEIVER_MAX for sink in healthy)


async def settled(db: Database) -> Counter[str]:
    """The states of all deliveries, once none is waiting."""
    while True:
        found = await db.read(
            lambda tx: tx.all("SELECT state, count(*) FROM deliveries GROUP BY 1")
        )
        states = Counter(dict(found))
        if not states["pending"] + states["in_flight"]:
            return +states
        waiting = await db.read(deliveries.waiting)
        assert waiting.count <= ATTEMPTS_AT_ONCE_MAX + EVENTS * RECEIVERS
        await asyncio.sleep(0.05)
