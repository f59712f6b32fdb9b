"""One model call of a run: deltas in, events and rows out. Pure.

A call makes, in this order, a message with its `message_creation` step if it says something, then
one `tool_calls` step that holds all its function calls. One step is open at a time, and opens with
the first token of its kind. The end of a step that is still open when the call ends is decided by
the transaction that ends the run, so the assembler leaves it open.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ringside_proxy.domain.events import StreamEvent, message_delta, step_delta
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.items import (
    FunctionCallBody,
    Item,
    ItemPart,
    MessageBody,
    OutputText,
    Refusal,
    message_object,
)
from ringside_proxy.domain.messages import MessageStatus
from ringside_proxy.domain.run_steps import (
    MessageCreation,
    MessageCreationDetails,
    RunStep,
    StepStatus,
    ToolCallsDetails,
)
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage, assistants_usage
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
from ringside_proxy.services.joined_text import joined_text
from ringside_proxy.store.runs import RunRecord


class OpenStep(msgspec.Struct, frozen=True):
    """A step to add, in progress; `message_id` is that of the message it makes."""

    step_id: str
    type: str
    created_ms: int
    message_id: str | None = None


class CompleteStep(msgspec.Struct, frozen=True):
    """A step to complete. The call's usage is booked on its last step, so this one has none."""

    step_id: str
    ended_ms: int


class AddItem(msgspec.Struct, frozen=True):
    """An item to add to a step."""

    item: Item
    step_id: str


class UpdateItem(msgspec.Struct, frozen=True):
    """An item whose status or body changed."""

    item: Item


class KeepState(msgspec.Struct, frozen=True):
    """What the provider wants back with the call `call_id`."""

    call_id: str
    state: Any


Change = OpenStep | CompleteStep | AddItem | UpdateItem | KeepState


class OpenMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is still being written, and whether it and its step are stored."""

    item: Item
    step_id: str
    is_stored: bool


def split(changes: list[Change]) -> tuple[list[Change], OpenMessage | None]:
    """The message that `changes` leave open, and what else there is to store."""
    match changes:
        case [*others, OpenStep(), AddItem(item=item, step_id=step_id)] if _is_open(item):
            return others, OpenMessage(item=item, step_id=step_id, is_stored=False)
        case [*others, UpdateItem(item=item)] if _is_open(item) and item.step_id is not None:
            return others, OpenMessage(item=item, step_id=item.step_id, is_stored=True)
    return changes, None


def _is_open(item: Item) -> bool:
    return item.status is MessageStatus.IN_PROGRESS and isinstance(item.body, MessageBody)


class _OpenMessage:
    """The message being written: its parts as lists of fragments."""

    def __init__(self, step_id: str, message_id: str, created_ms: int) -> None:
        self.step_id = step_id
        self.message_id = message_id
        self.created_ms = created_ms
        self.parts: list[tuple[str, list[str]]] = []
        self.is_stored = False

    def content(self) -> list[ItemPart]:
        return [
            OutputText("".join(texts)) if kind == "text" else Refusal("".join(texts))
            for kind, texts in self.parts
        ]


class _OpenCall(msgspec.Struct):
    call_id: str
    name: str
    arguments: list[str]


class RunAssembler:
    """Assembles one model call of `run`."""

    def __init__(self, run: RunRecord, new_id: NewId, now_ms: Callable[[], int]) -> None:
        self._run = run
        self._new_id = new_id
        self._now_ms = now_ms
        self._message: _OpenMessage | None = None
        self._calls_step_id: str | None = None
        self._calls: list[_OpenCall] = []
        self._changes: list[Change] = []
        self.finish_reason: FinishReason | None = None
        self.usage: TokenUsage | None = None
        self.has_text = False
        self.provider_state: Any = None
        self.unsaved_bytes = 0
        """How much text came since `changes` was last taken."""

    @property
    def has_calls(self) -> bool:
        """Whether the model called functions."""
        return bool(self._calls)

    @property
    def must_save(self) -> bool:
        """Whether a step or message was announced or closed that is not stored yet."""
        return bool(self._changes)

    @property
    def is_whole(self) -> bool:
        """Whether the model has said all it had to say, and what that took."""
        return self.finish_reason is not None and self.usage is not None

    def feed_all(self, deltas: list[Delta]) -> list[StreamEvent]:
        """The events that deltas cause which came together: text that follows on text is told as one."""
        events: list[StreamEvent] = []
        for delta in joined_text(deltas):
            events += self.feed(delta)
        return events

    def feed(self, delta: Delta) -> list[StreamEvent]:
        """The events that `delta` causes."""
        match delta:
            case TextDelta(text=text):
                return self._say("text", text)
            case RefusalDelta(text=text):
                return self._say("refusal", text)
            case ToolCallDelta():
                return self._call(delta)
            case UsageDelta(usage=usage):
                self.usage = usage
            case Finish(reason=reason):
                self.finish_reason = reason
            case StateDelta(state=state):
                self.provider_state = state
            case ReasoningDelta():
                pass  # counted in the usage; never part of a message
        return []

    def ensure_message(self) -> list[StreamEvent]:
        """Open a message if the model neither spoke nor called: an empty answer is an answer."""
        if self._message is not None or self._calls:
            return []
        return self._open_message()

    def take_changes(self, *, with_calls: bool = False) -> list[Change]:
        """What to store to be up to date, once. `with_calls` adds the calls, when they are whole."""
        changes, self._changes = self._changes, []
        if self._message is not None:
            item = self._message_item(self._message, MessageStatus.IN_PROGRESS)
            changes.append(self._stored(self._message, item))
        if with_calls and self._calls_step_id is not None:
            step_id = self._calls_step_id
            changes.extend(AddItem(item, step_id) for item in self._call_items(step_id))
            if self.provider_state is not None:
                changes.append(KeepState(self._calls[0].call_id, self.provider_state))
        self.unsaved_bytes = 0
        return changes

    def _say(self, kind: str, text: str) -> list[StreamEvent]:
        if not text or self._calls_step_id is not None:
            return []  # the wire knows no turn that speaks after its calls
        events = [] if self._message is not None else self._open_message()
        message = self._message
        assert message is not None  # noqa: S101 - just opened
        is_new_part = not message.parts or message.parts[-1][0] != kind
        if is_new_part:
            message.parts.append((kind, []))
        message.parts[-1][1].append(text)
        self.has_text = self.has_text or bool(text)
        self.unsaved_bytes += len(text)
        part: dict[str, Any] = {"index": len(message.parts) - 1, "type": kind}
        if kind == "refusal":
            part["refusal"] = text
        else:
            part["text"] = {"value": text, "annotations": []} if is_new_part else {"value": text}
        events.append(message_delta(message.message_id, part))
        return events

    def _open_message(self) -> list[StreamEvent]:
        message = _OpenMessage(self._new_id("step"), self._new_id("msg"), self._now_ms())
        self._message = message
        self._changes.append(
            OpenStep(message.step_id, "message_creation", message.created_ms, message.message_id)
        )
        step = self._step(
            message.step_id,
            message.created_ms,
            MessageCreationDetails(message_creation=MessageCreation(message.message_id)),
        )
        item = self._message_item(message, MessageStatus.IN_PROGRESS)
        shown = message_object(item, self._run.thread_id)
        return [
            StreamEvent("thread.run.step.created", step),
            StreamEvent("thread.run.step.in_progress", step),
            StreamEvent("thread.message.created", shown),
            StreamEvent("thread.message.in_progress", shown),
        ]

    def _call(self, delta: ToolCallDelta) -> list[StreamEvent]:
        if delta.index >= len(self._calls):
            return self._open_call(delta)
        if not delta.arguments or self._calls_step_id is None:
            return []
        self._calls[delta.index].arguments.append(delta.arguments)
        self.unsaved_bytes += len(delta.arguments)
        fragment = {
            "index": delta.index,
            "type": "function",
            "function": {"arguments": delta.arguments},
        }
        return [step_delta(self._calls_step_id, fragment)]

    def _open_call(self, delta: ToolCallDelta) -> list[StreamEvent]:
        events = self._close_message()
        if self._calls_step_id is None:
            self._calls_step_id = self._new_id("step")
            created_ms = self._now_ms()
            self._changes.append(OpenStep(self._calls_step_id, "tool_calls", created_ms))
            step = self._step(self._calls_step_id, created_ms, ToolCallsDetails())
            events.append(StreamEvent("thread.run.step.created", step))
            events.append(StreamEvent("thread.run.step.in_progress", step))
        call = _OpenCall(delta.id or self._new_id("call"), delta.name or "", [delta.arguments])
        self._calls.append(call)
        fragment = {
            "index": len(self._calls) - 1,
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": delta.arguments, "output": None},
        }
        events.append(step_delta(self._calls_step_id, fragment))
        return events

    def _close_message(self) -> list[StreamEvent]:
        message = self._message
        if message is None:
            return []
        self._message = None
        ended_ms = self._now_ms()
        item = self._message_item(message, MessageStatus.COMPLETED, ended_ms)
        self._changes.append(self._stored(message, item))
        self._changes.append(CompleteStep(message.step_id, ended_ms))
        step = msgspec.structs.replace(
            self._step(
                message.step_id,
                message.created_ms,
                MessageCreationDetails(message_creation=MessageCreation(message.message_id)),
            ),
            status=StepStatus.COMPLETED,
            completed_at=ended_ms // 1000,
            usage=assistants_usage(NO_USAGE),
        )
        shown = message_object(item, self._run.thread_id)
        return [
            StreamEvent("thread.message.completed", shown),
            StreamEvent("thread.run.step.completed", step),
        ]

    def _stored(self, message: _OpenMessage, item: Item) -> Change:
        is_known, message.is_stored = message.is_stored, True
        return UpdateItem(item) if is_known else AddItem(item, message.step_id)

    def _message_item(
        self, message: _OpenMessage, status: MessageStatus, ended_ms: int | None = None
    ) -> Item:
        return Item(
            id=message.message_id,
            role="assistant",
            status=status,
            run_id=self._run.id,
            assistant_id=self._run.assistant_id,
            step_id=message.step_id,
            step_index=0,
            created_ms=message.created_ms,
            ended_ms=ended_ms,
            body=MessageBody(message.content()),
        )

    def _call_items(self, step_id: str) -> list[Item]:
        now_ms = self._now_ms()
        return [
            Item(
                id=self._new_id("fc"),
                call_id=call.call_id,
                run_id=self._run.id,
                step_id=step_id,
                step_index=index,
                created_ms=now_ms,
                ended_ms=now_ms,
                body=FunctionCallBody(call.name, "".join(call.arguments)),
            )
            for index, call in enumerate(self._calls)
        ]

    def _step(
        self, step_id: str, created_ms: int, details: MessageCreationDetails | ToolCallsDetails
    ) -> RunStep:
        is_call = isinstance(details, ToolCallsDetails)
        return RunStep(
            id=step_id,
            created_at=created_ms // 1000,
            run_id=self._run.id,
            assistant_id=self._run.assistant_id,
            thread_id=self._run.thread_id,
            type="tool_calls" if is_call else "message_creation",
            expires_at=self._run.expires_ms // 1000,
            step_details=details,
        )
