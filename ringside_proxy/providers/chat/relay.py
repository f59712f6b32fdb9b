"""OpenAI's own bytes, passed on: for chat completions where nothing has to be enforced.

A frame is parsed only where accounting or an error needs it. The others pass as they are, all that
came together at once. Of many, most are only searched for an error: what else is looked for (the
usage, the end) stands in the last frames of an answer, which are searched for all of it. Searches
cannot be fooled by an answer's text: inside a JSON string every quote is escaped, so `"usage":{`
never stands there as such.
"""

import re
from typing import Any, Final

import orjson

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.domain.tokens import BYTES_PER_TOKEN
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import AnswerDecoder, broke_off
from ringside_proxy.providers.chat.stream import DONE, parse_chunk, usage_of
from ringside_proxy.providers.sse import SSE_LINE_BYTES_MAX, Event, SSEDecoder
from ringside_proxy.providers.usage import service_tier, token_usage

FRAME_END: Final = b"\n\n"
DONE_FRAME: Final = b"data: [DONE]\n\n"

DATA: Final = b"data: "
NEXT_DATA: Final = FRAME_END + DATA
NO_DATA: Final = DATA + b"\n"
LAST_FRAMES: Final = 4
"""Where the end of an answer stands: its last word, its usage, what the provider adds, `[DONE]`."""
ERROR: Final = b"error"
"""What every frame that tells an error holds, in its data or as its name."""
OPENING_BYTES: Final = len(b'data: {"id":"chatcmpl-')
"""By as much the frames of an answer are alike, and can be counted."""
OBFUSCATION: Final = b'"obfuscation"'
MARKS: Final = (b'"error"', OBFUSCATION, DONE)
"""What a frame holds that has to be looked at, beside a usage."""
USAGE: Final = b'"usage"'
TOLD_NULL_USAGE: Final = b',"usage":null'
SOME_USAGE: Final = re.compile(rb'"usage"\s*:\s*\{')
FINISH_REASON: Final = b'"finish_reason"'
UNFINISHED: Final = b'"finish_reason":null'

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
        self._events = SSEDecoder(provider)
        super().__init__(provider, self._events)
        self.usage: TokenUsage | None = None
        self.raw_usage: dict[str, Any] | None = None
        self.service_tier: str | None = None
        self._include_usage = include_usage
        self._choices = choices
        self._opening = b""
        self._is_padded = False
        self._is_passing = False
        """What comes next is a frame that may pass as it is."""
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

    def feed(self, data: bytes) -> list[bytes]:
        """What `data` completes: frames, and runs of frames that nothing had to be done with.

        Raises ProviderError for an error in the stream.
        """
        if self._is_passing and _is_one_plain(data):
            return [self._passed(data, 1, may_finish=UNFINISHED not in data)]
        told: list[bytes] = []
        at = 0
        while at < len(data) and not self._is_done:
            early = self._early_end(data, at)
            end = early if early > at else self._run_end(data, at)
            if end > at:
                run = data[at:end]
                frames = max(1, run.count(self._opening))
                told.append(self._passed(run, frames, may_finish=end > early))
            else:
                end = data.find(FRAME_END, at) + len(FRAME_END)
                if end < len(FRAME_END):
                    end = len(data)
                try:
                    told += super().feed(data[at:end])
                except ProviderError as error:
                    if not told:
                        raise
                    self._is_done, self._failure = True, error
                is_between = self._events.is_between_events
                self._is_passing = is_between and self._held is None and not self._is_done
            at = end
        return told

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

    def _early_end(self, data: bytes, at: int) -> int:
        """Where the frames end that begin at `at` and cannot be the end of an answer."""
        if not self._is_passing or self._choices > 1 or self._is_padded:
            return at
        early = _before_last_frames(data, at)
        return early if data.find(ERROR, at, early) < 0 else at

    def _run_end(self, data: bytes, at: int) -> int:
        """Where the frames end that begin at `at` and only have to be passed on."""
        if not self._is_passing:
            return at
        end = data.rfind(FRAME_END, at, _first_mark(data, at)) + len(FRAME_END)
        run = data[at:end]
        frames = run.count(FRAME_END)
        is_plain = (
            len(run) <= SSE_LINE_BYTES_MAX
            and run.startswith(DATA)
            and run.count(NEXT_DATA) == frames - 1
            and run.count(b"\n") == len(FRAME_END) * frames
            and NO_DATA not in run
            and b"\r" not in run
        )
        return end if is_plain else at

    def _passed(self, run: bytes, frames: int, *, may_finish: bool) -> bytes:
        if may_finish and run.count(FINISH_REASON) != run.count(UNFINISHED):
            self._unfinished_choices -= len(FINISH.findall(run))
        if not self._include_usage and USAGE in run:
            run = run.replace(TOLD_NULL_USAGE, b"")
            run = NULL_USAGE.sub(b"", run) if USAGE in run else run
        self._measure(run, frames)
        return run

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
                self._is_padded = True
                data = orjson.dumps(chunk)
            if not self._include_usage and chunk.get("usage") and not chunk.get("choices"):
                return  # the client did not ask for this chunk; we did
        if not self._include_usage:
            data = NULL_USAGE.sub(b"", data)
        frame = b"data: " + data.replace(b"\n", b" ") + FRAME_END

        self._opening = self._opening or frame[:OPENING_BYTES]
        self._measure(frame, 1)
        if self._held is None:
            frames.append(frame)
        elif says_something:
            frames += [*self._held, frame]
            self._held = None
        else:
            self._held.append(frame)

    def _measure(self, run: bytes, frames: int) -> None:
        self._told_frames += frames
        self._told_bytes += len(run)
        self._shortest_bytes = min(self._shortest_bytes, len(run) // frames)

    def _count(self, chunk: dict[str, Any]) -> None:
        self.service_tier = service_tier(chunk) or self.service_tier
        reported = usage_of(chunk)
        if usage := token_usage(reported):
            self.usage, self.raw_usage = usage, reported


def _is_one_plain(data: bytes) -> bool:
    """Whether it is one whole frame, as most that come alone are, and only has to be passed on."""
    return (
        data.find(b"\n") == len(data) - len(FRAME_END)
        and data.startswith(DATA)
        and data.endswith(FRAME_END)
        and b"\r" not in data
        and ERROR not in data
        and DONE not in data
        and OBFUSCATION not in data
        and data.count(USAGE) == data.count(TOLD_NULL_USAGE)
        and len(data) > len(DATA) + len(FRAME_END)
    )


def _before_last_frames(data: bytes, at: int) -> int:
    """Where the last few of the frames from `at` on begin; `at` if there are no more of them."""
    end = data.rfind(FRAME_END, at)
    for _ in range(LAST_FRAMES):
        if end < 0:
            return at
        end = data.rfind(FRAME_END, at, end)
    return at if end < 0 else end + len(FRAME_END)


def _first_mark(data: bytes, at: int) -> int:
    """Where the first thing stands that has to be looked at; the length of `data` if nothing does."""
    found = [place for mark in MARKS if (place := data.find(mark, at)) >= 0]
    if data.count(USAGE, at) != data.count(TOLD_NULL_USAGE, at):
        usage = SOME_USAGE.search(data, at)
        if usage is not None:
            found.append(usage.start())
    return min(found, default=len(data))


def _says_something(chunk: dict[str, Any]) -> bool:
    """Whether a chunk carries more than a role or a provider's preamble."""
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        delta = choice.get("delta") if isinstance(choice, dict) else None
        fields = delta.items() if isinstance(delta, dict) else ()
        if choice.get("finish_reason") or any(value for key, value in fields if key != "role"):
            return True
    return False
