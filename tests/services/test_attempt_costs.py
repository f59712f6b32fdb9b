"""What is booked of a call that nobody counted: no more than it was allowed to be."""

import msgspec
import pytest

from ringside_proxy.domain.ledger import Call
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.services.attempt_costs import at_most, lost
from ringside_proxy.services.model_routing import AnswerRules, ModelRouter
from ringside_proxy.services.prices import PriceBook
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.settings.schema import Settings
from ringside_proxy.store.ledger import OrphanHold, Terms

MODEL = "fc:openai/gpt-4o-mini"
SNAPSHOT = Snapshot(Settings(), ModelRouter((), {}, {}, AnswerRules()), PriceBook())
CALL = Call(
    kind="run",
    model=MODEL,
    requested_model=MODEL,
    provider="openai",
    token="tok_1",
    body_bytes=400,
)
GUESS = TokenUsage(input_tokens=9, output_tokens=500, reasoning_tokens=200, is_estimated=True)


@pytest.mark.parametrize(
    ("limit", "output", "reasoning"),
    [(None, 500, 200), (500, 500, 200), (300, 300, 200), (100, 100, 100), (0, 0, 0)],
)
def test_a_guess_is_cut_to_what_was_allowed(limit, output, reasoning):
    """Its parts stay parts of it."""
    call = msgspec.structs.replace(CALL, prompt_tokens_max=7, answer_tokens_max=limit)

    cut = at_most(GUESS, call)

    assert cut.input_tokens == (9 if limit is None else 7)
    assert (cut.output_tokens, cut.reasoning_tokens, cut.is_estimated) == (output, reasoning, True)


def test_what_was_counted_is_never_cut():
    """A provider that went past its limit is booked in full."""
    counted = msgspec.structs.replace(GUESS, is_estimated=False)

    call = msgspec.structs.replace(CALL, prompt_tokens_max=7, answer_tokens_max=10)

    assert at_most(counted, call) is counted


@pytest.mark.parametrize(("limit", "output"), [(None, 1_000), (300, 300), (2_000, 1_000)])
def test_an_answer_cut_off_by_a_crash_is_no_longer_than_its_hold_paid_for(limit, output):
    """What was saved of it, in bytes, looks longer than it can have been."""
    call = msgspec.structs.replace(CALL, prompt_tokens_max=1_000, answer_tokens_max=limit)

    closing = lost(OrphanHold("hold_1", 1_764_000_000_000, call), 4_000, SNAPSHOT, Terms())

    assert closing.consumed is not None
    used = closing.consumed.usage
    assert (used.input_tokens, used.output_tokens) == (100, output)
    assert closing.consumed.provider_cost_nano == 100 * 150 + output * 600
