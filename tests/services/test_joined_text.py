"""Pieces of text that came together are one."""

import pytest

from ringside_proxy.providers.types import Delta, Finish, ReasoningDelta, RefusalDelta, TextDelta
from ringside_proxy.services.joined_text import joined_text

A, B, C = TextDelta("a"), TextDelta("b"), TextDelta("c")


@pytest.mark.parametrize(
    ("batch", "joined"),
    [
        ([], []),
        ([A], [A]),
        ([A, B, C], [TextDelta("abc")]),
        ([A, B, Finish("stop")], [TextDelta("ab"), Finish("stop")]),
        ([A, ReasoningDelta("r"), B, C], [A, ReasoningDelta("r"), TextDelta("bc")]),
        ([RefusalDelta("x"), RefusalDelta("y"), A], [RefusalDelta("x"), RefusalDelta("y"), A]),
    ],
)
def test_texts_in_a_row_are_one_and_all_else_keeps_its_place(
    batch: list[Delta], joined: list[Delta]
) -> None:
    """Nothing is lost, nothing passes by anything else."""
    assert joined_text(batch) == joined
