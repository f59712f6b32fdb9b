"""What a model has said, as OpenAI shows it: one completion, or the chunks of a stream."""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.ids import NewId
from ringside_proxy.sandbox.requests import ChatRequest
from ringside_proxy.sandbox.script import Arguments, Call, Finish, Output, Refuse, Say
from ringside_proxy.sandbox.tokens import count

FINGERPRINT: Final = "fp_sandbox"
DONE: Final = b"data: [DONE]\n\n"

JSON = dict[str, Any]


def frame(payload: JSON) -> bytes:
    """One event of a stream."""
    return b"data: " + orjson.dumps(payload) + b"\n\n"


class _Call(msgspec.Struct, kw_only=True):
    id: str
    name: str
    arguments: list[str] = []

    def shown(self) -> JSON:
        function = {"name": self.name, "arguments": "".join(self.arguments)}
        return {"id": self.id, "type": "function", "function": function}


class Answer:
    """An answer as it grows: each step taken in gives the delta that shows it."""

    def __init__(self, request: ChatRequest, new_id: NewId, created_at: int) -> None:
        self._request = request
        self._new_id = new_id
        self._created_at = created_at
        self._id = new_id("resp").replace("resp_", "chatcmpl-")
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[_Call] = []
        self._finish_reason: str | None = None

    def take(self, step: Output) -> JSON:
        """Adds a step; gives its delta."""
        match step:
            case Say(text):
                self._text.append(text)
                return {"content": text}
            case Refuse(text):
                self._refusal.append(text)
                return {"refusal": text}
            case Call(name):
                return self._begin_call(name)
            case Arguments(text):
                self._calls[-1].arguments.append(text)
                call = {"index": len(self._calls) - 1, "function": {"arguments": text}}
                return {"tool_calls": [call]}
            case Finish(reason):
                self._finish_reason = reason
                return {}

    def _begin_call(self, name: str) -> JSON:
        call = _Call(id=self._new_id("call"), name=name)
        self._calls.append(call)
        return {"tool_calls": [{"index": len(self._calls) - 1, **call.shown()}]}

    def completion(self) -> JSON:
        """The whole answer."""
        has_content = self._text or not (self._calls or self._refusal)
        message: JSON = {"role": "assistant", "content": None}
        if has_content:
            message["content"] = "".join(self._text)
        if self._calls:
            message["tool_calls"] = [call.shown() for call in self._calls]
        message |= {"refusal": "".join(self._refusal) or None, "annotations": []}
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finish_reason,
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": self._usage(),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def opening(self, first: Output) -> bytes:
        """The event that tells the role."""
        content = "" if isinstance(first, Say | Finish) else None
        return self._event({"role": "assistant", "content": content, "refusal": None})

    def event(self, step: Output) -> bytes:
        """Adds a step; gives its event."""
        return self._event(self.take(step))

    def closing(self) -> bytes:
        """The usage, if it was asked for, and the end of the stream."""
        if not self._request.includes_usage:
            return DONE
        return frame({**self._chunk_head(), "choices": [], "usage": self._usage()}) + DONE

    def _event(self, delta: JSON) -> bytes:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": self._finish_reason,
        }
        usage = {"usage": None} if self._request.includes_usage else {}
        return frame({**self._chunk_head(), "choices": [choice], **usage})

    def _chunk_head(self) -> JSON:
        return {
            **self._head("chat.completion.chunk"),
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
        }

    def _head(self, kind: str) -> JSON:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created_at,
            "model": self._request.model,
        }

    def _usage(self) -> JSON:
        spoken = [self._text, self._refusal, *(call.arguments for call in self._calls)]
        output = sum(count("".join(parts)) for parts in spoken)
        return {
            "prompt_tokens": self._request.prompt_tokens,
            "completion_tokens": output,
            "total_tokens": self._request.prompt_tokens + output,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }
