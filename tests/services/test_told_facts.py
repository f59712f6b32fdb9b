"""What the owner says that models take and can do: over the table, and where it knows nothing."""

from pathlib import Path

import pytest

from ringside_proxy.domain.model_facts import Capability
from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.services.model_routing import AnswerRules, ModelRouter
from ringside_proxy.services.prices import PriceBook, facts, overrides
from ringside_proxy.settings.load import load

MINI = ModelRef("openai", "gpt-4o-mini")
NOBODY_KNOWS = ModelRef("openai", "gpt-99")
NOW_MS = 1_795_300_000_000

Facts = tuple[int | None, int | None, tuple[Capability, ...]]


def router(tmp_path: Path, prices: str) -> ModelRouter:
    """A router under these `prices`."""
    path = tmp_path / "ringside.yaml"
    path.write_text(f"prices:\n{prices}")
    return ModelRouter((), {}, {}, AnswerRules(), told=facts(load(path, {}).prices))


def of(ref: ModelRef, said: ModelRouter) -> Facts | None:
    """Window, longest answer, abilities."""
    known = said.facts(ref)
    return known and (known.context_window, known.max_output_tokens, known.supports)


KNOWN = of(MINI, ModelRouter((), {}, {}, AnswerRules()))


@pytest.mark.parametrize(
    ("prices", "ref", "expected"),
    [
        ("  fc:openai/gpt-99: {context: 900, max_output: 80}\n", NOBODY_KNOWS, (900, 80, ())),
        ("  fc:openai/gpt-9*: {max_output: 80}\n", NOBODY_KNOWS, (None, 80, ())),
        (
            "  fc:openai/*: {max_output: 7}\n  fc:openai/gpt-99: {max_output: 80}\n",
            NOBODY_KNOWS,
            (None, 80, ()),
        ),
        ("  fc:openai/gpt-99: {supports: [tools]}\n", NOBODY_KNOWS, (None, None, ("tools",))),
        ("  fc:openai/gpt-99: {input: 1, output: 1}\n", NOBODY_KNOWS, None),
        ("  fc:openai/gpt-99: {like: 'fc:openai/gpt-4o-mini'}\n", NOBODY_KNOWS, KNOWN),
        (
            "  fc:openai/gpt-99: {like: 'fc:openai/gpt-4o-mini', max_output: 80}\n",
            NOBODY_KNOWS,
            KNOWN and (KNOWN[0], 80, KNOWN[2]),
        ),
        ("  fc:openai/gpt-4o-mini: {like: 'fc:openai/gpt-4o'}\n", MINI, KNOWN),
        ("  fc:openai/gpt-4o-mini: {supports: []}\n", MINI, KNOWN and (*KNOWN[:2], ())),
    ],
)
def test_what_is_said_stands_over_what_is_known(
    tmp_path: Path, prices: str, ref: ModelRef, expected: Facts | None
) -> None:
    """Field by field; the exact name wins; `like` is for models that the table does not know."""
    assert of(ref, router(tmp_path, prices)) == expected


def test_what_is_said_of_a_model_is_not_said_of_its_price(tmp_path: Path) -> None:
    """A row about the window leaves the price to the table, and to the rows that are about it."""
    path = tmp_path / "ringside.yaml"
    path.write_text(
        "prices:\n  fc:openai/gpt-99: {max_output: 80}\n  fc:openai/gpt-9*: {input: 1, output: 1}\n"
        "  fc:openai/gpt-4o-mini: {context: 900}\n"
    )
    book = PriceBook(overrides(load(path, {}).prices))

    priced, listed = book.find(NOBODY_KNOWS, NOW_MS), book.find(MINI, NOW_MS)

    assert priced is not None
    assert priced.source == "config"
    assert listed == PriceBook().find(MINI, NOW_MS)
