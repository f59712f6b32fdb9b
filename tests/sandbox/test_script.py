from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.sandbox.script import (
    Arguments,
    Call,
    Finish,
    Refuse,
    Say,
    Step,
    Wait,
    perform,
)
from ringside_proxy.sandbox.tokens import count, pieces

NO_LIMIT = 1_000


def said(steps: list[Step]) -> str:
    return "".join(step.text for step in steps if isinstance(step, Say))


@settings(deadline=None)  # other work may hold the machine
@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    """Nothing is lost or added, and nothing is empty."""
    assert "".join(pieces(text)) == text
    assert all(pieces(text))
    assert count(text) == len(list(pieces(text)))


def test_a_script_is_spoken_word_by_word() -> None:
    """Pauses and calls stay where they are; calls finish with tool_calls."""
    script = [Say("a b"), Wait(5), Call("f"), Arguments('{"x": 1}')]

    steps = list(perform(script, NO_LIMIT, ()))

    assert steps == [
        Say("a"),
        Say(" b"),
        Wait(5),
        Call("f"),
        Arguments('{"x":'),
        Arguments(" 1}"),
        Finish("tool_calls"),
    ]


def test_the_limit_counts_everything_spoken() -> None:
    """Text, refusals and arguments share one limit; a call may be cut inside its arguments."""
    script = [Say("a"), Refuse("no"), Call("f"), Arguments("1 2")]

    steps = list(perform(script, 3, ()))

    assert steps == [Say("a"), Refuse("no"), Call("f"), Arguments("1"), Finish("length")]


def test_text_held_back_is_said_before_a_call() -> None:
    """What might have become a stop sequence keeps its place."""
    steps = list(perform([Say("a ST"), Call("f")], NO_LIMIT, ("STOP",)))

    assert said(steps[: steps.index(Call("f"))]) == "a ST"


@settings(deadline=None)  # other work may hold the machine
@given(st.text("ab ", max_size=30), st.lists(st.text("ab ", min_size=1, max_size=4), max_size=4))
def test_text_ends_at_the_stop_sequence_that_is_complete_first(text: str, stops: list[str]) -> None:
    """However the text falls into tokens: a model stops as soon as it has written one."""
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    expected = text[: min(found)[1]] if found else text

    steps = list(perform([Say(text)], NO_LIMIT, tuple(stops)))

    assert said(steps) == expected
    assert steps[-1] == Finish("stop")


def test_a_finish_in_the_script_ends_it() -> None:
    """Nothing is said after it."""
    steps = list(perform([Say("a"), Finish("content_filter"), Say("b")], NO_LIMIT, ()))

    assert steps == [Say("a"), Finish("content_filter")]
