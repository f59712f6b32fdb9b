"""What all tests share."""

import os

import pytest
from hypothesis import settings

from tests.faults.table import is_of_the_suite

# In CI the examples are the same at every run: a change must not fail for what another one did.
# Everywhere else the search goes on at random, and what it finds becomes a case of its own.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of the table of faults."""
    for item in items:
        if is_of_the_suite(item.nodeid):
            item.add_marker("faults")
