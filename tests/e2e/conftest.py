"""What the end-to-end tests share: one server for the session."""

from collections.abc import Iterator

import pytest

from tests.e2e.ringside import Ringside, serving


@pytest.fixture(scope="session")
def ringside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ringside]:
    """A real server with a real store, stopped by SIGTERM at the end."""
    with serving(tmp_path_factory.mktemp("ringside")) as server:
        yield server
