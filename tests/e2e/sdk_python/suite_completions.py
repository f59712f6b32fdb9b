"""What needs no assistant: chat completions, embeddings, models."""

import json
from typing import Any

import openai
import pytest
from conftest import function_tool
from openai import OpenAI

ASK: list[Any] = [{"role": "user", "content": "How is Paris?"}]


def test_chat_answers(client: OpenAI) -> None:
    completion = client.chat.completions.create(model="fc:sandbox/echo", messages=ASK)

    (choice,) = completion.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "How is Paris?")
    assert choice.finish_reason == "stop"
    assert completion.object == "chat.completion"
    assert completion.usage.total_tokens > completion.usage.completion_tokens > 0


def test_chat_streams(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="fc:sandbox/echo",
            messages=ASK,
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    *spoken, last = chunks
    text = "".join(chunk.choices[0].delta.content or "" for chunk in spoken)
    reasons = [chunk.choices[0].finish_reason for chunk in spoken]
    assert text == "How is Paris?"
    assert spoken[0].choices[0].delta.role == "assistant"
    assert [reason for reason in reasons if reason] == ["stop"]
    assert last.choices == []
    assert last.usage.completion_tokens > 0
    assert len({chunk.id for chunk in chunks}) == 1


def test_chat_stream_has_usage_only_when_asked(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(model="fc:sandbox/echo", messages=ASK, stream=True)
    )

    assert all(len(chunk.choices) == 1 for chunk in chunks)


def test_chat_calls_functions_and_answers(client: OpenAI) -> None:
    tools: list[Any] = [function_tool("get_weather"), function_tool("get_time")]

    asked = client.chat.completions.create(model="fc:sandbox/tools", messages=ASK, tools=tools)
    calls = asked.choices[0].message.tool_calls
    answered = client.chat.completions.create(
        model="fc:sandbox/tools",
        messages=[
            *ASK,
            {
                "role": "assistant",
                "tool_calls": [call.to_dict() for call in calls],
            },
            *[{"role": "tool", "tool_call_id": call.id, "content": "22C"} for call in calls],
        ],
        tools=tools,
    )

    assert asked.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert "city" in json.loads(calls[0].function.arguments)
    assert "get_weather returned 22C" in answered.choices[0].message.content


def test_chat_streams_function_calls(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fc:sandbox/tools",
        messages=ASK,
        tools=[function_tool("get_weather"), function_tool("get_time")],
        stream=True,
    )
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}

    for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or []:
            names[call.index] = names.get(call.index, "") + (call.function.name or "")
            arguments[call.index] = arguments.get(call.index, "") + (call.function.arguments or "")

    assert names == {0: "get_weather", 1: "get_time"}
    assert all("city" in json.loads(text) for text in arguments.values())


def test_chat_stream_that_breaks_is_an_error(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="fc:sandbox/break-midstream", messages=ASK, stream=True
    )

    with pytest.raises(openai.APIError):
        list(stream)


def test_chat_takes_the_end_customer(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="fc:sandbox/echo", messages=ASK, user="customer_42"
    )

    assert completion.choices[0].message.content == "How is Paris?"


def test_embeddings_are_the_same_in_both_encodings(client: OpenAI) -> None:
    texts = ["one", "two"]

    default = client.embeddings.create(model="fc:sandbox/embed", input=texts)
    floats = client.embeddings.create(
        model="fc:sandbox/embed", input=texts, encoding_format="float"
    )

    assert [item.index for item in default.data] == [0, 1]
    for encoded, plain in zip(default.data, floats.data, strict=True):
        assert encoded.embedding == pytest.approx(plain.embedding, abs=1e-6)
    assert default.data[0].embedding != default.data[1].embedding
    assert default.usage.total_tokens > 0


def test_embeddings_have_the_asked_length(client: OpenAI) -> None:
    response = client.embeddings.create(model="fc:sandbox/embed", input="one", dimensions=8)

    assert len(response.data[0].embedding) == 8


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}

    assert models["fc:sandbox/echo"].owned_by == "sandbox"
    assert (
        client.models.retrieve("fc:sandbox/echo").to_dict() == models["fc:sandbox/echo"].to_dict()
    )
