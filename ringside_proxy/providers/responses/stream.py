"""Events of the Responses dialect to canonical deltas.

An event is known by its `type`; the SSE event name is not looked at, because Perplexity sends
none. What the stream skipped (arguments in one piece, text without deltas) is taken from the item
when it is done, or from the whole response at the end; nothing is said twice.
Source: https://platform.openai.com/docs/api-reference/responses-streaming and
https://docs.perplexity.ai/api-reference/agent-post, read 2026-11-21.
"""

from collections.abc import Callable
from typing import Any, Final, NoReturn

import msgspec

from ringside_proxy.domain.errors import ProviderBadReplyError, ProviderError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX, AnswerDecoder
from ringside_proxy.providers.chat.stream import DONE
from ringside_proxy.providers.errors import error_from_frame
from ringside_proxy.providers.loose_json import json_object, object_of, objects_of, text_in
from ringside_proxy.providers.sse import Event, SSEDecoder
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
from ringside_proxy.providers.usage import service_tier, token_usage

ITEMS_MAX: Final = 1024
"""Bounds what is remembered of an answer; a longer one is a model gone wrong."""

TYPES: Final = {
    "invalid_request": "invalid_request_error",
    "request_rate_limit_exceeded": "rate_limit_error",
    **dict.fromkeys(
        (
            "invalid_prompt",
            "data_residency_mismatch",
            "bio_policy",
            "misalignment_policy_violation",
            "image_content_policy_violation",
            "invalid_image",
            "invalid_image_format",
            "invalid_base64_image",
            "invalid_image_url",
            "invalid_image_mode",
            "image_too_large",
            "image_too_small",
            "image_parse_error",
            "image_file_too_large",
            "image_file_not_found",
            "unsupported_image_media_type",
            "empty_image_file",
            "failed_to_download_image",
        ),
        "invalid_request_error",
    ),
}
"""Codes, and a type of Perplexity's, whose meaning elsewhere the error's type says.

Those of OpenAI's that blame the request; its others are the provider's failure.
"""

INCOMPLETE: Final[dict[str, FinishReason]] = {"content_filter": "content_filter"}
"""Any other reason (`max_output_tokens`, `max_prompt_tokens`, `max_time_limit`) is a limit."""

FAILED: Final = frozenset({"failed", "cancelled"})
"""A status that is a failure even in `response.completed`."""


class _Call(msgspec.Struct):
    """A call as far as it has come; `position` is its index in canonical deltas."""

    position: int
    id: str
    is_announced: bool = False
    has_arguments: bool = False


class ResponsesStreamDecoder(AnswerDecoder[Event, Delta]):
    """One streamed answer. What came before an error is handed out before the error is raised."""

    def __init__(self, provider: str, new_id: NewId) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self._new_id = new_id
        self._calls: dict[Any, _Call] = {}
        self._call_ids: dict[str, _Call] = {}
        self._chars: dict[Any, int] = {}
        self._state: list[dict[str, Any]] = []
        self._items_done: set[str] = set()
        self._readers: dict[str, Callable[[dict[str, Any], list[Delta]], None]] = {
            "response.output_text.delta": self._text,
            "response.refusal.delta": self._refusal,
            "response.reasoning_text.delta": self._thought,
            "response.reasoning_summary_text.delta": self._thought,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.function_call_arguments.delta": self._arguments,
            "response.function_call_arguments.done": self._arguments_done,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.failed": self._fail,
            "response.cancelled": self._fail,
            "error": self._fail,
        }

    def _frame(self, frame: Event, told: list[Delta]) -> None:
        data = frame.data.strip()
        if data == DONE:
            self._is_done = True
            return
        if not data:
            return
        payload = json_object(self._provider, data)
        kind = text_in(payload, "type")
        if reader := self._readers.get(kind):
            reader(payload, told)
        elif payload.get("error"):
            self._fail(payload, told)
        elif kind.startswith("response.reasoning.") and (thought := text_in(payload, "thought")):
            told.append(ReasoningDelta(thought))

    def _text(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        if text := text_in(payload, "delta"):
            self._count(payload, text)
            deltas.append(TextDelta(text))

    def _refusal(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        if text := text_in(payload, "delta"):
            self._count(payload, text)
            deltas.append(RefusalDelta(text))

    def _thought(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        if text := text_in(payload, "delta"):
            deltas.append(ReasoningDelta(text))

    def _count(self, payload: dict[str, Any], text: str) -> None:
        key = _place(payload)
        self._bound(len(self._chars))
        self._chars[key] = self._chars.get(key, 0) + len(text)

    def _item_added(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        item = object_of(payload.get("item"))
        if item.get("type") == "function_call":
            self._announce(self._call_at(_place(payload), item), item, deltas)

    def _item_done(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        self._item(_place(payload), object_of(payload.get("item")), deltas)

    def _item(self, place: Any, item: dict[str, Any], deltas: list[Delta]) -> None:
        """Takes an item that is whole: says what of it was not said yet, and remembers its place."""
        self._bound(len(self._state))
        self._items_done |= {name for key in ("id", "call_id") if (name := text_in(item, key))}
        match item.get("type"):
            case "message":
                if not self._chars.get(place):
                    self._say_whole(place, item, deltas)
                entry = {"type": "message", "chars": self._chars.get(place, 0)}
                self._state.append(entry | _some(item, "phase"))
            case "function_call":
                call = self._call_at(place, item)
                self._announce(call, item, deltas)
                self._whole_arguments(call, item, deltas)
                entry = {"type": "function_call", "call_id": call.id}
                self._state.append(entry | _some(item, "thought_signature"))
            case "reasoning" if text_in(item, "encrypted_content"):
                # `status` is the provider's to tell; without its content the item is of no use.
                kept = {k: v for k, v in item.items() if k != "status" and v is not None}
                self._state.append(kept)
            case _:
                pass  # searches and other tools of the provider's own: no part of the answer

    def _say_whole(self, place: Any, item: dict[str, Any], deltas: list[Delta]) -> None:
        for part in objects_of(item.get("content")):
            text, refusal = text_in(part, "text"), text_in(part, "refusal")
            if text:
                deltas.append(TextDelta(text))
            if refusal:
                deltas.append(RefusalDelta(refusal))
            self._chars[place] = self._chars.get(place, 0) + len(text) + len(refusal)

    def _call_at(self, place: Any, item: dict[str, Any]) -> _Call:
        call_id = text_in(item, "call_id") or text_in(item, "id")
        call = (self._calls.get(place) if place != "" else None) or self._call_ids.get(call_id)
        if call is None:
            if len(self._call_ids) == TOOL_CALLS_MAX:
                raise ProviderBadReplyError(
                    f"{self._provider} sent more than {TOOL_CALLS_MAX} tool calls in one answer.",
                    provider=self._provider,
                )
            call = _Call(len(self._call_ids), call_id or self._new_id("call"))
            self._call_ids[call.id] = call
        self._calls[place] = call
        return call

    def _announce(self, call: _Call, item: dict[str, Any], deltas: list[Delta]) -> None:
        name = text_in(item, "name")
        if name and not call.is_announced:
            call.is_announced = True
            deltas.append(ToolCallDelta(index=call.position, id=call.id, name=name))

    def _arguments(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        call = self._calls.get(_place(payload))
        piece = text_in(payload, "delta")
        # Before its call has a name, a piece waits: the whole comes with the item.
        if call and call.is_announced and piece:
            call.has_arguments = True
            deltas.append(ToolCallDelta(index=call.position, arguments=piece))

    def _arguments_done(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        if call := self._calls.get(_place(payload)):
            self._whole_arguments(call, payload, deltas)

    def _whole_arguments(self, call: _Call, holder: dict[str, Any], deltas: list[Delta]) -> None:
        arguments = text_in(holder, "arguments")
        if call.is_announced and arguments and not call.has_arguments:
            call.has_arguments = True
            deltas.append(ToolCallDelta(index=call.position, arguments=arguments))

    def _end(self, payload: dict[str, Any], deltas: list[Delta]) -> None:
        response = object_of(payload.get("response"))
        if text_in(response, "status") in FAILED:
            self._fail(payload, deltas)
        self._catch_up(response, deltas)
        if any(not call.is_announced for call in self._call_ids.values()):
            raise ProviderBadReplyError(
                f"{self._provider} sent a tool call without a name.", provider=self._provider
            )
        # A function without parameters: OpenAI writes `{}`, others write nothing.
        deltas.extend(
            ToolCallDelta(index=call.position, arguments="{}")
            for call in self._call_ids.values()
            if not call.has_arguments
        )
        if any(_is_worth_keeping(entry) for entry in self._state):
            deltas.append(StateDelta(self._state))
        deltas.append(Finish(self._reason(payload, response)))
        self._mark_whole()
        self._usage(response, deltas)

    def _catch_up(self, response: dict[str, Any], deltas: list[Delta]) -> None:
        """Takes from the whole response what no event told."""
        has_said = bool(self._chars)
        for position, item in enumerate(objects_of(response.get("output"))):
            is_known = bool({text_in(item, "id"), text_in(item, "call_id")} & self._items_done)
            if not is_known and not (item.get("type") == "message" and has_said):
                self._item(("output", position), item, deltas)

    def _reason(self, payload: dict[str, Any], response: dict[str, Any]) -> FinishReason:
        if "response.incomplete" in (payload["type"], f"response.{response.get('status')}"):
            reason = text_in(object_of(response.get("incomplete_details")), "reason")
            return INCOMPLETE.get(reason, "length")
        return "tool_calls" if self._call_ids else "stop"

    def _usage(self, response: dict[str, Any], deltas: list[Delta]) -> None:
        reported = response.get("usage")
        if usage := responses_usage(reported):
            deltas.append(UsageDelta(usage, reported, service_tier(response)))

    def _fail(self, payload: dict[str, Any], deltas: list[Delta]) -> NoReturn:
        """Raises the error that the provider reports; what was consumed until then is told."""
        response = object_of(payload.get("response"))
        self._usage(response, deltas)
        raise error_from_event(self._provider, payload.get("error") or response or payload)

    def _bound(self, count: int) -> None:
        if count >= ITEMS_MAX:
            raise ProviderBadReplyError(
                f"{self._provider} sent more than {ITEMS_MAX} items in one answer.",
                provider=self._provider,
            )


def error_from_event(provider: str, said: Any) -> ProviderError:
    """The error in an `error` event or in a response that failed.

    OpenAI's code decides there what elsewhere the error's type does; `error` as a type is but the
    name of the event.
    """
    said = object_of(said).get("error") or said
    if isinstance(said, str):
        return error_from_frame(provider, {"error": {"message": said}})
    fields = {key: object_of(said).get(key) for key in ("type", "code", "param")}
    fields["message"] = text_in(object_of(said), "message")
    known = TYPES.get(text_in(fields, "code")) or TYPES.get(text_in(fields, "type"))
    if known:
        fields["type"] = known
    elif fields.get("type") == "error":
        fields["type"] = None
    code = fields.get("code")
    return error_from_frame(
        provider, {"error": fields, "status_code": code if isinstance(code, int) else None}
    )


def responses_usage(reported: Any) -> TokenUsage | None:
    """A Responses-shaped `usage` in canonical form; None if it is missing or cannot be true.

    The details are part of the counts, except where xAI's total shows that reasoning comes on top.
    Cache counts have OpenAI's names or Perplexity's.
    """
    if not isinstance(reported, dict):
        return None
    taken = object_of(reported.get("input_tokens_details"))
    return token_usage(
        {
            "prompt_tokens": reported.get("input_tokens"),
            "completion_tokens": reported.get("output_tokens"),
            "total_tokens": reported.get("total_tokens"),
            "prompt_tokens_details": {
                "cached_tokens": taken.get("cached_tokens", taken.get("cache_read_input_tokens")),
                "cache_write_tokens": taken.get(
                    "cache_write_tokens", taken.get("cache_creation_input_tokens")
                ),
            },
            "completion_tokens_details": reported.get("output_tokens_details"),
        }
    )


def _is_worth_keeping(entry: dict[str, Any]) -> bool:
    """Whether an entry says more than the message itself does."""
    return entry["type"] == "reasoning" or "phase" in entry or "thought_signature" in entry


def _place(payload: dict[str, Any]) -> Any:
    """What the events of one output item have in common."""
    index = payload.get("output_index")
    if isinstance(index, int):
        return index
    return text_in(payload, "item_id") or text_in(object_of(payload.get("item")), "id")


def _some(item: dict[str, Any], key: str) -> dict[str, Any]:
    value = text_in(item, key)
    return {key: value} if value else {}
