"""Ollama's stream to canonical deltas: one JSON object per line, each call whole in one of them.

Source: https://docs.ollama.com/api/chat and https://docs.ollama.com/api/errors, read 2026-11-21.
"""

from typing import Any, Final

import orjson

from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import AnswerDecoder
from ringside_proxy.providers.errors import error_from_frame
from ringside_proxy.providers.loose_json import json_object
from ringside_proxy.providers.native_stream import (
    Calls,
    at,
    count_at,
    text_at,
    usage_of,
)
from ringside_proxy.providers.ndjson import NDJSONDecoder
from ringside_proxy.providers.types import (
    Delta,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    UsageDelta,
)

THINKING: Final = "thinking"
"""The one piece of state: what the model thought before it called."""

FINISH_REASONS: Final[dict[str, FinishReason]] = {"stop": "stop", "length": "length"}
"""A word that is not here (`load`, `unload`) still ends the answer; it counts as `stop`."""


MEASURES: Final = ("_count", "_duration")


class OllamaStreamDecoder(AnswerDecoder[bytes, Delta]):
    """One streamed answer."""

    def __init__(self, provider: str, new_id: NewId) -> None:
        super().__init__(provider, NDJSONDecoder(provider))
        self._calls = Calls(provider, new_id)
        self._thoughts: list[str] = []

    def _frame(self, frame: bytes, told: list[Delta]) -> None:
        line = json_object(self._provider, frame)
        if line.get("error"):
            raise error_from_frame(self._provider, line)
        said = line.get("message")
        if thought := text_at(said, "thinking"):
            self._thoughts.append(thought)
            told.append(ReasoningDelta(thought))
        if text := text_at(said, "content"):
            told.append(TextDelta(text))
        calls = at(said, "tool_calls")
        for call in calls if isinstance(calls, list) else ():
            told.append(self._calls.open(text_at(call, "function", "name"), text_at(call, "id")))
            told += self._calls.arguments(self._arguments(at(call, "function", "arguments")))
        if line.get("done") is not True:
            return
        if usage := token_usage(line):
            told.append(UsageDelta(usage, _measured(line)))
        reason = FINISH_REASONS.get(text_at(line, "done_reason"), "stop")
        told += self._calls.finish(reason, {THINKING: "".join(self._thoughts)})
        self._mark_whole()

    def _arguments(self, value: Any) -> str:
        """Arguments as the text that OpenAI sends."""
        if not isinstance(value, dict):
            return value if isinstance(value, str) else ""
        return orjson.dumps(value).decode()


def _measured(line: dict[str, Any]) -> dict[str, Any]:
    """What the last line counts and times, without what it says."""
    return {name: line[name] for name in line if name.endswith(MEASURES)}


def token_usage(line: Any) -> TokenUsage | None:
    """What the last line counts; zeros are left out of it, so no count of the prompt is unknown."""
    return usage_of(
        count_at(line, "prompt_eval_count"),
        count_at(line, "eval_count"),
        count_at(line, "prompt_eval_cached_count"),
    )
