"""What the crash tests share."""

from pathlib import Path

import pytest

from tests.crash.process import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The files of a proxy that was never started."""
    return Home(tmp_path)
