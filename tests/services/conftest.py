from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringside_proxy.providers.client import ProviderClient
from tests.fakes import FakeClock, FakeUpstream
from tests.services.asker import Asker
from tests.services.rig import Rig, rigged


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def rig(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Rig]:
    async with rigged(tmp_path, upstream) as rig:
        yield rig


@pytest.fixture
async def asker(upstream: FakeUpstream) -> AsyncIterator[Asker]:
    client = ProviderClient(FakeClock(), lambda low, high: low)
    yield Asker(upstream, client)
    await client.close()
