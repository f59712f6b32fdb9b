"""Chat-completions chunks to canonical deltas, for every provider that speaks OpenAI's dialect.

What differs between them is smoothed here: calls that come whole, without an index or an id, with
arguments as an object; finish words; reasoning in four places; errors inside a stream.
Source: the vendors' streaming pages and SDK types, read 2026-11-21.
"""

from math import isfinite
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX, AnswerDecoder, broke_off
from ringside_proxy.providers.chat.messages import ReplayField
from ringside_proxy.providers.chat.reasoning import Replay, ThinkTags
from ringside_proxy.providers.errors import error_from_frame
from ringside_proxy.providers.loose_json import json_object, objects_of, text_in
from ringside_proxy.providers.sse import Event, SSEDecoder
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.providers.usage import service_tier, token_usage

DONE: Final = b"[DONE]"

FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
"""A word that is not here still ends the answer; it counts as `stop`."""

FAILURES: Final = frozenset({"error", "insufficient_system_resource"})
"""Finish words that say the provider failed, not that the model is done."""

TEXT_ONLY: Final = frozenset({"content"})
"""What nearly every delta has, and nothing else."""

NO_IDS: Final = frozenset({"", "null"})
PLACE_DIGITS_MAX: Final = 3


class _Call(msgspec.Struct):
    """A call as far as it has come; `position` is its index in canonical deltas."""

    position: int
    provider_index: int | None
    id: str
    is_announced: bool = False
    arguments: str = ""


class ChatStreamDecoder(AnswerDecoder[Event, Delta]):
    """One streamed answer. What came before an error is handed out before the error is raised."""

    def __init__(
        self,
        provider: str,
        new_id: NewId,
        *,
        replay: ReplayField | None = None,
        think_tags: ThinkTags | None = None,
    ) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self._new_id = new_id
        self._replay = Replay(replay)
        self._tags = think_tags
        self._calls: list[_Call] = []
        self._has_chunks = False
        self._service_tier: str | None = None

    def _frame(self, frame: Event, told: list[Delta]) -> None:
        data = frame.data.strip()
        if data == DONE:
            self._is_done = True
            if not self._has_chunks:
                raise broke_off(self._provider)
            if not self._is_finished:
                self._finish("", told)
        elif data:
            self._has_chunks = True
            self._chunk(parse_chunk(self._provider, frame), told)

    def _chunk(self, chunk: dict[str, Any], deltas: list[Delta]) -> None:
        if not self._is_finished and (choice := _first_choice(chunk)) is not None:
            self._choice(choice, deltas)
        if "service_tier" in chunk:
            self._service_tier = service_tier(chunk) or self._service_tier
        reported = usage_of(chunk)
        if reported is not None and (usage := token_usage(reported)):
            deltas.append(UsageDelta(usage, reported, self._service_tier))

    def _choice(self, choice: dict[str, Any], deltas: list[Delta]) -> None:
        if choice.get("error"):
            raise error_from_frame(self._provider, choice)
        delta = choice.get("delta")
        if isinstance(delta, dict) and delta.keys() == TEXT_ONLY:
            self._content(delta["content"], deltas)
        elif isinstance(delta, dict):
            self._reasoning(delta, deltas)
            self._content(delta.get("content"), deltas)
            if refusal := text_in(delta, "refusal"):
                deltas.append(RefusalDelta(refusal))
            if fragments := objects_of(delta.get("tool_calls")):
                deltas += self._told(self._tags.close()) if self._tags else []
            for fragment in fragments:
                self._fragment(fragment, deltas)
        reason = choice.get("finish_reason")
        # An empty word after calls is xAI's way to say `tool_calls`; otherwise it says nothing.
        if isinstance(reason, str) and (reason or self._calls):
            self._finish(reason, deltas)

    def _reasoning(self, delta: dict[str, Any], deltas: list[Delta]) -> None:
        if reasoning := text_in(delta, "reasoning_content") or text_in(delta, "reasoning"):
            self._replay.text(reasoning)
            if self._tags:
                self._tags.is_told_apart()
            deltas.append(ReasoningDelta(reasoning))
        self._replay.details(objects_of(delta.get("reasoning_details")))

    def _content(self, content: Any, deltas: list[Delta]) -> None:
        """Text, or Mistral's list of texts and thoughts."""
        if isinstance(content, str):
            if content:
                deltas += self._tagged(content) if self._tags else [TextDelta(content)]
            return
        for part in objects_of(content):
            if part.get("type") == "thinking":
                thought = "".join(
                    text_in(piece, "text") for piece in objects_of(part.get("thinking"))
                )
                self._replay.thinking(part, thought)
                if thought:
                    deltas.append(ReasoningDelta(thought))
            elif text := text_in(part, "text"):
                deltas.append(TextDelta(text))

    def _tagged(self, content: str) -> list[Delta]:
        return self._told(self._tags.feed(content) if self._tags else [])

    def _told(self, deltas: list[Delta]) -> list[Delta]:
        """`deltas`, with the reasoning among them kept for the next turn."""
        for delta in deltas:
            if isinstance(delta, ReasoningDelta):
                self._replay.text(delta.text)
        return deltas

    def _fragment(self, fragment: dict[str, Any], deltas: list[Delta]) -> None:
        call = self._call_of(fragment)
        function = fragment.get("function")
        if not isinstance(function, dict):
            return
        name, arguments = text_in(function, "name"), _arguments(function.get("arguments"))
        if call.is_announced:
            call.arguments += arguments
            if arguments:
                deltas.append(ToolCallDelta(index=call.position, arguments=arguments))
            return
        call.arguments += arguments
        if name:
            call.is_announced = True
            deltas.append(ToolCallDelta(index=call.position, id=call.id, name=name))
            if call.arguments:
                deltas.append(ToolCallDelta(index=call.position, arguments=call.arguments))

    def _call_of(self, fragment: dict[str, Any]) -> _Call:
        """The open call that a fragment belongs to, by index, else by id, else the last; or a new one.

        Another id at the same index is another call: some providers send index 0 for all.
        """
        given = fragment.get("index")
        # Together types it as a float.
        index = int(given) if isinstance(given, int | float) and isfinite(given) else None
        call_id = text_in(fragment, "id")
        # A place in a list is no id: it comes again with the next answer.
        if call_id in NO_IDS or (len(call_id) <= PLACE_DIGITS_MAX and call_id.isdigit()):
            call_id = ""
        for call in reversed(self._calls):
            same_place = index is None or call.provider_index == index
            if same_place and call_id in ("", call.id):
                return call
        if len(self._calls) == TOOL_CALLS_MAX:
            raise ProviderBadReplyError(
                f"{self._provider} sent more than {TOOL_CALLS_MAX} tool calls in one answer.",
                provider=self._provider,
            )
        call = _Call(len(self._calls), index, call_id or self._new_id("call"))
        self._calls.append(call)
        return call

    def _finish(self, reason: str, deltas: list[Delta]) -> None:
        if reason in FAILURES:
            raise ProviderUnavailableError(
                f"{self._provider} gave up on the answer ('{reason}').", provider=self._provider
            )
        if self._tags:
            deltas += self._told(self._tags.close())
        if any(not call.is_announced for call in self._calls):
            raise ProviderBadReplyError(
                f"{self._provider} sent a tool call without a name.", provider=self._provider
            )
        # A function without parameters: OpenAI writes `{}`, others write nothing.
        deltas.extend(
            ToolCallDelta(index=call.position, arguments="{}")
            for call in self._calls
            if not call.arguments
        )
        finish = FINISH_REASONS.get(reason, "stop")
        if finish in ("stop", "tool_calls"):
            finish = "tool_calls" if self._calls else "stop"
        self._is_finished = True
        deltas += [*self._replay.close(), Finish(finish)]


def parse_chunk(provider: str, event: Event) -> dict[str, Any]:
    """The chunk in an event. Raises ProviderError if it is an error, or no chunk at all."""
    chunk = json_object(provider, event.data)
    # Mistral's errors stand at the top, as an object of their own.
    if chunk.get("error") or event.name == b"error" or chunk.get("object") == "error":
        raise error_from_frame(provider, chunk)
    if "x_groq" in chunk and (error := _groq(chunk).get("error")):
        raise error_from_frame(provider, {"error": error})
    return chunk


def _groq(chunk: dict[str, Any]) -> dict[str, Any]:
    """What Groq says beside a chunk. Source: https://console.groq.com/docs, read 2026-11-21."""
    said = chunk.get("x_groq")
    return said if isinstance(said, dict) else {}


def usage_of(chunk: dict[str, Any]) -> Any:
    """What a chunk says was consumed, where it says it."""
    return chunk.get("usage") or ("x_groq" in chunk and _groq(chunk).get("usage")) or None


def _first_choice(chunk: dict[str, Any]) -> dict[str, Any] | None:
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if isinstance(choice, dict):
            return choice
    return None


def _arguments(value: Any) -> str:
    """Arguments as the text that OpenAI sends; Mistral may send the object itself."""
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return value if isinstance(value, str) else ""
