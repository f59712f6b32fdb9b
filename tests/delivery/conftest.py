"""What the tests of delivery share: a store, and far sides that do as they are told."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ringside_proxy.store.db import Database
from tests.delivery.receiver import Receiver
from tests.fakes import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """The store's clock, and the worker's."""
    return FakeClock()


@pytest.fixture
async def db(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Database]:
    """A store on a real file."""
    db = await Database.open(tmp_path / "ringside.db", clock, "normal")
    yield db
    await db.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a real socket; it accepts everything."""
    async with Receiver() as receiver:
        yield receiver
