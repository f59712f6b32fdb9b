"""What an application catches: exception classes, codes, parameters and OpenAI's own words."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from conftest import AssistantOf
from openai import OpenAI
from story import POLL_MS, outputs_for

Call = Callable[[OpenAI], Any]
UNKNOWN = {"thread_id": "thread_0", "run_id": "run_0"}


def words_of(error: Any) -> str:
    """The message of the body; `str(error)` puts more around it, differently per version."""
    return str(error.body["message"])


@pytest.fixture
def thread_id(client: OpenAI) -> str:
    """A thread that says hi."""
    return client.beta.threads.create(messages=[{"role": "user", "content": "hi"}]).id


NOT_FOUND: dict[str, tuple[Call, str]] = {
    "assistant": (
        lambda client: client.beta.assistants.retrieve("asst_0"),
        "No assistant found with id 'asst_0'.",
    ),
    "thread": (
        lambda client: client.beta.threads.retrieve("thread_0"),
        "No thread found with id 'thread_0'.",
    ),
    "messages of a thread": (
        lambda client: client.beta.threads.messages.list("thread_0"),
        "No thread found with id 'thread_0'.",
    ),
    "run of a thread": (
        lambda client: client.beta.threads.runs.create("thread_0", assistant_id="asst_0"),
        "No thread found with id 'thread_0'.",
    ),
    "model": (
        lambda client: client.models.retrieve("fc:sandbox/nothing"),
        "The model 'fc:sandbox/nothing' does not exist",
    ),
}


@pytest.mark.parametrize("what", NOT_FOUND)
def test_unknown_object_is_not_found(client: OpenAI, what: str) -> None:
    call, words = NOT_FOUND[what]

    with pytest.raises(openai.NotFoundError) as caught:
        call(client)

    error = caught.value
    assert (error.status_code, error.type) == (404, "invalid_request_error")
    assert words_of(error) == words
    assert error.request_id == error.response.headers["x-request-id"]


def test_unknown_object_of_a_thread_is_not_found(client: OpenAI, thread_id: str) -> None:
    threads = client.beta.threads

    with pytest.raises(openai.NotFoundError, match="No message found with id 'msg_0'"):
        threads.messages.retrieve("msg_0", thread_id=thread_id)
    with pytest.raises(openai.NotFoundError, match="No run found with id 'run_0'"):
        threads.runs.retrieve("run_0", thread_id=thread_id)
    with pytest.raises(openai.NotFoundError, match="No assistant found with id 'asst_0'") as caught:
        threads.runs.create(thread_id, assistant_id="asst_0")
    assert (caught.value.param, caught.value.code) == (None, None)


def test_unknown_step_is_not_found(client: OpenAI, assistant: AssistantOf, thread_id: str) -> None:
    runs = client.beta.threads.runs
    run = runs.create_and_poll(
        thread_id=thread_id, assistant_id=assistant("echo"), poll_interval_ms=POLL_MS
    )

    with pytest.raises(openai.NotFoundError, match="No run step found with id 'step_0'"):
        runs.steps.retrieve("step_0", thread_id=thread_id, run_id=run.id)


# What is sent, and the answer's param, code and words (the beginning of them).
BAD_REQUESTS: dict[str, tuple[Call, str | None, str, str]] = {
    "bare model name": (
        lambda client: client.beta.assistants.create(model="gpt-4o"),
        "model",
        "invalid_model",
        "",
    ),
    "unknown provider": (
        lambda client: client.beta.assistants.create(model="fc:sandbax/echo"),
        "model",
        "invalid_model",
        "",
    ),
    "hosted tool": (
        lambda client: client.beta.assistants.create(
            model="fc:sandbox/echo", tools=[{"type": "code_interpreter"}]
        ),
        "tools[0].type",
        "unsupported_tool_type",
        "",
    ),
    "temperature": (
        lambda client: client.beta.assistants.create(model="fc:sandbox/echo", temperature=3),
        "temperature",
        "decimal_above_max_value",
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3",
    ),
    "missing field": (
        lambda client: client.post("/assistants", cast_to=object, body={"name": "Ada"}),
        "model",
        "missing_required_parameter",
        "Missing required parameter: 'model'.",
    ),
    "unknown field": (
        lambda client: client.beta.threads.create(extra_body={"colour": "red"}),
        "colour",
        "unknown_parameter",
        "Unknown parameter: 'colour'.",
    ),
    "metadata type": (
        lambda client: client.beta.threads.create(metadata={"modified": True}),  # type: ignore[dict-item]
        "metadata.modified",
        "invalid_type",
        "Invalid type for 'metadata.modified': expected a string, but got a boolean instead.",
    ),
    "role": (
        lambda client: client.beta.threads.create(messages=[{"role": "system", "content": "x"}]),  # type: ignore[list-item, typeddict-item]
        "messages[0].role",
        "invalid_value",
        "Invalid value: 'system'. Supported values are: 'user' and 'assistant'.",
    ),
    "content length": (
        lambda client: client.beta.threads.create(
            messages=[{"role": "user", "content": "x" * 256_001}]
        ),
        "messages[0].content",
        "string_above_max_length",
        "Invalid 'messages[0].content': string too long. Expected a string with maximum length "
        "256000, but got a string with length 256001 instead.",
    ),
    "limit": (
        lambda client: client.beta.assistants.list(limit=101),
        "limit",
        "integer_above_max_value",
        "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101",
    ),
    "thread id": (
        lambda client: client.beta.threads.messages.list("undefined"),
        "thread_id",
        "invalid_value",
        "Invalid 'thread_id': 'undefined'. Expected an ID that begins with 'thread'.",
    ),
}


@pytest.mark.parametrize("what", BAD_REQUESTS)
def test_bad_request_says_what_is_wrong_and_where(client: OpenAI, what: str) -> None:
    call, param, code, words = BAD_REQUESTS[what]

    with pytest.raises(openai.BadRequestError) as caught:
        call(client)

    error = caught.value
    assert (error.type, error.param, error.code) == ("invalid_request_error", param, code)
    assert words_of(error).startswith(words)
    assert error.request_id == error.response.headers["x-request-id"]


def test_bare_model_name_is_told_what_to_write(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="fc:openai/gpt-4o"):
        client.beta.assistants.create(model="gpt-4o")


def test_wrong_key_is_refused() -> None:
    with (
        OpenAI(api_key="ko_wrong") as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.beta.assistants.list()

    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


def test_busy_thread_takes_no_second_run_and_no_message(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    threads = client.beta.threads
    run = threads.runs.create(thread_id, assistant_id=assistant("hang"))

    with pytest.raises(openai.ConflictError) as second_run:
        threads.runs.create(
            thread_id,
            assistant_id=assistant("echo"),
            extra_headers={"x-e2e-case": "locked-run"},  # counted: it must be sent once
        )
    with pytest.raises(openai.BadRequestError) as message:
        threads.messages.create(thread_id, role="user", content="now?")
    threads.runs.cancel(run.id, thread_id=thread_id)
    threads.runs.poll(run.id, thread_id=thread_id, poll_interval_ms=POLL_MS)

    locked = second_run.value
    assert (locked.type, locked.code) == ("conflict_error", "conversation_locked")
    assert words_of(locked) == f"Thread {thread_id} already has an active run {run.id}."
    assert locked.response.headers["x-should-retry"] == "false"
    assert message.value.code == "conversation_locked"
    assert (
        words_of(message.value)
        == f"Can't add messages to {thread_id} while a run {run.id} is active."
    )


def test_tool_outputs_are_taken_whole_or_not_at_all(
    client: OpenAI, assistant: AssistantOf, thread_id: str
) -> None:
    runs = client.beta.threads.runs
    waiting = runs.create_and_poll(
        thread_id=thread_id,
        assistant_id=assistant("tools", "get_weather", "get_time"),
        poll_interval_ms=POLL_MS,
    )
    outputs = outputs_for(waiting)
    expected = [output["tool_call_id"] for output in reversed(outputs)]

    with pytest.raises(openai.BadRequestError) as partial:
        runs.submit_tool_outputs(waiting.id, thread_id=thread_id, tool_outputs=outputs[:1])
    still = runs.retrieve(waiting.id, thread_id=thread_id)
    ended = runs.submit_tool_outputs_and_poll(
        run_id=waiting.id,
        thread_id=thread_id,
        tool_outputs=outputs,
        poll_interval_ms=POLL_MS,
    )

    given = [outputs[0]["tool_call_id"]]
    assert words_of(partial.value) == f"Expected tool outputs for call_ids {expected}, got {given}"
    assert (still.status, ended.status) == ("requires_action", "completed")
    with pytest.raises(openai.BadRequestError, match="do not accept tool outputs"):
        runs.submit_tool_outputs(waiting.id, thread_id=thread_id, tool_outputs=outputs)
    with pytest.raises(openai.BadRequestError) as cancel:
        runs.cancel(waiting.id, thread_id=thread_id)
    assert words_of(cancel.value) == "Cannot cancel run with status 'completed'."


def test_run_needs_something_to_answer(client: OpenAI, assistant: AssistantOf) -> None:
    thread = client.beta.threads.create()

    with pytest.raises(openai.BadRequestError) as caught:
        client.beta.threads.runs.create(thread.id, assistant_id=assistant("echo"))

    assert caught.value.code == "invalid_thread"
    assert words_of(caught.value).startswith("Run creation requires a Thread with a user message")


PROVIDER_ERRORS: dict[str, tuple[type[openai.APIStatusError], str]] = {
    "fail-500": (openai.InternalServerError, "provider_unavailable"),
    "fail-401": (openai.InternalServerError, "provider_auth_failed"),
    "rate-limit": (openai.RateLimitError, "rate_limit_exceeded"),
    "quota": (openai.RateLimitError, "insufficient_quota"),
    "too-long": (openai.BadRequestError, "context_length_exceeded"),
}


@pytest.mark.parametrize("model", PROVIDER_ERRORS)
def test_failing_provider_is_reported_once(client: OpenAI, model: str) -> None:
    """Retries are the proxy's business; the SDK is told not to add its own (the relay checks)."""
    error_class, code = PROVIDER_ERRORS[model]

    with pytest.raises(error_class) as caught:
        client.chat.completions.create(
            model=f"fc:sandbox/{model}", messages=[{"role": "user", "content": "hi"}]
        )

    assert caught.value.code == code
