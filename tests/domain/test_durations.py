"""Durations in the words of OpenAI's headers."""

import pytest

from ringside_proxy.domain.durations import written


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (120, "120ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (10_000, "10s"),
        (17_202, "17.202s"),
        (59_990, "59.99s"),
        (60_000, "1m0s"),
        (86_400, "1m26.4s"),
        (360_000, "6m0s"),
        (600_000, "10m0s"),
        (3_600_000, "1h0m0s"),
        (3_723_004, "1h2m3.004s"),
        (36_000_000, "10h0m0s"),
    ],
)
def test_durations_are_written_as_go_writes_them(ms: int, text: str) -> None:
    """Milliseconds below a second, then seconds without needless zeros, minutes and hours."""
    assert written(ms) == text
