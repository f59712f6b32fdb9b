"""Idempotency-Key with the official SDK: a real proxy, a provider that counts its calls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from tests.crash.client import until
from tests.crash.process import Home, Server, kill
from tests.e2e.ringside import TOKEN
from tests.fakes import FakeUpstream, Gate, chunk, error_reply, stream_reply, text_reply, tool_reply

pytestmark = pytest.mark.filterwarnings("ignore:(deprecated|The Assistants API is deprecated)")

MODEL: Final = "fc:openai/gpt-4.1"
MESSAGES: Final[Any] = [{"role": "user", "content": "hi"}]
TOOL: Final[Any] = {"type": "function", "function": {"name": "look_up"}}
DONE: Final = b"data: [DONE]\n\n"


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, upstream: FakeUpstream) -> Home:
    made = Home(tmp_path)
    provider = {"api_key": "k", "base_url": upstream.base_url, "max_retries": 0}
    made.configure(providers={"openai": provider})
    return made


@asynccontextmanager
async def talking(home: Home) -> AsyncIterator[tuple[AsyncOpenAI, Server]]:
    """A real proxy, and the SDK as an application sets it up."""
    async with (
        home.serving() as server,
        AsyncOpenAI(base_url=f"{server.url}/v1", api_key=TOKEN) as sdk,
    ):
        yield sdk, server


def key(name: str = "key-1") -> dict[str, str]:
    """What an application adds to a call."""
    return {"Idempotency-Key": name}


async def ask(sdk: AsyncOpenAI, name: str = "key-1", **options: Any) -> Any:
    """A chat completion with a key; its answer with the headers."""
    return await sdk.chat.completions.with_raw_response.create(
        model=MODEL, messages=MESSAGES, extra_headers=key(name), **options
    )


async def test_a_call_that_comes_again_is_not_made_again(
    home: Home, upstream: FakeUpstream
) -> None:
    """The same object comes back, marked as replayed; another key is another call."""
    upstream.enqueue(text_reply("one"), text_reply("two"))
    async with talking(home) as (sdk, _):
        first, again, other = await ask(sdk), await ask(sdk), await ask(sdk, "key-2")

    assert again.parse() == first.parse()
    assert [each.headers.get("idempotent-replayed") for each in (first, again)] == [None, "true"]
    assert other.parse().choices[0].message.content == "two"
    assert len(upstream.requests) == 2


async def test_the_sdk_waits_by_itself_while_the_first_is_answered(
    home: Home, upstream: FakeUpstream
) -> None:
    """409 with `Retry-After: 1`: it asks again, and has the answer without the application's doing."""
    gate = Gate()
    upstream.enqueue(
        lambda body: stream_reply(gate, chunk({"role": "assistant", "content": "x"}, "stop"), DONE)
    )
    async with talking(home) as (sdk, server):
        first = asyncio.ensure_future(streamed(sdk))
        await gate.reached.wait()
        second = asyncio.ensure_future(streamed(sdk))
        await until(lambda: refused(server), bool)
        gate.release()

        texts = await asyncio.gather(first, second)

    assert texts == ["x", "x"]
    assert len(upstream.requests) == 1


async def refused(server: Server) -> int:
    """How often the proxy has said that a key is in use."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.admin_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    code = 'ringside_errors_total{code="idempotency_in_progress"}'
    return sum(round(float(line.split()[1])) for line in lines if line.startswith(code))


async def streamed(sdk: AsyncOpenAI, name: str = "key-1") -> str:
    """What a streamed completion says."""
    stream = await sdk.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, extra_headers=key(name)
    )
    return "".join([each.choices[0].delta.content or "" async for each in stream])


async def test_a_key_with_another_body_raises(home: Home, upstream: FakeUpstream) -> None:
    """UnprocessableEntityError, with its code; a key that is none is a BadRequestError."""
    upstream.enqueue(text_reply("one"))
    async with talking(home) as (sdk, _):
        await ask(sdk)
        with pytest.raises(openai.UnprocessableEntityError) as reused:
            await ask(sdk, temperature=0.5)
        with pytest.raises(openai.BadRequestError) as invalid:
            await ask(sdk, "k" * 256)

    assert (reused.value.code, reused.value.type) == ("idempotency_key_reused", "idempotency_error")
    assert invalid.value.code == "invalid_idempotency_key"
    assert len(upstream.requests) == 1


async def test_a_provider_s_error_is_raised_again(home: Home, upstream: FakeUpstream) -> None:
    """It may have been paid for: the SDK does not retry it, and the provider is not asked again."""
    upstream.enqueue(error_reply(500), text_reply("never"))
    async with talking(home) as (sdk, _):
        for _attempt in range(2):
            with pytest.raises(openai.InternalServerError) as caught:
                await ask(sdk)
            assert caught.value.code == "provider_unavailable"

    assert len(upstream.requests) == 1


async def test_what_was_refused_may_be_mended(home: Home, upstream: FakeUpstream) -> None:
    """A 400 or 404 from before the call went out leaves the key unused."""
    upstream.enqueue(text_reply("one"))
    async with talking(home) as (sdk, _):
        with pytest.raises(openai.BadRequestError):
            await sdk.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, extra_headers=key()
            )
        answer = await ask(sdk)

    assert answer.parse().choices[0].message.content == "one"
    assert "idempotent-replayed" not in answer.headers


async def test_a_stream_is_told_again_in_short(home: Home, upstream: FakeUpstream) -> None:
    """The SDK puts the same text together, from one chunk."""
    upstream.enqueue(text_reply("Hello to you"))
    async with talking(home) as (sdk, _):
        texts = [await streamed(sdk) for _ in range(2)]

    assert texts == ["Hello to you"] * 2
    assert len(upstream.requests) == 1


async def test_a_stream_that_was_left_is_whole_when_it_comes_again(
    home: Home, upstream: FakeUpstream
) -> None:
    """The application closes it at the first chunk; the model is heard to its end all the same."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(
            chunk({"role": "assistant", "content": "Hel"}),
            gate,
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            DONE,
        )
    )
    async with talking(home) as (sdk, _):
        stream = await sdk.chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, extra_headers=key()
        )
        await anext(aiter(stream))
        await stream.close()
        gate.release()

        text = await streamed(sdk)

    assert text == "Hello"
    assert len(upstream.requests) == 1


async def test_a_run_s_stream_is_told_again(home: Home, upstream: FakeUpstream) -> None:
    """The SDK's event handler ends with the same run, message and text; also of submitted outputs."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "look_up", "{}")], "One moment"), text_reply("12 degrees")
    )
    async with talking(home) as (sdk, _):
        assistant = await sdk.beta.assistants.create(
            model=MODEL, tools=[TOOL], extra_headers=key("assistant")
        )
        thread = await sdk.beta.threads.create(messages=MESSAGES, extra_headers=key("thread"))
        asked = [await run_of(sdk, assistant.id, thread.id) for _ in range(2)]
        answered = [await outputs_of(sdk, asked[0][0]) for _ in range(2)]
        after = await run_of(sdk, assistant.id, thread.id)

    assert asked[0] == asked[1] == after
    assert answered[0] == answered[1]
    assert (asked[0][0].status, answered[0][0].status) == ("requires_action", "completed")
    assert (asked[0][1], answered[0][1]) == ("One moment", "12 degrees")
    assert len(upstream.requests) == 2


async def run_of(sdk: AsyncOpenAI, assistant: str, thread: str) -> tuple[Any, str]:
    """A streamed run: how it ends, and what it says."""
    async with sdk.beta.threads.runs.stream(
        thread_id=thread, assistant_id=assistant, extra_headers=key("run")
    ) as stream:
        text = "".join([delta async for delta in stream.text_deltas])
        return await stream.get_final_run(), text


async def outputs_of(sdk: AsyncOpenAI, run: Any) -> tuple[Any, str]:
    """The same for the outputs of the run's calls."""
    async with sdk.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id,
        thread_id=run.thread_id,
        tool_outputs=[{"tool_call_id": "call_aaaaaaaa", "output": "12"}],
        extra_headers=key("outputs"),
    ) as stream:
        text = "".join([delta async for delta in stream.text_deltas])
        return await stream.get_final_run(), text


async def test_after_a_crash_the_outcome_is_unknown_and_not_retried(
    home: Home, upstream: FakeUpstream
) -> None:
    """ConflictError at once: the call had gone out, and is not made a second time."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate), text_reply("never"))
    async with talking(home) as (sdk, server):
        asking = asyncio.ensure_future(streamed(sdk))
        await gate.reached.wait()
        await kill(server.process)
        asking.cancel()
    gate.release()

    async with talking(home) as (sdk, server):
        with pytest.raises(openai.ConflictError) as caught:
            await streamed(sdk)
        again = await ask(sdk.with_options(max_retries=0), "key-2")

    assert caught.value.code == "idempotency_outcome_unknown"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert again.parse().choices[0].message.content == "never"
    assert len(upstream.requests) == 2


async def test_after_a_crash_a_run_is_the_one_that_was_made(
    home: Home, upstream: FakeUpstream
) -> None:
    """It failed with the process; whoever asks again is shown that, and no second run is made."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"role": "assistant", "content": "Hel"}), gate))
    async with talking(home) as (sdk, server):
        assistant = await sdk.beta.assistants.create(model=MODEL)
        thread = await sdk.beta.threads.create(messages=MESSAGES)
        async with sdk.beta.threads.runs.stream(
            thread_id=thread.id, assistant_id=assistant.id, extra_headers=key("run")
        ) as stream:
            await anext(stream.text_deltas)
            await kill(server.process)
    gate.release()

    async with talking(home) as (sdk, server):
        run, text = await run_of(sdk, assistant.id, thread.id)
        runs = await sdk.beta.threads.runs.list(thread.id)

    assert (run.status, text) == ("failed", "Hel")
    assert [each.id for each in runs.data] == [run.id]
    assert len(upstream.requests) == 1
