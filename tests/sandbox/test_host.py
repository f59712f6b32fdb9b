"""The built-in sandbox is there while it is wanted, and until its last call has ended."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from ringside_proxy.sandbox.host import QUIET_LOOKS, SandboxHost
from ringside_proxy.system import SystemClock, system_ids


class World:
    """A host, whether somebody calls it, and the time that it lets pass."""

    def __init__(self) -> None:
        self.is_busy = False
        self.looks = 0
        self.may_look = asyncio.Semaphore(0)
        self.host = SandboxHost(SystemClock(), system_ids(), lambda: self.is_busy, self._sleep)

    async def _sleep(self, _: float) -> None:
        await self.may_look.acquire()
        self.looks += 1

    async def ended(self) -> None:
        """Wait until it has ended."""
        while True:
            if not self.host.is_running:
                return
            await asyncio.sleep(0)

    async def look(self, times: int) -> None:
        """Let it look so many times, and do what follows from it."""
        for _ in range(times):
            self.may_look.release()
            for _ in range(20):
                await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A host that is closed at the end."""
    world = World()
    yield world
    await world.host.close()


async def answers(url: str) -> bool:
    """Whether something is served there."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{url}/models") as response:
            await response.read()
    except aiohttp.ClientConnectionError:
        return False
    return True


async def test_it_starts_when_it_is_asked_for_and_once(world: World) -> None:
    """Two who ask find the same one."""
    assert not world.host.is_running

    first, second = await asyncio.gather(world.host.url(), world.host.url())

    assert first == second
    assert await answers(first)


async def test_it_ends_when_nobody_has_called_for_a_while(world: World) -> None:
    """Between two calls of one run there is a moment; a busy look begins the count anew."""
    url = await world.host.url()
    world.host.leave()

    await world.look(QUIET_LOOKS - 1)
    world.is_busy = True
    await world.look(1)
    world.is_busy = False
    await world.look(QUIET_LOOKS - 1)
    assert await answers(url)
    await world.look(1)
    async with asyncio.timeout(30):
        await world.ended()

    assert not await answers(url)


async def test_it_stays_if_it_is_wanted_again_in_time(world: World) -> None:
    """A configuration that names it again finds the same one."""
    url = await world.host.url()
    world.host.leave()
    await world.look(QUIET_LOOKS - 1)

    assert await world.host.url() == url
    await world.look(QUIET_LOOKS)

    assert world.host.is_running
    assert await answers(url)


async def test_it_starts_anew_after_its_end(world: World) -> None:
    """Off and on again, as often as the configuration says."""
    await world.host.url()
    await world.host.close()
    assert not world.host.is_running

    assert await answers(await world.host.url())
