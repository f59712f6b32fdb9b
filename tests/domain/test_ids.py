from typing import get_args

import pytest

from ringside_proxy.domain.ids import Prefix, id_maker, twin


@pytest.mark.parametrize("prefix", get_args(Prefix))
def test_id_is_its_prefix_and_24_hex_digits(prefix):
    """Twelve random bytes are written as hex behind the prefix, all of them, in order."""
    new_id = id_maker(lambda size: bytes(range(0xA0, 0xA0 + size)))

    assert new_id(prefix) == f"{prefix}_a0a1a2a3a4a5a6a7a8a9aaab"


def test_id_differs_when_the_randomness_does():
    """Every id takes fresh bytes from its source."""
    drawn = iter([bytes(12), b"\xff" * 12])
    new_id = id_maker(lambda size: next(drawn))

    assert [new_id("run"), new_id("run")] == ["run_" + "0" * 24, "run_" + "f" * 24]


@pytest.mark.parametrize("digits", ["0123456789abcdef01234567", "with_underscore"])
def test_twins_share_their_digits(digits):
    """A thread is found from its conversation and back."""
    assert twin(f"conv_{digits}", "thread") == f"thread_{digits}"
    assert twin(twin(f"conv_{digits}", "thread"), "conv") == f"conv_{digits}"
