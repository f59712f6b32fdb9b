from typing import get_args

import pytest

from ringside_proxy.domain.ids import Prefix, id_maker, twin
from ringside_proxy.system import system_ids


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


def test_later_ids_stand_behind_earlier_ones():
    """Ids sort by the millisecond they were made in, so that an index grows at its end."""
    times_ns = iter(range(1_763_700_000_000_000_000, 1_763_700_001_000_000_000, 1_000_000))
    new_id = system_ids(lambda: next(times_ns))

    made = [new_id("msg") for _ in range(1_000)]

    assert made == sorted(made)


def test_ids_of_one_instant_differ():
    """Half of an id is random: a thousand that were made in the same millisecond are a thousand."""
    new_id = system_ids(lambda: 1_763_700_000_000_000_000)

    assert len({new_id("msg") for _ in range(1_000)}) == 1_000
