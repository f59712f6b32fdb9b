"""Gemini's streamed answer to canonical deltas.

A chunk is a whole `GenerateContentResponse`; calls come whole, and usage is cumulative. Nothing
marks the end but the body's own, so the finish is told there, with the signatures before it. An
answer that Google goes on with in a further request (`CONTINUATION`, past 65,536 tokens of output)
ends as `length`, with what the next decoder has to know.
Source: https://github.com/googleapis/python-genai (types.py and _api_client.py of 3.4.0) and
https://ai.google.dev/gemini-api/docs/generate-content/long-decode, read 2026-11-21.
"""

import re
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderRejectedError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX
from ringside_proxy.providers.errors import STATE_REJECTED, redact
from ringside_proxy.providers.google.errors import stream_error, unwrapped
from ringside_proxy.providers.google.state import Halt
from ringside_proxy.providers.loose_json import objects_of
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
from ringside_proxy.providers.usage import token_count

TAIL_BYTES_MAX: Final = 16 * 1024
MESSAGE_CHARS_MAX: Final = 300

CONTINUATION: Final = "CONTINUATION"
FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    CONTINUATION: "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "IMAGE_OTHER": "content_filter",
    "NO_IMAGE": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
}
"""A word that is not here still ends the answer; it counts as `stop`."""

MALFORMED: Final = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MALFORMED_RESPONSE",
    }
)
"""The model lost its way, which it may not do a second time."""
MISSING_SIGNATURE: Final = "MISSING_THOUGHT_SIGNATURE"
FAILURES: Final[dict[str, tuple[type[ProviderError], bool]]] = {
    **dict.fromkeys(MALFORMED, (ProviderBadReplyError, True)),
    MISSING_SIGNATURE: (ProviderRejectedError, False),
    # The account broke Google's rules, whatever this request says.
    "PUP_LIMITED_DISABLED": (ProviderPermissionDeniedError, False),
}
"""Finish words that stand for an error, and whether the call may be sent again."""

UNFRAMED_ERROR: Final = re.compile(rb'(?:\A|[\r\n])(\[?\s*\{\s*"error"\s*:.*)\Z', re.DOTALL)
"""Some errors come in the middle of a stream as bare JSON, without `data:`."""


class GeminiStreamDecoder:
    """One streamed answer. What came before an error is handed out before the error is raised."""

    def __init__(
        self, provider: str, new_id: NewId, names: dict[str, str], halt: Halt | None = None
    ) -> None:
        """`names` gives functions back their own names; `halt` is where the answer stopped."""
        halt = halt or Halt.of(None)
        self._provider = provider
        self._new_id = new_id
        self._names = names
        self._sse = SSEDecoder(provider)
        self._tail = b""
        self._call_ids = list(halt.call_ids)
        self._signatures = halt.signatures
        self._token: str | None = None
        self._reason: str | None = None
        self._is_blocked = False
        self._usage: UsageDelta | None = None
        self._told_usage: UsageDelta | None = None
        self._has_told = False
        self._failure: ProviderError | None = None

    @property
    def is_done(self) -> bool:
        """An error has come; a whole answer ends with its body."""
        return self._failure is not None

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes. Raises ProviderError for an error in the stream."""
        self._tail = (self._tail + data)[-TAIL_BYTES_MAX:]
        return self._read(self._sse.feed(data))

    def close(self) -> list[Delta]:
        """The end of the answer. Raises ProviderError if it is not whole."""
        deltas = self._read(self._sse.close())
        if self._failure:
            raise self._failure
        if self._reason is None and not self._is_blocked:
            raise self._broken()
        if state := self._signatures.state():
            deltas.append(StateDelta(state))
        self._tell_usage(deltas)
        deltas.append(Finish(self._finish(), self._halt()))
        return deltas

    def _read(self, events: list[Event]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for event in events:
                if self._failure:
                    break
                self._event(event, deltas)
        except ProviderError as error:
            self._failure = error
            if not deltas:
                raise
        return deltas

    def _event(self, event: Event, deltas: list[Delta]) -> None:
        """Usage waits for what it is the usage of: until then the call may be sent again."""
        if not event.data.strip():
            return
        chunk = self._parsed(event.data)
        reported = chunk.get("usageMetadata")
        if usage := gemini_usage(reported):
            self._usage = UsageDelta(usage, reported)
        told_before = len(deltas)
        try:
            self._chunk(chunk, deltas)
        finally:
            self._has_told = self._has_told or len(deltas) > told_before
            if self._has_told:
                self._tell_usage(deltas)

    def _parsed(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = unwrapped(orjson.loads(data))
        except orjson.JSONDecodeError:
            chunk = None
        if not isinstance(chunk, dict):
            raise self._bad("sent something in its stream that is not a JSON object.")
        if chunk.get("error"):
            raise stream_error(self._provider, chunk)
        return chunk

    def _chunk(self, chunk: dict[str, Any], deltas: list[Delta]) -> None:
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._is_blocked = True
        for candidate in objects_of(chunk.get("candidates"))[:1]:
            self._take_reason(candidate)
            content = candidate.get("content")
            for part in objects_of(content.get("parts") if isinstance(content, dict) else None):
                self._part(part, deltas)

    def _take_reason(self, candidate: dict[str, Any]) -> None:
        reason = candidate.get("finishReason")
        if not isinstance(reason, str) or not reason:
            return
        self._reason = reason
        if reason == CONTINUATION and isinstance(token := candidate.get("continuationToken"), str):
            self._token = token
        if reason in FAILURES:
            kind, is_retryable = FAILURES[reason]
            said = candidate.get("finishMessage")
            words = f": {redact(said)[:MESSAGE_CHARS_MAX]}" if isinstance(said, str) else "."
            raise kind(
                f"{self._provider} gave up on the answer ({reason}){words}",
                provider=self._provider,
                code=STATE_REJECTED if reason == MISSING_SIGNATURE else None,
                is_retryable=is_retryable,
            )

    def _part(self, part: dict[str, Any], deltas: list[Delta]) -> None:
        """Takes text, thoughts and calls; other kinds, and those to come, are passed over."""
        signature = part.get("thoughtSignature")
        signature = signature if isinstance(signature, str) else ""
        if isinstance(call := part.get("functionCall"), dict):
            self._call(call, signature, deltas)
        elif isinstance(text := part.get("text"), str):
            if part.get("thought") is True:
                deltas.extend([ReasoningDelta(text)] if text else [])
                return
            self._signatures.add_text(text, signature, is_after_calls=bool(self._call_ids))
            deltas.extend([TextDelta(text)] if text else [])

    def _call(self, call: dict[str, Any], signature: str, deltas: list[Delta]) -> None:
        index = len(self._call_ids)
        if index == TOOL_CALLS_MAX:
            raise self._bad(f"sent more than {TOOL_CALLS_MAX} tool calls in one answer.")
        name = call.get("name")
        if not isinstance(name, str) or not name:
            raise self._bad("sent a tool call without a name.")
        try:
            arguments = orjson.dumps(call.get("args") or {}).decode()
        except orjson.JSONEncodeError as error:
            raise self._bad("sent a tool call with arguments nested too deeply.") from error
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id or call_id in self._call_ids:
            call_id = self._new_id("call")
        self._call_ids.append(call_id)
        if signature:
            self._signatures.calls.append((index, signature))
        deltas.append(ToolCallDelta(index=index, id=call_id, name=self._names.get(name, name)))
        deltas.append(ToolCallDelta(index=index, arguments=arguments))

    def _tell_usage(self, deltas: list[Delta]) -> None:
        if self._usage is not None and self._usage != self._told_usage:
            self._told_usage = self._usage
            deltas.append(self._usage)

    def _finish(self) -> FinishReason:
        if self._reason is None:
            return "content_filter"  # the prompt was blocked
        finish = FINISH_REASONS.get(self._reason, "stop")
        return "tool_calls" if finish == "stop" and self._call_ids else finish

    def _halt(self) -> dict[str, Any] | None:
        """What the answer goes on with, if it does."""
        if self._token is None:
            return None
        halt = Halt(token=self._token, call_ids=self._call_ids, signatures=self._signatures)
        return msgspec.to_builtins(halt)  # type: ignore[no-any-return]

    def _broken(self) -> ProviderError:
        """The bare error that the body ended with, if that is why it broke off."""
        if found := UNFRAMED_ERROR.search(self._tail):
            try:
                return stream_error(self._provider, orjson.loads(found[1]))
            except orjson.JSONDecodeError:
                pass
        return self._bad("broke off its answer before it was complete.", is_retryable=True)

    def _bad(self, words: str, *, is_retryable: bool | None = None) -> ProviderBadReplyError:
        return ProviderBadReplyError(
            f"{self._provider} {words}", provider=self._provider, is_retryable=is_retryable
        )


def gemini_usage(reported: Any) -> TokenUsage | None:
    """`usageMetadata` in canonical form; None if it is missing or cannot be true.

    Cached tokens are part of the prompt. Thoughts come on top of the candidates' tokens, except
    where the total shows that they are already inside.
    """
    if not isinstance(reported, dict) or "promptTokenCount" not in reported:
        return None
    prompt, tools, candidates, thoughts, cached, total = (
        token_count(reported.get(key, 0))
        for key in (
            "promptTokenCount",
            "toolUsePromptTokenCount",
            "candidatesTokenCount",
            "thoughtsTokenCount",
            "cachedContentTokenCount",
            "totalTokenCount",
        )
    )
    if prompt is None or candidates is None:
        return None
    given, thoughts = prompt + (tools or 0), thoughts or 0
    is_inside = 0 < thoughts <= candidates and given + candidates == total
    return TokenUsage(
        input_tokens=given,
        cached_input_tokens=min(cached or 0, given),
        output_tokens=candidates if is_inside else candidates + thoughts,
        reasoning_tokens=thoughts,
    )
