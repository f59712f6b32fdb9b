"""What the tests of the HTTP surface share: a fresh proxy for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.rig import CLIENT_A, CLIENT_B, Caller, Ringside, serving
from tests.fakes import FakeUpstream


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy with the sandbox and a scripted provider."""
    async with serving(tmp_path) as proxy:
        yield proxy


@pytest.fixture
def api(ringside: Ringside) -> Caller:
    """The developer who calls it."""
    return ringside.developer


@pytest.fixture
def client_a(api: Caller) -> Caller:
    """A client of customer_a."""
    return api.using(CLIENT_A)


@pytest.fixture
def client_b(api: Caller) -> Caller:
    """A client of customer_b."""
    return api.using(CLIENT_B)


@pytest.fixture
def upstream(ringside: Ringside) -> FakeUpstream:
    """The scripted provider."""
    return ringside.upstream
