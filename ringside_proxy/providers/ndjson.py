"""Newline-delimited JSON: bytes in, lines out.

Source: https://docs.ollama.com/api/streaming, read 2026-11-21.
"""

from typing import Final

from ringside_proxy.domain.errors import ProviderBadReplyError

LINE_BYTES_MAX: Final = 1024 * 1024


class NDJSONDecoder:
    """Cuts a provider's byte stream into lines; blank ones say nothing.

    A line that the end of the body leaves without its LF still counts.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._parts: list[bytes] = []
        self._bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes. Raises ProviderBadReplyError for an endless one."""
        *ends, rest = data.split(b"\n")
        lines: list[bytes] = []
        for end in ends:
            self._add(end)
            lines += self.close()
        self._add(rest)
        return lines

    def close(self) -> list[bytes]:
        """What the end of the body completes."""
        line = b"".join(self._parts).strip()
        self._parts.clear()
        self._bytes = 0
        return [line] if line else []

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._bytes += len(part)
        if self._bytes > LINE_BYTES_MAX:
            raise ProviderBadReplyError(
                f"{self._provider} sent a stream line of more than {LINE_BYTES_MAX} bytes.",
                provider=self._provider,
            )
        self._parts.append(part)
