"""The process itself: what it asks of the system."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.ringside import serving

SHELLS_FILES = 256


@pytest.fixture
def few_files() -> Iterator[int]:
    """A soft limit on open files as small as some shells begin with; gives the hard one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SHELLS_FILES, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_proxy_takes_the_files_that_many_streams_need(tmp_path: Path, few_files: int) -> None:
    """Ten thousand descriptors, or as many as the system allows, whatever the shell began with."""
    with serving(tmp_path) as ringside:
        limits = Path(f"/proc/{ringside.process.pid}/limits")
        if not limits.exists():
            pytest.skip("only Linux tells")
        [line] = [line for line in limits.read_text().splitlines() if "open files" in line]

    assert int(line.split()[3]) == min(10_000, few_files)
