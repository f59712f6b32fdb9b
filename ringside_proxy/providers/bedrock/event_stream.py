"""AWS's binary event stream: bytes in, messages out.

A frame is: length of all (u32), length of the headers (u32), CRC32 of these eight bytes, headers,
payload, CRC32 of everything before it; all big-endian. A header is: length of the name (u8), name,
type (u8), value.
Source: https://smithy.io/2.0/aws/amazon-eventstream.html, as AWS's own client has it (botocore
1.44.5, `eventstream.py`), read 2026-11-21.
"""

import struct
import zlib
from typing import Final

import msgspec

from ringside_proxy.domain.errors import ProviderBadReplyError

FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
HEADERS_BYTES_MAX: Final = 128 * 1024
PRELUDE_BYTES: Final = 12
CRC_BYTES: Final = 4
STRING: Final = 7
FIXED_BYTES: Final[dict[int, int]] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Header types of a fixed size: true, false, i8, i16, i32, i64, timestamp, UUID."""
SIZED: Final = frozenset({6, STRING})
"""Header types that say their length: bytes and text."""


class Message(msgspec.Struct, frozen=True):
    """One message: its textual headers, by name, and its payload."""

    headers: dict[str, str]
    payload: bytes


class EventStreamDecoder:
    """Cuts a provider's byte stream into messages. Nothing of a damaged frame is given out."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes. Raises ProviderBadReplyError for a damaged frame."""
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while (size := self._frame_bytes(start)) and len(self._buffer) - start >= size:
            messages.append(self._message(bytes(self._buffer[start : start + size])))
            start += size
        del self._buffer[:start]
        return messages

    def close(self) -> None:
        """The end of the body. Raises ProviderBadReplyError if it cuts a frame."""
        if self._buffer:
            raise ProviderBadReplyError(
                f"{self._provider} broke off its answer before it was complete.",
                provider=self._provider,
                is_retryable=True,
            )

    def _frame_bytes(self, start: int) -> int:
        """The length of the frame at `start`; 0 while that is not known."""
        prelude = bytes(self._buffer[start : start + PRELUDE_BYTES])
        if len(prelude) < PRELUDE_BYTES:
            return 0
        size, headers_size, checksum = struct.unpack(">III", prelude)
        if zlib.crc32(prelude[:8]) != checksum:
            raise self._damaged("the checksum of its length is wrong")
        if size > FRAME_BYTES_MAX or headers_size > HEADERS_BYTES_MAX:
            raise self._damaged("it is too large")
        if size < PRELUDE_BYTES + headers_size + CRC_BYTES:
            raise self._damaged("its lengths contradict each other")
        return int(size)

    def _message(self, frame: bytes) -> Message:
        (checksum,) = struct.unpack(">I", frame[-CRC_BYTES:])
        if zlib.crc32(frame[:-CRC_BYTES]) != checksum:
            raise self._damaged("its checksum is wrong")
        (headers_size,) = struct.unpack(">I", frame[4:8])
        headers_end = PRELUDE_BYTES + headers_size
        try:
            headers = _headers(frame[PRELUDE_BYTES:headers_end])
        except (IndexError, KeyError, ValueError) as error:
            raise self._damaged("its headers cannot be read") from error
        return Message(headers, frame[headers_end:-CRC_BYTES])

    def _damaged(self, how: str) -> ProviderBadReplyError:
        return ProviderBadReplyError(
            f"{self._provider} sent a damaged frame: {how}.", provider=self._provider
        )


def _headers(data: bytes) -> dict[str, str]:
    """The headers that are text. Raises IndexError, KeyError or ValueError for nonsense."""
    headers: dict[str, str] = {}
    at = 0
    while at < len(data):
        name_end = at + 1 + data[at]
        name, kind = data[at + 1 : name_end].decode(), data[name_end]
        at = name_end + 1
        if kind in SIZED:
            size = data[at] << 8 | data[at + 1]
            at += 2
        else:
            size = FIXED_BYTES[kind]
        if at + size > len(data):
            raise ValueError(name)
        if kind == STRING:
            headers[name] = data[at : at + size].decode()
        at += size
    return headers
