"""All nineteen providers through a whole proxy, each answering with bytes of its own wire.

What an adapter does with a request is shown in `tests/providers`; here it is shown that a run and
a chat completion come out in OpenAI's exact shape whichever provider answers.
"""

import json
from typing import Any, Final

import pytest

from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.conformance.stream import check_chat_stream
from tests.e2e.nineteen import WEATHER, Proxy, last_run, model_of


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_run_in_text_is_openais_whoever_answers(provider: str, proxy: Proxy) -> None:
    """The stream keeps OpenAI's order, the message has text, the usage is counted."""
    proxy.answers(provider, "plain")

    events = await proxy.run(provider)

    name, run = events[-2]
    assert (name, run["status"]) == ("thread.run.completed", "completed"), run["last_error"]
    [message] = [data for name, data in events if name == "thread.message.completed"]
    assert message["content"][0]["text"]["value"]
    assert run["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_run_that_calls_stops_for_the_outputs(provider: str, proxy: Proxy) -> None:
    """The calls come with ids, names and arguments that are JSON."""
    proxy.answers(provider, "tool_call")

    events = await proxy.run(provider, tools=[WEATHER])

    name, run = events[-2]
    assert name == "thread.run.requires_action", run["last_error"]
    calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert calls
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert all(call["function"]["name"] for call in calls)


@pytest.mark.parametrize("provider", [name for name in TYPICAL_MODELS if name != "openai"])
async def test_a_chat_is_openais_whoever_answers(provider: str, proxy: Proxy) -> None:
    """Plain and streamed are the same answer, in OpenAI's shape, with the usage when asked for."""
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": "How is the weather in Bern?"}]
    }
    options = {"stream": True, "stream_options": {"include_usage": True}}
    proxy.answers(provider, "plain")
    body |= {"model": model_of(provider)}

    plain = await proxy.call("/v1/chat/completions", body)
    chunks = check_chat_stream(await proxy.post("/v1/chat/completions", body | options))

    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert plain["choices"][0]["message"]["content"] == text
    assert chunks[-1]["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"] > 0


THREADS: Final[dict[str, list[dict[str, str]]]] = {
    "empty": [],
    "assistant last": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ],
    "assistant first": [{"role": "assistant", "content": "Hello"}],
}


@pytest.mark.parametrize("messages", THREADS.values(), ids=THREADS)
@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_thread_need_not_end_with_its_user(
    provider: str, messages: list[dict[str, str]], proxy: Proxy
) -> None:
    """OpenAI runs on any thread; vendors that want the user last are given a word of hers."""
    proxy.answers(provider, "plain")
    assistant = await proxy.assistant(provider, instructions="Be brief.")

    run = last_run(await proxy.run(provider, assistant_id=assistant, thread={"messages": messages}))

    assert run["status"] == "completed", run["last_error"]
