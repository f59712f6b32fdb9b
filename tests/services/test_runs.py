"""A run from end to end: what the model was shown, what is stored, and what it consumed."""

from pathlib import Path

import pytest

from tests.fakes import (
    FakeUpstream,
    Gate,
    Reply,
    chunk,
    error_reply,
    stream_reply,
    text_reply,
    tool_reply,
    usage,
)
from tests.services.rig import CLOCK, WEATHER, Json, Rig, rigged, text_of


def shown(rig: Rig, number: int = -1) -> list[tuple[str, str | None]]:
    """Who said what in the chat that the provider got, without the instructions."""
    return [
        (message["role"], message.get("content"))
        for message in rig.seen(number)
        if message["role"] != "system"
    ]


def counted(prompt: int, completion: int, *calls: str) -> Reply:
    """Calls, or words without any, that cost so many tokens."""
    spoken = [chunk({"content": "Sunny"})]
    fragments = [
        chunk({"tool_calls": [{"index": i, "id": call, "function": {"name": "weather"}}]})
        for i, call in enumerate(calls)
    ]
    end = chunk({}, "tool_calls" if calls else "stop")
    return stream_reply(*(fragments or spoken), end, chunk(None, usage=usage(prompt, completion)))


def spent(prompt: int, completion: int) -> Json:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_token_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


async def test_run_loops_over_tools_until_the_model_speaks(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """Round after round the model is shown all its calls with their outputs, in order."""
    upstream.enqueue(
        tool_reply(
            [("call_aaaaaaaa", "weather", '{"city":"Bern"}'), ("call_bbbbbbbb", "clock", "{}")],
            "Wait",
        ),
        tool_reply([("call_cccccccc", "weather", '{"city":"Rome"}')]),
        text_reply("Bern is nicer"),
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER, CLOCK])

    first = await rig.run(thread, assistant)
    second = await rig.submit(first, call_bbbbbbbb="noon", call_aaaaaaaa="sun")
    third = await rig.submit(second, call_cccccccc="rain")

    assert [run["status"] for run in (first, second, third)] == [
        *("requires_action", "requires_action", "completed"),
    ]
    required = second["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert [call["id"] for call in required] == ["call_cccccccc"]
    assert shown(rig) == [
        *(("user", "Hi"), ("assistant", "Wait"), ("tool", "sun"), ("tool", "noon")),
        *(("assistant", None), ("tool", "rain")),
    ]
    arguments = [call["function"]["arguments"] for call in rig.seen()[2]["tool_calls"]]
    assert arguments == ['{"city":"Bern"}', "{}"]
    assert await rig.texts(thread) == ["Hi", "Wait", "Bern is nicer"]


async def test_run_shows_earlier_runs_calls_to_the_model(rig: Rig, upstream: FakeUpstream) -> None:
    """Calls and outputs of earlier runs are replayed, or models would call again."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", "{}")]),
        text_reply("Sunny"),
        text_reply("I said so"),
    )
    thread, assistant = await rig.thread("Weather?"), await rig.assistant(tools=[WEATHER])
    await rig.submit(await rig.run(thread, assistant), call_aaaaaaaa="sun")
    await rig.say(thread, "Sure?")

    await rig.run(thread, assistant)

    assert shown(rig) == [
        *(("user", "Weather?"), ("assistant", None), ("tool", "sun"), ("assistant", "Sunny")),
        ("user", "Sure?"),
    ]


async def test_run_after_one_that_left_calls_open_can_go_on_calling(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """Calls that a cancelled run left unanswered never stand in the way of later rounds."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", "{}")]),
        tool_reply([("call_aaaaaaaa", "weather", "{}")]),
        tool_reply([("call_bbbbbbbb", "weather", "{}")]),
        text_reply("Sunny"),
    )
    thread, assistant = await rig.thread("Weather?"), await rig.assistant(tools=[WEATHER])
    await rig.cancel(await rig.run(thread, assistant))

    run = await rig.submit(await rig.run(thread, assistant), call_aaaaaaaa="sun")
    ended = await rig.submit(run, call_bbbbbbbb="rain")

    assert ended["status"] == "completed"  # the provider refuses a call that is not answered
    assert [role for role, _ in shown(rig)] == [
        *("user", "assistant", "tool", "assistant", "tool", "assistant", "tool"),
    ]


async def test_additional_messages_stand_before_the_answer(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """A run's own messages are added in their order, after what was there, and shown so."""
    upstream.enqueue(text_reply("Hello"))
    thread, assistant = await rig.thread("first"), await rig.assistant()
    added = [
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "third"},
        {"role": "user", "content": "fourth", "metadata": {"a": "b"}},
    ]

    await rig.run(thread, assistant, additional_messages=added)

    assert [content for _, content in shown(rig)] == ["first", "second", "third", "fourth"]
    stored = await rig.messages(thread)
    assert [text_of(message) for message in stored] == [
        *("first", "second", "third", "fourth", "Hello"),
    ]
    assert [message["run_id"] is None for message in stored] == [True] * 4 + [False]
    assert stored[3]["metadata"] == {"a": "b"}


async def test_run_overrides_its_assistant(rig: Rig, upstream: FakeUpstream) -> None:
    """What a run brings replaces the assistant's value for this run, and is echoed."""
    upstream.enqueue(text_reply("Hello"), text_reply("Hello"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    own = await rig.run(
        thread,
        assistant,
        model="fc:openai/gpt-4o-mini",
        instructions="Sing.",
        additional_instructions="Loudly.",
        tools=[],
        metadata={"a": "b"},
    )
    plain = await rig.run(thread, assistant)

    assert (own["model"], own["instructions"]) == ("fc:openai/gpt-4o-mini", "Sing.\n\nLoudly.")
    assert (own["tools"], own["metadata"]) == ([], {"a": "b"})
    assert rig.sent(0)["model"] == "gpt-4o-mini"
    assert rig.seen(0)[0]["content"] == "Sing.\n\nLoudly."
    assert (plain["model"], plain["instructions"]) == ("fc:openai/gpt-4o", "Be brief.")
    assert rig.seen(1)[0]["content"] == "Be brief."
    assert len(rig.sent(1)["tools"]) == 1


@pytest.mark.parametrize("change", ["modify", "delete"])
async def test_run_is_a_snapshot_of_its_assistant(
    rig: Rig, upstream: FakeUpstream, change: str
) -> None:
    """Changing or deleting the assistant does not touch a run that exists."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Sunny"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)

    if change == "modify":
        changes = {"model": "fc:openai/gpt-4", "instructions": "Sing.", "tools": []}
        await rig.post(f"/assistants/{assistant}", changes)
    else:
        await rig.call("DELETE", f"/assistants/{assistant}")
    ended = await rig.submit(run, call_aaaaaaaa="sun")

    assert ended["status"] == "completed"
    assert (rig.sent()["model"], rig.seen()[0]["content"]) == ("gpt-4o", "Be brief.")
    assert "tools" in rig.sent()
    assert ended["assistant_id"] == assistant
    assert (await rig.messages(thread))[-1]["assistant_id"] == assistant


async def test_run_usage_is_the_sum_of_its_steps(rig: Rig, upstream: FakeUpstream) -> None:
    """Each step shows its own call's usage, the run all of it; at requires_action none."""
    upstream.enqueue(counted(260, 12, "call_aaaaaaaa"), counted(284, 42))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    waiting = await rig.run(thread, assistant)
    open_steps = await rig.steps(waiting)
    ended = await rig.submit(waiting, call_aaaaaaaa="sun")

    assert (waiting["usage"], [step["usage"] for step in open_steps]) == (None, [None])
    assert [step["usage"] for step in await rig.steps(ended)] == [spent(260, 12), spent(284, 42)]
    assert ended["usage"] == spent(544, 54)


async def test_run_usage_of_text_and_calls_is_counted_once(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """A call that made two steps is billed on the last one."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")], "Wait"), text_reply("Sunny"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    ended = await rig.submit(await rig.run(thread, assistant), call_aaaaaaaa="sun")

    assert [step["usage"]["total_tokens"] for step in await rig.steps(ended)] == [0, 13, 13]
    assert ended["usage"]["total_tokens"] == 26


async def test_max_completion_tokens_hold_over_all_rounds(rig: Rig, upstream: FakeUpstream) -> None:
    """Each round gets what the rounds before have left; with nothing left no call is made."""
    upstream.enqueue(counted(10, 180, "call_aaaaaaaa"), counted(10, 120, "call_bbbbbbbb"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant, max_completion_tokens=300)
    run = await rig.submit(run, call_aaaaaaaa="sun")

    ended = await rig.submit(run, call_bbbbbbbb="rain")

    assert [rig.sent(i)["max_completion_tokens"] for i in (0, 1)] == [300, 120]
    assert len(upstream.requests) == 2
    assert ended["status"] == "incomplete"
    assert ended["incomplete_details"] == {"reason": "max_completion_tokens"}
    assert ended["usage"] == spent(20, 300)
    await rig.require_free(thread)


async def test_max_prompt_tokens_hold_over_all_rounds(rig: Rig, upstream: FakeUpstream) -> None:
    """Prompts add up too: a round that has no room left ends the run as incomplete."""
    upstream.enqueue(counted(256, 5, "call_aaaaaaaa"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant, max_prompt_tokens=256)

    ended = await rig.submit(run, call_aaaaaaaa="sun")

    assert ended["status"] == "incomplete"
    assert ended["incomplete_details"] == {"reason": "max_prompt_tokens"}
    assert len(upstream.requests) == 1


async def test_incomplete_run_keeps_its_partial_message(rig: Rig, upstream: FakeUpstream) -> None:
    """An answer that the limit cut stays on the thread, marked with its reason."""
    upstream.enqueue(text_reply("Once upon", finish_reason="length"))
    thread = await rig.thread("Tell me a tale")

    ended = await rig.run(thread, await rig.assistant())

    message = (await rig.messages(thread))[-1]
    assert (text_of(message), message["status"]) == ("Once upon", "incomplete")
    assert message["incomplete_details"] == {"reason": "max_tokens"}
    assert ended["incomplete_details"] == {"reason": "max_completion_tokens"}
    assert [step["status"] for step in await rig.steps(ended)] == ["completed"]


async def test_filtered_run_keeps_what_was_said(rig: Rig, upstream: FakeUpstream) -> None:
    """A content filter shows on the message; the run has no word for it."""
    upstream.enqueue(text_reply("Once upon", finish_reason="content_filter"))
    thread = await rig.thread("Tell me a tale")

    ended = await rig.run(thread, await rig.assistant())

    message = (await rig.messages(thread))[-1]
    assert message["incomplete_details"] == {"reason": "content_filter"}
    assert (ended["status"], ended["incomplete_details"]) == ("incomplete", None)


async def test_run_that_nobody_streams_stores_the_same(rig: Rig, upstream: FakeUpstream) -> None:
    """A run leaves the same steps and messages whether it is streamed or not."""
    reply = tool_reply([("call_aaaaaaaa", "weather", "{}")], "Wait")
    upstream.enqueue(reply, reply)
    assistant = await rig.assistant(tools=[WEATHER])

    plain_thread, streamed_thread = await rig.thread("Hi"), await rig.thread("Hi")
    plain = await rig.run(plain_thread, assistant)
    streamed = (await rig.stream_run(streamed_thread, assistant))[-2][1]

    async def left(thread: str, run: Json) -> list[object]:
        steps = await rig.steps(run)
        messages = await rig.messages(thread)
        return [
            *((step["type"], step["status"], step["usage"]) for step in steps),
            *((message["role"], message["status"], text_of(message)) for message in messages),
        ]

    assert await left(plain_thread, plain) == await left(streamed_thread, streamed)


async def test_run_of_an_empty_thread_needs_instructions(rig: Rig, upstream: FakeUpstream) -> None:
    """Nothing to say and nothing to go by is refused in OpenAI's words, and locks nothing."""
    upstream.enqueue(text_reply("Hello"))
    thread = await rig.thread()
    path = f"/threads/{thread}/runs"
    silent = await rig.assistant(instructions=None)

    refusal = await rig.refusal("POST", path, {"assistant_id": silent})
    ended = await rig.run(thread, await rig.assistant())

    assert (refusal.status, refusal.code) == (400, "invalid_thread")
    assert ended["status"] == "completed"


BAD_OUTPUTS: dict[str, list[str]] = {
    "one missing": ["call_aaaaaaaa"],
    "one unknown": ["call_aaaaaaaa", "call_x"],
    "one twice": ["call_aaaaaaaa", "call_aaaaaaaa"],
    "one too many": ["call_aaaaaaaa", "call_bbbbbbbb", "call_cccccccc"],
    "none": [],
}


@pytest.mark.parametrize("given", BAD_OUTPUTS.values(), ids=BAD_OUTPUTS)
async def test_outputs_that_do_not_fit_the_calls_are_refused_whole(
    rig: Rig, upstream: FakeUpstream, given: list[str]
) -> None:
    """Every pending call is answered once, in one request; else nothing is stored."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", "{}"), ("call_bbbbbbbb", "weather", "{}")]),
        text_reply("Sunny"),
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)
    outputs = [{"tool_call_id": call, "output": "sun"} for call in given]
    path = f"/threads/{thread}/runs/{run['id']}/submit_tool_outputs"

    refusal = await rig.refusal("POST", path, {"tool_outputs": outputs})

    assert refusal.status == 400
    assert refusal.message == (
        f"Expected tool outputs for call_ids ['call_aaaaaaaa', 'call_bbbbbbbb'], got {given}"
    )
    assert (await rig.submit(run, call_aaaaaaaa="sun", call_bbbbbbbb="rain"))[
        "status"
    ] == "completed"


async def test_run_moves_on_only_from_where_it_is(rig: Rig, upstream: FakeUpstream) -> None:
    """Outputs and cancels in a wrong state are refused in OpenAI's words and change nothing."""
    upstream.enqueue(text_reply("Hello"))
    thread = await rig.thread("Hi")
    run = await rig.run(thread, await rig.assistant())
    path = f"/threads/{thread}/runs/{run['id']}"
    output = {"tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": ""}]}

    outputs = await rig.refusal("POST", f"{path}/submit_tool_outputs", output)
    cancel = await rig.refusal("POST", f"{path}/cancel")

    assert outputs.message == 'Runs in status "completed" do not accept tool outputs.'
    assert cancel.message == "Cannot cancel run with status 'completed'."
    assert await rig.get(path) == run


async def test_retried_call_leaves_one_message(tmp_path: Path, upstream: FakeUpstream) -> None:
    """A call that only succeeds at the third attempt is one answer, one step, one usage."""
    again = error_reply(503, retry_after_ms="1")
    upstream.enqueue(again, again, text_reply("Hello"))
    async with rigged(tmp_path, upstream, max_retries=2) as rig:
        thread = await rig.thread("Hi")

        ended = await rig.run(thread, await rig.assistant())

        assert (ended["status"], len(upstream.requests)) == ("completed", 3)
        assert await rig.texts(thread) == ["Hi", "Hello"]
        assert len(await rig.steps(ended)) == 1
        assert ended["usage"] == spent(9, 4)


async def test_deleted_message_leaves_its_step_readable(rig: Rig, upstream: FakeUpstream) -> None:
    """A run's steps go on naming the message that they made, also once it was deleted."""
    upstream.enqueue(text_reply("Hello"))
    thread = await rig.thread("Hi")
    run = await rig.run(thread, await rig.assistant())
    before = await rig.steps(run)
    message = before[0]["step_details"]["message_creation"]["message_id"]

    await rig.call("DELETE", f"/threads/{thread}/messages/{message}")

    assert await rig.steps(run) == before


async def test_checkpoints_show_the_text_so_far(rig: Rig, upstream: FakeUpstream) -> None:
    """Every 8 KiB the partial text is stored, where a concurrent reader finds it."""
    gate = Gate()
    piece = "x" * 1024
    upstream.enqueue(
        stream_reply(*[chunk({"content": piece}) for _ in range(20)], gate, chunk({}, "stop"))
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    async with rig.reading(thread, assistant) as reading:
        said = ""
        while len(said) < 20 * 1024:
            delta = await reading.until("message.delta")
            said += delta["delta"]["content"][0]["text"]["value"]
        partial = (await rig.messages(thread))[-1]
        gate.release()
        await reading.rest()

    assert partial["status"] == "in_progress"
    assert len(text_of(partial)) >= 20 * 1024 - 8 * 1024
    assert text_of((await rig.messages(thread))[-1]) == piece * 20
