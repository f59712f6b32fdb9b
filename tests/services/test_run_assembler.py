"""One model call as a playbook: given these deltas, exactly these events and these rows.

A line is an event or a change in short: its name, its ids, and what it says.
"""

from collections import Counter
from typing import Any

import msgspec
import pytest

from ringside_proxy.domain.events import StreamEvent
from ringside_proxy.domain.items import FunctionCallBody, Item, MessageBody, OutputText, Refusal
from ringside_proxy.domain.messages import TextPart
from ringside_proxy.domain.runs import RunSettings, RunStatus
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage, assistants_usage
from ringside_proxy.providers.types import (
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.services.run_assembler import (
    AddItem,
    Change,
    CompleteStep,
    OpenStep,
    RunAssembler,
    UpdateItem,
)
from ringside_proxy.store.runs import RunRecord
from tests.fakes import FakeClock

RUN = RunRecord(
    seq=1,
    id="run_1",
    conversation=1,
    thread_id="thread_1",
    assistant_id="asst_1",
    customer=None,
    status=RunStatus.IN_PROGRESS,
    created_ms=1000,
    expires_ms=601_000,
    settings=RunSettings(model="fc:openai/gpt-4o"),
    metadata={},
)


def assembler(clock: FakeClock | None = None) -> RunAssembler:
    counts: Counter[str] = Counter()

    def new_id(prefix: str) -> str:
        counts[prefix] += 1
        return f"{prefix}_{counts[prefix]}"

    return RunAssembler(RUN, new_id, (clock or FakeClock()).now_ms)


def told(event: StreamEvent) -> str:
    name, data = event.name.removeprefix("thread.").removeprefix("run."), event.data
    if name == "message.delta":
        [part] = data["delta"]["content"]
        return f"{name} {data['id']} {part}"
    if name == "step.delta":
        [call] = data["delta"]["step_details"]["tool_calls"]
        return f"{name} {data['id']} {call}"
    if name.startswith("message."):
        return f"{name} {data.id} {_said(data.content)}".rstrip()
    return f"{name} {data.id} {data.type}"


def changed(change: Change) -> str:
    match change:
        case OpenStep(step_id=step_id, type=kind):
            return f"open {step_id} {kind}"
        case CompleteStep(step_id=step_id):
            return f"complete {step_id}"
        case AddItem(item=item, step_id=step_id):
            return f"add {item.id} to {step_id} {_item(item)}".rstrip()
        case UpdateItem(item=item):
            return f"update {item.id} {_item(item)}".rstrip()


def _item(item: Item) -> str:
    if isinstance(item.body, FunctionCallBody):
        return f"{item.call_id} {item.body.name}({item.body.arguments})"
    assert isinstance(item.body, MessageBody)
    texts = [
        part.text if isinstance(part, OutputText) else f"!{part.refusal}"
        for part in item.body.content
        if isinstance(part, OutputText | Refusal)
    ]
    return f"{item.status} {'|'.join(texts)}"


def _said(content: list[Any]) -> str:
    return "|".join(
        part.text.value if isinstance(part, TextPart) else f"!{part.refusal}" for part in content
    )


def part(index: int, text: str, *, is_first: bool = False) -> str:
    value: dict[str, Any] = {"value": text, "annotations": []} if is_first else {"value": text}
    return str({"index": index, "type": "text", "text": value})


def refused(index: int, text: str) -> str:
    return str({"index": index, "type": "refusal", "refusal": text})


def opened(index: int, call_id: str, name: str, arguments: str = "") -> str:
    function = {"name": name, "arguments": arguments, "output": None}
    return str({"index": index, "id": call_id, "type": "function", "function": function})


def more(index: int, arguments: str) -> str:
    return str({"index": index, "type": "function", "function": {"arguments": arguments}})


MESSAGE_OPENS = [
    "step.created step_1 message_creation",
    "step.in_progress step_1 message_creation",
    "message.created msg_1",
    "message.in_progress msg_1",
]


def calls_open(step_id: str) -> list[str]:
    return [f"step.created {step_id} tool_calls", f"step.in_progress {step_id} tool_calls"]


def call_delta(index: int, call_id: str, name: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, id=call_id, name=name)


def more_delta(index: int, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments)


HALF, WONT = '{"x"', "won't."

PLAYBOOKS: dict[str, tuple[list[Delta], list[str], list[str]]] = {
    "text in one delta": (
        [TextDelta("Hello"), Finish("stop")],
        [*MESSAGE_OPENS, f"message.delta msg_1 {part(0, 'Hello', is_first=True)}"],
        ["open step_1 message_creation", "add msg_1 to step_1 in_progress Hello"],
    ),
    "text in several deltas": (
        [TextDelta("Hel"), TextDelta("lo"), TextDelta("!"), Finish("stop")],
        [
            *MESSAGE_OPENS,
            f"message.delta msg_1 {part(0, 'Hel', is_first=True)}",
            f"message.delta msg_1 {part(0, 'lo')}",
            f"message.delta msg_1 {part(0, '!')}",
        ],
        ["open step_1 message_creation", "add msg_1 to step_1 in_progress Hello!"],
    ),
    "empty pieces of text open nothing": ([TextDelta(""), RefusalDelta("")], [], []),
    "one call, in fragments": (
        [
            call_delta(0, "call_a", "f"),
            more_delta(0, HALF),
            more_delta(0, ""),
            more_delta(0, ":1}"),
            Finish("tool_calls"),
        ],
        [
            *calls_open("step_1"),
            f"step.delta step_1 {opened(0, 'call_a', 'f')}",
            f"step.delta step_1 {more(0, HALF)}",
            f"step.delta step_1 {more(0, ':1}')}",
        ],
        ["open step_1 tool_calls", 'add fc_1 to step_1 call_a f({"x":1})'],
    ),
    "a call that comes whole": (
        [ToolCallDelta(index=0, id="call_a", name="f", arguments="{}")],
        [*calls_open("step_1"), f"step.delta step_1 {opened(0, 'call_a', 'f', '{}')}"],
        ["open step_1 tool_calls", "add fc_1 to step_1 call_a f({})"],
    ),
    "a call without an id gets one": (
        [ToolCallDelta(index=0, name="f", arguments="{}")],
        [*calls_open("step_1"), f"step.delta step_1 {opened(0, 'call_1', 'f', '{}')}"],
        ["open step_1 tool_calls", "add fc_1 to step_1 call_1 f({})"],
    ),
    "parallel calls share a step": (
        [
            call_delta(0, "call_a", "f"),
            more_delta(0, "{}"),
            call_delta(1, "call_b", "g"),
            more_delta(1, "[]"),
        ],
        [
            *calls_open("step_1"),
            f"step.delta step_1 {opened(0, 'call_a', 'f')}",
            f"step.delta step_1 {more(0, '{}')}",
            f"step.delta step_1 {opened(1, 'call_b', 'g')}",
            f"step.delta step_1 {more(1, '[]')}",
        ],
        [
            "open step_1 tool_calls",
            "add fc_1 to step_1 call_a f({})",
            "add fc_2 to step_1 call_b g([])",
        ],
    ),
    "text, then a call": (
        [TextDelta("Wait."), ToolCallDelta(index=0, id="call_a", name="f", arguments="{}")],
        [
            *MESSAGE_OPENS,
            f"message.delta msg_1 {part(0, 'Wait.', is_first=True)}",
            "message.completed msg_1 Wait.",
            "step.completed step_1 message_creation",
            *calls_open("step_2"),
            f"step.delta step_2 {opened(0, 'call_a', 'f', '{}')}",
        ],
        [
            "open step_1 message_creation",
            "add msg_1 to step_1 completed Wait.",
            "complete step_1",
            "open step_2 tool_calls",
            "add fc_1 to step_2 call_a f({})",
        ],
    ),
    "text after calls is left out": (
        [ToolCallDelta(index=0, id="call_a", name="f", arguments="{}"), TextDelta("Done.")],
        [*calls_open("step_1"), f"step.delta step_1 {opened(0, 'call_a', 'f', '{}')}"],
        ["open step_1 tool_calls", "add fc_1 to step_1 call_a f({})"],
    ),
    "a refusal": (
        [RefusalDelta("I "), RefusalDelta(WONT)],
        [
            *MESSAGE_OPENS,
            f"message.delta msg_1 {refused(0, 'I ')}",
            f"message.delta msg_1 {refused(0, WONT)}",
        ],
        ["open step_1 message_creation", "add msg_1 to step_1 in_progress !I won't."],
    ),
    "text, a refusal, text: three parts": (
        [TextDelta("Well"), RefusalDelta("no"), TextDelta("So"), TextDelta("rry")],
        [
            *MESSAGE_OPENS,
            f"message.delta msg_1 {part(0, 'Well', is_first=True)}",
            f"message.delta msg_1 {refused(1, 'no')}",
            f"message.delta msg_1 {part(2, 'So', is_first=True)}",
            f"message.delta msg_1 {part(2, 'rry')}",
        ],
        ["open step_1 message_creation", "add msg_1 to step_1 in_progress Well|!no|Sorry"],
    ),
    "reasoning is no part of the answer": (
        [ReasoningDelta("Hm."), TextDelta("Yes"), ReasoningDelta("Hm.")],
        [*MESSAGE_OPENS, f"message.delta msg_1 {part(0, 'Yes', is_first=True)}"],
        ["open step_1 message_creation", "add msg_1 to step_1 in_progress Yes"],
    ),
    "reasoning alone": ([ReasoningDelta("Hm."), Finish("stop")], [], []),
    "usage and the finish say nothing": (
        [UsageDelta(TokenUsage(input_tokens=1)), Finish("stop")],
        [],
        [],
    ),
}


@pytest.mark.parametrize(("deltas", "events", "rows"), PLAYBOOKS.values(), ids=PLAYBOOKS)
def test_assembler_follows_its_playbook(
    deltas: list[Delta], events: list[str], rows: list[str]
) -> None:
    """These deltas cause exactly these events, and leave exactly these rows, in this order."""
    tested = assembler()

    found = [told(event) for delta in deltas for event in tested.feed(delta)]

    assert found == events
    assert [changed(change) for change in tested.take_changes(with_calls=True)] == rows


@pytest.mark.parametrize("deltas", [[], [ReasoningDelta("Hm.")], [Finish("stop")]])
def test_ensure_message_makes_an_empty_answer_a_message(deltas: list[Delta]) -> None:
    """A model that says nothing has still answered: with an empty message."""
    tested = assembler()
    for delta in deltas:
        tested.feed(delta)

    assert [told(event) for event in tested.ensure_message()] == MESSAGE_OPENS
    assert [changed(change) for change in tested.take_changes()] == [
        "open step_1 message_creation",
        "add msg_1 to step_1 in_progress",
    ]


@pytest.mark.parametrize(
    "delta", [TextDelta("Hi"), RefusalDelta("No"), ToolCallDelta(index=0, id="call_a", name="f")]
)
def test_ensure_message_adds_nothing_to_an_answer(delta: Delta) -> None:
    """Whoever spoke or called needs no empty message beside it."""
    tested = assembler()
    tested.feed(delta)

    assert tested.ensure_message() == []


def test_changes_are_taken_once_and_then_as_updates() -> None:
    """A message is added once; later saves update it, and an ended one is never touched again."""
    tested = assembler()

    tested.feed(TextDelta("Hel"))
    first = [changed(change) for change in tested.take_changes()]
    tested.feed(TextDelta("lo"))
    second = [changed(change) for change in tested.take_changes()]
    tested.feed(call_delta(0, "call_a", "f"))
    third = [changed(change) for change in tested.take_changes()]
    last = [changed(change) for change in tested.take_changes(with_calls=True)]

    assert first == ["open step_1 message_creation", "add msg_1 to step_1 in_progress Hel"]
    assert second == ["update msg_1 in_progress Hello"]
    assert third == ["update msg_1 completed Hello", "complete step_1", "open step_2 tool_calls"]
    assert last == ["add fc_1 to step_2 call_a f()"]


def test_calls_are_stored_only_when_they_are_whole() -> None:
    """A save in between stores the step of the calls, and no half call."""
    tested = assembler()
    tested.feed(call_delta(0, "call_a", "f"))
    tested.feed(more_delta(0, '{"half'))

    assert [changed(change) for change in tested.take_changes()] == ["open step_1 tool_calls"]


def test_must_save_while_something_told_is_not_stored() -> None:
    """What opens or closes is to be stored before it is told; more text can wait."""
    tested = assembler()
    assert not tested.must_save

    tested.feed(TextDelta("Hi"))
    assert tested.must_save
    tested.take_changes()
    tested.feed(TextDelta(" there"))
    assert not tested.must_save
    tested.feed(call_delta(0, "call_a", "f"))
    assert tested.must_save


def test_unsaved_bytes_count_from_the_last_save() -> None:
    """Text and arguments count until they are taken."""
    tested = assembler()
    tested.feed(TextDelta("12345"))
    tested.feed(call_delta(0, "call_a", "f"))
    tested.feed(more_delta(0, "123"))

    assert tested.unsaved_bytes == 8
    tested.take_changes()
    assert tested.unsaved_bytes == 0


def test_assembler_keeps_the_last_usage_and_the_finish_reason() -> None:
    """Providers may report usage more than once; the last report counts."""
    tested = assembler()
    for delta in (
        UsageDelta(TokenUsage(input_tokens=1)),
        Finish("length"),
        UsageDelta(TokenUsage(input_tokens=2, output_tokens=3)),
    ):
        tested.feed(delta)

    assert tested.usage == TokenUsage(input_tokens=2, output_tokens=3)
    assert tested.finish_reason == "length"


def test_events_carry_the_runs_ids_and_times() -> None:
    """Message and step name the run, thread, assistant and each other; times are the clock's."""
    clock = FakeClock(now_ms=5_000)
    tested = assembler(clock)
    created, _, message, _, _ = tested.feed(TextDelta("Wait."))
    clock.advance(2)
    completed, step_completed, *_ = tested.feed(call_delta(0, "call_a", "f"))

    step = created.data
    assert (step.run_id, step.thread_id, step.assistant_id) == ("run_1", "thread_1", "asst_1")
    assert (step.created_at, step.expires_at, step.usage) == (5, 601, None)
    assert step.step_details.message_creation.message_id == message.data.id
    assert (message.data.run_id, message.data.created_at, message.data.completed_at) == (
        "run_1",
        5,
        None,
    )
    assert (completed.data.created_at, completed.data.completed_at) == (5, 7)
    assert step_completed.data == msgspec.structs.replace(
        step, status="completed", completed_at=7, usage=assistants_usage(NO_USAGE)
    )


def test_text_that_comes_together_is_told_as_one() -> None:
    """Rows of text in one batch are one delta each; whatever else comes between them parts them."""
    tested = assembler()
    together: list[Delta] = [
        TextDelta("Hel"),
        TextDelta("lo"),
        RefusalDelta("no"),
        TextDelta("So"),
        TextDelta("rry"),
        Finish("stop"),
    ]

    found = [told(event) for event in tested.feed_all(together)]

    assert found == [
        *MESSAGE_OPENS,
        f"message.delta msg_1 {part(0, 'Hello', is_first=True)}",
        f"message.delta msg_1 {refused(1, 'no')}",
        f"message.delta msg_1 {part(2, 'Sorry', is_first=True)}",
    ]
    assert tested.finish_reason == "stop"
