"""Anthropic's stream of content blocks as canonical deltas. Pure.

Events and kinds of blocks that are not known say nothing here, as its versioning demands.
Source: https://platform.claude.com/docs/en/build-with-claude/streaming and the types of anthropic
2.11.0, read 2026-11-21.
"""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX, AnswerDecoder
from ringside_proxy.providers.anthropic.errors import stream_error
from ringside_proxy.providers.anthropic.state import Block, Layout
from ringside_proxy.providers.loose_json import json_object, object_of, text_in
from ringside_proxy.providers.sse import Event, SSEDecoder
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    StateDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.providers.usage import service_tier, token_count

Fields = dict[str, Any]

STOP_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "pause_turn": "stop",
    "compaction": "stop",
}
"""A word that is not here still ends the answer; it counts as `stop`."""


class _Open(msgspec.Struct):
    """A block as far as it has come: what is kept of it, and the pieces of its thinking."""

    block: Block
    pieces: list[str] = []
    signatures: list[str] = []
    position: int = -1
    """Of a call, its index in canonical deltas."""
    input: Fields = {}
    has_arguments: bool = False


class MessageStreamDecoder(AnswerDecoder[Event, Delta]):
    """One streamed answer.

    With its stop reason all of it has come, whether or not the last event does.
    """

    def __init__(self, provider: str, new_id: NewId) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self._new_id = new_id
        self._open: dict[int, _Open] = {}
        self._call_ids: set[str] = set()
        self._layout = Layout()
        self._counts: Fields = {}
        self._held: list[Delta] = []
        """The first counts: they wait for an answer, before which the call may be sent again."""

    def _frame(self, frame: Event, told: list[Delta]) -> None:
        before = len(told)
        self._event(frame, told)
        if len(told) > before:
            told[before:before], self._held = self._held, []

    def _event(self, event: Event, deltas: list[Delta]) -> None:
        fields = self._fields(event)
        match fields.get("type"):
            case "error":
                raise stream_error(self._provider, fields)
            case "message_start":
                self._held = self._count(object_of(fields.get("message")).get("usage"))
            case "content_block_start" if not self._is_finished:
                self._begin(_index(fields), object_of(fields.get("content_block")), deltas)
            case "content_block_delta" if not self._is_finished:
                if (opened := self._open.get(_index(fields))) is not None:
                    self._grow(opened, object_of(fields.get("delta")), deltas)
            case "content_block_stop" if not self._is_finished:
                if (opened := self._open.pop(_index(fields), None)) is not None:
                    self._end(opened, deltas)
            case "message_delta":
                self._message(fields, deltas)
            case "message_stop":
                self._is_done = True
                self._finish("end_turn", deltas)
            case _:
                pass  # a ping, or what is yet to be invented

    def _fields(self, event: Event) -> Fields:
        fields = json_object(self._provider, event.data)
        if event.name == b"error":
            raise stream_error(self._provider, fields)
        return fields

    def _begin(self, index: int, block: Fields, deltas: list[Delta]) -> None:
        if (replaced := self._open.pop(index, None)) is not None:
            self._end(replaced, deltas)
        match block.get("type"):
            case "text":
                opened = _Open(self._layout.add("text", chars=0))
                self._grow(opened, {**block, "type": "text_delta"}, deltas)
            case "thinking":
                opened = _Open(self._layout.add("thinking", thinking="", signature=""))
                self._think(opened, text_in(block, "thinking"), text_in(block, "signature"), deltas)
            case "redacted_thinking":
                opened = _Open(self._layout.add("redacted_thinking", data=text_in(block, "data")))
            case "tool_use":
                opened = self._call(block, deltas)
            case _:
                return  # tools that run over there, and what is yet to be invented
        self._open[index] = opened

    def _call(self, block: Fields, deltas: list[Delta]) -> _Open:
        name, given = text_in(block, "name"), text_in(block, "id")
        if not name:
            raise self._bad("a tool call without a name")
        if len(self._call_ids) == TOOL_CALLS_MAX:
            raise self._bad(f"more than {TOOL_CALLS_MAX} tool calls in one answer")
        position = len(self._call_ids)
        call_id = given if given and given not in self._call_ids else self._new_id("call")
        self._call_ids.add(call_id)
        deltas.append(ToolCallDelta(index=position, id=call_id, name=name))
        return _Open(
            self._layout.add("tool_use"), position=position, input=object_of(block.get("input"))
        )

    def _grow(self, opened: _Open, delta: Fields, deltas: list[Delta]) -> None:
        match delta.get("type"), opened.block["type"]:
            case "text_delta", "text":
                if text := text_in(delta, "text"):
                    opened.block["chars"] += len(text)
                    deltas.append(TextDelta(text))
            case "input_json_delta", "tool_use":
                if arguments := text_in(delta, "partial_json"):
                    opened.has_arguments = True
                    deltas.append(ToolCallDelta(index=opened.position, arguments=arguments))
            case "thinking_delta", "thinking":
                self._think(opened, text_in(delta, "thinking"), "", deltas)
            case "signature_delta", "thinking":
                self._think(opened, "", text_in(delta, "signature"), deltas)
            case _:
                pass  # citations, or what is yet to be invented

    def _think(self, opened: _Open, text: str, signature: str, deltas: list[Delta]) -> None:
        if self._layout.grow(len(text) + len(signature)):
            opened.pieces.append(text)
            opened.signatures.append(signature)
        if text:
            deltas.append(ReasoningDelta(text))

    def _end(self, opened: _Open, deltas: list[Delta]) -> None:
        """Puts the pieces together; a call that came whole, or without arguments, gets its own."""
        if opened.block["type"] == "thinking":
            opened.block["thinking"] = "".join(opened.pieces)
            opened.block["signature"] = "".join(opened.signatures)
        elif opened.block["type"] == "tool_use" and not opened.has_arguments:
            arguments = orjson.dumps(opened.input).decode()
            deltas.append(ToolCallDelta(index=opened.position, arguments=arguments))

    def _message(self, fields: Fields, deltas: list[Delta]) -> None:
        if counted := self._count(fields.get("usage")):
            self._held = []
            deltas += counted
        if reason := text_in(object_of(fields.get("delta")), "stop_reason"):
            self._finish(reason, deltas)

    def _count(self, reported: Any) -> list[Delta]:
        """The counts so far: they are cumulative, so that a newer one replaces the older."""
        if not isinstance(reported, dict):
            return []
        said = {name: value for name, value in reported.items() if value is not None}
        self._counts = self._counts | said
        usage = message_usage(self._counts)
        if usage is None:
            return []
        return [UsageDelta(usage, self._counts, service_tier(self._counts))]

    def _finish(self, reason: str, deltas: list[Delta]) -> None:
        if self._is_finished:
            return
        for opened in self._open.values():
            self._end(opened, deltas)
        self._open.clear()
        # Only calls bring their thinking back: with anything else the turn is over.
        if self._call_ids and (state := self._layout.state()) is not None:
            deltas.append(StateDelta(state))
        finish = STOP_REASONS.get(reason, "stop")
        if finish in ("stop", "tool_calls"):
            finish = "tool_calls" if self._call_ids else "stop"
        self._is_finished = True
        deltas.append(Finish(finish))

    def _bad(self, what: str) -> ProviderBadReplyError:
        return ProviderBadReplyError(f"{self._provider} sent {what}.", provider=self._provider)


def message_usage(reported: Fields) -> TokenUsage | None:
    """Anthropic's counts: its input leaves out what was read from and written to the cache.

    Thinking is part of the output. None if the counts are missing or cannot be true.
    """
    fresh, output = (
        token_count(reported.get("input_tokens")),
        token_count(reported.get("output_tokens")),
    )
    if fresh is None or output is None:
        return None
    read = token_count(reported.get("cache_read_input_tokens")) or 0
    written = token_count(reported.get("cache_creation_input_tokens")) or 0
    for_an_hour = (
        token_count(object_of(reported.get("cache_creation")).get("ephemeral_1h_input_tokens")) or 0
    )
    details = object_of(reported.get("output_tokens_details"))
    return TokenUsage(
        input_tokens=fresh + read + written,
        cached_input_tokens=read,
        cache_write_input_tokens=written,
        cache_write_1h_input_tokens=min(for_an_hour, written),
        output_tokens=output,
        reasoning_tokens=min(token_count(details.get("thinking_tokens")) or 0, output),
    )


def _index(fields: Fields) -> int:
    value = fields.get("index")
    return value if isinstance(value, int) else -1
