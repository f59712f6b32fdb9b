"""The contract in cases that any real model can be held to: few tokens, nothing scripted.

The same ones run against strict fakes in the tests, and against real keys by `make live`.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import jsonschema_rs

from ringside_proxy.providers.types import Capabilities, Support
from tests.conformance.stream import check_chat_stream
from tests.e2e.calls import CHAT, Calls, calls_of, last_run
from tests.vendors.far_end import PIXEL_URI

OUTPUT_TOKENS_MAX: Final = 1024
"""The limit of nearly every call; reasoning counts too."""
REASONING_TOKENS_MAX: Final = 4096
"""Of the one call that asks for reasoning: some models take a budget for it of 2048 at least."""
OUTPUT: Final = "12 degrees and sunny"
PONG: Final = [{"role": "user", "content": "Reply with the one word: pong"}]
QUESTION: Final = [{"role": "user", "content": "How is the weather in Bern? Call get_weather."}]
SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
FORMAT: Final = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}
TELL: Final = [{"role": "user", "content": "It is 12 degrees in Bern. Say so as JSON."}]
PARAMETERS: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": PARAMETERS,
        },
    }
]
NAMED: Final = {"type": "function", "function": {"name": "get_weather"}}


class Case(NamedTuple):
    """One rule; `fits` says at which models it can be tried."""

    name: str
    check: Callable[[Calls, str], Awaitable[None]]
    fits: Callable[[Capabilities], bool]


async def _chat(calls: Calls, provider: str, messages: Any = PONG, **fields: Any) -> Any:
    limit = {"max_completion_tokens": OUTPUT_TOKENS_MAX}
    body = {"model": calls.model(provider), "messages": messages, **limit, **fields}
    return await calls.call(CHAT, body)


def _message(answer: Any) -> Any:
    [choice] = answer["choices"]
    return choice["message"]


async def says_words(calls: Calls, provider: str) -> None:
    """A plain chat has words, and a count."""
    answer = await _chat(calls, provider)

    assert _message(answer)["content"]
    assert answer["usage"]["completion_tokens"] > 0


async def streams_words(calls: Calls, provider: str) -> None:
    """A streamed chat keeps OpenAI's order and ends with its count."""
    body = {"model": calls.model(provider), "messages": PONG, "stream": True}
    body |= {"stream_options": {"include_usage": True}}
    body |= {"max_completion_tokens": OUTPUT_TOKENS_MAX}

    chunks = check_chat_stream(await calls.post(CHAT, body))

    assert "".join(c["delta"].get("content") or "" for k in chunks for c in k["choices"])
    assert chunks[-1]["usage"]["prompt_tokens"] > 0


async def runs(calls: Calls, provider: str) -> None:
    """A run keeps the order of its events and leaves a message."""
    events = await calls.run(
        provider, thread={"messages": PONG}, max_completion_tokens=OUTPUT_TOKENS_MAX
    )

    run = last_run(events)
    assert run["status"] == "completed", run["last_error"]
    assert run["usage"]["prompt_tokens"] > 0


async def runs_with_tools(calls: Calls, provider: str) -> None:
    """A run stops for its call, and goes on with the output."""
    limit = {"max_completion_tokens": 2 * OUTPUT_TOKENS_MAX}
    waiting = last_run(
        await calls.run(provider, thread={"messages": QUESTION}, tools=TOOLS, **limit)
    )
    [call, *_] = calls_of(waiting)
    assert call["function"]["name"] == "get_weather"
    assert "city" in json.loads(call["function"]["arguments"])

    run = last_run(await calls.submit(waiting, OUTPUT))

    assert run["status"] == "completed", run["last_error"]


async def must_call(calls: Calls, provider: str) -> None:
    """A forced call comes, whatever the question is."""
    for choice in ("required", NAMED):
        answer = await _chat(calls, provider, tools=TOOLS, tool_choice=choice)
        assert _message(answer)["tool_calls"][0]["function"]["name"] == "get_weather"


async def must_not_call(calls: Calls, provider: str) -> None:
    """A forbidden call does not."""
    answer = await _chat(calls, provider, tools=TOOLS, tool_choice="none")

    assert not _message(answer).get("tool_calls")
    assert _message(answer)["content"]


async def calls_once(calls: Calls, provider: str) -> None:
    """One call only, also where two are asked for."""
    both = [{"role": "user", "content": "Call get_weather for Bern and for Thun."}]

    answer = await _chat(calls, provider, both, tools=TOOLS, parallel_tool_calls=False)

    assert len(_message(answer).get("tool_calls") or ()) <= 1


async def meets_a_schema(calls: Calls, provider: str) -> None:
    """An answer under a schema meets it."""
    answer = await _chat(calls, provider, TELL, response_format=FORMAT)

    jsonschema_rs.validate(SCHEMA, json.loads(_message(answer)["content"]))


async def is_an_object(calls: Calls, provider: str) -> None:
    """An answer under `json_object` is one."""
    answer = await _chat(calls, provider, TELL, response_format={"type": "json_object"})

    assert isinstance(json.loads(_message(answer)["content"]), dict)


async def reasons(calls: Calls, provider: str) -> None:
    """A wish to reason is taken, and the thoughts stay out of the words."""
    answer = await _chat(
        calls, provider, reasoning_effort="low", max_completion_tokens=REASONING_TOKENS_MAX
    )

    assert "reasoning_effort" not in calls.headers.get("x-ringside-dropped-params", "")
    assert "<think>" not in _message(answer)["content"]


async def sees(calls: Calls, provider: str) -> None:
    """An image is taken."""
    image = {"type": "image_url", "image_url": {"url": PIXEL_URI}}
    parts = [{"type": "text", "text": "Which colour is this? One word."}, image]

    answer = await _chat(calls, provider, [{"role": "user", "content": parts}])

    assert _message(answer)["content"]


async def knows_no_such_model(calls: Calls, provider: str) -> None:
    """A model that is not there is refused in OpenAI's words, with the provider's name."""
    body = {"model": f"fc:{provider}/no-such-model-{provider}", "messages": PONG}
    body |= {"max_completion_tokens": OUTPUT_TOKENS_MAX}

    refused = json.loads(await calls.anyhow(CHAT, body))

    assert 400 <= calls.status < 500, refused
    assert refused["error"]["message"]


def _anything(able: Capabilities) -> bool:
    return able is not None


def _tools(able: Capabilities) -> bool:
    return able.tools is not Support.UNSUPPORTED


CASES: Final = (
    Case("text", says_words, _anything),
    Case("stream", streams_words, _anything),
    Case("run", runs, _anything),
    Case("tools", runs_with_tools, _tools),
    Case("tool_choice forced", must_call, _tools),
    Case("tool_choice none", must_not_call, _tools),
    Case("one call only", calls_once, _tools),
    Case("json_schema", meets_a_schema, _anything),
    Case("json_object", is_an_object, _anything),
    Case("reasoning", reasons, lambda able: able.reasoning),
    Case("images", sees, lambda able: able.image_urls or able.image_data),
    Case("unknown model", knows_no_such_model, _anything),
)
CALLS_MAX: Final = 30
"""Calls of models that all cases make together, with as many repairs as there may be."""
