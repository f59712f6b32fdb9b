"""`overhead_seconds`: of a request's time, what was not waiting for a provider."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.rig import ECHO, UPSTREAM_MODEL, Ringside, serving
from tests.fakes import FakeClock, Reply, Scripted, text_reply

CHAT = "/v1/chat/completions"
RUNS = "/v1/threads/{thread_id}/runs"


def slow(clock: FakeClock, seconds: float) -> Reply:
    """An answer that takes its time."""

    def reply(request: dict[str, Any]) -> Scripted:
        clock.advance(seconds)
        made = text_reply("Hello there")
        assert not isinstance(made, Scripted)
        return made(request)

    return reply


async def seconds(ringside: Ringside, route: str) -> tuple[float, float]:
    """How long requests of a route took, and how much of that was overhead."""
    page = (await ringside.admin("/metrics")).body.decode()
    names = ("request_duration", "overhead")
    found = [
        re.search(rf'^ringside_{name}_seconds_sum{{route="{re.escape(route)}"}} (\S+)$', page, re.M)
        for name in names
    ]
    whole, ours = (float(match[1]) if match else 0.0 for match in found)
    return whole, ours


@pytest.fixture
def clock() -> FakeClock:
    """Moved by the answers alone."""
    return FakeClock()


@pytest.fixture
async def ringside(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Ringside]:
    """A proxy on that clock."""
    async with serving(tmp_path, clock) as started:
        yield started


@pytest.mark.parametrize("stream", [False, True])
async def test_waiting_for_the_provider_is_no_overhead(
    ringside: Ringside, clock: FakeClock, stream: bool
) -> None:
    """Of a whole answer and of a stream; two that follow each other add up."""
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}]}
    ringside.upstream.enqueue(slow(clock, 3), slow(clock, 4))

    for _ in range(2):
        assert (await ringside.developer.post(CHAT, body | {"stream": stream})).status == 200

    assert await seconds(ringside, CHAT) == (7, 0)


async def test_waiting_within_a_streamed_run_is_no_overhead(
    ringside: Ringside, clock: FakeClock
) -> None:
    """Although it is the run's own task that waits."""
    assistant = await ringside.developer.assistant(model=UPSTREAM_MODEL)
    ringside.upstream.enqueue(slow(clock, 3))

    run = await ringside.developer.run(await ringside.developer.thread("hi"), assistant)

    assert run["status"] == "completed"
    assert await seconds(ringside, RUNS) == (3, 0)


async def test_what_nobody_waits_for_is_taken_from_no_request(
    ringside: Ringside, clock: FakeClock
) -> None:
    """A run that is not streamed goes on after its answer: its waiting is no request's."""
    assistant = await ringside.developer.assistant(model=UPSTREAM_MODEL)
    thread = await ringside.developer.thread("hi")
    ringside.upstream.enqueue(slow(clock, 100))

    run = await ringside.developer.begin(thread, assistant)
    while run["status"] != "completed":
        run = (await ringside.developer.get(f"/v1/threads/{thread}/runs/{run['id']}")).json

    assert (await seconds(ringside, RUNS))[0] == (await seconds(ringside, RUNS))[1]


async def test_everything_else_is_overhead(ringside: Ringside, clock: FakeClock) -> None:
    """A body that comes slowly counts as ours, for a request that calls a provider too."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"model": "%b", "messages": [{"role": ' % ECHO.encode()
        await ringside.developer.get("/v1/threads")  # by then the head is there
        clock.advance(2)
        yield b'"user", "content": "hi"}]}'

    assert (await ringside.developer.post(CHAT, data=body())).status == 200

    assert await seconds(ringside, CHAT) == (2, 2)
