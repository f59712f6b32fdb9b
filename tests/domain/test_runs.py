from itertools import product
from typing import Final

import pytest

from ringside_proxy.domain.errors import RunStateError
from ringside_proxy.domain.runs import (
    ACTIVE,
    RUN_TRANSITIONS,
    TERMINAL,
    RunEvent,
    RunStatus,
    next_status,
)

LIFE: Final = {
    ("queued", "start"): "in_progress",
    ("queued", "cancel"): "cancelling",
    ("queued", "fail"): "failed",
    ("queued", "expire"): "expired",
    ("in_progress", "require_action"): "requires_action",
    ("in_progress", "complete"): "completed",
    ("in_progress", "fail"): "failed",
    ("in_progress", "run_out"): "incomplete",
    ("in_progress", "cancel"): "cancelling",
    ("in_progress", "expire"): "expired",
    ("requires_action", "submit_outputs"): "queued",
    ("requires_action", "cancel"): "cancelling",
    ("requires_action", "expire"): "expired",
    ("cancelling", "stop"): "cancelled",
    ("cancelling", "expire"): "expired",
}
"""The life of a run as OpenAI documents it, written down a second time, on purpose."""

WORDS: Final = {
    "submit_outputs": 'Runs in status "{status}" do not accept tool outputs.',
    "cancel": "Cannot cancel run with status '{status}'.",
}
"""What the real service says; programs match these texts."""

CELLS: Final = list(product(RunStatus, RunEvent))


@pytest.mark.parametrize(("status", "event"), [cell for cell in CELLS if cell in LIFE])
def test_run_moves_as_documented(status, event):
    """An event that the documentation knows in a status leads where it says."""
    assert next_status(status, event) == LIFE[status, event]


@pytest.mark.parametrize(("status", "event"), [cell for cell in CELLS if cell not in LIFE])
def test_run_refuses_everything_else(status, event):
    """Any other event is refused, in OpenAI's words where it has some, without param or code."""
    words = WORDS.get(event, "A run in status '{status}' cannot " + event + ".")

    with pytest.raises(RunStateError) as refusal:
        next_status(status, event)

    assert refusal.value.message == words.format(status=status.value)
    assert (refusal.value.param, refusal.value.code) == (None, None)


def test_run_table_names_every_status():
    """No status is missing from the table, and each is reached from `queued`."""
    reached, found = {RunStatus.QUEUED}, [RunStatus.QUEUED]
    while found:
        targets = set(RUN_TRANSITIONS[found.pop()].values()) - reached
        reached |= targets
        found += targets

    assert set(RUN_TRANSITIONS) == reached == set(RunStatus)


def test_run_is_active_or_over():
    """The lock is held in exactly four statuses; in all of them a run can expire."""
    assert {*ACTIVE} == {"queued", "in_progress", "requires_action", "cancelling"}
    assert {*TERMINAL} == set(RunStatus) - ACTIVE
    assert all(RunEvent.EXPIRE in RUN_TRANSITIONS[status] for status in ACTIVE)
