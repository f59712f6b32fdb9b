"""Runs whose time is up: the sweeper ends them, wherever they stand."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from ringside_proxy.domain.callers import Caller
from ringside_proxy.services.live_runs import StopReason
from ringside_proxy.services.runs import RunParams
from ringside_proxy.services.sweeper import TICK_S, Sweeper
from ringside_proxy.settings.schema import RunSettings
from ringside_proxy.store.tx import Tx
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply, text_reply, tool_reply
from tests.services.rig import WEATHER, Json, Rig, rigged, text_of

APP = Caller(token_id="cfg", name="app")


async def held(rig: Rig, upstream: FakeUpstream, thread: str, **fields: object) -> Json:
    """A run whose provider has said `Hel` and is silent now; nobody streams it."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), gate, chunk({}, "stop")))
    body = {"assistant_id": await rig.assistant(tools=[WEATHER]), **fields}
    run: Json = await rig.post(f"/threads/{thread}/runs", body)
    await gate.reached.wait()
    return run


async def test_run_at_work_expires(rig: Rig, upstream: FakeUpstream) -> None:
    """Its provider is let go, its error stays null, its thread is free."""
    thread = await rig.thread("Hi")
    run = await held(rig, upstream, thread)

    rig.clock.advance(600)
    await rig.sweep()
    ended = await rig.settled(run)

    assert (ended["status"], ended["expires_at"]) == ("expired", None)
    assert (ended["last_error"], ended["failed_at"]) == (None, None)
    async with asyncio.timeout(30):
        await upstream.requests[0].gone.wait()
    await rig.require_free(thread)


async def test_run_does_not_expire_before_its_time(rig: Rig, upstream: FakeUpstream) -> None:
    """One millisecond early is early."""
    thread = await rig.thread("Hi")
    run = await held(rig, upstream, thread)

    rig.clock.advance(599.999)
    await rig.sweep()

    assert (await rig.get(f"/threads/{thread}/runs/{run['id']}"))["status"] == "in_progress"
    assert rig.live(run["id"]) is not None


async def test_expired_run_keeps_what_was_said(rig: Rig, upstream: FakeUpstream) -> None:
    """The partial answer stays as an incomplete message, its step expires with the run."""
    upstream.enqueue(stream_reply(chunk({"content": "Hel"}), Gate(), chunk({}, "stop")))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    async with rig.reading(thread, assistant) as reading:
        run = await reading.until("run.created")
        await reading.until("message.delta")
        rig.clock.advance(600)
        await rig.sweep()
        await reading.rest()

    message = (await rig.messages(thread))[-1]
    assert (text_of(message), message["status"]) == ("Hel", "incomplete")
    assert message["incomplete_details"] == {"reason": "run_expired"}
    [step] = await rig.steps(run)
    assert (step["status"], step["expires_at"]) == ("expired", None)
    assert step["expired_at"] is not None


async def test_run_that_waits_for_outputs_expires(rig: Rig, upstream: FakeUpstream) -> None:
    """The time that tools take counts; outputs that come too late are refused."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)
    outputs = {"tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": "sun"}]}
    path = f"/threads/{thread}/runs/{run['id']}"

    rig.clock.advance(600)
    late = await rig.refusal("POST", f"{path}/submit_tool_outputs", outputs)
    await rig.sweep()
    later = await rig.refusal("POST", f"{path}/submit_tool_outputs", outputs)

    refusal = 'Runs in status "expired" do not accept tool outputs.'
    assert (late.message, later.message) == (refusal, refusal)
    ended = await rig.get(path)
    assert (ended["status"], ended["required_action"]) == ("expired", None)
    assert ended["usage"]["total_tokens"] == 13
    assert [step["status"] for step in await rig.steps(run)] == ["expired"]
    await rig.require_free(thread)


async def test_queued_run_expires(rig: Rig, upstream: FakeUpstream) -> None:
    """A run whose time is up before it has started ends as expired, and is told so."""
    upstream.enqueue(text_reply("Hello"))
    thread = await rig.thread("Hi")
    services = rig.proxy.services
    params = RunParams(assistant_id=await rig.assistant(), expires_after_s=1)
    begun = await services.runs.create(
        APP, services.live_config.snapshot, thread, params, is_streamed=True
    )

    begun.live.stop(StopReason.EXPIRED)
    told = [event.name async for batch in begun.live.channel.batches(5) for event in batch]

    assert told[-1] == "thread.run.expired"
    ended = await rig.get(f"/threads/{thread}/runs/{begun.run.id}")
    assert ended["status"] == "expired"
    await rig.require_free(thread)


async def test_resumed_run_keeps_its_deadline(rig: Rig, upstream: FakeUpstream) -> None:
    """Submitting outputs buys no time: the deadline counts from creation."""
    gate = Gate()
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]), stream_reply(gate))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    run = await rig.run(thread, assistant)
    rig.clock.advance(500)
    path = f"/threads/{thread}/runs/{run['id']}/submit_tool_outputs"
    resumed = await rig.post(
        path, {"tool_outputs": [{"tool_call_id": "call_aaaaaaaa", "output": ""}]}
    )
    await gate.reached.wait()

    rig.clock.advance(100)
    await rig.sweep()

    assert resumed["expires_at"] == run["expires_at"]
    assert (await rig.settled(run))["status"] == "expired"


LIFETIMES = {
    "the server's": ({}, 7),
    "seconds": ({"expires_after": 3}, 3),
    "a duration": ({"expires_after": "2m"}, 120),
}


@pytest.mark.parametrize(("fields", "seconds"), LIFETIMES.values(), ids=LIFETIMES)
async def test_expires_at_tells_the_truth(
    tmp_path: Path, upstream: FakeUpstream, fields: Json, seconds: int
) -> None:
    """The run says when it expires, from the configuration or its own field."""
    async with rigged(tmp_path, upstream, runs=RunSettings(expires_after_s=7)) as rig:
        thread = await rig.thread("Hi")
        run = await held(rig, upstream, thread, **fields)

        assert run["expires_at"] - run["created_at"] == seconds
        rig.clock.advance(seconds - 0.001)
        await rig.sweep()
        assert rig.live(run["id"]) is not None
        rig.clock.advance(0.001)
        await rig.sweep()
        assert (await rig.settled(run))["status"] == "expired"


async def test_sweep_says_when_the_next_run_is_due(rig: Rig, upstream: FakeUpstream) -> None:
    """The sweeper comes back when the next run expires, and otherwise with its tick."""
    services = rig.proxy.services
    sweeper = Sweeper(
        services.db,
        services.runs,
        services.idempotency,
        rig.clock,
        asyncio.Event(),
        partial(services.books.sweep, services.live_config.snapshot),
    )
    idle_s = await sweeper.sweep()
    await held(rig, upstream, await rig.thread("Hi"), expires_after=3)
    await held(rig, upstream, await rig.thread("Hi"), expires_after=60)

    rig.clock.advance(1)
    soon_s = await sweeper.sweep()

    assert (idle_s, soon_s) == (TICK_S, 2.0)


async def test_sweep_expires_all_that_is_due_and_nothing_else(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """One sweep ends every run whose time is up, in whatever state, and leaves the others."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", "{}")]))
    waiting = await rig.run(
        await rig.thread("Hi"), await rig.assistant(tools=[WEATHER]), expires_after=30
    )
    due = [await held(rig, upstream, await rig.thread("Hi"), expires_after=n) for n in (10, 20)]
    later = await held(rig, upstream, await rig.thread("Hi"), expires_after=31)

    rig.clock.advance(30)
    await rig.sweep()

    ended = [(await rig.settled(run))["status"] for run in (waiting, *due)]
    assert ended == ["expired"] * 3
    assert rig.live(later["id"]) is not None


async def test_sweep_removes_the_rows_of_deleted_threads(rig: Rig, upstream: FakeUpstream) -> None:
    """What was deleted is gone from the store after a sweep, not only from view."""
    upstream.enqueue(text_reply("A secret"))
    thread = await rig.thread("Tell me")
    await rig.run(thread, await rig.assistant())
    await rig.call("DELETE", f"/threads/{thread}")

    await rig.sweep()

    def rows(tx: Tx) -> list[int]:
        tables = ("conversations", "items", "runs", "run_steps", "generations")
        return [tx.one(f"SELECT count(*) FROM {table}")[0] for table in tables]  # noqa: S608

    assert await rig.proxy.services.db.read(rows) == [0] * 5
