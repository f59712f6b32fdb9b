"""What a simulated model does, as a script of steps, and how it is spoken within the limits.

A behaviour (`models.py`) writes the script, `perform` cuts it into tokens and ends it early, the
server acts it out. An error is no step: a behaviour raises APIError.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from ringside_proxy.sandbox.tokens import pieces

OUTPUT_TOKENS_MAX: Final = 100_000

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Say(msgspec.Struct, frozen=True):
    """Some of the answer's text."""

    text: str


class Refuse(msgspec.Struct, frozen=True):
    """Some of a refusal."""

    text: str


class Call(msgspec.Struct, frozen=True):
    """The start of a function call."""

    name: str


class Arguments(msgspec.Struct, frozen=True):
    """Some of the arguments of the call that was started last."""

    text: str


class Finish(msgspec.Struct, frozen=True):
    """The end of the answer."""

    reason: FinishReason


class Wait(msgspec.Struct, frozen=True):
    """A pause."""

    ms: int


class Silence(msgspec.Struct, frozen=True):
    """Nothing more, until the client leaves."""


class Cut(msgspec.Struct, frozen=True):
    """The connection breaks."""


class Page(msgspec.Struct, frozen=True):
    """A web page in place of an answer, as a broken gateway sends it."""

    html: str


Spoken = Say | Refuse | Arguments
Output = Spoken | Call | Finish
Staging = Wait | Silence | Cut | Page
Step = Output | Staging


class StopGate:
    """Lets text through up to the stop sequence that is complete first; holds back what may be one."""

    def __init__(self, stops: tuple[str, ...]) -> None:
        self._stops = stops
        self._held = ""
        self.is_closed = False

    def feed(self, text: str) -> str:
        """As much of the text as can be shown by now."""
        self._held += text
        ends = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        self.is_closed = bool(ends)
        shown = min(ends)[1] if ends else len(self._held) - self._undecided()
        text, self._held = self._held[:shown], "" if ends else self._held[shown:]
        return text

    def _undecided(self) -> int:
        longest = max((len(stop) - 1 for stop in self._stops), default=0)
        ends = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in ends if self._may_begin(self._held[-n:])), 0)

    def _may_begin(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self._stops)

    def flush(self) -> str:
        """What was held back and did not become a stop sequence."""
        text, self._held = self._held, ""
        return text


def perform(script: Iterable[Step], tokens_max: int, stops: tuple[str, ...]) -> Iterator[Step]:
    """The script a token at a time, ended by a stop sequence or the limit; a Finish comes last."""
    gate, tokens_left = StopGate(stops), min(tokens_max, OUTPUT_TOKENS_MAX)
    reason: FinishReason = "stop"
    for step in _token_by_token(script):
        if isinstance(step, Finish):
            reason = step.reason
            break
        if isinstance(step, Spoken):
            if not tokens_left:
                reason = "length"
                break
            tokens_left -= 1
        if isinstance(step, Say):
            yield from _say(gate.feed(step.text))
            if gate.is_closed:
                break
            continue
        if isinstance(step, Call):
            yield from _say(gate.flush())
            reason = "tool_calls"
        yield step
    yield from _say(gate.flush())
    yield Finish(reason)


def _token_by_token(script: Iterable[Step]) -> Iterator[Step]:
    for step in script:
        if isinstance(step, Spoken):
            yield from (type(step)(piece) for piece in pieces(step.text))
        else:
            yield step


def _say(text: str) -> Iterator[Say]:
    if text:
        yield Say(text)
