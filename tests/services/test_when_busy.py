"""A second run on a busy thread: it waits its turn, or it replaces the one that is active."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import openai
import pytest

from ringside_proxy.settings.schema import RunSettings
from ringside_proxy.store.waiting_runs import WAITING_PER_THREAD_MAX
from tests.fakes import FakeUpstream, Gate, chunk, error_reply, stream_reply, text_reply, tool_reply
from tests.services.rig import CLOCK, TOKEN, Json, Rig, rigged
from tests.services.test_thread_lock import Echo

HEADER: Final = "x-ringside-when-busy"


@pytest.fixture
async def queue(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Rig]:
    """A proxy where runs wait for their thread."""
    async with rigged(tmp_path, upstream, runs=RunSettings(when_busy="queue")) as rig:
        yield rig


@pytest.fixture
async def replace(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Rig]:
    """A proxy where a run ends the one before it."""
    async with rigged(tmp_path, upstream, runs=RunSettings(when_busy="replace")) as rig:
        yield rig


def saying(text: str) -> Json:
    """What a run brings along."""
    return {"additional_messages": [{"role": "user", "content": text}]}


async def begin(rig: Rig, thread: str, assistant: str, **fields: Any) -> Json:
    """A run that nobody streams, as its creation answered."""
    body = {"assistant_id": assistant, **fields}
    created: Json = await rig.post(f"/threads/{thread}/runs", body)
    return created


async def state(rig: Rig, run: Json) -> str:
    """The run's status."""
    found = await rig.get(f"/threads/{run['thread_id']}/runs/{run['id']}")
    status: str = found["status"]
    return status


async def every(rig: Rig, thread: str) -> list[Json]:
    """The thread's runs, oldest first."""
    listed: list[Json] = (await rig.get(f"/threads/{thread}/runs?order=asc&limit=100"))["data"]
    return listed


# --------------------------------------------------------------------------------------------- queue


async def test_runs_wait_and_have_their_turn_in_order(queue: Rig, upstream: FakeUpstream) -> None:
    """Each brings its messages when it begins, and sees what was said before it."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(text_reply("two"), text_reply("three"))
    assistant, thread = await queue.assistant(), await queue.thread("first")

    runs = [await begin(queue, thread, assistant)]
    await gate.reached.wait()
    runs += [await begin(queue, thread, assistant, **saying(text)) for text in ("second", "third")]
    waiting = [await state(queue, run) for run in runs]
    texts = await queue.texts(thread)
    gate.release()
    ended = [await queue.settled(run) for run in runs]

    assert waiting == ["in_progress", "queued", "queued"]
    assert texts == ["first"]
    assert [run["status"] for run in ended] == ["completed"] * 3
    assert await queue.texts(thread) == ["first", "one", "second", "two", "third", "three"]
    assert [message["content"] for message in queue.seen()] == [
        "Be brief.",
        "first",
        "one",
        "second",
        "two",
        "third",
    ]
    assert [run["id"] for run in await every(queue, thread)] == [run["id"] for run in runs]


async def test_a_stream_that_waits_is_one_stream(queue: Rig, upstream: FakeUpstream) -> None:
    """Created and queued at once, the rest when it has its turn, in OpenAI's order."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(text_reply("two"))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    first = await begin(queue, thread, assistant)
    await gate.reached.wait()

    async with queue.reading(thread, assistant) as reading:
        await reading.until("run.queued")
        gate.release()
        told = await reading.rest()

    assert told[:3] == ["run.created", "run.queued", "run.in_progress"]
    assert told[-2] == "run.completed"
    assert (await queue.settled(first))["status"] == "completed"


async def test_forty_that_come_together_are_served_one_by_one(
    queue: Rig, upstream: FakeUpstream
) -> None:
    """In the order in which they were stored, each after the answer of the one before."""
    echo = Echo()
    upstream.enqueue(*[echo] * 40)
    assistant, thread = await queue.assistant(), await queue.thread("first")

    runs = await asyncio.gather(
        *(begin(queue, thread, assistant, **saying(f"by-{number}")) for number in range(40))
    )
    for run in runs:
        assert (await queue.settled(run))["status"] == "completed"
    stored = await every(queue, thread)
    texts = await queue.texts(thread)

    assert echo.most == {"first": 1}
    assert {run["id"] for run in stored} == {run["id"] for run in runs}
    number_of = {run["id"]: number for number, run in enumerate(runs)}
    expected = [f"by-{number_of[run['id']]}" for run in stored]
    assert texts == ["first", *(text for said in expected for text in (said, f"echo {said}"))]


@pytest.mark.parametrize("ending", ["completed", "failed", "incomplete", "cancelled", "expired"])
async def test_however_a_run_ends_the_next_one_has_its_turn(
    queue: Rig, upstream: FakeUpstream, ending: str
) -> None:
    """The thread is never free in between, and never stuck."""
    gate = Gate()
    last = "length" if ending == "incomplete" else "stop"
    rest = [chunk({"content": "one"}), chunk({}, last)] if ending != "failed" else [b"garbage\n\n"]
    upstream.enqueue(stream_reply(gate, *rest), text_reply("two"))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    first = await begin(queue, thread, assistant, expires_after=60)
    await gate.reached.wait()
    second = await begin(queue, thread, assistant)

    if ending == "cancelled":
        await queue.cancel(first)
    elif ending == "expired":
        queue.clock.advance(61)
        await queue.sweep()
    gate.release()

    assert (await queue.settled(first))["status"] == ending
    assert (await queue.settled(second))["status"] == "completed"


async def test_a_run_that_waits_for_outputs_keeps_the_thread(
    queue: Rig, upstream: FakeUpstream
) -> None:
    """Its calls and their outputs stay together; then it is the next one's turn."""
    upstream.enqueue(tool_reply([("call_1", "clock", "{}")]), text_reply("noon"), text_reply("two"))
    assistant, thread = await queue.assistant(tools=[CLOCK]), await queue.thread("first")
    first = await queue.run(thread, assistant)
    second = await begin(queue, thread, assistant, tools=[], **saying("second"))
    waiting = await state(queue, second)

    [call] = first["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert (await queue.submit(first, **{call["id"]: "12:00"}))["status"] == "completed"

    assert (first["status"], waiting) == ("requires_action", "queued")
    assert (await queue.settled(second))["status"] == "completed"
    assert await queue.texts(thread) == ["first", "noon", "second", "two"]


async def test_a_run_that_waits_can_be_cancelled(queue: Rig, upstream: FakeUpstream) -> None:
    """It never begins, its messages are nobody's, and those behind it move up."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(text_reply("three"))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    await begin(queue, thread, assistant)
    await gate.reached.wait()
    second = await begin(queue, thread, assistant, **saying("second"))
    third = await begin(queue, thread, assistant, **saying("third"))

    answer = await queue.cancel(second)
    ended = await queue.settled(second)
    gate.release()

    assert (answer["status"], ended["status"]) == ("cancelling", "cancelled")
    assert ended["started_at"] is None
    assert (await queue.settled(third))["status"] == "completed"
    assert await queue.texts(thread) == ["first", "one", "third", "three"]


async def test_a_reader_who_leaves_while_waiting_gives_up_the_place(
    queue: Rig, upstream: FakeUpstream
) -> None:
    """As with a run at work: `on_disconnect: cancel`."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    first = await begin(queue, thread, assistant)
    await gate.reached.wait()

    async with queue.reading(thread, assistant, **saying("second")) as reading:
        second = await reading.until("run.queued")
    left = await queue.settled(second)
    gate.release()

    assert left["status"] == "cancelled"
    assert (await queue.settled(first))["status"] == "completed"
    assert await queue.texts(thread) == ["first", "one"]
    await queue.require_free(thread)


async def test_a_run_that_waits_too_long_expires(queue: Rig, upstream: FakeUpstream) -> None:
    """After its own time; and the time of one that has its turn begins anew with it."""
    gate, second_gate = Gate(), Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(stream_reply(second_gate, chunk({"content": "three"}), chunk({}, "stop")))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    await begin(queue, thread, assistant)
    await gate.reached.wait()
    second = await begin(queue, thread, assistant, expires_after=30)
    third = await begin(queue, thread, assistant, expires_after=100)

    queue.clock.advance(31)
    await queue.sweep()
    expired = await queue.settled(second)
    gate.release()
    await second_gate.reached.wait()
    at_work = await queue.get(f"/threads/{thread}/runs/{third['id']}")
    queue.clock.advance(99)
    await queue.sweep()
    still = await state(queue, third)
    second_gate.release()

    assert expired["status"] == "expired"
    assert at_work["expires_at"] == third["expires_at"] + 31
    assert still == "in_progress"
    assert (await queue.settled(third))["status"] == "completed"


async def test_a_deleted_thread_ends_those_that_wait(queue: Rig, upstream: FakeUpstream) -> None:
    """Nobody is asked for them."""
    upstream.enqueue(stream_reply(Gate()))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    runs = [await begin(queue, thread, assistant) for _ in range(3)]
    await upstream.request(0)
    lives = [queue.live(run["id"]) for run in runs]

    await queue.call("DELETE", f"/threads/{thread}")
    async with asyncio.timeout(20):
        await asyncio.gather(*(live.task for live in lives if live and live.task))

    assert len(upstream.requests) == 1
    assert not queue.proxy.services.live_runs


async def test_so_many_may_wait_and_no_more(queue: Rig, upstream: FakeUpstream) -> None:
    """One more is a 409, as without a queue."""
    upstream.enqueue(stream_reply(Gate()))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    for _ in range(WAITING_PER_THREAD_MAX + 1):
        await begin(queue, thread, assistant)

    refusal = await queue.refusal("POST", f"/threads/{thread}/runs", {"assistant_id": assistant})

    assert (refusal.status, refusal.code) == (409, "conversation_locked")
    assert f"and {WAITING_PER_THREAD_MAX} more wait for it" in refusal.message


async def test_messages_are_refused_while_runs_wait(queue: Rig, upstream: FakeUpstream) -> None:
    """The thread is busy from the first run to the last."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(stream_reply(Gate()))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    first = await begin(queue, thread, assistant)
    await begin(queue, thread, assistant)
    gate.release()
    await queue.settled(first)

    refusal = await queue.refusal(
        "POST", f"/threads/{thread}/messages", {"role": "user", "content": "now?"}
    )

    assert (refusal.status, refusal.code) == (400, "conversation_locked")


async def test_a_run_whose_messages_have_no_room_fails_in_its_turn(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """What filled the thread meanwhile stays, and the next one goes on."""
    settings = RunSettings(when_busy="queue", max_messages_per_thread=3)
    async with rigged(tmp_path, upstream, runs=settings) as rig:
        gate = Gate()
        upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
        upstream.enqueue(text_reply("three"))
        assistant, thread = await rig.assistant(), await rig.thread("first")
        await begin(rig, thread, assistant)
        await gate.reached.wait()
        bringing = [{"role": "user", "content": text} for text in ("a", "b")]
        second = await begin(rig, thread, assistant, additional_messages=bringing)
        third = await begin(rig, thread, assistant)
        gate.release()

        failed, ended = await rig.settled(second), await rig.settled(third)

        assert (failed["status"], ended["status"]) == ("failed", "completed")
        assert "no room" in failed["last_error"]["message"]
        assert await rig.texts(thread) == ["first", "one", "three"]


async def test_those_that_wait_are_there_after_a_restart(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """The one at work is over, those behind it have their turns in order, with their messages."""
    settings = RunSettings(when_busy="queue")
    upstream.enqueue(stream_reply(Gate()))
    async with rigged(tmp_path, upstream, runs=settings) as rig:
        assistant, thread = await rig.assistant(), await rig.thread("first")
        runs = [
            await begin(rig, thread, assistant, **saying(text)) for text in ("second", "third", "x")
        ]
        await upstream.request(0)

    upstream.enqueue(text_reply("three"), text_reply("four"))
    async with rigged(tmp_path, upstream, runs=settings) as rig:
        ended = [await rig.settled(run) for run in runs]
        texts = await rig.texts(thread)

    assert [run["status"] for run in ended] == ["failed", "completed", "completed"]
    assert texts == ["first", "second", "third", "three", "x", "four"]


# ------------------------------------------------------------------------------------------- replace


async def test_a_run_replaces_the_one_at_work(replace: Rig, upstream: FakeUpstream) -> None:
    """Whose stream ends as cancelled, with what was said; then the new one begins."""
    upstream.enqueue(stream_reply(chunk({"content": "Once upon"}), Gate()), text_reply("two"))
    assistant, thread = await replace.assistant(), await replace.thread("first")
    async with replace.reading(thread, assistant) as reading:
        await reading.until("message.delta")

        second = await replace.run(thread, assistant, **saying("second"))
        told = await reading.rest()

    assert told[-4:] == [
        "run.cancelling",
        "message.incomplete",
        "run.step.cancelled",
        "run.cancelled",
    ] or told[-2:] == ["run.cancelled", "done"]
    assert second["status"] == "completed"
    assert await replace.texts(thread) == ["first", "Once upon", "second", "two"]
    assert [run["status"] for run in await every(replace, thread)] == ["cancelled", "completed"]


async def test_a_run_replaces_one_that_waits_for_outputs(
    replace: Rig, upstream: FakeUpstream
) -> None:
    """Whose calls are answered for it, as with any run that ended so."""
    upstream.enqueue(tool_reply([("call_1", "clock", "{}")]), text_reply("two"))
    assistant, thread = await replace.assistant(tools=[CLOCK]), await replace.thread("first")
    first = await replace.run(thread, assistant)

    second = await replace.run(thread, assistant)

    assert (await state(replace, first), second["status"]) == ("cancelled", "completed")
    assert [message["role"] for message in replace.seen()] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "fc:openai"},
        {"model": "fc:mistral/nobody-is-on"},
        {"assistant_id": "asst_000000000000000000000000"},
    ],
    ids=["no model", "no provider", "no assistant"],
)
async def test_a_run_that_is_refused_replaces_nothing(
    replace: Rig, upstream: FakeUpstream, body: Json
) -> None:
    """What is at work goes on."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    assistant, thread = await replace.assistant(), await replace.thread("first")
    first = await begin(replace, thread, assistant)
    await gate.reached.wait()

    refusal = await replace.refusal(
        "POST", f"/threads/{thread}/runs", {"assistant_id": assistant, **body}
    )
    gate.release()

    assert refusal.status in (400, 404)
    assert (await replace.settled(first))["status"] == "completed"


async def test_of_many_that_replace_each_other_one_stays(
    replace: Rig, upstream: FakeUpstream
) -> None:
    """Never two at work, every other one cancelled, and nothing left behind."""
    echo = Echo()
    echo.hold = asyncio.Event()
    upstream.enqueue(*[echo] * 60)
    assistant, thread = await replace.assistant(), await replace.thread("first")

    runs = await asyncio.gather(
        *(begin(replace, thread, assistant, **saying(f"by-{number}")) for number in range(20))
    )
    echo.hold.set()
    ended = [(await replace.settled(run))["status"] for run in runs]

    assert sorted(ended) == ["cancelled"] * 19 + ["completed"]
    assert len(await every(replace, thread)) == 20
    await replace.require_free(thread)


async def test_those_that_wait_keep_their_places_behind_a_replacement(
    queue: Rig, upstream: FakeUpstream
) -> None:
    """It takes the place of the one at work, not of those that queue."""
    upstream.enqueue(stream_reply(Gate()), text_reply("instead"), text_reply("later"))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    await begin(queue, thread, assistant)
    await upstream.request(0)
    waiting = await begin(queue, thread, assistant, **saying("waiting"))

    async with queue.http.post(
        f"/v1/threads/{thread}/runs",
        json={"assistant_id": assistant, **saying("urgent")},
        headers={HEADER: "replace"},
    ) as response:
        urgent = await response.json()
    await queue.settled(urgent)
    await queue.settled(waiting)

    assert await queue.texts(thread) == ["first", "urgent", "instead", "waiting", "later"]


async def test_a_replacement_that_fails_in_the_end_strands_nobody(
    queue: Rig, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it could not be stored after all, the next in line has its turn."""
    upstream.enqueue(stream_reply(Gate()), text_reply("two"))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    await begin(queue, thread, assistant)
    await upstream.request(0)
    waiting = await begin(queue, thread, assistant)
    runs = queue.proxy.services.runs

    async def broken(store: Any) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(runs, "_added", broken)
    async with queue.http.post(
        f"/v1/threads/{thread}/runs",
        json={"assistant_id": assistant},
        headers={HEADER: "replace"},
    ) as response:
        assert response.status == 500

    assert (await queue.settled(waiting))["status"] == "completed"


# ------------------------------------------------------------------------------------------ a request


@pytest.mark.parametrize(
    ("way", "statuses"),
    [
        ("reject", ["completed", None]),
        ("queue", ["completed", "completed"]),
        ("replace", ["cancelled", "completed"]),
    ],
)
async def test_a_request_says_what_it_wants(
    rig: Rig, upstream: FakeUpstream, way: str, statuses: list[str | None]
) -> None:
    """`x-ringside-when-busy` wins over the configuration, which here says reject."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(text_reply("two"))
    assistant, thread = await rig.assistant(), await rig.thread("first")
    first = await begin(rig, thread, assistant)
    await gate.reached.wait()

    async with rig.http.post(
        f"/v1/threads/{thread}/runs", json={"assistant_id": assistant}, headers={HEADER: way}
    ) as response:
        second = await response.json()
    gate.release()

    ended = [(await rig.settled(first))["status"]]
    ended.append((await rig.settled(second))["status"] if response.status == 200 else None)
    assert ended == statuses


async def test_another_word_is_refused(rig: Rig) -> None:
    """With those that are known."""
    async with rig.http.post(
        f"/v1/threads/{await rig.thread('x')}/runs",
        json={"assistant_id": await rig.assistant()},
        headers={HEADER: "wait"},
    ) as response:
        error = (await response.json())["error"]

    assert (response.status, error["code"], error["param"]) == (400, "invalid_value", HEADER)
    assert "'reject', 'queue' and 'replace'" in error["message"]


async def test_a_free_thread_is_free_for_everyone(rig: Rig, upstream: FakeUpstream) -> None:
    """Whatever was wanted for a busy one."""
    upstream.enqueue(*[text_reply("Hello")] * 3, error_reply(500))
    assistant, thread = await rig.assistant(), await rig.thread("first")

    for way in ("reject", "queue", "replace"):
        async with rig.http.post(
            f"/v1/threads/{thread}/runs",
            json={"assistant_id": assistant, "stream": True},
            headers={HEADER: way},
        ) as response:
            assert response.status == 200
            await response.read()

    assert [run["status"] for run in await every(rig, thread)] == ["completed"] * 3


@pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")
async def test_the_sdk_polls_a_run_that_waits(queue: Rig, upstream: FakeUpstream) -> None:
    """`create_and_poll` gives the run when it has had its turn; `stream` tells all of it."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "one"}), chunk({}, "stop")))
    upstream.enqueue(text_reply("two"), text_reply("three"))
    assistant, thread = await queue.assistant(), await queue.thread("first")
    await begin(queue, thread, assistant)
    await gate.reached.wait()
    url = str(queue.http._base_url).rstrip("/")
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=TOKEN, max_retries=0) as client:
        runs = client.beta.threads.runs
        polled = asyncio.create_task(
            runs.create_and_poll(thread_id=thread, assistant_id=assistant, poll_interval_ms=20)
        )
        async with runs.stream(thread_id=thread, assistant_id=assistant) as stream:
            gate.release()
            await stream.until_done()
            final = await stream.get_final_run()
        run = await polled

    assert {run.status, final.status} == {"completed"}
    assert sorted((await queue.texts(thread))[1:]) == ["one", "three", "two"]
