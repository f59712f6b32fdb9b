"""Every simulated model, asked with the official SDK, plain and streamed."""

import json
from typing import Any

import openai as sdk
import pytest
from openai import AsyncOpenAI

from ringside_proxy.sandbox.models import MODELS, ROWS, find

QUESTION = "What is the weather in Paris?"
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
REPORT = "get_weather returned 22C; get_time returned 10:00"

ANSWERS = {
    "echo": (QUESTION, "stop"),
    "system": ("Be brief.", "stop"),
    "transcript": (json.dumps(ASKED, separators=(",", ":")), "stop"),
    "tools": (QUESTION, "stop"),
    "tools-2": (QUESTION, "stop"),
    "say-then-tools": (QUESTION, "stop"),
    "slow-0": (QUESTION, "stop"),
    "slow-1": (QUESTION, "stop"),
    "long-3": ("the quick brown", "stop"),
    "json": (json.dumps({"echo": QUESTION}), "stop"),
    "filter": ("Here is what I know so far:", "content_filter"),
}
"""What a model says to ASKED without functions, and how it finishes."""

STATUSES = {
    "fail-400": (sdk.BadRequestError, None),
    "fail-401": (sdk.AuthenticationError, "invalid_api_key"),
    "fail-418": (sdk.APIStatusError, None),
    "fail-500": (sdk.InternalServerError, None),
    "fail-599": (sdk.InternalServerError, None),
    "flaky-1": (sdk.InternalServerError, None),
    "rate-limit": (sdk.RateLimitError, "rate_limit_exceeded"),
    "rate-limit-60": (sdk.RateLimitError, "rate_limit_exceeded"),
    "quota": (sdk.RateLimitError, "insufficient_quota"),
    "too-long": (sdk.BadRequestError, "context_length_exceeded"),
}
"""The error that a model answers with, and its code."""

ELSEWHERE = {
    "refuse": "here, below",
    "hang": "test_server.py",
    "hang-midstream": "test_server.py",
    "break-midstream": "test_server.py",
    "error-midstream": "test_server.py",
    "garbage": "test_server.py",
}


async def streamed(openai: AsyncOpenAI, **request: Any) -> tuple[Any, list[Any]]:
    """The message that the SDK puts together from a stream, and the chunks it came in."""
    async with openai.chat.completions.stream(**request) as stream:
        events = [event async for event in stream]
        completion = await stream.get_final_completion()
    return completion.choices[0], [event.chunk for event in events if event.type == "chunk"]


def test_every_model_is_tried_plain_and_streamed() -> None:
    """A new row in the table needs a row in one of the tables here."""
    tried = {find(name)[0].name for name in [*ANSWERS, *STATUSES]} | set(ELSEWHERE)

    assert tried == set(MODELS)


@pytest.mark.parametrize("model", ANSWERS)
async def test_a_model_answers_plain(openai: AsyncOpenAI, model: str) -> None:
    """The text and the finish reason are the model's."""
    completion = await openai.chat.completions.create(model=model, messages=ASKED)

    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ANSWERS[model]
    assert completion.model == model


@pytest.mark.parametrize("model", [m for m in ANSWERS if m != "filter"])
async def test_a_model_streams_the_same_answer(openai: AsyncOpenAI, model: str) -> None:
    """A role chunk, a chunk for each word, a finish chunk; joined they are the plain answer."""
    choice, chunks = await streamed(openai, model=model, messages=ASKED)

    text, _ = ANSWERS[model]
    assert choice.message.content == text
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len(chunks) == len(text.split()) + 2


async def test_a_filtered_answer_is_streamed_up_to_the_filter(openai: AsyncOpenAI) -> None:
    """The SDK reports the filter once the words have arrived."""
    with pytest.raises(sdk.ContentFilterFinishReasonError):
        await streamed(openai, model="filter", messages=ASKED)


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("model", STATUSES)
async def test_a_failing_model_answers_its_status(
    openai: AsyncOpenAI, model: str, is_stream: bool
) -> None:
    """An error that comes first is an HTTP status, streamed or not."""
    expected, code = STATUSES[model]

    with pytest.raises(expected) as failure:
        await openai.chat.completions.create(model=model, messages=ASKED, stream=is_stream)

    assert failure.value.code == code
    assert set(failure.value.body) == {"message", "type", "param", "code"}


async def test_flaky_answers_after_its_failures(openai: AsyncOpenAI) -> None:
    """Equal bodies are counted, each on its own."""
    request = {"model": "flaky-2", "messages": ASKED}
    for _ in range(2):
        with pytest.raises(sdk.InternalServerError):
            await openai.chat.completions.create(**request)
    with pytest.raises(sdk.InternalServerError):
        await openai.chat.completions.create(**request, seed=1)

    completion = await openai.chat.completions.create(**request)

    assert completion.choices[0].message.content == QUESTION


async def test_rate_limit_says_when_to_come_back(openai: AsyncOpenAI) -> None:
    """Both headers carry the seconds of the model's name."""
    with pytest.raises(sdk.RateLimitError) as failure:
        await openai.chat.completions.create(model="rate-limit-7", messages=ASKED)

    headers = failure.value.response.headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("7", "7000")


async def test_refuse_answers_with_a_refusal(openai: AsyncOpenAI) -> None:
    """The refusal has its own field, plain and streamed; there is no content."""
    plain = await openai.chat.completions.create(model="refuse", messages=ASKED)
    choice, _ = await streamed(openai, model="refuse", messages=ASKED)

    assert plain.choices[0].message.refusal == "I'm sorry, but I can't help with that."
    assert plain.choices[0].message.content is None
    assert choice.message.refusal == plain.choices[0].message.refusal
    assert choice.message.content is None
    assert choice.finish_reason == plain.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("model", ["tools", "say-then-tools"])
async def test_a_tool_loop_runs_to_its_report(
    openai: AsyncOpenAI, weather_tools: list[Any], model: str, is_stream: bool
) -> None:
    """Every function is called once with arguments from the question; then come the outputs."""
    choice = await _ask(openai, is_stream, model, ASKED, weather_tools)
    calls = choice.message.tool_calls
    outputs = ["22C", "10:00"]
    answers = [
        {"role": "tool", "tool_call_id": call.id, "content": output}
        for call, output in zip(calls, outputs, strict=True)
    ]
    turn = {"role": "assistant", "content": choice.message.content, "tool_calls": _plain(calls)}
    report = await _ask(openai, is_stream, model, [*ASKED, turn, *answers], weather_tools)

    assert choice.finish_reason == "tool_calls"
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("get_weather", {"city": "Paris", "unit": "celsius"}),
        ("get_time", {"city": "Paris"}),
    ]
    assert len({call.id for call in calls}) == 2
    assert (choice.message.content is None) == (model == "tools")
    assert (report.message.content, report.finish_reason) == (REPORT, "stop")


async def _ask(
    openai: AsyncOpenAI, is_stream: bool, model: str, messages: list[Any], tools: list[Any]
) -> Any:
    request = {"model": model, "messages": messages, "tools": tools}
    if is_stream:
        return (await streamed(openai, **request))[0]
    return (await openai.chat.completions.create(**request)).choices[0]


def _plain(calls: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in calls
    ]


async def test_tools_n_calls_for_n_rounds(openai: AsyncOpenAI, weather_tools: list[Any]) -> None:
    """`tools-2` answers the first outputs with another round of calls."""
    messages, finishes = [*ASKED], []
    for _ in range(3):
        request = {"model": "tools-2", "messages": messages, "tools": weather_tools[:1]}
        choice = (await openai.chat.completions.create(**request)).choices[0]
        finishes.append(choice.finish_reason)
        for call in choice.message.tool_calls or []:
            messages += [
                {"role": "assistant", "tool_calls": _plain([call])},
                {"role": "tool", "tool_call_id": call.id, "content": "22C"},
            ]

    assert finishes == ["tool_calls", "tool_calls", "stop"]


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"parallel_tool_calls": False}, ["get_weather"]),
        ({"tool_choice": "auto"}, ["get_weather", "get_time"]),
        ({"tool_choice": "required"}, ["get_weather", "get_time"]),
        ({"tool_choice": "none"}, []),
        ({"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
    ],
)
async def test_tools_calls_what_the_choice_allows(
    openai: AsyncOpenAI, weather_tools: list[Any], choice: dict[str, Any], called: list[str]
) -> None:
    """`tool_choice` and `parallel_tool_calls` narrow the calls; none means an answer in text."""
    completion = await openai.chat.completions.create(
        model="tools", messages=ASKED, tools=weather_tools, **choice
    )

    message = completion.choices[0].message
    assert [call.function.name for call in message.tool_calls or []] == called
    assert message.content == (None if called else QUESTION)


async def test_json_answers_with_an_instance_of_the_schema(openai: AsyncOpenAI) -> None:
    """Under json_schema the answer is made for the schema."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "degrees": {"type": "integer", "minimum": 5}},
        "required": ["city", "degrees"],
        "additionalProperties": False,
    }
    json_schema = {"name": "weather", "schema": schema, "strict": True}
    completion = await openai.chat.completions.create(
        model="json",
        messages=ASKED,
        response_format={"type": "json_schema", "json_schema": json_schema},
    )

    assert json.loads(completion.choices[0].message.content) == {"city": "Paris", "degrees": 5}


async def test_echo_shows_parts_that_are_not_text(openai: AsyncOpenAI) -> None:
    """The parts of the last user message are joined, images by their address."""
    content = [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    completion = await openai.chat.completions.create(
        model="echo", messages=[*ASKED, {"role": "user", "content": content}]
    )

    text = completion.choices[0].message.content
    assert text == "Look:\n[image: https://example.com/a.png]"


@pytest.mark.parametrize(
    "name",
    [
        *("", "gpt-4", "echo-1", "fail", "fail-399", "fail-600", "long", "long-0", "slow-60001"),
        *("slow-", "slow--1", "long-1e3", "long-٣", "tools-0", "tools-9999999999999"),
    ],
)
def test_a_name_out_of_the_table_is_no_model(name: str) -> None:
    """Numbers count only where a model takes one, and within its bounds."""
    with pytest.raises(Exception, match="does not exist") as failure:
        find(name)

    assert (failure.value.status, failure.value.code) == (404, "model_not_found")


async def test_the_list_names_models_that_can_be_called(openai: AsyncOpenAI) -> None:
    """Every model but the embeddings one is found under the listed name, with a description."""
    listed = [model async for model in openai.models.list()]

    assert [find(model.id)[0].name for model in listed[:-1]] == [row.name for row in ROWS]
    assert listed[-1].id == "embed"
    assert all(model.description and model.owned_by == "ringside-sandbox" for model in listed)
