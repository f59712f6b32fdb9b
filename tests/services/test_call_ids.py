"""Ids of function calls: the caller's hold on what is kept for its chat."""

import pytest

from tests.fakes import FakeUpstream, tool_reply
from tests.services.asker import Asker
from tests.services.limited import row
from tests.services.rig import WEATHER


@pytest.mark.parametrize(
    ("given", "is_shown"),
    [
        ("call_a1b2c3d4", True),
        ("call_" + "9" * 16, True),
        ("call_" + "aB3" * 8, True),
        ("call_0", False),
        ("call_00000001", False),
        ("call_a1b2", False),
        ("call_get_weather_0", False),
        ("call_" + "a" * 60, False),
        ("toolu_01A09q90qw90lq917835lq9", False),
        ("0", False),
    ],
)
async def test_only_an_id_of_its_own_is_shown(
    asker: Asker, upstream: FakeUpstream, given: str, is_shown: bool
) -> None:
    """One that counts, or is not of OpenAI's kind, is replaced: another chat has it too."""
    upstream.enqueue(tool_reply([(given, "weather", "{}")]))

    deltas = await asker.ask(row(), tools=[WEATHER])

    [shown] = [delta.id for delta in deltas if getattr(delta, "id", None)]
    assert shown == (given if is_shown else "call_1")
