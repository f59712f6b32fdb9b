"""Units and interpolation."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.settings.interpolation import InterpolationError, expand
from ringside_proxy.settings.values import UNITS, Secret, number

ANY = {"least": 0, "most": 10**15}

READ = [
    ("duration", "500ms", 0.5),
    ("duration", "30s", 30.0),
    ("duration", "1.5m", 90.0),
    ("duration", "24h", 86400.0),
    ("size", "1B", 1),
    ("size", "32MiB", 32 << 20),
    ("usd", "0.000000001", 1),
    ("usd", "50", 50 * 10**9),
    ("usd", "1e-9", 1),
    ("percent", "12.5", 125_000),
    ("number", "8080", 8080),
]
REFUSED = [
    ("duration", "30"),
    ("duration", "30 s"),
    ("duration", "-1s"),
    ("duration", "1d"),
    ("duration", "s"),
    ("duration", "30s\n"),
    ("duration", "٣s"),
    ("size", "32MB"),
    ("size", "0.3B"),
    ("usd", "0.0000000001"),
    ("usd", "nan"),
    ("usd", "1e-10"),
    ("usd", "1e99"),
    ("number", "0x10"),
    ("number", "1_000"),
    ("number", ""),
    ("number", "9" * 5000),
]


@pytest.mark.parametrize(("unit", "text", "held"), READ)
def test_number_is_held_in_its_unit(unit, text, held):
    """Seconds, bytes, nano-USD and parts per million."""
    assert number(unit, is_whole=isinstance(held, int), **ANY).read(text) == held


@pytest.mark.parametrize(("unit", "text"), REFUSED)
def test_number_without_its_unit_is_refused(unit, text):
    """No guess is made about what a bare or unknown number means."""
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        number(unit, is_whole=True, **ANY).read(text)


def test_number_is_whole_where_it_is_held_whole():
    """Half a second is a duration, but no number of whole seconds."""
    assert number("duration", is_whole=False, **ANY).read("500ms") == 0.5
    with pytest.raises(ValueError, match="500ms"):
        number("duration", is_whole=True, **ANY).read("500ms")


def test_number_keeps_to_its_bounds():
    """Bounds belong to what is allowed, and are told in the file's words."""
    leaf = number("duration", is_whole=True, least=1, most=600)

    assert [leaf.read("1s"), leaf.read("10m")] == [1, 600]
    assert leaf.expects == "a duration from 1s to 10m"
    for text in ("0s", "601s"):
        with pytest.raises(ValueError, match=text):
            leaf.read(text)


@given(unit=st.sampled_from(sorted(UNITS)), held=st.integers(0, 10**11))
def test_written_number_reads_back_as_itself(unit, held):
    """What the reference shows as a default is the default."""
    leaf = number(unit, is_whole=True, **ANY)

    assert leaf.read(str(leaf.write(held))) == held


def test_secret_is_text_that_no_repr_shows():
    """It goes into a header as it is, and into a log as stars."""
    assert f"Bearer {Secret('sk-1')}" == "Bearer sk-1"
    assert repr({"key": Secret("sk-1")}) == "{'key': '***'}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${UNSET:-d}", "d"),
        ("${UNSET:-}", ""),
        ("${A:-d}", "1"),
        ("$A $$ $", "$A $$ $"),
        ("$${A}", "${A}"),
        ("${NESTED}", "${A}"),
    ],
)
def test_variable_stands_for_its_value(text, value):
    """As in a shell; what a variable holds is not read again."""
    assert expand(text, {"A": "1", "EMPTY": "", "NESTED": "${A}"}) == value


def test_mounted_secret_stands_for_its_content(tmp_path):
    """Without the line end that editors add; a variable may name the file."""
    secret = tmp_path / "key"
    secret.write_text("sk-1\n")

    assert expand(f"file:{secret}", {}) == "sk-1"
    assert expand("${KEY}", {"KEY": f"file:{secret}"}) == "sk-1"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("${UNSET}", "environment variable UNSET is not set"),
        ("${", "${ begins no variable"),
        ("${1A}", "${ begins no variable"),
        ("${A", "${ begins no variable"),
        ("${BYTES}", "environment variable BYTES is not UTF-8"),
        ("file:/", "there is no file /"),
        ("file:/dev/zero", "there is no file /dev/zero"),
        ("file:/no/such/file", "there is no file /no/such/file"),
        ("file:/\0", "there is no file /\0"),
    ],
)
def test_value_that_cannot_be_had_is_refused(text, what):
    """A missing variable is named; a device is never read."""
    with pytest.raises(InterpolationError) as refused:
        expand(text, {"A": "1", "BYTES": "\udcff"})

    assert refused.value.what == what
    assert refused.value.remedy


@pytest.mark.parametrize("content", [b"x" * (64 << 10) + b"x", b"\xff"], ids=["long", "binary"])
def test_mounted_file_that_is_no_secret_is_refused(tmp_path, content):
    """The read is bounded, and binary data is no secret."""
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(InterpolationError, match=r"is larger than|is not UTF-8"):
        expand(f"file:{path}", {})
