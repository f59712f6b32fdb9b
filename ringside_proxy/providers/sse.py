"""Server-sent events: bytes in, payloads out.

Frames are cut on bytes: `bytes.splitlines` knows CR, LF and CRLF and nothing else, whereas its
`str` namesake also cuts at U+2028 and breaks JSON apart.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, read 2026-11-21.
"""

from typing import Final

import msgspec

from ringside_proxy.domain.errors import ProviderBadReplyError

SSE_LINE_BYTES_MAX: Final = 1024 * 1024
"""Bounds a line, and the data of one event."""

BOM: Final = b"\xef\xbb\xbf"
DATA: Final = b"data: "


class Event(msgspec.Struct, frozen=True):
    """One event: its data, lines joined by LF, and its name if it has one."""

    data: bytes
    name: bytes | None = None


class SSEDecoder:
    """Cuts a provider's byte stream into events.

    An event that the end of the body leaves without its blank line still counts: some providers
    end that way. Whether it is whole is for its reader to say.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._line_parts: list[bytes] = []
        self._line_bytes = 0
        self._is_first_line = True
        self._ended_in_cr = False
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._name: bytes | None = None

    @property
    def is_between_events(self) -> bool:
        """Whether all that came was whole events: what comes next begins one."""
        return not (self._ended_in_cr or self._line_parts or self._data or self._name)

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises ProviderBadReplyError for an endless line."""
        if self._ended_in_cr and data.startswith(b"\n"):
            data = data[1:]
            self._ended_in_cr = False
        if not data:
            return []
        events: list[Event] = []
        is_plain = self.is_between_events and b"\r" not in data
        self._ended_in_cr = data.endswith(b"\r")
        if is_plain and not (self._is_first_line and data.startswith(BOM[:1])):
            data = self._plain(data, events)
        self._lines(data, events)
        return events

    def _plain(self, data: bytes, events: list[Event]) -> bytes:
        """Adds what is whole of frames that come as nearly all do; gives the rest of `data`.

        Such a frame is one line of data and a blank one: it is cut out in one go.
        """
        *frames, rest = data.split(b"\n\n")
        for frame in frames:
            if frame.startswith(DATA) and b"\n" not in frame:
                self._check(len(frame))
                events.append(Event(frame[len(DATA) :]))
                self._is_first_line = False
            else:
                self._lines(frame + b"\n\n", events)
        return rest

    def _lines(self, data: bytes, events: list[Event]) -> None:
        for line in data.splitlines(keepends=True):
            content = line.rstrip(b"\r\n")
            self._line_bytes += len(content)
            self._check(self._line_bytes)
            self._line_parts.append(content)
            if len(content) < len(line):
                self._end_line(events)

    def close(self) -> list[Event]:
        """What the end of the body completes."""
        events: list[Event] = []
        if self._line_parts:
            self._end_line(events)
        self._dispatch(events)
        return events

    def _end_line(self, events: list[Event]) -> None:
        line = b"".join(self._line_parts)
        self._line_parts.clear()
        self._line_bytes = 0
        if self._is_first_line:
            line = line.removeprefix(BOM)
            self._is_first_line = False
        if line:
            self._field(line)
        else:
            self._dispatch(events)

    def _field(self, line: bytes) -> None:
        """Takes `data` and `event`; comments (nothing before the colon) and the rest say nothing."""
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data_bytes += len(value)
            self._check(self._data_bytes)
            self._data.append(value)
        elif name == b"event":
            self._name = value

    def _dispatch(self, events: list[Event]) -> None:
        if self._data:
            events.append(Event(b"\n".join(self._data), self._name))
            self._data.clear()
            self._data_bytes = 0
        self._name = None

    def _check(self, size_bytes: int) -> None:
        if size_bytes > SSE_LINE_BYTES_MAX:
            raise ProviderBadReplyError(
                f"{self._provider} sent a stream line of more than {SSE_LINE_BYTES_MAX} bytes.",
                provider=self._provider,
            )
