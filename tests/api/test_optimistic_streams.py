"""`structured_output.stream: optimistic`: streams are told at once, and what does not pass is an error."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.settings.schema import StructuredOutputSettings
from tests.api.rig import DEVELOPER, UPSTREAM_MODEL, Ringside, serving
from tests.conformance.stream import check_run_stream
from tests.fakes import Gate, chunk, error_reply, stream_reply, text_reply, usage
from tests.services.limited import NATIVE_FORMATS, able, row

SCHEMA: Final[dict[str, Any]] = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": {"type": "object", "required": ["a"]}},
}
GOOD, BAD = '{"a": 1}', '{"b": 2}'
DONE: Final = b"data: [DONE]\n\n"
MESSAGES: Final[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ringside]:
    monkeypatch.setitem(PROVIDERS, "openai", row(able(**NATIVE_FORMATS)))
    optimistic = StructuredOutputSettings(stream="optimistic")
    async with serving(tmp_path, structured_output=optimistic) as proxy:
        yield proxy


@pytest.fixture
async def sdk(proxy: Ringside) -> AsyncIterator[openai.AsyncOpenAI]:
    base_url = f"{proxy.developer.url}/v1"
    async with openai.AsyncOpenAI(api_key=DEVELOPER, base_url=base_url, max_retries=0) as sdk:
        yield sdk


def body(**params: Any) -> dict[str, Any]:
    return {"model": UPSTREAM_MODEL, "messages": MESSAGES, "response_format": SCHEMA, **params}


async def test_chat_is_told_as_it_comes(proxy: Ringside, sdk: openai.AsyncOpenAI) -> None:
    """The first words are read while the provider still speaks; a good answer ends as ever."""
    gate = Gate()
    rest = [chunk({"content": " 1}"}), chunk({}, "stop", usage=usage()), DONE]
    proxy.upstream.enqueue(stream_reply(chunk({"content": '{"a":'}), gate, *rest))

    stream = await sdk.chat.completions.create(**body(stream=True))
    first = await anext(aiter(stream))
    gate.release()
    last = [each.choices[0] async for each in stream]

    assert first.choices[0].delta.content == '{"a":'
    assert "".join(choice.delta.content or "" for choice in last) == " 1}"
    assert last[-1].finish_reason == "stop"


async def test_chat_that_does_not_pass_ends_in_an_error(
    proxy: Ringside, sdk: openai.AsyncOpenAI
) -> None:
    """The text has been told, but no finish; the SDK raises, and the model is not asked again."""
    proxy.upstream.enqueue(text_reply(BAD))
    told: list[Any] = []

    async def read() -> None:
        async for each in await sdk.chat.completions.create(**body(stream=True)):
            told.extend(each.choices)

    with pytest.raises(openai.APIError, match=r'"a" is a required property') as raised:
        await read()

    assert "".join(choice.delta.content or "" for choice in told) == BAD
    assert {choice.finish_reason for choice in told} == {None}
    assert raised.value.code == "response_schema_validation_failed"
    assert len(proxy.upstream.requests) == 1


async def test_error_frame_is_the_last(proxy: Ringside) -> None:
    """Nothing follows it, `[DONE]` neither: an answer that failed is not done."""
    proxy.upstream.enqueue(text_reply(BAD))

    answer = await proxy.developer.post("/v1/chat/completions", body(stream=True))

    *_, last = answer.body.rstrip().split(b"\n\n")
    assert last.startswith(b'data: {"error":')
    assert b"[DONE]" not in answer.body


async def test_chat_that_is_not_streamed_is_repaired(
    proxy: Ringside, sdk: openai.AsyncOpenAI
) -> None:
    """Who waits for the whole answer loses nothing by its being right."""
    proxy.upstream.enqueue(text_reply(BAD), text_reply(GOOD))

    answer = await sdk.chat.completions.create(**body())

    assert answer.choices[0].message.content == GOOD


async def test_schema_that_the_model_refuses_is_said_in_words(
    proxy: Ringside, sdk: openai.AsyncOpenAI
) -> None:
    """Nothing has been told yet, so it can still be asked otherwise."""
    proxy.upstream.enqueue(error_reply(400, "schema_not_supported"), text_reply(GOOD))

    stream = await sdk.chat.completions.create(**body(stream=True))
    told = [each.choices[0] async for each in stream]

    assert "".join(choice.delta.content or "" for choice in told) == GOOD
    assert "response_format" not in proxy.upstream.requests[1].body


async def test_answer_that_was_cut_is_no_error(proxy: Ringside, sdk: openai.AsyncOpenAI) -> None:
    """As at OpenAI: `length` says it."""
    cut = [chunk({"content": '{"a'}), chunk({}, "length", usage=usage()), DONE]
    proxy.upstream.enqueue(stream_reply(*cut))

    stream = await sdk.chat.completions.create(**body(stream=True))

    assert [each.choices[0].finish_reason async for each in stream][-1] == "length"


async def run_events(
    sdk: openai.AsyncOpenAI, proxy: Ringside, gate: Gate | None = None
) -> list[Any]:
    """The events of a streamed run under the schema, as the SDK reads them; the first words open `gate`."""
    assistant = await proxy.developer.assistant(model=UPSTREAM_MODEL)
    thread = await proxy.developer.thread("hi")
    format_: Any = SCHEMA
    stream = await sdk.beta.threads.runs.create(
        thread_id=thread, assistant_id=assistant, response_format=format_, stream=True
    )
    events = []
    async for event in stream:
        events.append(event)
        if gate is not None and event.event == "thread.message.delta":
            gate.release()
    return events


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_run_is_told_as_it_comes(proxy: Ringside, sdk: openai.AsyncOpenAI) -> None:
    """A good answer completes the run."""
    gate = Gate()
    rest = chunk({"content": " 1}"}), chunk({}, "stop")
    proxy.upstream.enqueue(stream_reply(chunk({"content": '{"a":'}), gate, *rest))

    events = await run_events(sdk, proxy, gate)

    deltas = [
        e.data.delta.content[0].text.value for e in events if e.event == "thread.message.delta"
    ]
    assert len(deltas) > 1
    assert "".join(deltas) == GOOD
    assert events[-1].event == "thread.run.completed"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_run_that_does_not_pass_fails(proxy: Ringside, sdk: openai.AsyncOpenAI) -> None:
    """The message is incomplete and the run says why; what was consumed is counted once."""
    proxy.upstream.enqueue(text_reply(BAD))

    events = await run_events(sdk, proxy)

    names = [event.event for event in events]
    assert "thread.message.incomplete" in names
    assert "thread.message.completed" not in names
    assert names[-1] == "thread.run.failed"
    run = events[-1].data
    assert run.last_error.code == "server_error"
    assert '"a" is a required property' in run.last_error.message
    assert (run.usage.prompt_tokens, run.usage.completion_tokens) == (9, 4)
    page = await proxy.developer.get(f"/v1/threads/{run.thread_id}/messages")
    assert page.json["data"][0]["status"] == "incomplete"


async def test_events_of_a_run_that_fails_late_are_in_order(proxy: Ringside) -> None:
    """As OpenAI's own would be."""
    proxy.upstream.enqueue(text_reply(BAD))
    assistant = await proxy.developer.assistant(model=UPSTREAM_MODEL)
    thread = await proxy.developer.thread("hi")

    answer = await proxy.developer.post(
        f"/v1/threads/{thread}/runs",
        {"assistant_id": assistant, "response_format": SCHEMA, "stream": True},
    )

    check_run_stream(answer.body)


async def test_run_that_is_not_streamed_is_repaired(proxy: Ringside) -> None:
    """Nobody reads along."""
    proxy.upstream.enqueue(text_reply(BAD), text_reply(GOOD), text_reply("unused"))
    assistant = await proxy.developer.assistant(model=UPSTREAM_MODEL, response_format=SCHEMA)
    thread = await proxy.developer.thread("hi")

    run = await proxy.developer.begin(thread, assistant)
    live = proxy.proxy.services.live_runs.find(run["id"])
    if live is not None:
        await live.has_stopped.wait()

    page = await proxy.developer.get(f"/v1/threads/{thread}/messages")
    assert page.json["data"][0]["content"][0]["text"]["value"] == GOOD
