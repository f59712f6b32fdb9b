"""AWS's binary frames: cut anywhere, and damaged anywhere."""

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.providers.bedrock.event_stream import (
    FRAME_BYTES_MAX,
    EventStreamDecoder,
    Message,
)

FRAME = bytes.fromhex(
    "00000081000000526cc176930b3a6576656e742d7479706507000c6d65737361676553746172740d3a636f6e74656e74"
    "2d747970650700106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b22"
    "726f6c65223a22617373697374616e74222c2270223a2261626364227d9170592b"
)
"""A frame that botocore 1.44.5 reads; the test below says as what."""

MESSAGE = Message(
    {
        ":event-type": "messageStart",
        ":content-type": "application/json",
        ":message-type": "event",
    },
    b'{"role":"assistant","p":"abcd"}',
)


def framed(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def test_frame_is_read():
    """Text headers and the payload come out as they went in."""
    assert EventStreamDecoder("aws").feed(FRAME) == [MESSAGE]


@pytest.mark.parametrize("size", [1, 2, 3, 11, 12, 13, 128, 129, 130, 1000])
def test_frames_cut_anywhere_are_the_same(size):
    """Where the network cuts does not matter."""
    decoder, raw = EventStreamDecoder("aws"), FRAME * 3

    messages = [m for i in range(0, len(raw), size) for m in decoder.feed(raw[i : i + size])]

    assert messages == [MESSAGE] * 3
    decoder.close()


@pytest.mark.parametrize("at", range(len(FRAME)))
def test_flipped_byte_is_noticed(at):
    """No damage gets through, wherever it is."""
    damaged = FRAME[:at] + bytes([FRAME[at] ^ 1]) + FRAME[at + 1 :]

    with pytest.raises(ProviderBadReplyError, match="aws sent a damaged frame"):
        EventStreamDecoder("aws").feed(damaged)


def test_every_type_of_header_is_stepped_over():
    """Only texts are kept; the others are as long as their type says."""
    values = {
        0: b"",
        1: b"",
        2: b"x",
        3: b"xx",
        4: b"x" * 4,
        5: b"x" * 8,
        8: b"x" * 8,
        9: b"x" * 16,
    }
    headers = b"".join(b"\x01a" + bytes([kind]) + value for kind, value in values.items())
    headers += b"\x01b\x06\x00\x02xy" + b"\x01c\x07\x00\x03\xe2\x82\xac"

    assert EventStreamDecoder("aws").feed(framed(headers, b"p")) == [Message({"c": "€"}, b"p")]


@pytest.mark.parametrize(
    "headers",
    [
        b"\x01",
        b"\x01a",
        b"\x01a\x0a",
        b"\x01a\x07\x00",
        b"\x01a\x07\x00\x09x",
        b"\x01a\x07\x00\x01\xff",
        b"\x01a\x05xx",
        b"\x01\xff\x00",
    ],
)
def test_nonsense_in_headers_is_refused(headers):
    """A checksum can be right over nonsense."""
    with pytest.raises(ProviderBadReplyError, match="headers cannot be read"):
        EventStreamDecoder("aws").feed(framed(headers, b""))


@pytest.mark.parametrize(
    ("size", "headers_size", "how"),
    [
        (FRAME_BYTES_MAX + 1, 0, "too large"),
        (1 << 31, 0, "too large"),
        (1 << 20, 1 << 19, "too large"),
        (15, 0, "contradict"),
        (20, 10, "contradict"),
    ],
)
def test_lengths_are_bounded_before_anything_is_kept(size, headers_size, how):
    """A frame's own claim does not decide how much memory it takes."""
    prelude = struct.pack(">II", size, headers_size)

    with pytest.raises(ProviderBadReplyError, match=how):
        EventStreamDecoder("aws").feed(prelude + struct.pack(">I", zlib.crc32(prelude)))


def test_end_inside_a_frame_is_a_break():
    """Half a frame is no answer; the call may be made again."""
    decoder = EventStreamDecoder("aws")
    decoder.feed(FRAME[:-1])

    with pytest.raises(ProviderBadReplyError, match="broke off") as caught:
        decoder.close()

    assert caught.value.is_retryable


@given(st.lists(st.binary(max_size=200), max_size=5))
@settings(max_examples=200)
def test_random_bytes_raise_nothing_else(pieces):
    """Whatever comes, it is messages or the one error."""
    decoder = EventStreamDecoder("aws")
    try:
        for piece in pieces:
            decoder.feed(piece)
        decoder.close()
    except ProviderBadReplyError:
        pass


@given(st.dictionaries(st.text("abc", min_size=1, max_size=9), st.text(max_size=40)), st.binary())
def test_botocore_reads_the_same(headers, payload):
    """AWS's own client agrees on every frame that we read."""
    eventstream = pytest.importorskip("botocore.eventstream")
    packed = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(raw)) + raw
        for name, value in headers.items()
        for raw in [value.encode()]
    )
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(framed(packed, payload))

    event = buffer.next()

    assert EventStreamDecoder("aws").feed(framed(packed, payload)) == [
        Message(event.headers, event.payload)
    ]
