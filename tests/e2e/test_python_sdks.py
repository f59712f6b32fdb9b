"""The official Python SDKs, one version after the other, against a real server."""

import pytest

from tests.e2e import sdks
from tests.e2e.ringside import Ringside
from tests.e2e.sdk_suite import run_suite


@pytest.mark.parametrize("version", sdks.PYTHON_VERSIONS)
async def test_python_sdk_works_unchanged(version: str, ringside: Ringside) -> None:
    """Every method of the SDK's Assistants API does what it did at OpenAI."""
    interpreter = sdks.python_sdk(version)
    await run_suite([interpreter, "-m", "pytest", "-v"], sdks.PYTHON_SUITE, ringside)
