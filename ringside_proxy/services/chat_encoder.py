"""Canonical deltas as OpenAI's chat completions: the one place that writes its chunks. Pure.

All providers that do not speak OpenAI's dialect come out through here, so all are alike: role
first, dense tool indexes, one id per call sent once, arguments as increments, one finish reason,
the usage chunk when it was asked for.
"""

from typing import Any, Final

from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StateDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)

CHUNK: Final = "chat.completion.chunk"
COMPLETION: Final = "chat.completion"

JSON = dict[str, Any]


def chat_usage(usage: TokenUsage) -> JSON:
    """The `usage` of a chat completion."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_input_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _completion_id(new_id: NewId) -> str:
    """OpenAI writes this one kind of id with a hyphen."""
    return new_id("chatcmpl").replace("_", "-", 1)


class ChatChunks:
    """One streamed completion: deltas in, chunks out, ready to be written as frames."""

    def __init__(self, new_id: NewId, model: str, created: int, *, include_usage: bool) -> None:
        self._head = {
            "id": _completion_id(new_id),
            "object": CHUNK,
            "created": created,
            "model": model,
        }
        self._include_usage = include_usage
        self._has_begun = False
        self.usage: TokenUsage | None = None
        self.state: Any = None
        self.first_call_id: str | None = None

    def feed(self, deltas: list[Delta]) -> list[JSON]:
        """The chunks that `deltas` make."""
        chunks: list[JSON] = []
        for delta in deltas:
            fields = self._fields(delta)
            if isinstance(delta, Finish):
                chunks.append(self._chunk({}, delta.reason))
            elif fields:
                chunks.append(self._chunk(fields))
        return chunks

    def end(self) -> list[JSON]:
        """The usage chunk, if it was asked for."""
        if not self._include_usage:
            return []
        usage = chat_usage(self.usage or NO_USAGE)
        return [self._head | {"choices": [], "usage": usage}]

    def _fields(self, delta: Delta) -> JSON:
        match delta:
            case TextDelta(text=text):
                return {"content": text}
            case RefusalDelta(text=text):
                return {"refusal": text}
            case ReasoningDelta(text=text):
                return {"reasoning_content": text}
            case ToolCallDelta():
                self.first_call_id = self.first_call_id or delta.id
                return {"tool_calls": [_fragment(delta)]}
            case UsageDelta(usage=usage):
                self.usage = usage
            case StateDelta(state=state):
                self.state = state
            case Finish():
                pass
        return {}

    def _chunk(self, fields: JSON, finish_reason: FinishReason | None = None) -> JSON:
        if not self._has_begun:
            self._has_begun = True
            fields = {"role": "assistant", "content": ""} | fields
        choice = {"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._head | {"choices": [choice]}
        return chunk | {"usage": None} if self._include_usage else chunk


def _fragment(delta: ToolCallDelta) -> JSON:
    if delta.id is None:
        return {"index": delta.index, "function": {"arguments": delta.arguments}}
    return {
        "index": delta.index,
        "id": delta.id,
        "type": "function",
        "function": {"name": delta.name, "arguments": delta.arguments},
    }


class ChatCompletion:
    """One whole completion, collected from deltas."""

    def __init__(self, new_id: NewId, model: str, created: int) -> None:
        self._head = {
            "id": _completion_id(new_id),
            "object": COMPLETION,
            "created": created,
            "model": model,
        }
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[JSON] = []
        self._finish_reason: FinishReason = "stop"
        self.usage: TokenUsage | None = None
        self.state: Any = None

    @property
    def first_call_id(self) -> str | None:
        """The id of the first call, if there is one."""
        return self._calls[0]["id"] if self._calls else None

    def feed(self, deltas: list[Delta]) -> None:
        """Take in what has come."""
        for delta in deltas:
            self._take(delta)

    def completion(self) -> JSON:
        """`chat.completion`, in the order of the wire."""
        message: JSON = {
            "role": "assistant",
            "content": "".join(self._text) if self._text else None,
            "refusal": "".join(self._refusal) if self._refusal else None,
            "annotations": [],
        }
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish_reason,
        }
        return self._head | {"choices": [choice], "usage": chat_usage(self.usage or NO_USAGE)}

    def _take(self, delta: Delta) -> None:
        match delta:
            case TextDelta(text=text):
                self._text.append(text)
            case RefusalDelta(text=text):
                self._refusal.append(text)
            case ReasoningDelta(text=text):
                self._reasoning.append(text)
            case ToolCallDelta():
                self._take_call(delta)
            case UsageDelta(usage=usage):
                self.usage = usage
            case StateDelta(state=state):
                self.state = state
            case Finish(reason=reason):
                self._finish_reason = reason

    def _take_call(self, delta: ToolCallDelta) -> None:
        if delta.index == len(self._calls):
            function = {"name": delta.name, "arguments": ""}
            self._calls.append({"id": delta.id, "type": "function", "function": function})
        self._calls[delta.index]["function"]["arguments"] += delta.arguments
