"""OpenAI's own bytes, passed on: for chat completions where nothing has to be enforced.

A frame is parsed only where accounting or an error needs it; the others cost one search. That
search cannot be fooled by an answer's text: inside a JSON string every quote is escaped, so
`"usage":{` never stands there as such.
"""

import re
from typing import Any, Final

import orjson

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import AnswerDecoder, broke_off
from ringside_proxy.providers.chat.stream import DONE, parse_chunk, usage_of
from ringside_proxy.providers.sse import SSE_LINE_BYTES_MAX, Event, SSEDecoder
from ringside_proxy.providers.usage import service_tier, token_usage

FRAME_END: Final = b"\n\n"
BYTES_PER_TOKEN: Final = 4
DONE_FRAME: Final = b"data: [DONE]\n\n"

WORTH_PARSING: Final = re.compile(rb'"(?:error|obfuscation)"|"usage"\s*:\s*\{')
FINISH: Final = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null')


class Relay(AnswerDecoder[Event, bytes]):
    """A StreamDecoder whose items are whole frames, ready for the client.

    Frames are held back until one says something (text, a call, an end), so that an error which
    comes right after the role can still become a status. `usage` is the last one that was seen,
    `raw_usage` the provider's own words for it.
    """

    def __init__(self, provider: str, *, include_usage: bool, choices: int = 1) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self.usage: TokenUsage | None = None
        self.raw_usage: dict[str, Any] | None = None
        self.service_tier: str | None = None
        self._include_usage = include_usage
        self._told_frames = self._told_bytes = 0
        self._shortest_bytes = SSE_LINE_BYTES_MAX
        self._unfinished_choices = choices
        self._held: list[bytes] | None = []

    @property
    def written_tokens_estimate(self) -> int:
        """About how many tokens have come, for an answer that breaks off before its usage.

        A frame holds at least one; what makes it longer than the shortest is its text.
        """
        text_bytes = self._told_bytes - self._told_frames * self._shortest_bytes
        return max(self._told_frames, text_bytes // BYTES_PER_TOKEN)

    def close(self) -> list[bytes]:
        """What the end of the body completes: `[DONE]` too, if a complete answer came without.

        Raises ProviderError if the answer is not whole.
        """
        self._is_finished = self._is_done or self._unfinished_choices <= 0
        frames = super().close()
        if not self._is_done:
            self._mark_whole()
            frames.append(DONE_FRAME)
        return frames

    def _frame(self, frame: Event, told: list[bytes]) -> None:
        data = frame.data.strip()
        if data == DONE:
            if not self._told_frames:
                raise broke_off(self._provider)
            self._mark_whole()
            told += [*(self._held or ()), DONE_FRAME]
        elif data:
            self._pass_on(frame, data, told)

    def _pass_on(self, event: Event, data: bytes, frames: list[bytes]) -> None:
        self._unfinished_choices -= len(FINISH.findall(data))
        says_something = True
        if self._held is not None or event.name or WORTH_PARSING.search(data):
            chunk = parse_chunk(self._provider, event)
            self._count(chunk)
            says_something = _says_something(chunk)
            if chunk.pop("obfuscation", None) is not None:
                data = orjson.dumps(chunk)
            if not self._include_usage and chunk.get("usage") and not chunk.get("choices"):
                return  # the client did not ask for this chunk; we did
        if not self._include_usage:
            data = NULL_USAGE.sub(b"", data)
        frame = b"data: " + data.replace(b"\n", b" ") + FRAME_END

        self._measure(len(frame))
        if self._held is None:
            frames.append(frame)
        elif says_something:
            frames += [*self._held, frame]
            self._held = None
        else:
            self._held.append(frame)

    def _measure(self, frame_bytes: int) -> None:
        self._told_frames += 1
        self._told_bytes += frame_bytes
        self._shortest_bytes = min(self._shortest_bytes, frame_bytes)

    def _count(self, chunk: dict[str, Any]) -> None:
        self.service_tier = service_tier(chunk) or self.service_tier
        reported = usage_of(chunk)
        if usage := token_usage(reported):
            self.usage, self.raw_usage = usage, reported


def _says_something(chunk: dict[str, Any]) -> bool:
    """Whether a chunk carries more than a role or a provider's preamble."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        fields = delta.items() if isinstance(delta, dict) else ()
        if choice.get("finish_reason") or any(value for key, value in fields if key != "role"):
            return True
    return False
