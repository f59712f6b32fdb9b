"""How much the store and the deliveries take."""

import asyncio
import json
import re
import subprocess
import time
from contextlib import closing
from typing import Final, cast

from tests.bench import load
from tests.bench.field import SECRET, SHORT, WEBHOOK, Field, make_assistant, ringside, run
from tests.bench.processes import CONTENDER_CPU, ROOT, free_port, module
from tests.bench.scale import Figure
from tests.bench.works import Shares, cpu_us

LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
NO_CONTENT: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
WRITES_PER_REQUEST: Final = 40
"""Of the scale: a round of the store is short otherwise."""
ROUNDS: Final = 7
WAIT_S_MAX: Final = 60.0


async def store(on: Field) -> dict[str, Figure]:
    """Durable transactions a second and their CPU µs, of our store and of bare sqlite3."""
    folder = on.home / "stores"
    folder.mkdir()
    command = module("tests.bench.store", str(folder), str(on.scale.requests * WRITES_PER_REQUEST))
    pinned = ["taskset", "-c", str(CONTENDER_CPU), *command]
    done = await asyncio.to_thread(
        subprocess.run, pinned, cwd=ROOT, check=True, capture_output=True
    )
    figures = {}
    for name, rounds in json.loads(done.stdout).items():
        figures[f"{name} rate"] = Figure([rate for rate, _ in rounds])
        figures[f"{name} µs"] = Figure([cost_us for _, cost_us in rounds])
    return figures


async def large_store(on: Field) -> Figure:
    """Seconds that a large store takes to open."""
    path = on.home / "large.db"
    command = module("tests.bench.large", str(path), str(on.scale.large_store_bytes))
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, check=True, capture_output=True
    )
    path.unlink()
    return Figure(json.loads(done.stdout))


class Tally:
    """When each delivery came, and that all have come."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self.came_s: list[float] = []
        self.is_whole = asyncio.Event()

    def add(self) -> None:
        """One more."""
        self.came_s.append(time.perf_counter())
        if len(self.came_s) >= self._expected:
            self.is_whole.set()

    def clear(self) -> None:
        """From the beginning."""
        self.came_s.clear()
        self.is_whole.clear()


class Receiver(asyncio.Protocol):
    """Takes events and thanks for them."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody delivers."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so

    def data_received(self, data: bytes) -> None:
        """A piece of a delivery."""
        self._data += data
        head_end = self._data.find(b"\r\n\r\n")
        length = LENGTH.search(self._data, 0, max(head_end, 0))
        if head_end < 0 or length is None or len(self._data) < head_end + 4 + int(length[1]):
            return
        self._data = b""
        self._tally.add()
        assert self._transport is not None
        self._transport.write(NO_CONTENT)


async def webhooks(on: Field) -> dict[str, Figure]:
    """Deliveries a second while runs end, and the CPU µs that each adds to its run."""
    port, tally = free_port(), Tally(on.scale.requests)
    server = await asyncio.get_running_loop().create_server(
        lambda: Receiver(tally), "127.0.0.1", port, backlog=1024
    )
    more = WEBHOOK.format(port=port, secret=SECRET)
    figures = {"with": Figure(), "without": Figure(), "rate": Figure()}
    with ringside(on.home / "webhooks", on.upstream.port, more) as telling:
        contenders = {"without": on.ringside, "with": telling}
        assistants = {"without": on.assistants[SHORT], "with": make_assistant(telling, SHORT)}
        for _ in range(min(on.scale.rounds, ROUNDS) + 1):
            for name, contender in contenders.items():
                request = run(f"fc:openai/{SHORT}", assistants[name])

                async def work(name: str = name, request: bytes = request) -> int:
                    tally.clear()
                    count, port = on.scale.requests, contenders[name].port
                    with closing(load.Callers(port, on.scale.callers)) as callers:
                        await callers.ask(request, count)
                    if name == "with":
                        await asyncio.wait_for(tally.is_whole.wait(), WAIT_S_MAX)
                    return count

                figures[name].values.append(await cpu_us(on, contender, work, Shares()))
            took_s = tally.came_s[-1] - tally.came_s[0]
            figures["rate"].values.append(len(tally.came_s) / took_s)
    server.close()
    for figure in figures.values():
        del figure.values[0]  # the first round opens connections and fills caches
    return figures
