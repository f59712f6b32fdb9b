"""What the tests of the commands share: a running proxy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.rig import Ringside, serving


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy on a store of its own."""
    async with serving(tmp_path) as proxy:
        yield proxy
