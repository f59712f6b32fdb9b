"""Whoever streams a run may leave, or read slowly: the run ends or goes on, nothing piles up."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from socket import SO_RCVBUF, SOCK_STREAM, SOL_SOCKET, socket
from typing import Any

import aiohttp
import pytest

from ringside_proxy.domain.callers import Caller
from ringside_proxy.services.runs import RunParams
from ringside_proxy.settings.schema import RunSettings
from tests.fakes import (
    FakeUpstream,
    Gate,
    Scripted,
    chunk,
    frame,
    stream_reply,
    text_reply,
    tool_reply,
)
from tests.services.rig import TOKEN, WEATHER, Reading, Rig, names, rigged, text_of

APP = Caller(token_id="cfg", name="app")
CALL = {"index": 0, "id": "call_aaaaaaaa", "function": {"name": "weather", "arguments": '{"ci'}}
WAIT_S = 30.0


@dataclass
class Phase:
    """What the provider had said when the reader left, and what is kept of it."""

    steps: tuple[Any, ...]
    last_event: str
    messages: list[tuple[str, str]]
    step_statuses: list[str]


PHASES = {
    "before the head": Phase((), "run.in_progress", [], []),
    "before the first word": Phase((b": hello\n\n",), "run.in_progress", [], []),
    "in mid-text": Phase(
        (chunk({"content": "Hel"}), chunk({"content": "lo"})),
        "message.delta",
        [("Hello", "incomplete")],
        ["cancelled"],
    ),
    "in mid-call": Phase((chunk({"tool_calls": [CALL]}),), "run.step.delta", [], ["cancelled"]),
    "between text and calls": Phase(
        (chunk({"content": "Wait"}), chunk({"tool_calls": [CALL]})),
        "run.step.delta",
        [("Wait", "completed")],
        ["completed", "cancelled"],
    ),
}


@pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)
async def test_reader_that_leaves_cancels_its_run(
    rig: Rig, upstream: FakeUpstream, phase: Phase
) -> None:
    """The provider is let go, the run is cancelled, the partial answer kept, the thread free."""
    gate = Gate()
    at_once = b"".join(step if isinstance(step, bytes) else frame(step) for step in phase.steps)
    upstream.enqueue(stream_reply(*([at_once] if at_once else []), gate, chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        await reading.until(phase.last_event)
        await gate.reached.wait()

    async with asyncio.timeout(WAIT_S):
        await upstream.requests[0].gone.wait()
    ended = await rig.settled(run)
    assert (ended["status"], ended["last_error"]) == ("cancelled", None)
    stored = (await rig.messages(thread))[1:]
    assert [(text_of(each), each["status"]) for each in stored] == phase.messages
    assert [step["status"] for step in await rig.steps(run)] == phase.step_statuses
    if phase.messages and phase.messages[-1][1] == "incomplete":
        assert stored[-1]["incomplete_details"] == {"reason": "run_cancelled"}
    await rig.require_free(thread)


async def test_reader_of_outputs_that_leaves_cancels_its_run(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """The second stream of a run is no different from its first."""
    gate = Gate()
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), stream_reply(gate))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)
    outputs = {"tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": "sun"}]}
    path = f"/threads/{thread}/runs/{run['id']}/submit_tool_outputs"

    async with rig.reading_of(path, outputs) as reading:
        await reading.until("run.in_progress")
        await gate.reached.wait()

    async with asyncio.timeout(WAIT_S):
        await upstream.requests[1].gone.wait()
    assert (await rig.settled(run))["status"] == "cancelled"
    assert [step["status"] for step in await rig.steps(run)] == ["completed"]
    await rig.require_free(thread)


async def test_reader_that_leaves_after_requires_action_changes_nothing(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """The stream is over there: the run goes on waiting for its outputs."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), text_reply("Sunny"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.requires_action")

    ended = await rig.submit(run, call_aaaaaaaa="sun")

    assert ended["status"] == "completed"


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_caller_that_leaves_while_the_run_is_stored(
    rig: Rig, upstream: FakeUpstream, is_streamed: bool
) -> None:
    """A run whose caller left before it began never stays queued: it is done, or cancelled."""
    upstream.enqueue(text_reply("Hello"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    services = rig.proxy.services

    creating = asyncio.create_task(
        services.runs.create(
            APP,
            services.live_config.snapshot,
            thread,
            RunParams(assistant_id=assistant),
            is_streamed=is_streamed,
        )
    )
    await asyncio.sleep(0)  # one turn of the loop: the transaction is on its way
    creating.cancel()
    await asyncio.wait({creating})
    await services.runs.refuse_new()
    async with asyncio.timeout(WAIT_S):
        await services.live_runs.idle.wait()

    [run] = (await rig.get(f"/threads/{thread}/runs"))["data"]
    assert run["status"] == ("cancelled" if is_streamed else "completed")
    await rig.require_free(thread)


async def test_run_goes_on_without_its_reader_if_so_configured(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """`on_disconnect: continue` lets the run come to its own end, unheard."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(chunk({"content": "Hel"}), gate, chunk({"content": "lo"}), chunk({}, "stop"))
    )
    async with rigged(tmp_path, upstream, runs=RunSettings(on_disconnect="continue")) as rig:
        thread, assistant = await rig.thread("Hi"), await rig.assistant()
        async with rig.reading(thread, assistant) as reading:
            run = await reading.until("run.created")
            await reading.until("message.delta")
        gate.release()

        assert (await rig.settled(run))["status"] == "completed"
        assert await rig.texts(thread) == ["Hi", "Hello"]


async def test_long_run_goes_on_without_its_reader_if_so_configured(
    tmp_path: Path, upstream: FakeUpstream
) -> None:
    """More than what fits between run and reader is no reason to stop either."""
    gate = Gate()
    arguments = [{**CALL, "function": {"name": "weather", "arguments": '{"a":"'}}]
    arguments += [{"index": 0, "function": {"arguments": "x" * 65_536}} for _ in range(32)]
    pieces = [chunk({"tool_calls": [each]}) for each in arguments]
    upstream.enqueue(stream_reply(pieces[0], gate, *pieces[1:], chunk({}, "tool_calls")))
    async with rigged(tmp_path, upstream, runs=RunSettings(on_disconnect="continue")) as rig:
        thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
        async with rig.reading(thread, assistant) as reading:
            run = await reading.until("run.created")
            await reading.until("run.step.delta")
        gate.release()

        ended = await rig.settled(run)

    assert ended["status"] == "requires_action"


MIB = 1024 * 1024
STREAM_BYTES = 40 * MIB
PIECE_BYTES = 64 * 1024


async def test_slow_reader_stops_the_provider(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Who does not read stops the provider by back-pressure: nothing is piled up in between."""
    sent = 0

    def pieces() -> Any:
        nonlocal sent
        yield frame(chunk({"tool_calls": [{**CALL, "function": {"name": "weather"}}]}))
        fragment = {"index": 0, "function": {"arguments": "x" * PIECE_BYTES}}
        while sent < STREAM_BYTES:
            sent += PIECE_BYTES
            yield frame(chunk({"tool_calls": [fragment]}))
        all_sent.set()
        yield frame(chunk({}, "tool_calls"))

    all_sent = asyncio.Event()
    upstream.enqueue(Scripted(pieces(), 200, {"content-type": "text/event-stream"}))

    def narrow(address: Any) -> socket:
        made = socket(address[0], SOCK_STREAM)
        made.setsockopt(SOL_SOCKET, SO_RCVBUF, 16 * 1024)
        made.setblocking(False)
        return made

    async with rigged(tmp_path, upstream) as rig:
        thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
        connector = aiohttp.TCPConnector(socket_factory=narrow)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(rig.proxy.url, connector=connector, headers=headers) as http,
            http.post(
                f"/v1/threads/{thread}/runs", json={"assistant_id": assistant, "stream": True}
            ) as response,
        ):
            reading = Reading(response)
            run = await reading.until("run.created")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(all_sent.wait(), 1.0)
            sent_unread = sent
            response.close()
        ended = await rig.settled(run)

    assert 0 < sent_unread < STREAM_BYTES
    assert ended["status"] == "cancelled"


async def test_slow_reader_gets_everything_in_the_end(rig: Rig, upstream: FakeUpstream) -> None:
    """A pause in reading loses nothing: what was held back comes when it is read."""
    arguments = "x" * 65_536
    pieces = [{**CALL, "function": {"name": "weather", "arguments": '{"a":"'}}]
    pieces += [{"index": 0, "function": {"arguments": arguments}} for _ in range(40)]
    pieces += [{"index": 0, "function": {"arguments": '"}'}}]
    upstream.enqueue(
        stream_reply(*[chunk({"tool_calls": [each]}) for each in pieces], chunk({}, "tool_calls"))
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    async with rig.reading(thread, assistant) as reading:
        await reading.until("run.step.delta")
        waiting = await reading.until("run.requires_action")

    [call] = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert call["function"]["arguments"] == '{"a":"' + arguments * 40 + '"}'


async def test_deleting_a_thread_ends_its_streamed_run(rig: Rig, upstream: FakeUpstream) -> None:
    """The run is cancelled, its reader is told so to the proper end, and the thread is gone."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), gate, chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()

    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        await reading.until("message.delta")
        await gate.reached.wait()
        deleted = await rig.call("DELETE", f"/threads/{thread}")
        found = await reading.rest()

    assert deleted == {"id": thread, "object": "thread.deleted", "deleted": True}
    assert found[-5:] == [
        *("run.cancelling", "message.incomplete", "run.step.cancelled", "run.cancelled", "done"),
    ]
    async with asyncio.timeout(WAIT_S):
        await upstream.requests[0].gone.wait()
    for path in (f"/threads/{thread}", f"/threads/{thread}/runs/{run['id']}"):
        assert (await rig.refusal("GET", path)).status == 404


@pytest.mark.parametrize("moment", ["plain run at work", "requires_action", "idle"])
async def test_deleting_a_thread_never_waits_for_its_run(
    rig: Rig, upstream: FakeUpstream, moment: str
) -> None:
    """Whatever is under way on a thread, deleting it works at once and leaves nothing at work."""
    gate = Gate()
    waiting = tool_reply([("call_aaaaaaaa", "weather", "{}")])
    upstream.enqueue(stream_reply(gate) if moment == "plain run at work" else waiting)
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    if moment == "plain run at work":
        await rig.post(f"/threads/{thread}/runs", {"assistant_id": assistant})
        await gate.reached.wait()
    elif moment == "requires_action":
        await rig.run(thread, assistant)

    await rig.call("DELETE", f"/threads/{thread}")

    assert (await rig.refusal("GET", f"/threads/{thread}")).status == 404
    assert len(rig.proxy.services.live_runs) == 0
    if moment == "plain run at work":
        async with asyncio.timeout(WAIT_S):
            await upstream.requests[0].gone.wait()


async def test_stream_after_a_departed_reader_is_whole(rig: Rig, upstream: FakeUpstream) -> None:
    """The next run of the thread is not touched by the last one's end."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), gate), text_reply("Hello"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        await reading.until("message.delta")
    await rig.settled(run)

    events = await rig.stream_run(thread, assistant)

    assert names(events)[-2:] == ["run.completed", "done"]
    assert await rig.texts(thread) == ["Hi", "Hel", "Hello"]


async def test_shutdown_does_not_wait_for_a_slow_reader(
    rig: Rig, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is over as soon as its end is stored, whether or not its reader has heard of it."""
    monkeypatch.setattr("ringside_proxy.services.event_channel.WAITING_BATCHES_MAX", 1)
    gate = Gate()
    upstream.enqueue(stream_reply(gate))
    thread = await rig.thread("Hi")
    services = rig.proxy.services
    params = RunParams(assistant_id=await rig.assistant())
    begun = await services.runs.create(
        APP, services.live_config.snapshot, thread, params, is_streamed=True
    )
    await gate.reached.wait()

    async with asyncio.timeout(WAIT_S):
        await rig.proxy.drain(0, asyncio.Event())

    ended = await rig.get(f"/threads/{thread}/runs/{begun.run.id}")
    assert (ended["status"], ended["last_error"]["code"]) == ("failed", "server_error")
    told = [event.name async for batch in begun.live.channel.batches(WAIT_S) for event in batch]
    assert told[-1] == "thread.run.failed"
