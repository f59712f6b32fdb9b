"""What a run asks of its model: the thread as its limits leave it, and its parameters."""

from pathlib import Path
from typing import Any

import pytest

from ringside_proxy.settings.schema import SlotSettings
from tests.fakes import FakeUpstream, text_reply, tool_reply
from tests.services.rig import CLOCK, MODEL, WEATHER, Json, Rig, rigged

CLOSED = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
"""What OpenAI's strict mode takes."""
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "schema": CLOSED, "strict": True},
}
FORCED = {"type": "function", "function": {"name": "weather"}}
SAMPLING: Json = {"temperature": 0.25, "top_p": 0.5}
LEFT_OUT = (
    *("temperature", "top_p", "reasoning_effort", "max_completion_tokens", "seed", "tools"),
    *("response_format", "tool_choice", "parallel_tool_calls", "max_tokens"),
)

TOOLS: Json = {"tools": [WEATHER]}

PARAMS: dict[str, tuple[Json, Json, Json]] = {
    "the assistant's sampling": (SAMPLING, {}, SAMPLING),
    "the run's sampling": (SAMPLING, {"temperature": 2}, {"temperature": 2, "top_p": 0.5}),
    "zero is a value": ({}, {"temperature": 0}, {"temperature": 0}),
    "the run's limit": ({}, {"max_completion_tokens": 300}, {"max_completion_tokens": 300}),
    "a call's limit": ({}, {"max_tokens": 40}, {"max_completion_tokens": 40}),
    "the smaller limit": (
        {},
        {"max_completion_tokens": 300, "max_tokens": 40},
        {"max_completion_tokens": 40},
    ),
    "a seed": ({}, {"seed": 7}, {"seed": 7}),
    "the assistant's format": (
        {"response_format": {"type": "json_object"}},
        {},
        {"response_format": {"type": "json_object"}},
    ),
    "the run's format": (
        {"response_format": {"type": "json_object"}},
        {"response_format": SCHEMA},
        {"response_format": SCHEMA},
    ),
    "a choice of none": (TOOLS, {"tool_choice": "none"}, {"tool_choice": "none"}),
    "a forced choice": (TOOLS, {"tool_choice": FORCED}, {"tool_choice": FORCED}),
    "one call at a time": (
        TOOLS,
        {"parallel_tool_calls": False},
        {"parallel_tool_calls": False},
    ),
}


@pytest.mark.parametrize(("assistant", "run", "sent"), PARAMS.values(), ids=PARAMS)
async def test_request_carries_what_was_chosen(
    rig: Rig, upstream: FakeUpstream, assistant: Json, run: Json, sent: Json
) -> None:
    """The assistant's values under the run's own go to the model; what nobody chose does not."""
    upstream.enqueue(text_reply("{}"))  # JSON, for the formats that ask for it

    ended = await rig.run(await rig.thread("Hi"), await rig.assistant(**assistant), **run)

    assert ended["status"] == "completed"
    found = {name: rig.sent()[name] for name in LEFT_OUT if name in rig.sent() and name != "tools"}
    assert found == sent


DEFAULTS: dict[str, Json] = {
    "nothing given": {},
    "OpenAI's own defaults": {
        "temperature": 1,
        "top_p": 1,
        "response_format": {"type": "text"},
        "tool_choice": "auto",
        "parallel_tool_calls": True,
    },
    "nulls": {"temperature": None, "response_format": None, "tool_choice": None, "seed": None},
    "a choice among no tools": {"tools": [], "parallel_tool_calls": False},
}


@pytest.mark.parametrize("fields", DEFAULTS.values(), ids=DEFAULTS)
async def test_request_leaves_defaults_out(rig: Rig, upstream: FakeUpstream, fields: Json) -> None:
    """Reasoning models refuse even a default temperature: what equals OpenAI's default stays out."""
    upstream.enqueue(text_reply("Hello"))

    ended = await rig.run(await rig.thread("Hi"), await rig.assistant(), **fields)

    assert ended["status"] == "completed"
    assert [name for name in LEFT_OUT if name in rig.sent()] == []


async def test_request_carries_reasoning_effort_to_models_that_reason(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """The effort goes along; the sampling that such a model refuses does not."""
    upstream.enqueue(text_reply("Hello"))
    assistant = await rig.assistant(model="fc:openai/o3-mini", **SAMPLING)

    await rig.run(await rig.thread("Hi"), assistant, reasoning_effort="low")

    assert rig.sent()["reasoning_effort"] == "low"
    assert "temperature" not in rig.sent()


async def test_request_names_the_tools_as_openai_does(rig: Rig, upstream: FakeUpstream) -> None:
    """Tools go to the model with OpenAI's defaults filled in."""
    upstream.enqueue(text_reply("Hello"))

    await rig.run(await rig.thread("Hi"), await rig.assistant(tools=[WEATHER, CLOCK]))

    functions = [tool["function"] for tool in rig.sent()["tools"]]
    assert functions == [
        {**WEATHER["function"], "strict": False},
        {"name": "clock", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ]


@pytest.mark.parametrize("choice", [FORCED, "required"], ids=["named", "required"])
async def test_forced_choice_holds_for_the_first_call_alone(
    rig: Rig, upstream: FakeUpstream, choice: Any
) -> None:
    """A model that had to call on every round could never answer."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Sunny"))
    assistant = await rig.assistant(tools=[WEATHER])
    run = await rig.run(await rig.thread("Hi"), assistant, tool_choice=choice)

    ended = await rig.submit(run, call_aaaaaaaa="sunny")

    assert rig.sent(0)["tool_choice"] == choice
    assert "tool_choice" not in rig.sent(1)
    assert (ended["status"], ended["tool_choice"]) == ("completed", choice)


async def test_choice_of_none_holds_for_every_call(rig: Rig, upstream: FakeUpstream) -> None:
    """`none` forbids calls on a later run too, while the tools stay known to the model."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Sunny"))
    assistant = await rig.assistant(tools=[WEATHER])
    run = await rig.run(await rig.thread("Hi"), assistant, tool_choice="none")

    await rig.submit(run, call_aaaaaaaa="sunny")

    assert [rig.sent(i)["tool_choice"] for i in (0, 1)] == ["none", "none"]


async def test_slot_params_stand_under_the_runs(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A slot's parameters go out unless the assistant or the run brings its own."""
    slot = SlotSettings(model=MODEL, params={"temperature": 0.2, "seed": 1, "stop": ["END"]})
    upstream.enqueue(text_reply("Hello"), text_reply("Hello"))
    async with rigged(tmp_path, upstream, slots={"smart": slot}) as rig:
        thread = await rig.thread("Hi")
        assistant = await rig.assistant(model="slot:smart")

        plain = await rig.run(thread, assistant)
        own = await rig.run(thread, assistant, temperature=0.9, seed=5)

        assert (plain["model"], own["model"]) == ("slot:smart", "slot:smart")
        found = [
            {k: rig.sent(i)[k] for k in ("model", "temperature", "seed", "stop")} for i in (0, 1)
        ]
        assert found == [
            {"model": "gpt-4o", "temperature": 0.2, "seed": 1, "stop": ["END"]},
            {"model": "gpt-4o", "temperature": 0.9, "seed": 5, "stop": ["END"]},
        ]


async def talked(rig: Rig, upstream: FakeUpstream, rounds: int) -> tuple[str, str]:
    """A thread on which `rounds` questions were answered, and its assistant."""
    thread, assistant = await rig.thread(), await rig.assistant(tools=[WEATHER])
    for number in range(rounds):
        upstream.enqueue(text_reply(f"answer-{number}"))
        await rig.say(thread, f"question-{number}")
        await rig.run(thread, assistant)
    return thread, assistant


@pytest.mark.parametrize("count", [1, 2, 3, 5, 50])
async def test_last_messages_are_all_the_model_sees(
    rig: Rig, upstream: FakeUpstream, count: int
) -> None:
    """`last_messages` shows that many messages, the newest ones, and the instructions."""
    thread, assistant = await talked(rig, upstream, 2)
    upstream.enqueue(text_reply("Hello"))
    await rig.say(thread, "last")
    truncation = {"type": "last_messages", "last_messages": count}

    await rig.run(thread, assistant, truncation_strategy=truncation)

    everything = ["question-0", "answer-0", "question-1", "answer-1", "last"]
    assert [message["content"] for message in rig.seen()] == ["Be brief.", *everything[-count:]]


async def test_last_messages_keep_the_calls_between_them(rig: Rig, upstream: FakeUpstream) -> None:
    """Calls and outputs that stand between the last messages are no messages, but are shown."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Sunny"), text_reply("Hello")
    )
    thread, assistant = await rig.thread("Weather?"), await rig.assistant(tools=[WEATHER])
    await rig.submit(await rig.run(thread, assistant), call_aaaaaaaa="sun")
    await rig.say(thread, "last")
    truncation = {"type": "last_messages", "last_messages": 3}

    await rig.run(thread, assistant, truncation_strategy=truncation)

    roles = [message["role"] for message in rig.seen()]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_last_messages_never_leave_out_the_runs_own_calls(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """What the run itself did is shown beside the last message, however little else is."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", "{}")], "Wait"),
        tool_reply([("call_bbbbbbbb", "weather", "{}")]),
        text_reply("Sunny"),
    )
    thread, assistant = await rig.thread("old", "new"), await rig.assistant(tools=[WEATHER])
    truncation = {"type": "last_messages", "last_messages": 1}
    run = await rig.run(thread, assistant, truncation_strategy=truncation)

    await rig.submit(await rig.submit(run, call_aaaaaaaa="sun"), call_bbbbbbbb="rain")

    assert [(m["role"], m.get("content")) for m in rig.seen()] == [
        ("system", "Be brief."),
        ("user", "new"),
        ("assistant", "Wait"),
        ("tool", "sun"),
        ("assistant", None),
        ("tool", "rain"),
    ]


async def test_auto_drops_the_oldest_turns_of_a_full_window(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """A thread longer than the model's window is cut at the old end, between turns."""
    upstream.enqueue(text_reply("Hello"))
    texts = [f"message-{number} " + "word " * 1000 for number in range(6)]
    thread = await rig.thread(*texts)
    assistant = await rig.assistant(model="fc:openai/gpt-4")  # a window of 8,192 tokens

    await rig.run(thread, assistant)

    seen = [message["content"] for message in rig.seen()[1:]]
    assert seen == texts[-len(seen) :]
    assert 0 < len(seen) < len(texts)


async def test_auto_shows_everything_that_fits(rig: Rig, upstream: FakeUpstream) -> None:
    """A short thread is shown whole."""
    thread, assistant = await talked(rig, upstream, 3)
    upstream.enqueue(text_reply("Hello"))

    await rig.run(thread, assistant)

    assert len(rig.seen()) == 1 + 6


async def test_auto_shows_everything_to_a_model_of_unknown_size(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """Without a known window nothing is cut, over more than one read of the store."""
    upstream.enqueue(text_reply("Hello"))
    texts = [f"message-{number}" for number in range(450)]

    await rig.run(await rig.thread(*texts), await rig.assistant(model="fc:openai/of-our-own"))

    assert [message["content"] for message in rig.seen()[1:]] == texts


async def test_max_prompt_tokens_cut_the_thread(rig: Rig, upstream: FakeUpstream) -> None:
    """The run's own limit cuts like a window does: what is oldest goes."""
    upstream.enqueue(text_reply("Hello"))
    thread = await rig.thread("old " * 1000, "new")

    ended = await rig.run(thread, await rig.assistant(), max_prompt_tokens=256)

    assert ended["status"] == "completed"
    assert [message["content"] for message in rig.seen()] == ["Be brief.", "new"]


async def test_max_prompt_tokens_too_few_for_the_instructions_end_the_run(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """If the instructions alone are past the limit, no call is made and the run is incomplete."""
    assistant = await rig.assistant(instructions="word " * 2000)

    ended = await rig.run(await rig.thread("Hi"), assistant, max_prompt_tokens=256)

    assert ended["status"] == "incomplete"
    assert ended["incomplete_details"] == {"reason": "max_prompt_tokens"}
    assert upstream.requests == []


async def test_max_prompt_tokens_too_few_for_the_last_message_end_the_run(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """A message that is past the limit by itself is not sent: the run may not exceed it."""
    thread = await rig.thread("old", "word " * 2000)

    ended = await rig.run(thread, await rig.assistant(), max_prompt_tokens=256)

    assert ended["status"] == "incomplete"
    assert ended["incomplete_details"] == {"reason": "max_prompt_tokens"}
    assert upstream.requests == []


async def test_request_shows_images_to_the_model(rig: Rig, upstream: FakeUpstream) -> None:
    """A message of several parts reaches the model as the parts it was given in."""
    upstream.enqueue(text_reply("A cat"))
    image: Json = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    content = [{"type": "text", "text": "What is it?"}, image]
    messages = [{"role": "user", "content": content}]
    thread = (await rig.post("/threads", {"messages": messages}))["id"]

    await rig.run(thread, await rig.assistant())

    detailed = {**image["image_url"], "detail": "auto"}
    assert rig.seen()[-1]["content"] == [content[0], {"type": "image_url", "image_url": detailed}]


@pytest.mark.parametrize("count", [2, 30])
@pytest.mark.parametrize("shown", [None, 1, 12])
async def test_run_on_a_new_thread_is_shown_what_one_on_an_old_thread_is(
    rig: Rig, upstream: FakeUpstream, count: int, shown: int | None
) -> None:
    """A thread that is made with its run, of few messages or many, is not another to the model."""
    upstream.enqueue(text_reply("Hello"), text_reply("Hello"))
    assistant, texts = await rig.assistant(), [f"message-{number}" for number in range(count)]
    fields: Json = {"assistant_id": assistant}
    if shown is not None:
        fields["truncation_strategy"] = {"type": "last_messages", "last_messages": shown}
    messages = [{"role": "user", "content": text} for text in texts]

    await rig.stream("/threads/runs", {**fields, "thread": {"messages": messages}})
    await rig.stream(f"/threads/{await rig.thread(*texts)}/runs", fields)

    assert rig.seen(0) == rig.seen(1)
    assert [each["content"] for each in rig.seen(0)[1:]] == texts[-(shown or count) :]
