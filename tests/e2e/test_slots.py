"""Slots, queues and edits of the file in the process that users run, through the official SDK."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI

from tests.crash.process import Home, Server
from tests.e2e.ringside import TOKEN
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply, text_reply

pytestmark = pytest.mark.filterwarnings("ignore:(deprecated|The Assistants API is deprecated)")

DOWN: Final = "fc:sandbox/fail-503"
ECHO: Final = "fc:sandbox/echo"
TOO_LONG: Final = "fc:sandbox/too-long"
MESSAGES: Final[Any] = [{"role": "user", "content": "Hello, ringside!"}]
BREAKER_CALLS: Final = 10
IN_EFFECT_S_MAX: Final = 60.0

SLOTS: Final[dict[str, Any]] = {
    "smart": {"model": DOWN, "fallbacks": [ECHO]},
    "strict": {"model": TOO_LONG, "fallbacks": [ECHO]},
    "patient": {
        "model": TOO_LONG,
        "fallbacks": [ECHO],
        "fallback_on": ["context_length_exceeded"],
    },
    "shared": {"models": [{"model": ECHO, "weight": 3}, "fc:sandbox/system"]},
    "short": {"model": "fc:sandbox/hang", "fallbacks": [ECHO], "timeouts": {"first_byte": "1s"}},
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.configure(slots=SLOTS, providers={"sandbox": {"max_retries": 0}})
    return made


@asynccontextmanager
async def talking(home: Home) -> AsyncIterator[tuple[AsyncOpenAI, Server]]:
    """A real proxy that ends well, and the SDK as an application sets it up."""
    async with (
        home.serving() as server,
        AsyncOpenAI(base_url=f"{server.url}/v1", api_key=TOKEN, max_retries=0) as sdk,
    ):
        yield sdk, server
        assert await server.stop() == 0


async def ask(sdk: AsyncOpenAI, slot: str, **options: Any) -> tuple[str, str]:
    """What a slot answers, and which model that was."""
    raw = await sdk.chat.completions.with_raw_response.create(
        model=f"slot:{slot}", messages=MESSAGES, **options
    )
    return raw.parse().choices[0].message.content, raw.headers["x-ringside-model"]


async def metrics(server: Server) -> str:
    """What an operator sees."""
    async with aiohttp.ClientSession() as http, http.get(f"{server.admin_url}/metrics") as answer:
        return await answer.text()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Until it is so."""
    async with asyncio.timeout(IN_EFFECT_S_MAX):
        while not await holds():  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.05)


async def test_the_next_model_answers_whatever_is_asked(home: Home) -> None:
    """Whole, streamed and as a run; headers and usage records name it, and the slot."""
    async with talking(home) as (sdk, _):
        whole = await ask(sdk, "smart")
        stream = await sdk.chat.completions.create(
            model="slot:smart", messages=MESSAGES, stream=True
        )
        streamed = "".join([piece.choices[0].delta.content or "" async for piece in stream])
        assistant = await sdk.beta.assistants.create(model="slot:smart")
        run = await sdk.beta.threads.create_and_run_poll(
            assistant_id=assistant.id, thread={"messages": MESSAGES}, poll_interval_ms=20
        )
        found = await sdk.beta.threads.runs.with_raw_response.retrieve(
            run.id, thread_id=run.thread_id
        )
        records = (await sdk.get("/usage/records", cast_to=object))["data"]  # type: ignore[index]

    assert whole == ("Hello, ringside!", ECHO)
    assert streamed == "Hello, ringside!"
    assert (run.status, run.model) == ("completed", "slot:smart")
    assert found.headers["x-ringside-model"] == ECHO
    assert [(row["model"], row["requested_model"]) for row in records] == [(ECHO, "slot:smart")] * 3


async def test_a_refusal_is_the_answer_unless_the_slot_lists_it(home: Home) -> None:
    """A prompt that is too long for one model is the next one's where that was asked for."""
    async with talking(home) as (sdk, _):
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(sdk, "strict")
        answered = await ask(sdk, "patient")

    assert refused.value.code == "context_length_exceeded"
    assert answered == ("Hello, ringside!", ECHO)


async def test_a_slot_s_patience_and_its_shares(home: Home) -> None:
    """One that says nothing for a second is passed over; calls are shared out by weight."""
    async with talking(home) as (sdk, _):
        stream = await sdk.chat.completions.with_raw_response.create(
            model="slot:short", messages=MESSAGES, stream=True
        )
        models = [(await ask(sdk, "shared"))[1] for _ in range(60)]

    assert stream.headers["x-ringside-model"] == ECHO
    assert set(models) == {ECHO, "fc:sandbox/system"}
    assert models.count(ECHO) > 30  # of 60, 45 expected: 4.5 standard deviations


async def test_a_model_that_is_down_is_left_alone(home: Home) -> None:
    """After ten failures its breaker is open: further calls go past it, and it is not asked."""
    async with talking(home) as (sdk, server):
        answers = {await ask(sdk, "smart") for _ in range(BREAKER_CALLS + 5)}
        page = await metrics(server)

    attempts = re.search(
        r'upstream_requests_total{model="fail-503",outcome="[a-z_]+",provider="sandbox"} (\S+)',
        page,
    )
    assert answers == {("Hello, ringside!", ECHO)}
    assert attempts is not None
    assert float(attempts[1]) == BREAKER_CALLS
    assert 'ringside_breaker_state{model="fail-503",provider="sandbox"} 2.0' in page


async def test_models_list_slots(home: Home) -> None:
    """With where they lead, and what they can do; filters know them too."""
    async with talking(home) as (sdk, _):
        listed = {model.id: model async for model in sdk.models.list()}
        tools: Any = await sdk.get(
            "/models", cast_to=object, options={"params": {"supports": "tools"}}
        )

    assert {name for name in listed if name.startswith("slot:")} == {f"slot:{s}" for s in SLOTS}
    assert listed["slot:smart"].to_dict()["resolves_to"] == DOWN
    assert "slot:shared" in {model["id"] for model in tools["data"]}


async def test_an_edit_puts_another_model_first(home: Home) -> None:
    """Without a restart."""
    async with talking(home) as (sdk, _):
        before = await ask(sdk, "smart")
        home.configure(slots={"smart": "fc:sandbox/system"}, providers={"sandbox": {}})

        async def is_in_effect() -> bool:
            return (await ask(sdk, "smart"))[1] == "fc:sandbox/system"

        await until(is_in_effect)

    assert before[1] == ECHO


async def test_a_new_key_goes_out_while_old_streams_go_on(home: Home) -> None:
    """The provider's key in a mounted file is another one: new calls bring it, no stream is cut."""
    secret = home.path / "openai-key"
    secret.write_text("the-first-key-of-a-test\n")
    gate = Gate()
    async with FakeUpstream() as upstream:
        provider = {"api_key": f"file:{secret}", "base_url": upstream.base_url, "max_retries": 0}
        home.configure(providers={"openai": provider})
        upstream.enqueue(
            stream_reply(
                chunk({"role": "assistant", "content": "one "}),
                gate,
                chunk({"content": "two"}, "stop"),
                b"data: [DONE]\n\n",
            )
        )
        async with talking(home) as (sdk, _):
            stream = await sdk.chat.completions.create(
                model="fc:openai/gpt-4.1", messages=MESSAGES, stream=True
            )
            secret.write_text("the-second-key-of-a-test\n")

            async def is_in_effect() -> bool:
                upstream.enqueue(text_reply("Hello"))
                await sdk.chat.completions.create(model="fc:openai/gpt-4.1", messages=MESSAGES)
                return "second" in upstream.requests[-1].headers["authorization"]

            await until(is_in_effect)
            gate.release()
            said = "".join([p.choices[0].delta.content or "" async for p in stream if p.choices])

    assert said == "one two"
    assert "key-of-a-test" not in home.logged()


async def test_second_runs_wait_or_replace_as_they_say(home: Home) -> None:
    """By a header of the request, on a proxy that refuses them otherwise."""
    async with talking(home) as (sdk, _):
        slow = await sdk.beta.assistants.create(model="fc:sandbox/slow-100")
        echo = await sdk.beta.assistants.create(model=ECHO)
        thread = await sdk.beta.threads.create(messages=MESSAGES * 5)

        async def begin(assistant: Any, how: str | None) -> Any:
            headers = {} if how is None else {"x-ringside-when-busy": how}
            return await sdk.beta.threads.runs.create(
                thread.id, assistant_id=assistant.id, extra_headers=headers
            )

        first = await begin(slow, None)
        with pytest.raises(openai.ConflictError) as refused:
            await begin(echo, None)
        queued = [await begin(echo, "queue") for _ in range(2)]
        replacing = await begin(echo, "replace")
        ended = [
            await sdk.beta.threads.runs.poll(run.id, thread_id=thread.id, poll_interval_ms=20)
            for run in (first, replacing, *queued)
        ]

    assert refused.value.code == "conversation_locked"
    assert [run.status for run in ended] == ["cancelled", "completed", "completed", "completed"]
    starts = [run.started_at for run in ended[1:]]
    assert starts == sorted(starts)
