"""ConverseStream's messages as canonical deltas, and Bedrock's refusals in words we know. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html, by
the service model of botocore 1.44.5, read 2026-11-21.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX, broke_off
from ringside_proxy.providers.bedrock.event_stream import EventStreamDecoder, Message
from ringside_proxy.providers.errors import error_from_frame
from ringside_proxy.providers.loose_json import object_of, text_in
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

Fields = dict[str, Any]

STOP_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
"""A word that is not here still ends the answer; it counts as `stop`."""

FAILURES: Final = frozenset({"malformed_model_output", "malformed_tool_use"})

EXCEPTIONS: Final[dict[str, tuple[int, str]]] = {
    "validationexception": (400, "invalid_request"),
    "servicequotaexceededexception": (429, "insufficient_quota"),
    "accessdeniedexception": (403, ""),
    "unrecognizedclientexception": (401, ""),
    "invalidsignatureexception": (401, ""),
    "signaturedoesnotmatch": (401, ""),
    "incompletesignatureexception": (401, ""),
    "missingauthenticationtokenexception": (401, ""),
    "expiredtokenexception": (401, ""),
    "resourcenotfoundexception": (404, "model_not_found"),
    "modeltimeoutexception": (504, ""),
    "modelerrorexception": (503, ""),
    "modelstreamerrorexception": (503, ""),
    "throttlingexception": (429, ""),
    "modelnotreadyexception": (429, ""),
    "internalserverexception": (500, ""),
    "serviceunavailableexception": (503, ""),
}
"""AWS's names, in lower case: the status that says the same to everyone, and OpenAI's code."""

NO_SUCH_MODEL: Final = ("model identifier is invalid", "on-demand throughput isn")
STATE_BYTES_MAX: Final = 1024 * 1024


class _Block(msgspec.Struct):
    """A reasoning block as far as it has come."""

    text: list[str] = []
    signature: str = ""
    redacted: str = ""

    def state(self) -> Fields | None:
        """What has to go back; None for reasoning that nobody signed."""
        if self.redacted:
            return {"redactedContent": self.redacted}
        if self.signature:
            text = "".join(self.text)
            return {"reasoningText": {"text": text, "signature": self.signature}}
        return None


class _Call(msgspec.Struct):
    position: int
    has_arguments: bool = False


class ConverseStreamDecoder:
    """One streamed answer. What came before an error is handed out before the error is raised."""

    def __init__(self, provider: str, new_id: NewId) -> None:
        self._provider = provider
        self._new_id = new_id
        self._frames = EventStreamDecoder(provider)
        self._calls: dict[int, _Call] = {}
        self._ids: set[str] = set()
        self._reasoning: dict[int, _Block] = {}
        self._state_bytes = 0
        self._is_finished = False
        self._is_done = False
        self._failure: ProviderError | None = None

    @property
    def is_done(self) -> bool:
        """The usage, which comes last, or an error has come."""
        return self._is_done

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes. Raises ProviderError for an error in the stream."""
        deltas: list[Delta] = []
        try:
            for message in self._frames.feed(data):
                if self._is_done:
                    break
                self._message(message, deltas)
        except ProviderError as error:
            self._is_done = True
            self._failure = error
            if not deltas:
                raise
        return deltas

    def close(self) -> list[Delta]:
        """The end of the body. Raises ProviderError if the answer is not whole."""
        if self._failure:
            raise self._failure
        if not self._is_finished:
            raise broke_off(self._provider)
        return []

    def _message(self, message: Message, deltas: list[Delta]) -> None:
        headers = message.headers
        kind = headers.get(":message-type", "event")
        if kind != "event":
            name = headers.get(":exception-type") or headers.get(":error-code") or ""
            raise stream_error(self._provider, name, message)
        fields = _json(message.payload)
        if fields is None:
            raise self._bad("something in its stream that is not a JSON object")
        match headers.get(":event-type"):
            case "contentBlockStart":
                self._start(fields, deltas)
            case "contentBlockDelta":
                self._delta(fields, deltas)
            case "messageStop":
                self._stop(fields, deltas)
            case "metadata":
                self._usage(fields, deltas)
                self._is_done = self._is_finished
            case _:
                pass  # a beginning or an end that says nothing, or what is yet to be invented

    def _usage(self, fields: Fields, deltas: list[Delta]) -> None:
        reported = fields.get("usage")
        if usage := converse_usage(reported):
            tier = text_in(object_of(fields.get("serviceTier")), "type") or None
            deltas.append(UsageDelta(usage, reported, tier))

    def _start(self, fields: Fields, deltas: list[Delta]) -> None:
        """A call's beginning; texts have none, and tools that run at AWS are none of ours."""
        use = object_of(object_of(fields.get("start")).get("toolUse"))
        if not use or use.get("type") == "server_tool_use" or self._is_finished:
            return
        name = use.get("name")
        if not isinstance(name, str) or not name:
            raise self._bad("a tool call without a name")
        if len(self._calls) == TOOL_CALLS_MAX:
            raise self._bad(f"more than {TOOL_CALLS_MAX} tool calls in one answer")
        call = _Call(position=len(self._calls))
        self._calls[_index(fields)] = call
        if len(self._calls) == call.position:  # it has replaced another
            raise self._bad("two tool calls in one place")
        given = use.get("toolUseId")
        is_usable = isinstance(given, str) and given != "" and given not in self._ids
        call_id = str(given) if is_usable else self._new_id("call")
        self._ids.add(call_id)
        deltas.append(ToolCallDelta(index=call.position, id=call_id, name=name))

    def _delta(self, fields: Fields, deltas: list[Delta]) -> None:
        delta = object_of(fields.get("delta"))
        if self._is_finished:
            return
        if text := text_in(delta, "text"):
            deltas.append(TextDelta(text))
        call = self._calls.get(_index(fields))
        fragment = text_in(object_of(delta.get("toolUse")), "input")
        if call is not None and fragment:
            call.has_arguments = True
            deltas.append(ToolCallDelta(index=call.position, arguments=fragment))
        if reasoning := object_of(delta.get("reasoningContent")):
            self._reason(_index(fields), reasoning, deltas)

    def _reason(self, index: int, fields: Fields, deltas: list[Delta]) -> None:
        block = self._reasoning.setdefault(index, _Block(text=[]))
        text, signature = text_in(fields, "text"), text_in(fields, "signature")
        redacted = text_in(fields, "redactedContent")
        self._state_bytes += len(text) + len(signature) + len(redacted) + 1
        if self._state_bytes > STATE_BYTES_MAX:
            raise self._bad(f"more than {STATE_BYTES_MAX} characters of reasoning")
        block.signature += signature
        block.redacted += redacted
        if text:
            block.text.append(text)
            deltas.append(ReasoningDelta(text))

    def _stop(self, fields: Fields, deltas: list[Delta]) -> None:
        if self._is_finished:
            return
        reason = text_in(fields, "stopReason")
        if reason in FAILURES:
            raise ProviderUnavailableError(
                f"{self._provider} gave up on the answer ('{reason}').", provider=self._provider
            )
        # A function without parameters: OpenAI writes `{}`, Bedrock may write nothing.
        deltas.extend(
            ToolCallDelta(index=call.position, arguments="{}")
            for call in self._calls.values()
            if not call.has_arguments
        )
        if state := [s for b in self._reasoning.values() if (s := b.state()) is not None]:
            deltas.append(StateDelta({"reasoning": state}))
        finish = STOP_REASONS.get(reason, "stop")
        if finish in ("stop", "tool_calls"):
            finish = "tool_calls" if self._calls else "stop"
        self._is_finished = True
        deltas.append(Finish(finish))

    def _bad(self, what: str) -> ProviderBadReplyError:
        return ProviderBadReplyError(f"{self._provider} sent {what}.", provider=self._provider)


def converse_usage(reported: Any) -> TokenUsage | None:
    """Converse's counts: its input leaves out what was read from and written to the cache."""
    usage = object_of(reported)
    fresh, output = token_count(usage.get("inputTokens")), token_count(usage.get("outputTokens"))
    if fresh is None or output is None:
        return None
    read = token_count(usage.get("cacheReadInputTokens")) or 0
    written = token_count(usage.get("cacheWriteInputTokens")) or 0
    return TokenUsage(
        input_tokens=fresh + read + written,
        cached_input_tokens=read,
        cache_write_input_tokens=written,
        cache_write_1h_input_tokens=min(_written_for_an_hour(usage), written),
        output_tokens=output,
    )


def _written_for_an_hour(usage: Fields) -> int:
    details = usage.get("cacheDetails")
    return sum(
        token_count(detail.get("inputTokens")) or 0
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, dict) and detail.get("ttl") == "1h"
    )


def stream_error(provider: str, name: str, message: Message) -> ProviderError:
    """The error that an exception inside a stream stands for."""
    fields = _json(message.payload) or {}
    text = text_in(fields, "message") or message.headers.get(":error-message") or name
    status, code = _meaning(name, text) or (503, "")
    said = {"message": text, "code": code}
    return error_from_frame(provider, {"error": said, "status_code": status})


def restated(
    status: int, headers: Mapping[str, str], body: bytes
) -> tuple[int, Mapping[str, str], bytes]:
    """A refusal of AWS's, which has its name in a header, as one that everyone reads."""
    fields = _json(body)
    if fields is None:
        return status, headers, body
    name = headers.get("x-amzn-errortype") or text_in(fields, "__type")
    text = text_in(fields, "message") or text_in(fields, "Message")
    name = name.partition(":")[0].rpartition("#")[2]
    meaning = _meaning(name, text)
    if meaning is None:
        said = orjson.dumps({"error": {"message": text or name}})
        return status, headers, said if text or name else body
    said = orjson.dumps({"error": {"message": text or name, "code": meaning[1]}})
    return meaning[0], headers, said


def _meaning(name: str, text: str) -> tuple[int, str] | None:
    meaning = EXCEPTIONS.get(name.lower())
    if meaning and meaning[0] == 400 and any(words in text.lower() for words in NO_SUCH_MODEL):
        return 404, "model_not_found"
    return meaning


def _json(data: bytes) -> Fields | None:
    try:
        fields = orjson.loads(data or b"{}")
    except orjson.JSONDecodeError:
        return None
    return fields if isinstance(fields, dict) else None


def _index(fields: Fields) -> int:
    value = fields.get("contentBlockIndex")
    return value if isinstance(value, int) else -1
