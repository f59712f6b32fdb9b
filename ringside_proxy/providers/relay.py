"""OpenAI's own bytes, passed on: for chat completions where nothing has to be enforced.

A frame is parsed only where accounting or an error needs it; the others cost one search. That
search cannot be fooled by an answer's text: inside a JSON string every quote is escaped, so
`"usage":{` never stands there as such.
"""

import re
from typing import Any, Final

import orjson

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import AnswerDecoder
from ringside_proxy.providers.chat_stream import DONE, parse_chunk
from ringside_proxy.providers.sse import Event, SSEDecoder
from ringside_proxy.providers.usage import token_usage

FRAME_END: Final = b"\n\n"
DONE_FRAME: Final = b"data: [DONE]\n\n"

WORTH_PARSING: Final = re.compile(rb'"(?:error|obfuscation)"|"usage"\s*:\s*\{')
FINISH: Final = re.compile(rb'"finish_reason"\s*:\s*"[^"]')
NULL_USAGE: Final = re.compile(rb',\s*"usage"\s*:\s*null')


class Relay(AnswerDecoder[Event, bytes]):
    """A StreamDecoder whose items are whole frames, ready for the client.

    Frames are held back until one says something (text, a call, an end), so that an error which
    comes right after the role can still become a status. `usage` is the last one that was seen.
    """

    def __init__(self, provider: str, *, include_usage: bool, choices: int = 1) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self.usage: TokenUsage | None = None
        self._include_usage = include_usage
        self._unfinished_choices = choices
        self._held: list[bytes] | None = []

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
            self._mark_whole()
            told += [*(self._held or ()), DONE_FRAME]
        elif data:
            self._pass_on(frame, data, told)

    def _pass_on(self, event: Event, data: bytes, frames: list[bytes]) -> None:
        self._unfinished_choices -= len(FINISH.findall(data))
        says_something = True
        if self._held is not None or event.name or WORTH_PARSING.search(data):
            chunk = parse_chunk(self._provider, event)
            self.usage = token_usage(chunk.get("usage")) or self.usage
            says_something = _says_something(chunk)
            if chunk.pop("obfuscation", None) is not None:
                data = orjson.dumps(chunk)
            if not self._include_usage and chunk.get("usage") and not chunk.get("choices"):
                return  # the client did not ask for this chunk; we did
        if not self._include_usage:
            data = NULL_USAGE.sub(b"", data)
        frame = b"data: " + data.replace(b"\n", b" ") + FRAME_END

        if self._held is None:
            frames.append(frame)
        elif says_something:
            frames += [*self._held, frame]
            self._held = None
        else:
            self._held.append(frame)


def _says_something(chunk: dict[str, Any]) -> bool:
    """Whether a chunk carries more than a role or a provider's preamble."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        fields = delta.items() if isinstance(delta, dict) else ()
        if choice.get("finish_reason") or any(value for key, value in fields if key != "role"):
            return True
    return False
