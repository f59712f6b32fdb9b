from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes import FakeUpstream
from tests.services.rig import Rig, rigged


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def rig(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Rig]:
    async with rigged(tmp_path, upstream) as rig:
        yield rig
