"""What the store's tests share: a store in memory, and one on a real file."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ringside_proxy.store.db import Database
from tests.fakes import FakeClock
from tests.store.memory import Store


@pytest.fixture
def store() -> Iterator[Store]:
    """A store in memory."""
    store = Store()
    yield store
    store.connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store on a file lives; its directory is not there yet."""
    return tmp_path / "data" / "ringside.db"


@pytest.fixture
def clock() -> FakeClock:
    """The store's clock."""
    return FakeClock()


@pytest.fixture
def commits() -> list[int]:
    """How many writes each commit of `db` took along."""
    return []


@pytest.fixture
async def db(path: Path, clock: FakeClock, commits: list[int]) -> AsyncIterator[Database]:
    """A store on a real file."""
    db = await Database.open(path, clock, observe=lambda items, seconds: commits.append(items))
    yield db
    await db.close()
