"""What all tests share."""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.faults.table import is_of_the_suite

# In CI the examples are the same at every run: a change must not fail for what another one did.
# Everywhere else the search goes on at random, and what it finds becomes a case of its own. How long
# an example takes is nowhere judged: other work may hold the machine.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("elsewhere", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "elsewhere")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the table of faults."""
    for item in items:
        if is_of_the_suite(item.nodeid):
            item.add_marker("faults")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Gives back what a proxy in this process set: one with `log.level: error` in its file would
    hide the warnings that later tests look for.
    """
    loggers = [logging.getLogger(name) for name in (None, "ringside_proxy", "aiohttp.server")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(autouse=True)
def leaves_sound_books(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test of the table, what it left is held to the invariants."""
    if request.node.get_closest_marker("faults") is None or "tmp_path" not in request.fixturenames:
        yield
        return
    from tests.faults.invariants import broken

    home = request.getfixturevalue("tmp_path")
    yield
    assert list(broken(home)) == []
