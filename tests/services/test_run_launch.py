"""A run that is stored and then cannot be put to work has failed: it is never queued for nothing."""

from pathlib import Path

from ringside_proxy.failpoints import armed
from ringside_proxy.settings.schema import RunSettings
from tests.fakes import FakeUpstream, Gate, stream_reply, text_reply, tool_reply
from tests.services.rig import WEATHER, Rig, rigged

BROKEN = "run.launch.before:raise"
WRONG = {"code": "server_error", "message": "Sorry, something went wrong."}


async def test_a_new_run_fails_and_frees_its_thread(rig: Rig, upstream: FakeUpstream) -> None:
    """Its caller is told, and can try again."""
    assistant, thread = await rig.assistant(), await rig.thread("Hi")
    upstream.enqueue(text_reply("Hello"))

    with armed(BROKEN):
        refused = await rig.refusal("POST", f"/threads/{thread}/runs", {"assistant_id": assistant})
    [failed] = (await rig.get(f"/threads/{thread}/runs"))["data"]
    again = await rig.run(thread, assistant)

    assert (refused.status, refused.code) == (500, "internal_error")
    assert (failed["status"], failed["last_error"]) == ("failed", WRONG)
    assert again["status"] == "completed"


async def test_a_run_that_was_given_outputs_fails_too(rig: Rig, upstream: FakeUpstream) -> None:
    """It does not wait for outputs that it has."""
    upstream.enqueue(tool_reply([("call_1", "weather", "{}")]))
    thread = await rig.thread("Hi")
    run = await rig.run(thread, await rig.assistant(tools=[WEATHER]))
    path = f"/threads/{thread}/runs/{run['id']}"
    [call] = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = {"tool_outputs": [{"tool_call_id": call["id"], "output": "sunny"}]}

    with armed(BROKEN):
        refused = await rig.refusal("POST", f"{path}/submit_tool_outputs", outputs)
    failed = await rig.get(path)

    assert refused.status == 500
    assert (failed["status"], failed["last_error"]) == ("failed", WRONG)
    await rig.require_free(thread)


async def test_the_start_goes_on_without_it(tmp_path: Path, upstream: FakeUpstream) -> None:
    """Of the runs that a process left, one that cannot go on fails; those behind it have their turn."""
    runs = RunSettings(when_busy="queue")
    upstream.enqueue(stream_reply(Gate()), text_reply("Hello"))
    async with rigged(tmp_path, upstream, runs=runs) as rig:
        assistant, thread = await rig.assistant(), await rig.thread("Hi")
        path = f"/threads/{thread}/runs"
        made = [await rig.post(path, {"assistant_id": assistant}) for _ in range(3)]
        await upstream.request(0)

    with armed(BROKEN):
        async with rigged(tmp_path, upstream, runs=runs) as rig:
            ended = [await rig.settled(run) for run in made]

    assert [run["status"] for run in ended] == ["failed", "failed", "completed"]
    assert ended[1]["last_error"] == WRONG
