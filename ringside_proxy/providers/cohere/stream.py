"""Cohere's stream to canonical deltas.

What the model plans to do with its tools is reasoning here, and goes back with the calls.
Source: https://docs.cohere.com/v2/docs/streaming and https://docs.cohere.com/v2/reference/chat-stream,
read 2026-11-21.
"""

from typing import Any, Final

from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import AnswerDecoder
from ringside_proxy.providers.cohere.messages import TOOL_PLAN, Names
from ringside_proxy.providers.errors import error_from_frame
from ringside_proxy.providers.loose_json import json_object
from ringside_proxy.providers.native_stream import (
    Calls,
    at,
    count_at,
    text_at,
    usage_of,
)
from ringside_proxy.providers.sse import Event, SSEDecoder
from ringside_proxy.providers.types import (
    Delta,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)

DONE: Final = b"[DONE]"

FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
"""A word that is not here still ends the answer; it counts as `stop`."""

FAILURES: Final = {"ERROR": "server_error", "TIMEOUT": "timeout_error"}
"""Finish words that say Cohere failed, not that the model is done → the error's type."""


class CohereStreamDecoder(AnswerDecoder[Event, Delta]):
    """One streamed answer. `names`: the functions' names → theirs at Cohere."""

    def __init__(self, provider: str, new_id: NewId, names: Names) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self._calls = Calls(provider, new_id)
        self._own_names = {alias: name for name, alias in names.items()}
        self._plan: list[str] = []

    def _frame(self, frame: Event, told: list[Delta]) -> None:
        data = frame.data.strip()
        if not data or data == DONE:
            return
        event = json_object(self._provider, data)
        if _is_error(frame, event):
            raise error_from_frame(self._provider, event)
        said = at(event, "delta", "message")
        match event.get("type"):
            case "message-end":
                self._end(at(event, "delta"), told)
                self._mark_whole()
            case "tool-plan-delta":
                self._planned(text_at(said, "tool_plan"), told)
            case "content-start" | "content-delta":
                _content(at(said, "content"), told)
            case "tool-call-start":
                self._begin_call(event.get("index"), _call_in(said), told)
            case "tool-call-delta":
                arguments = text_at(_call_in(said), "function", "arguments")
                told += self._calls.arguments(arguments, event.get("index"))
            case _:
                pass  # citations, and where parts end

    def _planned(self, plan: str, deltas: list[Delta]) -> None:
        if plan:
            self._plan.append(plan)
            deltas.append(ReasoningDelta(plan))

    def _begin_call(self, index: Any, call: Any, deltas: list[Delta]) -> None:
        name = text_at(call, "function", "name")
        deltas.append(self._calls.open(self._own_names.get(name, name), text_at(call, "id"), index))
        deltas += self._calls.arguments(text_at(call, "function", "arguments"), index)

    def _end(self, end: Any, deltas: list[Delta]) -> None:
        reported = at(end, "usage")
        usage = token_usage(reported)
        reason = text_at(end, "finish_reason")
        if reason in FAILURES:
            if usage and (usage.input_tokens or usage.output_tokens):
                deltas.append(UsageDelta(usage, reported))
            message = text_at(end, "error") or f"it gave up on the answer ('{reason}')."
            raise error_from_frame(
                self._provider, {"error": {"message": message, "type": FAILURES[reason]}}
            )
        if usage:
            deltas.append(UsageDelta(usage, reported))
        state = {TOOL_PLAN: "".join(self._plan)}
        deltas += self._calls.finish(FINISH_REASONS.get(reason, "stop"), state)


def token_usage(reported: Any) -> TokenUsage | None:
    """What Cohere bills; its `tokens` also count what it writes around the prompt."""
    return usage_of(
        count_at(reported, "billed_units", "input_tokens"),
        count_at(reported, "billed_units", "output_tokens"),
        count_at(reported, "cached_tokens"),
    )


def _is_error(frame: Event, event: dict[str, Any]) -> bool:
    """Errors have no type of their own: they are what an HTTP answer would say."""
    kind = event.get("type")
    return frame.name == b"error" or kind == "error" or (kind is None and "message" in event)


def _content(content: Any, deltas: list[Delta]) -> None:
    if thought := text_at(content, "thinking"):
        deltas.append(ReasoningDelta(thought))
    if text := text_at(content, "text"):
        deltas.append(TextDelta(text))


def _call_in(said: Any) -> Any:
    """The one call of an event; its key is a plural all the same, so a list is understood too."""
    calls = at(said, "tool_calls")
    return next(iter(calls), None) if isinstance(calls, list) else calls
