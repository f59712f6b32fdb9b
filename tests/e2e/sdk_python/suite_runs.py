"""Runs without streams: create, poll, tool loops, cancel, steps, and what they echo."""

import json
from typing import Any

import pytest
from conftest import AssistantOf, function_tool
from openai import OpenAI
from story import LONG_TEXT, POLL_MS, VERSION, outputs_for, pending_calls, same, text_of


@pytest.fixture
def thread_id(client: OpenAI) -> str:
    """A thread that asks for Paris."""
    return client.beta.threads.create(messages=[{"role": "user", "content": "Paris"}]).id


def last_text(client: OpenAI, thread_id: str) -> str:
    """What the newest message says."""
    return text_of(client.beta.threads.messages.list(thread_id, limit=1).data[0])


def test_run_answers_when_polled(client: OpenAI, assistant: AssistantOf, thread_id: str) -> None:
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread_id, assistant_id=assistant("echo")
    )

    answer = client.beta.threads.messages.list(thread_id, run_id=run.id).data[0]
    assert run.status == "completed"
    assert run.usage.total_tokens == run.usage.prompt_tokens + run.usage.completion_tokens
    assert run.usage.completion_tokens > 0
    assert text_of(answer) == "Paris"
    assert (answer.role, answer.assistant_id, answer.run_id) == (
        "assistant",
        assistant("echo"),
        run.id,
    )


def test_run_is_created_queued_and_retrieved(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs

    created = runs.create(thread_id, assistant_id=assistant("echo"))
    ended = runs.poll(created.id, thread_id=thread_id)

    assert created.status == "queued"
    assert created.expires_at == created.created_at + 600
    assert (created.usage, created.started_at) == (None, None)
    assert ended.status == "completed"
    assert ended.expires_at is None
    assert same(runs.retrieve(created.id, thread_id=thread_id), ended)


def test_run_echoes_its_overrides(client: OpenAI, assistant: AssistantOf, thread_id: str) -> None:
    run = client.beta.threads.runs.create(
        thread_id,
        assistant_id=assistant("echo"),
        model="fc:sandbox/system",
        instructions="Be brief.",
        additional_instructions="Be kind.",
        additional_messages=[{"role": "user", "content": "Rome"}],
        tools=[function_tool("get_time")],
        tool_choice="none",
        temperature=0.5,
        top_p=0.25,
        max_prompt_tokens=4000,
        max_completion_tokens=500,
        truncation_strategy={"type": "last_messages", "last_messages": 3},
        response_format={"type": "text"},
        metadata={"k": "v"},
    )

    assert run.model == "fc:sandbox/system"
    assert "Be brief." in run.instructions
    assert "Be kind." in run.instructions
    assert [tool.function.name for tool in run.tools] == ["get_time"]
    assert (run.temperature, run.top_p, run.tool_choice) == (0.5, 0.25, "none")
    assert (run.max_prompt_tokens, run.max_completion_tokens) == (4000, 500)
    assert (run.truncation_strategy.type, run.truncation_strategy.last_messages) == (
        "last_messages",
        3,
    )
    assert (run.response_format.type, run.metadata) == ("text", {"k": "v"})
    client.beta.threads.runs.poll(run.id, thread_id=thread_id, poll_interval_ms=POLL_MS)
    answer, added, asked = client.beta.threads.messages.list(thread_id).data
    assert "Be brief." in text_of(answer)
    assert "Be kind." in text_of(answer)
    assert (text_of(added), text_of(asked)) == ("Rome", "Paris")


def test_model_sees_the_thread_in_order(client: OpenAI, assistant: AssistantOf) -> None:
    run = client.beta.threads.create_and_run_poll(
        assistant_id=assistant("transcript"),
        instructions="Listen.",
        thread={
            "messages": [
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "user", "content": "three"},
            ]
        },
        poll_interval_ms=POLL_MS,
    )

    seen = json.loads(last_text(client, run.thread_id))
    assert [(message["role"], message["content"]) for message in seen] == [
        ("system", "Listen."),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]


def test_thread_and_run_are_created_at_once(client: OpenAI, assistant: AssistantOf) -> None:
    run = client.beta.threads.create_and_run(
        assistant_id=assistant("echo"), thread={"messages": [{"role": "user", "content": "hi"}]}
    )

    ended = client.beta.threads.runs.poll(run.id, thread_id=run.thread_id)
    assert ended.status == "completed"
    assert last_text(client, run.thread_id) == "hi"


def test_runs_are_listed_and_updated(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    ids = [
        runs.create_and_poll(
            thread_id=thread_id, assistant_id=assistant("echo"), poll_interval_ms=POLL_MS
        ).id
        for _ in range(3)
    ]

    updated = runs.update(ids[0], thread_id=thread_id, metadata={"kept": "yes"})

    assert updated.metadata == {"kept": "yes"}
    assert same(runs.retrieve(ids[0], thread_id=thread_id), updated)
    assert [run.id for run in runs.list(thread_id, limit=2)] == ids[::-1]
    assert [run.id for run in runs.list(thread_id, limit=2, order="asc")] == ids
    assert [run.id for run in runs.list(thread_id, order="asc", after=ids[0])] == ids[1:]
    assert [run.id for run in runs.list(thread_id, order="asc", before=ids[2]).data] == ids[:2]


def test_one_call_is_answered(client: OpenAI, assistant: AssistantOf, thread_id: str) -> None:
    runs = client.beta.threads.runs
    waiting = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("tools", "get_weather"),
        poll_interval_ms=POLL_MS,
    )
    (call,) = pending_calls(waiting)

    resumed = runs.submit_tool_outputs(
        waiting.id, thread_id=thread_id, tool_outputs=outputs_for(waiting)
    )
    ended = runs.poll(waiting.id, thread_id=thread_id, poll_interval_ms=POLL_MS)

    assert call.function.name == "get_weather"
    assert "city" in json.loads(call.function.arguments)
    assert waiting.usage is None
    assert (resumed.status, resumed.required_action) == ("queued", None)
    assert resumed.expires_at == waiting.expires_at
    assert ended.status == "completed"
    assert "get_weather says 22C" in last_text(client, thread_id)


def test_parallel_calls_stand_in_one_step(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    waiting = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("tools", "get_weather", "get_time"),
        poll_interval_ms=POLL_MS,
    )
    calls = pending_calls(waiting)

    ended = runs.submit_tool_outputs_and_poll(
        run_id=waiting.id,
        thread_id=thread_id,
        tool_outputs=outputs_for(waiting),
        poll_interval_ms=POLL_MS,
    )

    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert len({call.id for call in calls}) == 2
    assert ended.status == "completed"
    assert "get_weather says 22C" in last_text(client, thread_id)
    assert "get_time says 22C" in last_text(client, thread_id)
    called, answered = runs.steps.list(ended.id, thread_id=thread_id, order="asc").data
    assert [(call.id, call.function.output) for call in called.step_details.tool_calls] == [
        (calls[0].id, "get_weather says 22C"),
        (calls[1].id, "get_time says 22C"),
    ]
    assert answered.step_details.type == "message_creation"


def test_calls_come_in_as_many_rounds_as_the_model_likes(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    run = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("tools-3", "get_weather"),
        poll_interval_ms=POLL_MS,
    )
    call_ids = []

    while run.status == "requires_action":
        call_ids += [call.id for call in pending_calls(run)]
        run = runs.submit_tool_outputs_and_poll(
            run_id=run.id,
            thread_id=thread_id,
            tool_outputs=outputs_for(run),
            poll_interval_ms=POLL_MS,
        )

    steps = runs.steps.list(run.id, thread_id=thread_id).data
    assert run.status == "completed"
    assert len(set(call_ids)) == 3
    assert [step.type for step in steps] == ["message_creation", *["tool_calls"] * 3]
    assert run.usage.total_tokens == sum(step.usage.total_tokens for step in steps)


def test_steps_are_listed_page_by_page_and_retrieved(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    waiting = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("say-then-tools", "get_weather"),
        poll_interval_ms=POLL_MS,
    )
    ended = runs.submit_tool_outputs_and_poll(
        run_id=waiting.id,
        thread_id=thread_id,
        tool_outputs=outputs_for(waiting),
        poll_interval_ms=POLL_MS,
    )
    # The oldest SDK has no `include`.
    include: dict[str, Any] = (
        {"include": ["step_details.tool_calls[*].file_search.results[*].content"]}
        if VERSION >= (1, 109)
        else {}
    )

    upwards = list(runs.steps.list(ended.id, thread_id=thread_id, order="asc", limit=1, **include))
    downwards = list(runs.steps.list(ended.id, thread_id=thread_id, limit=2))

    assert [step.type for step in upwards] == ["message_creation", "tool_calls", "message_creation"]
    assert [step.id for step in downwards] == [step.id for step in upwards[::-1]]
    assert {step.status for step in upwards} == {"completed"}
    for step in upwards:
        found = runs.steps.retrieve(step.id, thread_id=thread_id, run_id=ended.id, **include)
        assert same(found, step)


def test_cancelled_run_frees_its_thread(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    run = runs.create(thread_id, assistant_id=assistant("hang"))

    cancelling = runs.cancel(run.id, thread_id=thread_id)
    ended = runs.poll(run.id, thread_id=thread_id, poll_interval_ms=POLL_MS)

    assert (cancelling.status, cancelling.cancelled_at) == ("cancelling", None)
    assert (ended.status, ended.required_action) == ("cancelled", None)
    assert ended.cancelled_at >= ended.created_at
    assert client.beta.threads.messages.create(thread_id, role="user", content="free").id


def test_waiting_run_is_cancelled(client: OpenAI, assistant: AssistantOf, thread_id: str) -> None:
    runs = client.beta.threads.runs
    waiting = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("tools", "get_weather"),
        poll_interval_ms=POLL_MS,
    )

    runs.cancel(waiting.id, thread_id=thread_id)

    ended = runs.poll(waiting.id, thread_id=thread_id, poll_interval_ms=POLL_MS)
    (step,) = runs.steps.list(waiting.id, thread_id=thread_id).data
    assert (ended.status, ended.required_action) == ("cancelled", None)
    assert step.status == "cancelled"


def test_run_out_of_tokens_is_incomplete(client: OpenAI, assistant: AssistantOf) -> None:
    run = client.beta.threads.create_and_run_poll(
        assistant_id=assistant("echo"),
        thread={"messages": [{"role": "user", "content": LONG_TEXT}]},
        max_completion_tokens=5,
        poll_interval_ms=POLL_MS,
    )

    message = client.beta.threads.messages.list(run.thread_id, limit=1).data[0]
    assert run.status == "incomplete"
    assert run.incomplete_details.reason == "max_completion_tokens"
    assert run.usage.completion_tokens == 5
    assert (message.status, message.incomplete_details.reason) == ("incomplete", "max_tokens")
    assert LONG_TEXT.startswith(text_of(message))


@pytest.mark.parametrize(
    ("model", "code"), [("fail-500", "server_error"), ("quota", "rate_limit_exceeded")]
)
def test_failed_run_says_why(
    client: OpenAI, assistant: AssistantOf, thread_id: str, model: str, code: str
) -> None:
    run = client.beta.threads.runs.create_and_poll(
        thread_id=thread_id, assistant_id=assistant(model), poll_interval_ms=POLL_MS
    )

    assert (run.status, run.last_error.code) == ("failed", code)
    assert run.last_error.message
    assert run.failed_at >= run.created_at
    assert client.beta.threads.messages.create(thread_id, role="user", content="free").id


def test_extra_fields_and_headers_are_accepted(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs

    run = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("echo"),
        extra_body={"user": "customer_42", "max_tokens": 100, "seed": 7},
        extra_headers={"x-ringside-customer": "customer_42"},
        poll_interval_ms=POLL_MS,
    )

    assert run.status == "completed"
