"""The official Node SDKs, one version after the other, against a real server."""

from typing import Final

import pytest

from tests.e2e import sdks
from tests.e2e.ringside import Ringside
from tests.e2e.sdk_suite import run_suite

NODE_TEST: Final = ["node", "--test", "--test-reporter=spec", "--test-timeout=60000"]

needs_node = pytest.mark.skipif(
    not sdks.has_node(), reason="node or npm is not on this machine: `make node` installs them"
)


@needs_node
@pytest.mark.parametrize("version", sdks.NODE_VERSIONS)
async def test_node_sdk_works_unchanged(version: str, ringside: Ringside) -> None:
    """Every method of the SDK's Assistants API does what it did at OpenAI."""
    sdks.node_sdks()
    major = version.partition(".")[0]
    await run_suite(
        [*NODE_TEST, *sorted(sdks.NODE_SUITE.glob("*.suite.mjs"))],
        sdks.NODE_SUITE,
        ringside,
        OPENAI_PACKAGE=f"openai-{major}",
    )


def test_node_lock_names_no_registry() -> None:
    """`npm ci` asks whatever registry the machine is set to."""
    lock = (sdks.NODE_SUITE / "package-lock.json").read_text()

    assert '"resolved"' not in lock
