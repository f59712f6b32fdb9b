"""The simulated models: one table, from a name to how it behaves.

A behaviour is a pure function from a turn to a script. A name may end in a number (`slow-200`);
`find` reads it.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, Never

import msgspec
import orjson

from ringside_proxy.sandbox import conversation, errors
from ringside_proxy.sandbox.instances import instance
from ringside_proxy.sandbox.requests import ChatRequest
from ringside_proxy.sandbox.script import (
    OUTPUT_TOKENS_MAX,
    Arguments,
    Call,
    Cut,
    Finish,
    Page,
    Refuse,
    Say,
    Silence,
    Step,
    Wait,
)
from ringside_proxy.sandbox.tokens import pieces

OPENING: Final = "Here is what I know so far:"
REFUSAL: Final = "I'm sorry, but I can't help with that."
LOOKING_UP: Final = "Let me look that up."
CONTEXT_TOKENS: Final = 8_192
LONG_TEXT: Final = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "and"]
GATEWAY_PAGE: Final = "<html><body><h1>502 Bad Gateway</h1></body></html>"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model; `number` is that of its name, `attempt` counts equal bodies from 1."""

    request: ChatRequest
    number: int = 0
    attempt: int = 1


NUMBER: Final = re.compile(r"[0-9]{1,9}")

Behaviour = Callable[[Turn], Iterator[Step]]


class Suffix(msgspec.Struct, frozen=True, kw_only=True):
    """The number at the end of a name: `example` shows it, no `default` means it must be there."""

    least: int
    most: int
    default: int | None = None
    example: int


class SandboxModel(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    name: str
    description: str
    behaviour: Behaviour
    suffix: Suffix | None = None
    counts_attempts: bool = False

    @property
    def example(self) -> str:
        """A name that can be called."""
        if self.suffix is None or self.suffix.default is not None:
            return self.name
        return f"{self.name}-{self.suffix.example}"


def _echo(turn: Turn) -> Iterator[Step]:
    yield Say(conversation.last_user_text(turn.request.messages))


def _system(turn: Turn) -> Iterator[Step]:
    yield Say(conversation.system_text(turn.request.messages) or "No instructions were given.")


def _transcript(turn: Turn) -> Iterator[Step]:
    yield Say(orjson.dumps(turn.request.messages).decode())


def _tools(turn: Turn) -> Iterator[Step]:
    messages = turn.request.messages
    if turn.request.callable_functions and conversation.rounds_of_calls(messages) < turn.number:
        yield from _calls(turn.request)
    elif reports := conversation.reports(messages):
        yield Say("; ".join(reports))
    else:
        yield from _echo(turn)


def _calls(request: ChatRequest) -> Iterator[Step]:
    text = conversation.last_user_text(request.messages)
    for function in request.callable_functions:
        schema = {**function.parameters, "type": "object"}
        yield Call(function.name)
        yield Arguments(_json_text(instance(schema, conversation.words(text))))


def _json_text(value: Any) -> str:
    """With spaces, as models write it, so that it falls into several tokens."""
    return json.dumps(value, ensure_ascii=False)


def _say_then_tools(turn: Turn) -> Iterator[Step]:
    is_first = not conversation.rounds_of_calls(turn.request.messages)
    if is_first and turn.request.callable_functions:
        yield Say(LOOKING_UP)
    yield from _tools(turn)


def _slow(turn: Turn) -> Iterator[Step]:
    for i, piece in enumerate(pieces(conversation.last_user_text(turn.request.messages))):
        if i:
            yield Wait(turn.number)
        yield Say(piece)


def _long(turn: Turn) -> Iterator[Step]:
    for i in range(turn.number):
        word = LONG_TEXT[i % len(LONG_TEXT)]
        yield Say(f" {word}" if i else word)


def _json(turn: Turn) -> Iterator[Step]:
    text = conversation.last_user_text(turn.request.messages)
    schema = turn.request.answer_schema
    answer = {"echo": text} if schema is None else instance(schema, conversation.words(text))
    yield Say(_json_text(answer))


def _refuse(turn: Turn) -> Iterator[Step]:
    yield Refuse(REFUSAL)


def _filter(turn: Turn) -> Iterator[Step]:
    yield Say(OPENING)
    yield Finish("content_filter")


def _fail(turn: Turn) -> Never:
    raise errors.of_status(turn.number)


def _flaky(turn: Turn) -> Iterator[Step]:
    if turn.attempt <= turn.number:
        raise errors.of_status(503)
    yield from _echo(turn)


def _rate_limit(turn: Turn) -> Never:
    raise errors.rate_limited(turn.request.model, turn.number)


def _quota(turn: Turn) -> Never:
    raise errors.out_of_quota()


def _too_long(turn: Turn) -> Never:
    tokens = CONTEXT_TOKENS + turn.request.prompt_tokens
    raise errors.context_too_long(CONTEXT_TOKENS, tokens)


def _hang(turn: Turn) -> Iterator[Step]:
    yield Silence()


def _hang_midstream(turn: Turn) -> Iterator[Step]:
    yield Say(OPENING)
    yield Silence()


def _break_midstream(turn: Turn) -> Iterator[Step]:
    yield Say(OPENING)
    yield Cut()


def _error_midstream(turn: Turn) -> Iterator[Step]:
    yield Say(OPENING)
    raise errors.of_status(500)


def _garbage(turn: Turn) -> Iterator[Step]:
    yield Page(GATEWAY_PAGE)


ROWS: Final = (
    SandboxModel(
        name="echo",
        description="answers with the text of the last user message",
        behaviour=_echo,
    ),
    SandboxModel(
        name="system",
        description="answers with the instructions that it was given",
        behaviour=_system,
    ),
    SandboxModel(
        name="transcript",
        description="answers with the messages that it was sent, as JSON",
        behaviour=_transcript,
    ),
    SandboxModel(
        name="tools",
        description="calls every function offered, then reports what they returned; "
        "tools-<n> does so in n rounds",
        behaviour=_tools,
        suffix=Suffix(least=1, most=100, default=1, example=2),
    ),
    SandboxModel(
        name="say-then-tools",
        description="says something and calls every function offered in the same turn, "
        "then reports what they returned",
        behaviour=_say_then_tools,
        suffix=Suffix(least=1, most=100, default=1, example=2),
    ),
    SandboxModel(
        name="slow",
        description="echo with a pause of 50 ms between words; slow-<ms> sets the pause",
        behaviour=_slow,
        suffix=Suffix(least=0, most=60_000, default=50, example=200),
    ),
    SandboxModel(
        name="long",
        description="long-<n> answers with n words",
        behaviour=_long,
        suffix=Suffix(least=1, most=OUTPUT_TOKENS_MAX, example=100),
    ),
    SandboxModel(
        name="json",
        description="answers with an instance of the response format's schema",
        behaviour=_json,
    ),
    SandboxModel(
        name="refuse",
        description="answers with a refusal",
        behaviour=_refuse,
    ),
    SandboxModel(
        name="filter",
        description="stops after a few words: finish_reason content_filter",
        behaviour=_filter,
    ),
    SandboxModel(
        name="fail",
        description="fail-<status> answers with that HTTP status, always",
        behaviour=_fail,
        suffix=Suffix(least=400, most=599, example=500),
    ),
    SandboxModel(
        name="flaky",
        description="flaky-<n> answers 503 to the first n attempts of a request, then echoes",
        behaviour=_flaky,
        suffix=Suffix(least=1, most=100, example=1),
        counts_attempts=True,
    ),
    SandboxModel(
        name="rate-limit",
        description="answers 429 rate_limit_exceeded; rate-limit-<seconds> sets retry-after",
        behaviour=_rate_limit,
        suffix=Suffix(least=0, most=86_400, default=1, example=60),
    ),
    SandboxModel(
        name="quota",
        description="answers 429 insufficient_quota",
        behaviour=_quota,
    ),
    SandboxModel(
        name="too-long",
        description="answers 400 context_length_exceeded",
        behaviour=_too_long,
    ),
    SandboxModel(
        name="hang",
        description="accepts the request and never answers",
        behaviour=_hang,
    ),
    SandboxModel(
        name="hang-midstream",
        description="says a few words and falls silent",
        behaviour=_hang_midstream,
    ),
    SandboxModel(
        name="break-midstream",
        description="says a few words and cuts the connection",
        behaviour=_break_midstream,
    ),
    SandboxModel(
        name="error-midstream",
        description="says a few words and sends an error in the stream",
        behaviour=_error_midstream,
    ),
    SandboxModel(
        name="garbage",
        description="answers 200 with a web page",
        behaviour=_garbage,
    ),
)

MODELS: Final = {row.name: row for row in ROWS}


def find(name: str) -> tuple[SandboxModel, int]:
    """The model of that name, and the number its name ends in. Raises APIError (404)."""
    row = MODELS.get(name)
    if row is not None and row.suffix is None:
        return row, 0
    if row is not None and row.suffix is not None and row.suffix.default is not None:
        return row, row.suffix.default
    stem, _, digits = name.rpartition("-")
    suffix = MODELS[stem].suffix if stem in MODELS else None
    if suffix is None or not NUMBER.fullmatch(digits):
        raise errors.no_such_model(name)
    if not suffix.least <= int(digits) <= suffix.most:
        raise errors.no_such_model(name)
    return MODELS[stem], int(digits)
