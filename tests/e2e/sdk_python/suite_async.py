"""The asynchronous client: the same wire through the SDK's other half."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest
from conftest import AssistantOf
from openai import AsyncAssistantEventHandler, AsyncOpenAI
from story import CALLS, POLL_MS, PREFIX, RESUMED, TEXT_DONE, outputs_for, same, squeezed, text_of

QUESTION: Any = {"messages": [{"role": "user", "content": "How is Paris?"}]}


class Recorder(AsyncAssistantEventHandler):
    """Writes down the text it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.created = 0
        self.pieces: list[str] = []
        self.texts: list[str] = []

    async def on_text_created(self, text: Any) -> None:
        """A text begins."""
        self.created += 1

    async def on_text_delta(self, delta: Any, snapshot: Any) -> None:
        """A piece of it."""
        self.pieces.append(delta.value)

    async def on_text_done(self, text: Any) -> None:
        """All of it."""
        self.texts.append(text.value)


def converse(story: Callable[[AsyncOpenAI], Awaitable[None]]) -> None:
    """Runs `story` with a client of its own."""

    async def run() -> None:
        async with AsyncOpenAI() as client:
            await story(client)

    asyncio.run(run())


def test_objects_live_and_die() -> None:
    async def story(client: AsyncOpenAI) -> None:
        assistants, threads = client.beta.assistants, client.beta.threads
        created = await assistants.create(model="fc:sandbox/echo")
        await assistants.update(created.id, name="Ada")
        assert (await assistants.retrieve(created.id)).name == "Ada"
        assert (await assistants.delete(created.id)).deleted

        thread = await threads.create()
        await threads.update(thread.id, metadata={"a": "b"})
        message = await threads.messages.create(thread.id, role="user", content="hi")
        await threads.messages.update(message.id, thread_id=thread.id, metadata={"c": "d"})
        found = await threads.messages.retrieve(message.id, thread_id=thread.id)
        assert (text_of(found), found.metadata) == ("hi", {"c": "d"})
        assert (await threads.messages.delete(message.id, thread_id=thread.id)).deleted
        assert (await threads.retrieve(thread.id)).metadata == {"a": "b"}
        assert (await threads.delete(thread.id)).deleted

    converse(story)


def test_lists_are_paged() -> None:
    async def story(client: AsyncOpenAI) -> None:
        words = ["one", "two", "three"]
        thread = await client.beta.threads.create(
            messages=[{"role": "user", "content": word} for word in words]
        )
        pages = client.beta.threads.messages.list(thread.id, order="asc", limit=1)
        assert [text_of(message) async for message in pages] == words

        ids = [(await client.beta.assistants.create(model="fc:sandbox/echo")).id for _ in words]
        newer = client.beta.assistants.list(order="asc", limit=1, after=ids[0])
        assert [item.id async for item in newer] == ids[1:]

    converse(story)


def test_polled_run_calls_and_answers(assistant: AssistantOf) -> None:
    assistant_id = assistant("tools", "get_weather")

    async def story(client: AsyncOpenAI) -> None:
        threads = client.beta.threads
        waiting = await threads.create_and_run_poll(
            assistant_id=assistant_id, thread=QUESTION, poll_interval_ms=POLL_MS
        )
        where = {"thread_id": waiting.thread_id}
        ended = await threads.runs.submit_tool_outputs_and_poll(
            run_id=waiting.id, **where, tool_outputs=outputs_for(waiting), poll_interval_ms=POLL_MS
        )
        steps = [step.type async for step in threads.runs.steps.list(ended.id, **where)]
        again = await threads.runs.create_and_poll(
            **where, assistant_id=assistant_id, tool_choice="none", poll_interval_ms=POLL_MS
        )
        assert (ended.status, again.status) == ("completed", "completed")
        assert steps == ["message_creation", "tool_calls"]

    converse(story)


def test_run_is_followed_by_hand(assistant: AssistantOf) -> None:
    assistant_id = assistant("tools", "get_weather")

    async def story(client: AsyncOpenAI) -> None:
        threads, runs = client.beta.threads, client.beta.threads.runs
        created = await threads.create_and_run(assistant_id=assistant_id, thread=QUESTION)
        where = {"thread_id": created.thread_id}
        waiting = await runs.poll(created.id, **where, poll_interval_ms=POLL_MS)
        outputs = outputs_for(waiting)
        resumed = await runs.submit_tool_outputs(created.id, **where, tool_outputs=outputs)
        await runs.poll(created.id, **where, poll_interval_ms=POLL_MS)
        updated = await runs.update(created.id, **where, metadata={"kept": "yes"})
        found = await runs.retrieve(created.id, **where)
        steps = [step async for step in runs.steps.list(created.id, **where)]
        step = await runs.steps.retrieve(steps[0].id, run_id=created.id, **where)
        assert (created.status, resumed.status, found.status) == ("queued", "queued", "completed")
        assert same(found, updated)
        assert same(step, steps[0])
        assert [run.id async for run in runs.list(**where)] == [created.id]

    converse(story)


def test_handler_is_given_the_text(assistant: AssistantOf) -> None:
    # With a pause between the words: what comes together is told together.
    assistant_id = assistant("slow-20")

    async def story(client: AsyncOpenAI) -> None:
        handler = Recorder()
        async with client.beta.threads.create_and_run_stream(
            assistant_id=assistant_id, thread=QUESTION, event_handler=handler
        ) as stream:
            await stream.until_done()
        assert handler.created == 1
        assert len(handler.pieces) > 1
        assert "".join(handler.pieces) == "How is Paris?"
        assert handler.texts == ["How is Paris?"]

    converse(story)


def test_streams_call_and_answer(assistant: AssistantOf) -> None:
    assistant_id = assistant("say-then-tools", "get_weather", "get_time")

    async def story(client: AsyncOpenAI) -> None:
        threads = client.beta.threads
        thread = await threads.create(**QUESTION)
        where = {"thread_id": thread.id, "assistant_id": assistant_id}
        async with threads.runs.stream(**where) as stream:
            asked = squeezed([event.event async for event in stream])
            run = await stream.get_final_run()
        async with threads.runs.submit_tool_outputs_stream(
            run_id=run.id, thread_id=thread.id, tool_outputs=outputs_for(run)
        ) as stream:
            answered = squeezed([event.event async for event in stream])
        async with threads.runs.create_and_stream(**where, tool_choice="none") as stream:
            spoken = squeezed([event.event async for event in stream])
        plain = await threads.runs.create(**where, tool_choice="none", stream=True)
        assert asked == [*PREFIX, *TEXT_DONE, *CALLS]
        assert answered == [*RESUMED, *TEXT_DONE, "thread.run.completed"]
        assert spoken == [*PREFIX, *TEXT_DONE, "thread.run.completed"]
        assert squeezed([event.event async for event in plain]) == spoken

    converse(story)


def test_busy_thread_is_a_conflict_until_the_run_is_cancelled(assistant: AssistantOf) -> None:
    assistant_id = assistant("hang")

    async def story(client: AsyncOpenAI) -> None:
        runs = client.beta.threads.runs
        thread = await client.beta.threads.create(**QUESTION)
        run = await runs.create(thread.id, assistant_id=assistant_id)
        with pytest.raises(openai.ConflictError):
            await runs.create(thread.id, assistant_id=assistant_id)
        await runs.cancel(run.id, thread_id=thread.id)
        ended = await runs.poll(run.id, thread_id=thread.id, poll_interval_ms=POLL_MS)
        assert ended.status == "cancelled"

    converse(story)


def test_completions_and_embeddings() -> None:
    async def story(client: AsyncOpenAI) -> None:
        ask: Any = [{"role": "user", "content": "How is Paris?"}]
        plain = await client.chat.completions.create(model="fc:sandbox/echo", messages=ask)
        stream = await client.chat.completions.create(
            model="fc:sandbox/echo", messages=ask, stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        embedded = await client.embeddings.create(model="fc:sandbox/embed", input="one")
        assert text == plain.choices[0].message.content == "How is Paris?"
        assert len(embedded.data[0].embedding) > 1

    converse(story)
