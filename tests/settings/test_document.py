"""What a YAML file may be before anyone asks what it says."""

import time

import pytest

from ringside_proxy.settings.document import (
    DOCUMENT_BYTES_MAX,
    DOCUMENT_LEVELS_MAX,
    DOCUMENT_NODES_MAX,
    Scalar,
    parse,
)
from ringside_proxy.settings.problems import SettingsError

REFUSED_WITHIN_S = 10.0
"""Generous for a busy machine; an exponential or quadratic walk of 1 MiB takes far longer."""

QUOTE = 'check the indentation, and put "${NAME}" inside {…} and […] in quotes'

REFUSED = {
    "a list": (b"- 1", "file: is not a mapping; write sections such as `server:`"),
    "a syntax error": (
        b"server:\n  host: [a\nlog: b",
        f"line 3: expected ',' or ']', but got ':'; {QUOTE}",
    ),
    "an unquoted variable in a flow mapping": (
        b"server: {port: ${PORT}}",
        f"line 1: expected ',' or '}}', but got '{{'; {QUOTE}",
    ),
    "an anchor": (b"a: &x 1", "line 1: anchors and aliases are not read; write the value out"),
    "an alias": (b"a: *x", "line 1: anchors and aliases are not read; write the value out"),
    "a tag": (
        b"a: !!python/object:os.system x",
        "line 1: tags (!) are not read; write the plain value",
    ),
    "a tagged mapping": (b"a: !x {}", "line 1: tags (!) are not read; write the plain value"),
    "a key that is no text": (
        b"[a]: 1",
        'line 1: a key is not text; put "${NAME}" and {\u2026} in quotes',
    ),
    "a second document": (
        b"a: 1\n---\nb: 2",
        "line 2: a second document begins; keep one document in the file",
    ),
    "bytes that are no UTF-8": (
        b"a: \xff",
        "file: is not UTF-8 at byte 3; save it as UTF-8",
    ),
    "a control character": (b"a: \x00", f"file: is not YAML; {QUOTE}"),
    "half a surrogate pair": (
        b'a: "\\ud800"',
        "line 1: half a surrogate pair; write the character itself",
    ),
    "an escape beyond Unicode, which PyYAML lets chr() refuse": (
        b'a: "\\UFFFFFFFF"',
        f"file: is not YAML; {QUOTE}",
    ),
    "a version number that PyYAML lets int() refuse": (
        b"%YAML " + b"9" * 5000 + b".1\n---\na: 1",
        f"file: is not YAML; {QUOTE}",
    ),
    "every key given twice": (
        b"a: {b: 1, b: 2}\na: 3",
        "a.b: is given again on line 1; keep one of them\n"
        "a: is given again on line 2; keep one of them",
    ),
    "a byte too many": (
        b"#" * (DOCUMENT_BYTES_MAX + 1),
        "file: is larger than 1 MiB; keep only what differs from the defaults",
    ),
}

BOMBS = {
    "deep flow lists": (b"[" * DOCUMENT_BYTES_MAX, "more than 32 levels"),
    "deep flow mappings": (b"{a: " * (DOCUMENT_BYTES_MAX // 4), "more than 32 levels"),
    "deep block lists": (b"- " * (DOCUMENT_BYTES_MAX // 2), "more than 32 levels"),
    "a wide list": (b"a: [" + b"1," * 500_000, "more than 10000 values"),
    "a wide mapping": (b"".join(b"k%d: 1\n" % n for n in range(60_000)), "more than 10000 values"),
    "a billion laughs": (
        b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (n, n) for n in range(40)),
        "anchors and aliases",
    ),
    "an endless tag": (b"!<" + b"x" * (DOCUMENT_BYTES_MAX - 2), "line 1"),
}


def test_scalars_stay_the_text_that_was_written():
    """YAML 1.1 would make false, 8, 1800 and a date of these."""
    document = parse(b"a: no\nb: 010\nc: 30:00\nd: 2026-11-21\ne: 'null'\nf: ~")

    assert document["a"] == Scalar("no", is_plain=True)
    assert [node.text for node in document.values()] == [
        "no",
        "010",
        "30:00",
        "2026-11-21",
        "null",
        "~",
    ]
    assert [node.is_null for node in document.values()] == [False] * 5 + [True]


@pytest.mark.parametrize("data", [b"", b"# nothing", b"---", b"null", b"\xef\xbb\xbf# with a BOM"])
def test_empty_document_says_nothing(data):
    """A file of which everything is commented out is the defaults."""
    assert parse(data) == {}


@pytest.mark.parametrize(("data", "problems"), REFUSED.values(), ids=REFUSED)
def test_document_is_refused_with_its_place_and_remedy(data, problems):
    """Every refusal says where, what, and what would be right."""
    with pytest.raises(SettingsError) as refused:
        parse(data)

    assert str(refused.value) == problems


@pytest.mark.parametrize(("data", "reason"), BOMBS.values(), ids=BOMBS)
def test_bomb_is_refused_before_it_is_walked(data, reason):
    """The work for a hostile file is bounded by its size."""
    started = time.perf_counter()
    with pytest.raises(SettingsError, match=reason):
        parse(data[:DOCUMENT_BYTES_MAX])

    assert time.perf_counter() - started < REFUSED_WITHIN_S


def test_document_at_its_limits_is_read():
    """The limits are the last values that are allowed."""
    deep = DOCUMENT_LEVELS_MAX - 1
    wide = DOCUMENT_NODES_MAX - 3  # the mapping, its key and the list itself

    assert parse(b"a: " + b"[" * deep + b"]" * deep)
    assert len(parse(b"a: [" + b"1," * wide + b"]")["a"]) == wide
    with pytest.raises(SettingsError):
        parse(b"a: " + b"[" * (deep + 1) + b"]" * (deep + 1))
    with pytest.raises(SettingsError):
        parse(b"a: [" + b"1," * (wide + 1) + b"]")
