import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.providers.sse import SSE_LINE_BYTES_MAX, Event, SSEDecoder


def events(*pieces: bytes) -> list[Event]:
    decoder = SSEDecoder("acme")
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data: a\n\n", [Event(b"a")]),
        (b"data:a\n\n", [Event(b"a")]),
        (b"data:  a\n\n", [Event(b" a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [Event(b"a"), Event(b"b"), Event(b"c")]),
        (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
        (b"data\n\n", [Event(b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
        (b": OPENROUTER PROCESSING\n\n\n: keep-alive\ndata: a\n\n", [Event(b"a")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [Event(b"a", b"error"), Event(b"b")]),
        (b"event: ping\n\ndata: a\n\n", [Event(b"a")]),
        (b"id: 7\nretry: 10\nother: x\ndata: a\n\n", [Event(b"a")]),
        (b"data: a", [Event(b"a")]),
        ("data: a\u2028b\u0085c\x0bd\n\n".encode(), [Event("a\u2028b\u0085c\x0bd".encode())]),
        (b"", []),
    ],
)
def test_stream_is_cut_as_the_specification_says(raw, expected):
    """Line ends, comments, names, several data lines, the byte order mark; and nothing but those."""
    assert events(raw) == expected


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"data: ab", b"\r\n", b"\n", b"\r", b":c", b"event: e", b"x"])),
    st.data(),
)
def test_cuts_do_not_matter(parts, data):
    """However a stream is cut into pieces, its events are the same."""
    raw = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)))))

    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert events(*pieces) == events(raw)


def test_cut_between_cr_and_lf_is_one_line_end():
    """CRLF in two pieces does not end the event early."""
    assert events(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [Event(b"a\nb")]


def test_line_of_the_limit_is_taken():
    """One MiB of line is still an answer."""
    line = b"data: " + b"x" * (SSE_LINE_BYTES_MAX - len(b"data: "))

    assert len(events(line, b"\n\n")[0].data) == SSE_LINE_BYTES_MAX - len(b"data: ")


@pytest.mark.parametrize(
    "pieces",
    [
        [b"data: " + b"x" * SSE_LINE_BYTES_MAX],
        [b"data: ", *[b"x" * 65536] * 17],
        [b"data: " + b"x" * 65536 + b"\n"] * 17,
    ],
    ids=["one line", "one line in pieces", "one event of many lines"],
)
def test_endless_line_is_refused(pieces):
    """Past the limit nothing is kept in memory: not of a line, not of an event."""
    with pytest.raises(ProviderBadReplyError, match="acme sent a stream line of more than"):
        events(*pieces)
