"""Streamed runs: the order of events, the handlers' callbacks, and streams that end otherwise."""

from typing import Any

import pytest
from conftest import AssistantOf
from openai import AssistantEventHandler, OpenAI
from story import (
    CALLS,
    LONG_TEXT,
    POLL_MS,
    PREFIX,
    RESUMED,
    TEXT,
    TEXT_DONE,
    VERSION,
    outputs_for,
    pending_calls,
    squeezed,
    text_of,
)

CALLBACKS = (
    "on_message_created",
    "on_message_done",
    "on_text_created",
    "on_text_delta",
    "on_text_done",
    "on_run_step_created",
    "on_run_step_done",
    "on_tool_call_created",
    "on_tool_call_delta",
    "on_tool_call_done",
    "on_exception",
    "on_end",
)


class Recorder(AssistantEventHandler):
    """Writes down which of its callbacks are called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        for name in CALLBACKS:
            setattr(self, name, self._recorder(name))

    def _recorder(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)


@pytest.fixture
def thread_id(client: OpenAI) -> str:
    """A thread that asks for many words."""
    return client.beta.threads.create(messages=[{"role": "user", "content": LONG_TEXT}]).id


def events_of(stream: Any) -> list[str]:
    """The names of a stream's events, read to its end, deltas as one."""
    return squeezed([event.event for event in stream])


# For each model: how its stream goes after the run began, and how the run ends.
SCENARIOS = {
    "echo": ([*TEXT_DONE, "thread.run.completed"], "completed"),
    "refuse": ([*TEXT_DONE, "thread.run.completed"], "completed"),
    "tools": (CALLS, "requires_action"),
    "say-then-tools": ([*TEXT_DONE, *CALLS], "requires_action"),
    "fail-500": (["thread.run.failed"], "failed"),
    "break-midstream": (
        [*TEXT, "thread.message.incomplete", "thread.run.step.failed", "thread.run.failed"],
        "failed",
    ),
    "error-midstream": (
        [*TEXT, "thread.message.incomplete", "thread.run.step.failed", "thread.run.failed"],
        "failed",
    ),
}


@pytest.mark.parametrize("model", SCENARIOS)
def test_stream_has_the_documented_order(
    client: OpenAI, assistant: AssistantOf, thread_id: str, model: str
) -> None:
    expected, status = SCENARIOS[model]
    tools = ["get_weather", "get_time"] if "tools" in model else []

    with client.beta.threads.runs.stream(
        thread_id=thread_id, assistant_id=assistant(model, *tools)
    ) as stream:
        events = events_of(stream)
        run = stream.get_final_run()

    assert events == [*PREFIX, *expected]
    assert run.status == status
    assert client.beta.threads.runs.retrieve(run.id, thread_id=thread_id).status == status


def test_plain_stream_gives_the_events_themselves(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    events = client.beta.threads.runs.create(thread_id, assistant_id=assistant("echo"), stream=True)

    assert events_of(events) == [*PREFIX, *TEXT_DONE, "thread.run.completed"]


def test_stream_of_a_new_thread_begins_with_the_thread(
    client: OpenAI, assistant: AssistantOf
) -> None:
    new: Any = {
        "assistant_id": assistant("echo"),
        "thread": {"messages": [{"role": "user", "content": "hi"}]},
    }

    with client.beta.threads.create_and_run_stream(**new) as stream:
        events = events_of(stream)
        messages = stream.get_final_messages()
    plain = events_of(client.beta.threads.create_and_run(**new, stream=True))

    assert events == ["thread.created", *PREFIX, *TEXT_DONE, "thread.run.completed"]
    assert plain == events
    assert [text_of(message) for message in messages] == ["hi"]


@pytest.mark.parametrize("helper", ["stream", "create_and_stream"])
def test_text_callbacks_come_in_order(
    client: OpenAI, assistant: AssistantOf, thread_id: str, helper: str
) -> None:
    handler = Recorder()
    start = getattr(client.beta.threads.runs, helper)

    with start(
        thread_id=thread_id, assistant_id=assistant("echo"), event_handler=handler
    ) as stream:
        text = "".join(stream.text_deltas)

    (message,) = handler.get_final_messages()
    (step,) = handler.get_final_run_steps()
    assert squeezed(handler.calls) == [
        "on_run_step_created",
        "on_message_created",
        "on_text_created",
        "on_text_delta",
        "on_text_done",
        "on_message_done",
        "on_run_step_done",
        "on_end",
    ]
    assert text == text_of(message) == LONG_TEXT
    assert step.step_details.message_creation.message_id == message.id


def test_tool_callbacks_come_call_by_call(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    handler = Recorder()

    with client.beta.threads.runs.stream(
        thread_id=thread_id,
        assistant_id=assistant("tools", "get_weather", "get_time"),
        event_handler=handler,
    ) as stream:
        stream.until_done()

    (step,) = handler.get_final_run_steps()
    one_call = ["on_tool_call_created", "on_tool_call_delta", "on_tool_call_done"]
    assert squeezed(handler.calls) == ["on_run_step_created", *one_call, *one_call, "on_end"]
    streamed = [
        (call.id, call.function.name, call.function.arguments)
        for call in step.step_details.tool_calls
    ]
    assert streamed == [
        (call.id, call.function.name, call.function.arguments)
        for call in pending_calls(handler.get_final_run())
    ]


def test_tool_outputs_are_answered_by_streams(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    run = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("tools-2", "get_weather", "get_time"),
        poll_interval_ms=POLL_MS,
    )

    with runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=thread_id, tool_outputs=outputs_for(run)
    ) as stream:
        second_round = events_of(stream)
        run = stream.get_final_run()
    last_round = events_of(
        runs.submit_tool_outputs(
            run.id, thread_id=thread_id, tool_outputs=outputs_for(run), stream=True
        )
    )

    assert second_round == [*RESUMED, *CALLS]
    assert last_round == [*RESUMED, *TEXT_DONE, "thread.run.completed"]


def test_refusal_is_a_part_of_the_message(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    with client.beta.threads.runs.stream(
        thread_id=thread_id, assistant_id=assistant("refuse")
    ) as stream:
        stream.until_done()

    (part,) = client.beta.threads.messages.list(thread_id, limit=1).data[0].content
    assert part.type == "refusal"
    assert part.refusal


@pytest.mark.parametrize(
    ("model", "limits", "message_reason", "run_reason"),
    [
        ("echo", {"max_completion_tokens": 5}, "max_tokens", "max_completion_tokens"),
        ("filter", {}, "content_filter", None),
    ],
)
def test_incomplete_stream_keeps_what_was_said(
    client: OpenAI,
    assistant: AssistantOf,
    thread_id: str,
    model: str,
    limits: Any,
    message_reason: str,
    run_reason: str | None,
) -> None:
    with client.beta.threads.runs.stream(
        thread_id=thread_id, assistant_id=assistant(model), **limits
    ) as stream:
        text = "".join(stream.text_deltas)
        (message,) = stream.get_final_messages()
        run = stream.get_final_run()

    assert (message.status, message.incomplete_details.reason) == ("incomplete", message_reason)
    assert text == text_of(message) != ""
    # The oldest SDK's handler does not know the event and stays at the one before.
    if VERSION >= (1, 109):
        assert run.status == "incomplete"
    stored = client.beta.threads.runs.retrieve(run.id, thread_id=thread_id)
    assert stored.status == "incomplete"
    assert (stored.incomplete_details and stored.incomplete_details.reason) == run_reason


def test_run_cancelled_from_elsewhere_ends_the_stream(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    events: list[str] = []

    with runs.stream(thread_id=thread_id, assistant_id=assistant("slow")) as stream:
        for event in stream:
            if event.event == "thread.message.delta" and event.event not in events:
                runs.cancel(stream.current_run.id, thread_id=thread_id)
            events.append(event.event)
        (message,) = stream.get_final_messages()
        run = stream.get_final_run()

    assert squeezed(events) == [
        *PREFIX,
        *TEXT,
        "thread.run.cancelling",
        "thread.message.incomplete",
        "thread.run.step.cancelled",
        "thread.run.cancelled",
    ]
    assert run.status == "cancelled"
    assert message.incomplete_details.reason == "run_cancelled"
    assert LONG_TEXT.startswith(text_of(message))


def test_run_that_takes_too_long_expires(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    with client.beta.threads.runs.stream(
        thread_id=thread_id,
        assistant_id=assistant("hang-midstream"),
        extra_body={"expires_after": 1},
    ) as stream:
        first = next(iter(stream)).data
        events = events_of(stream)
        (message,) = stream.get_final_messages()
        run = stream.get_final_run()

    assert first.expires_at == first.created_at + 1
    assert events == [
        *PREFIX[1:],
        *TEXT,
        "thread.message.incomplete",
        "thread.run.step.expired",
        "thread.run.expired",
    ]
    assert (run.status, run.last_error) == ("expired", None)
    assert message.incomplete_details.reason == "run_expired"


def test_client_that_leaves_frees_the_thread(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs

    with runs.stream(thread_id=thread_id, assistant_id=assistant("slow")) as stream:
        next(event for event in stream if event.event == "thread.message.delta")
        run_id = stream.current_run.id

    run = runs.poll(run_id, thread_id=thread_id, poll_interval_ms=POLL_MS)
    (message,) = client.beta.threads.messages.list(thread_id, run_id=run_id).data
    assert run.status == "cancelled"
    assert (message.status, message.incomplete_details.reason) == ("incomplete", "run_cancelled")
    assert LONG_TEXT.startswith(text_of(message))
    assert client.beta.threads.messages.create(thread_id, role="user", content="free").id
