from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.store.db import Database
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
async def asker(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Asker]:
    client = ProviderClient(FakeClock(), lambda low, high: low)
    db = await Database.open(tmp_path / "asker.db", FakeClock())
    yield Asker(upstream, client, db)
    await db.close()
    await client.close()
