"""Every named place, made to fail: by the death of the process, and by an error.

A small load touches all of them; at one of them it fails. Then the proxy is started again, every
call with a key comes once more, and the store is held to what has to be true of it: no call was
sent twice, none is booked twice or not at all, no money is kept back for nobody, no run is stuck,
and everything that happened was told to those who listen.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from ringside_proxy import failpoints
from ringside_proxy.app import Proxy, running
from ringside_proxy.failpoints import NAMES, FailpointError, armed
from ringside_proxy.settings.load import load
from tests.crash.audit import audit_rows
from tests.crash.client import until
from tests.crash.mixed import (
    Mixed,
    Provider,
    audit_calls,
    audit_told,
    config,
    is_told,
    prepared,
)
from tests.crash.process import Home, Server, kill
from tests.delivery.receiver import Receiver
from tests.fakes import FakeUpstream

LATER: Final = {
    "write": 20,
    "commit": 20,
    "delivery.claim": 4,
    "event": 4,
    "chunk": 3,
    "closing": 2,
    "answer.write": 3,
}
"""Places that are reached all the time: they fail in the midst of it."""
STARTING: Final = ("recover.calls", "recover.runs")
"""Places that the start itself goes through."""
IDLE_S_MAX: Final = 20.0
SIGKILLED: Final = -9


def order(name: str, action: str) -> str:
    """What the variable says."""
    nth = LATER.get(name.rpartition(".")[0], 1)
    return f"{name}:{nth}:{action}"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(is_strict=False) as started:
        yield started


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, upstream: FakeUpstream, receiver: Receiver) -> Home:
    made = Home(tmp_path)
    made.configure(**config(upstream.base_url, f"http://127.0.0.1:{receiver.port}"))
    return made


@pytest.mark.parametrize("name", NAMES)
async def test_a_death_anywhere_loses_and_doubles_nothing(
    home: Home, upstream: FakeUpstream, receiver: Receiver, name: str
) -> None:
    """kill -9 at the place; the next process finds a store from which everything goes on."""
    provider = Provider(upstream)
    mixed = Mixed(await _prepared(home), "first")
    process = await home.launch(
        "serve", "-c", str(home.config), **{failpoints.VARIABLE: order(name, "abort")}
    )
    try:
        if not name.startswith(STARTING):
            server = await Server.ready(process, home)
            await mixed.run(server.url)
        async with asyncio.timeout(IDLE_S_MAX):
            assert await process.wait() == SIGKILLED
    finally:
        await kill(process)

    await _restarted(home, mixed)

    audit_rows(home.store)
    audit_calls(home.store, mixed, provider)
    audit_told(home.store, receiver.requests)


@pytest.mark.parametrize("name", NAMES)
async def test_an_error_anywhere_loses_and_doubles_nothing(
    home: Home, upstream: FakeUpstream, receiver: Receiver, name: str
) -> None:
    """What nobody foresaw, at the place: the proxy goes on, and stops and starts as ever."""
    provider = Provider(upstream)
    mixed = Mixed(await _prepared(home), "first")
    with armed(order(name, "raise")):
        if name.startswith(STARTING):
            with pytest.raises(FailpointError):
                await _load(home, mixed)
        else:
            await _load(home, mixed)

    await _restarted(home, mixed)

    audit_rows(home.store)
    audit_calls(home.store, mixed, provider)
    audit_told(home.store, receiver.requests)


async def _prepared(home: Home) -> str:
    async with running(load(home.config, {})) as proxy:
        return await prepared(proxy.url)


async def _load(home: Home, mixed: Mixed) -> None:
    async with running(load(home.config, {})) as proxy:
        await mixed.run(proxy.url)
        await _idle(proxy)


async def _restarted(home: Home, mixed: Mixed) -> None:
    """The proxy starts again, and every call with a key comes once more; and so do new ones."""
    after = Mixed(mixed.assistant, "second")
    async with running(load(home.config, {})) as proxy:
        await mixed.again(proxy.url)
        await after.run(proxy.url)
        await _idle(proxy)
        await until(lambda: is_told(home.store), bool)
    refused = [call for call in after.calls if call.status not in (200, 402)]
    assert not refused, [(call.name, call.body) for call in refused]
    mixed.calls += after.calls


async def _idle(proxy: Proxy) -> None:
    """Until nothing is worked on: by the proxy itself, too."""
    async with asyncio.timeout(IDLE_S_MAX):
        await proxy.services.idempotency.idle.wait()
        await proxy.services.live_runs.idle.wait()
        await proxy.services.books.shield.wait()
