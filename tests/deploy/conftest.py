"""What the tests of `deploy/` share."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.deploy import tools

ROOT: Final = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Finds a tool by its name; skips the test where the machine does not have it."""

    def find(name: str) -> Path:
        found = tools.find(name)
        if found is None:
            pytest.skip(f"{name} is not on this machine: `make deploy-tools` installs it")
        return found

    return find
