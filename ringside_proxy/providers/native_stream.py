"""What the decoders of Cohere's and Ollama's streams have in common. Pure."""

from typing import Any

import msgspec

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX
from ringside_proxy.providers.types import Delta, Finish, FinishReason, StateDelta, ToolCallDelta
from ringside_proxy.providers.usage import TOKENS_MAX


class _Call(msgspec.Struct):
    """A call as far as it has come; `provider_index` is the provider's own number for it."""

    provider_index: Any
    id: str
    has_arguments: bool = False


class Calls:
    """The function calls of one answer, numbered densely from 0."""

    def __init__(self, provider: str, new_id: NewId) -> None:
        self._provider = provider
        self._new_id = new_id
        self._calls: list[_Call] = []

    def __len__(self) -> int:
        return len(self._calls)

    def open(self, name: str, call_id: str, provider_index: Any = None) -> ToolCallDelta:
        """A new call; one whose id is missing, or was used before in this answer, gets its own."""
        if not name:
            raise self._bad("a tool call without a name")
        if len(self._calls) == TOOL_CALLS_MAX:
            raise self._bad(f"more than {TOOL_CALLS_MAX} tool calls in one answer")
        if not call_id or any(call.id == call_id for call in self._calls):
            call_id = self._new_id("call")
        self._calls.append(_Call(provider_index, call_id))
        return ToolCallDelta(index=len(self._calls) - 1, id=call_id, name=name)

    def arguments(self, arguments: str, provider_index: Any = None) -> list[Delta]:
        """More arguments of the call with that number, or of the last one if there is no number."""
        for position in range(len(self._calls) - 1, -1, -1):
            call = self._calls[position]
            if provider_index is None or call.provider_index == provider_index:
                call.has_arguments = call.has_arguments or bool(arguments)
                return [ToolCallDelta(index=position, arguments=arguments)] if arguments else []
        raise self._bad("arguments of a tool call that it never began")

    def finish(self, reason: FinishReason, state: dict[str, str]) -> list[Delta]:
        """The end of the answer: arguments for calls that got none, state for those that call."""
        deltas: list[Delta] = [
            ToolCallDelta(index=position, arguments="{}")
            for position, call in enumerate(self._calls)
            if not call.has_arguments
        ]
        kept = {key: text for key, text in state.items() if text}
        if kept and self._calls:
            deltas.append(StateDelta(kept))
        if reason in ("stop", "tool_calls"):
            reason = "tool_calls" if self._calls else "stop"
        return [*deltas, Finish(reason)]

    def _bad(self, what: str) -> ProviderBadReplyError:
        return ProviderBadReplyError(f"{self._provider} sent {what}.", provider=self._provider)


def at(value: Any, *keys: str) -> Any:
    """What stands in nested objects under `keys`; None if any of them is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *keys: str) -> str:
    """The text that stands there, or none."""
    found = at(value, *keys)
    return found if isinstance(found, str) else ""


def count_at(value: Any, *keys: str) -> int | None:
    """The token count that stands there; some are sent as floats. None if it cannot be true."""
    found = at(value, *keys)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return round(found) if is_number and 0 <= found <= TOKENS_MAX else None


def usage_of(sent: int | None, written: int | None, cached: int | None) -> TokenUsage | None:
    """Counts in canonical form; None if the provider did not say what it was sent."""
    if sent is None:
        return None
    return TokenUsage(
        input_tokens=sent, cached_input_tokens=min(cached or 0, sent), output_tokens=written or 0
    )
