"""A cancel at every moment: a legal end, one terminal event, a free thread."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import RunStateError
from ringside_proxy.services.live_runs import StopReason
from ringside_proxy.services.run_transactions import save
from ringside_proxy.services.runs import RunParams
from tests.fakes import FakeUpstream, Gate, chunk, frame, stream_reply, text_reply, tool_reply
from tests.services.rig import WEATHER, Rig, names, text_of
from tests.store.writing import held, until_queued

APP = Caller(token_id="cfg", name="app")
CALL = {"index": 0, "id": "call_aaaaaaaa", "function": {"name": "weather", "arguments": '{"ci'}}


@dataclass
class Moment:
    """Where a run stands when it is cancelled, and what it leaves."""

    steps: tuple[Any, ...]
    last_event: str
    messages: list[tuple[str, str]]
    step_statuses: list[str]


MOMENTS = {
    "before the head": Moment((), "run.in_progress", [], []),
    "before the first word": Moment((b": hello\n\n",), "run.in_progress", [], []),
    "in mid-text": Moment(
        (chunk({"content": "Hel"}),), "message.delta", [("Hel", "incomplete")], ["cancelled"]
    ),
    "in mid-call": Moment((chunk({"tool_calls": [CALL]}),), "run.step.delta", [], ["cancelled"]),
    "between text and calls": Moment(
        (chunk({"content": "Wait"}), chunk({"tool_calls": [CALL]})),
        "run.step.delta",
        [("Wait", "completed")],
        ["completed", "cancelled"],
    ),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_cancel_of_a_streamed_run_at_work(
    rig: Rig, upstream: FakeUpstream, moment: Moment
) -> None:
    """The answer says cancelling, the stream ends cancelled, what was told before is kept."""
    gate = Gate()
    upstream.enqueue(stream_reply(*moment.steps, gate, chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        await reading.until(moment.last_event)
        await gate.reached.wait()
        answer = await rig.cancel(run)
        found = await reading.rest()

    assert answer["status"] == "cancelling"
    assert found.count("run.cancelled") == 1
    assert found[-2:] == ["run.cancelled", "done"]
    stored = (await rig.messages(thread))[1:]
    assert [(text_of(each), each["status"]) for each in stored] == moment.messages
    assert [step["status"] for step in await rig.steps(run)] == moment.step_statuses
    async with asyncio.timeout(30):
        await upstream.requests[0].gone.wait()
    await rig.require_free(thread)


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_cancel_of_a_run_at_work_that_nobody_streams(
    rig: Rig, upstream: FakeUpstream, moment: Moment
) -> None:
    """The run ends cancelled, nothing of it stays open, and the provider is let go at once."""
    gate = Gate()
    upstream.enqueue(stream_reply(*moment.steps, gate, chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.post(f"/threads/{thread}/runs", {"assistant_id": assistant})
    await gate.reached.wait()

    answer = await rig.cancel(run)
    ended = await rig.settled(run)

    assert answer["status"] == "cancelling"
    assert (ended["status"], ended["expires_at"], ended["last_error"]) == ("cancelled", None, None)
    assert ended["cancelled_at"] is not None
    left = [*await rig.messages(thread), *await rig.steps(run)]
    assert "in_progress" not in [each["status"] for each in left]
    async with asyncio.timeout(30):
        await upstream.requests[0].gone.wait()
    await rig.require_free(thread)


async def test_cancel_at_requires_action(rig: Rig, upstream: FakeUpstream) -> None:
    """A run that waits for outputs is cancelled at once; its calls count as never answered."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Hello"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)

    answer = await rig.cancel(run)

    assert (answer["status"], answer["required_action"]) == ("cancelling", None)
    ended = await rig.settled(run)
    assert (ended["status"], ended["required_action"]) == ("cancelled", None)
    assert ended["usage"]["total_tokens"] == 13
    [step] = await rig.steps(run)
    assert (step["status"], step["usage"]["total_tokens"]) == ("cancelled", 13)
    await rig.run(thread, assistant)
    assert rig.seen()[-1]["tool_call_id"] == "call_aaaaaaaa"


async def test_cancel_of_a_run_that_is_cancelling_is_refused(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """Two cancels at once: one is served, the other told the state in OpenAI's words."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({}, "stop")))
    thread = await rig.thread("Hi")
    run = await rig.post(f"/threads/{thread}/runs", {"assistant_id": await rig.assistant()})
    await gate.reached.wait()

    answers = await asyncio.gather(
        *(rig.attempt(f"/threads/{thread}/runs/{run['id']}/cancel", {}) for _ in range(8))
    )

    served = [body for status, body in answers if status == 200]
    refused = [body["error"]["message"] for status, body in answers if status == 400]
    assert (len(served), len(refused)) == (1, 7)
    assert set(refused) <= {
        "Cannot cancel run with status 'cancelling'.",
        "Cannot cancel run with status 'cancelled'.",
    }
    assert (await rig.settled(run))["status"] == "cancelled"


async def begun(rig: Rig, thread: str, *, is_streamed: bool = False) -> Any:
    """A run as the service begins it, before its task has had a chance to run."""
    services = rig.proxy.services
    params = RunParams(assistant_id=await rig.assistant(tools=[WEATHER]))
    return await services.runs.create(
        APP, services.live_config.snapshot, thread, params, is_streamed=is_streamed
    )


async def test_cancel_before_the_run_has_started(rig: Rig, upstream: FakeUpstream) -> None:
    """A run that is still queued never starts: no call is made, no event but the end is told."""
    thread = await rig.thread("Hi")
    run = await begun(rig, thread, is_streamed=True)

    await rig.proxy.services.runs.cancel(APP, thread, run.run.id)
    told = [
        event.name.removeprefix("thread.")
        async for batch in run.live.channel.batches(5)
        for event in batch
    ]

    ended = await rig.get(f"/threads/{thread}/runs/{run.run.id}")
    assert ended["status"] == "cancelled"
    assert told[-2:] == ["run.cancelling", "run.cancelled"]
    await rig.require_free(thread)


@pytest.mark.parametrize("turns", range(12))
async def test_cancel_in_the_moment_of_completion(
    rig: Rig, upstream: FakeUpstream, turns: int
) -> None:
    """However close a cancel comes to the end, one of the two wins and only one is told."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        await gate.reached.wait()
        gate.release()
        for _ in range(turns * 2):
            await asyncio.sleep(0)  # one turn of the loop
        try:
            await rig.proxy.services.runs.cancel(APP, thread, run["id"])
            is_cancelled = True
        except RunStateError:
            is_cancelled = False
        found = await reading.rest()

    ended = await rig.settled(run)
    expected = "cancelled" if is_cancelled else "completed"
    assert ended["status"] == expected
    assert found[-2:] == [f"run.{expected}", "done"]
    message = (await rig.messages(thread))[-1]
    assert (text_of(message), message["status"]) == (
        "Hello",
        "incomplete" if is_cancelled else "completed",
    )
    await rig.require_free(thread)


@pytest.mark.parametrize("is_cancel_first", [False, True])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_cancel_in_the_moment_of_submitting_outputs(
    rig: Rig, upstream: FakeUpstream, is_streamed: bool, is_cancel_first: bool
) -> None:
    """Outputs and a cancel that meet in the store leave a run that is cancelled, not one stuck."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Sunny"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)
    services = rig.proxy.services
    outputs = [("call_aaaaaaaa", "sun")]

    def submit() -> Any:
        return services.runs.submit_tool_outputs(
            APP, services.live_config.snapshot, thread, run["id"], outputs, is_streamed=is_streamed
        )

    def cancel() -> Any:
        return services.runs.cancel(APP, thread, run["id"])

    racers = [cancel(), submit()] if is_cancel_first else [submit(), cancel()]
    results = await asyncio.gather(*racers, return_exceptions=True)
    began = [each for each in results if hasattr(each, "live")]
    for each in began:
        if each.live.channel is not None:
            async for _ in each.live.channel.batches(5):
                pass

    failures = [each for each in results if isinstance(each, BaseException)]
    assert all(isinstance(each, RunStateError) for each in failures)
    assert len(failures) == int(is_cancel_first)
    assert (await rig.settled(run))["status"] == "cancelled"
    await rig.require_free(thread)


TAKEN_ON = {"submit": "completed", "cancel": "cancelled", "expire": "expired"}


@pytest.mark.parametrize(("how", "status"), TAKEN_ON.items(), ids=TAKEN_ON)
async def test_run_that_waits_for_outputs_does_not_wait_for_its_reader(
    rig: Rig, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch, how: str, status: str
) -> None:
    """A run that stands at requires_action can be taken on while its stream is still unread."""
    monkeypatch.setattr("ringside_proxy.services.event_channel.WAITING_BATCHES_MAX", 1)
    call = {**CALL, "function": {"name": "weather", "arguments": "{}"}}
    at_once = frame(chunk({"tool_calls": [call]})) + frame(chunk({}, "tool_calls"))
    upstream.enqueue(stream_reply(at_once), text_reply("Sunny"))
    thread = await rig.thread("Hi")
    first = await begun(rig, thread, is_streamed=True)
    run = {"id": first.run.id, "thread_id": thread}
    batches = first.live.channel.batches(5)
    await anext(batches)
    async with asyncio.timeout(30):
        while (found := await rig.get(f"/threads/{thread}/runs/{run['id']}"))["status"] != (
            "requires_action"
        ):
            assert found["status"] in ("queued", "in_progress")
    assert not first.live.task.done()  # its last event waits for the reader

    if how == "submit":
        ended = await rig.submit(run, call_aaaaaaaa="sun")
    elif how == "cancel":
        await rig.cancel(run)
        ended = await rig.settled(run)
    else:
        rig.clock.advance(601)
        await rig.sweep()
        ended = await rig.get(f"/threads/{thread}/runs/{run['id']}")

    assert ended["status"] == status
    told = [event.name async for batch in batches for event in batch]
    assert told[-1] == "thread.run.requires_action"
    await first.live.task
    await rig.require_free(thread)


async def test_cancelled_run_makes_room_for_the_next(rig: Rig, upstream: FakeUpstream) -> None:
    """As soon as the cancel is done a new run may begin, and its answer follows the partial one."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(chunk({"content": "Hel"}), gate, chunk({}, "stop")), text_reply("Hello")
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    async with rig.reading(thread, assistant) as reading:
        await reading.until("message.delta")
        await rig.cancel(reading.events[0][1])
        await reading.rest()

    events = await rig.stream_run(thread, assistant)

    assert names(events)[-2] == "run.completed"
    assert await rig.texts(thread) == ["Hi", "Hel", "Hello"]
    assert rig.seen()[-1] == {"role": "assistant", "content": "Hel"}


async def test_run_that_is_stopped_while_it_stores_tells_what_it_stored(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """What has come is in the message that is kept, and so it is told, too."""
    gate, end = Gate(), Gate()
    upstream.enqueue(stream_reply(gate, chunk({"content": "Hel"}), end, chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    db = rig.proxy.services.db

    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.in_progress")
        await gate.reached.wait()
        async with held(db):
            gate.release()
            await until_queued(db, save)
            live = rig.live(run["id"])
            assert live is not None
            live.stop(StopReason.SHUTDOWN)
            await asyncio.sleep(0)
        found = await reading.rest()

    assert found[-4:] == ["message.incomplete", "run.step.failed", "run.failed", "done"]
    assert [text_of(message) for message in (await rig.messages(thread))[1:]] == ["Hel"]
