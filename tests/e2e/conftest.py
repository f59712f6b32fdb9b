"""What the end-to-end tests share: a server for the session, and one with all the providers."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.nineteen import Nineteen, Proxy, nineteen
from tests.e2e.ringside import TOKEN, Ringside, serving


@pytest.fixture(scope="session")
def ringside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ringside]:
    """A real server with a real store, stopped by SIGTERM at the end."""
    with serving(tmp_path_factory.mktemp("ringside")) as server:
        yield server


@pytest.fixture(scope="session")
def all_nineteen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nineteen]:
    """A real server with all nineteen providers, and the vendors that it calls."""
    with nineteen(tmp_path_factory.mktemp("nineteen")) as started:
        yield started


@pytest.fixture
async def proxy(all_nineteen: Nineteen) -> AsyncIterator[Proxy]:
    """Calls through it; the vendors remember nothing of the test before.

    None of them may have refused a call, unless the test says that it will.
    """
    all_nineteen.far.forget()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        calls = Proxy(all_nineteen.ringside.url, session, all_nineteen.far)
        yield calls
    assert calls.may_be_refused or not all_nineteen.far.refused
