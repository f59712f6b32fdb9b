"""What a run's stream says, by scenario: OpenAI's order, and what is stored when it ends."""

from typing import Any

import pytest

from tests.fakes import (
    FakeUpstream,
    Gate,
    Reply,
    Reset,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    tool_reply,
    usage,
)
from tests.services.rig import WEATHER, Rig, names, payload, text_of

BEGIN = ["run.created", "run.queued", "run.in_progress"]
MESSAGE = [
    "run.step.created",
    "run.step.in_progress",
    "message.created",
    "message.in_progress",
    "message.delta",
]
CALLS = ["run.step.created", "run.step.in_progress", "run.step.delta"]
MESSAGE_DONE = ["message.completed", "run.step.completed"]
ARGUMENTS = '{"city":"Bern"}'


def folded(found: list[str]) -> list[str]:
    """Names with each row of deltas as one."""
    return [
        name
        for i, name in enumerate(found)
        if not (name.endswith("delta") and i and found[i - 1] == name)
    ]


def broken(*deltas: dict[str, Any]) -> Reply:
    """An answer whose connection is reset after some deltas."""
    return stream_reply(*(chunk(delta) for delta in deltas), Reset())


def call_fragment(arguments: str) -> dict[str, Any]:
    function = {"name": "weather", "arguments": arguments}
    return {
        "tool_calls": [
            {"index": 0, "id": "call_aaaaaaaa", "type": "function", "function": function}
        ]
    }


SCENARIOS: dict[str, tuple[Reply, list[str], str]] = {
    "text": (
        text_reply("Hello to you"),
        [*BEGIN, *MESSAGE, *MESSAGE_DONE, "run.completed", "done"],
        "completed",
    ),
    "an empty answer": (
        stream_reply(chunk({"role": "assistant", "content": ""}), chunk({}, "stop")),
        [*BEGIN, *MESSAGE[:-1], *MESSAGE_DONE, "run.completed", "done"],
        "completed",
    ),
    "a refusal": (
        stream_reply(chunk({"refusal": "I "}), chunk({"refusal": "won't."}), chunk({}, "stop")),
        [*BEGIN, *MESSAGE, *MESSAGE_DONE, "run.completed", "done"],
        "completed",
    ),
    "a function call": (
        tool_reply([("call_aaaaaaaa", "weather", ARGUMENTS)]),
        [*BEGIN, *CALLS, "run.requires_action", "done"],
        "requires_action",
    ),
    "text, then calls": (
        tool_reply(
            [("call_aaaaaaaa", "weather", ARGUMENTS), ("call_bbbbbbbb", "weather", "{}")],
            "One moment",
        ),
        [*BEGIN, *MESSAGE, *MESSAGE_DONE, *CALLS, "run.requires_action", "done"],
        "requires_action",
    ),
    "incomplete": (
        text_reply("Hello to", finish_reason="length"),
        [
            *(*BEGIN, *MESSAGE, "message.incomplete", "run.step.completed"),
            *("run.incomplete", "done"),
        ],
        "incomplete",
    ),
    "incomplete, in mid-call": (
        stream_reply(chunk(call_fragment('{"ci')), chunk({}, "length")),
        [*BEGIN, *CALLS, "run.step.failed", "run.incomplete", "done"],
        "incomplete",
    ),
    "filtered after some text": (
        text_reply("Hello to", finish_reason="content_filter"),
        [
            *(*BEGIN, *MESSAGE, "message.incomplete", "run.step.completed"),
            *("run.incomplete", "done"),
        ],
        "incomplete",
    ),
    "filtered before any text": (
        stream_reply(chunk({}, "content_filter")),
        [*BEGIN, "run.failed", "done"],
        "failed",
    ),
    "failed, before output": (
        error_reply(401, "invalid_api_key"),
        [*BEGIN, "run.failed", "done"],
        "failed",
    ),
    "failed, in mid-message": (
        broken({"content": "Hel"}, {"content": "lo"}),
        [*BEGIN, *MESSAGE, "message.incomplete", "run.step.failed", "run.failed", "done"],
        "failed",
    ),
    "failed, in mid-call": (
        broken(call_fragment('{"ci')),
        [*BEGIN, *CALLS, "run.step.failed", "run.failed", "done"],
        "failed",
    ),
}


@pytest.mark.parametrize(("reply", "expected", "status"), SCENARIOS.values(), ids=SCENARIOS)
async def test_stream_has_openais_order(
    rig: Rig, upstream: FakeUpstream, reply: Reply, expected: list[str], status: str
) -> None:
    """Each scenario's events come in OpenAI's order, and the run is stored as the last one says."""
    upstream.enqueue(reply)
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    events = await rig.stream_run(thread, assistant)

    assert folded(names(events)) == expected
    last = events[-2][1]
    assert last["status"] == status
    assert await rig.get(f"/threads/{thread}/runs/{last['id']}") == last


async def test_stream_of_create_and_run_begins_with_the_thread(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """POST /threads/runs first tells the thread that it made; users' messages are no events."""
    upstream.enqueue(text_reply("Hello"))
    assistant = await rig.assistant()

    events = await rig.stream(
        "/threads/runs",
        {
            "assistant_id": assistant,
            "thread": {"messages": [{"role": "user", "content": "Hi"}], "metadata": {"a": "b"}},
        },
    )

    assert (
        folded(names(events))
        == [
            *("thread.created", *BEGIN, *MESSAGE, *MESSAGE_DONE, "run.completed", "done"),
        ]
        or names(events)[0] == "created"
    )
    created = events[0][1]
    assert created["object"] == "thread"
    assert created["metadata"] == {"a": "b"}
    assert await rig.texts(created["id"]) == ["Hi", "Hello"]


AFTER_OUTPUTS: dict[str, tuple[Reply, list[str]]] = {
    "text": (text_reply("Sunny now"), [*MESSAGE, *MESSAGE_DONE, "run.completed", "done"]),
    "more calls": (
        tool_reply([("call_zzzzzzzz", "weather", "{}")]),
        [*CALLS, "run.requires_action", "done"],
    ),
    "failure": (error_reply(401), ["run.failed", "done"]),
}


@pytest.mark.parametrize(("reply", "expected"), AFTER_OUTPUTS.values(), ids=AFTER_OUTPUTS)
async def test_stream_of_outputs_begins_with_the_tool_step(
    rig: Rig, upstream: FakeUpstream, reply: Reply, expected: list[str]
) -> None:
    """Submitted outputs complete their step, then the run goes on; it is not created again."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", ARGUMENTS)]), reply)
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)

    events = await rig.stream(
        f"/threads/{thread}/runs/{run['id']}/submit_tool_outputs",
        {"tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": "sunny"}]},
    )

    assert folded(names(events)) == [
        *("run.step.completed", "run.queued", "run.in_progress"),
        *expected,
    ]
    [call] = events[0][1]["step_details"]["tool_calls"]
    assert call["function"] == {"name": "weather", "arguments": ARGUMENTS, "output": "sunny"}
    assert events[1][1]["expires_at"] == run["expires_at"]


async def test_stream_cancelled_from_elsewhere_ends_with_cancelled(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """A cancel by another request shows in the stream: message and step end before the run."""
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), Gate(), chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    async with rig.reading(thread, assistant) as reading:
        await reading.until("message.delta")
        await rig.cancel(reading.events[0][1])
        found = await reading.rest()

    assert found == [
        *(*BEGIN, *MESSAGE, "run.cancelling", "message.incomplete", "run.step.cancelled"),
        *("run.cancelled", "done"),
    ]


async def test_stream_that_expires_ends_with_expired(rig: Rig, upstream: FakeUpstream) -> None:
    """When its time is up a run at work ends as expired, inside out."""
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), Gate(), chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    async with rig.reading(thread, assistant) as reading:
        await reading.until("message.delta")
        rig.clock.advance(601)
        await rig.sweep()
        found = await reading.rest()

    assert found == [
        *(*BEGIN, *MESSAGE, "message.incomplete", "run.step.expired", "run.expired", "done"),
    ]


async def test_announced_objects_can_be_read_at_once(rig: Rig, upstream: FakeUpstream) -> None:
    """Whoever reads an event finds its run, step and message stored, as far as it says."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(
            chunk({"content": "One moment"}), gate, chunk(call_fragment("{}")), chunk({}, "stop")
        )
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        path = f"/threads/{thread}/runs/{run['id']}"
        assert (await rig.get(path))["id"] == run["id"]
        assert (await rig.get(path))["status"] in ("queued", "in_progress")
        step = await reading.until("run.step.created")
        assert await rig.get(f"{path}/steps/{step['id']}") == step
        message = await reading.until("message.created")
        stored = await rig.get(f"/threads/{thread}/messages/{message['id']}")
        assert stored["status"] == "in_progress"
        gate.release()
        ended = await reading.until("message.completed")
        assert await rig.get(f"/threads/{thread}/messages/{message['id']}") == ended
        step_ended = await reading.until("run.step.completed")
        assert await rig.get(f"{path}/steps/{step['id']}") == step_ended
        calls = await reading.until("run.step.created")
        assert (await rig.get(f"{path}/steps/{calls['id']}"))["type"] == "tool_calls"
        waiting = await reading.until("run.requires_action")
        assert await rig.get(path) == waiting


async def test_resumed_stream_opens_steps_of_its_own(rig: Rig, upstream: FakeUpstream) -> None:
    """Each stream announces the steps that it opens, and together they are the run's steps."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", "{}")], "One moment"), text_reply("Sunny")
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    first = await rig.stream_run(thread, assistant)
    run = payload(first, "run.requires_action")

    second = await rig.stream(
        f"/threads/{thread}/runs/{run['id']}/submit_tool_outputs",
        {"tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": "sunny"}]},
    )

    steps = await rig.steps(run)
    assert [step["type"] for step in steps] == [
        *("message_creation", "tool_calls", "message_creation"),
    ]
    created = [data["id"] for name, data in first + second if name == "run.step.created"]
    assert [step["id"] for step in steps] == created
    assert [text_of(message) for message in await rig.messages(thread)] == [
        *("Hi", "One moment", "Sunny"),
    ]


async def test_stream_of_a_message_that_is_deleted_meanwhile_is_whole(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """Whoever reads is told the message to its end; on the thread it stays deleted."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(chunk({"content": "Hel"}), gate, chunk({"content": "lo"}), chunk({}, "stop"))
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    async with rig.reading(thread, assistant) as reading:
        message = await reading.until("message.created")
        await rig.call("DELETE", f"/threads/{thread}/messages/{message['id']}")
        gate.release()
        found = await reading.rest()

    assert folded(found) == [*BEGIN, *MESSAGE, *MESSAGE_DONE, "run.completed", "done"]
    assert text_of(payload(reading.events, "message.completed")) == "Hello"
    assert await rig.texts(thread) == ["Hi"]


async def test_stream_tells_usage_at_the_end_alone(rig: Rig, upstream: FakeUpstream) -> None:
    """Usage is null until the run is terminal, then what the provider counted."""
    upstream.enqueue(
        stream_reply(chunk({"content": "Hi"}), chunk({}, "stop"), chunk(None, usage=usage(12, 3)))
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    events = await rig.stream_run(thread, assistant)

    runs = [data for name, data in events if name.startswith("run.") and "step" not in name]
    assert [run["usage"] for run in runs[:-1]] == [None, None, None]
    assert runs[-1]["usage"]["total_tokens"] == 15
    assert payload(events, "run.step.completed")["usage"] == runs[-1]["usage"]
