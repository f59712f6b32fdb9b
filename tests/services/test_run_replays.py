"""A stream with an Idempotency-Key, told once more from its rows: the same events, in one piece each."""

import asyncio
from typing import Any, Final

import orjson
import pytest

from tests.conformance.stream import check_run_stream
from tests.fakes import FakeUpstream, Gate, chunk, stream_reply, text_reply, tool_reply
from tests.services.rig import WAIT_S_MAX, WEATHER, Event, Json, Rig, names
from tests.services.test_run_streams import ARGUMENTS, SCENARIOS, folded

KEY: Final = "key-1"
NEVER_WHOLE: Final = {"incomplete, in mid-call", "failed, in mid-call"}
"""What was said of calls that broke off is not stored."""
STEP_OF_CALLS: Final = [
    "run.step.created",
    "run.step.in_progress",
    "run.step.delta",
    "run.step.failed",
]


async def post(rig: Rig, path: str, body: Json, key: str = KEY) -> tuple[dict[str, str], bytes]:
    """A call with a key: headers and body of its answer, which has to be a success."""
    headers = {"Idempotency-Key": key}
    async with rig.http.post(f"/v1{path}", json=body, headers=headers) as response:
        raw = await response.read()
        assert response.status == 200, raw
        return {name.lower(): value for name, value in response.headers.items()}, raw


async def told_twice(rig: Rig, path: str, body: Json) -> tuple[list[Event], list[Event]]:
    """The events of a streamed call, and those of its repetition."""
    first_headers, first = await post(rig, path, {**body, "stream": True})
    headers, again = await post(rig, path, {**body, "stream": True})
    assert "idempotent-replayed" not in first_headers
    assert headers["idempotent-replayed"] == "true"
    for name in ("content-type", "cache-control", "x-ringside-model"):
        assert headers[name] == first_headers[name]
    return events_of(first), events_of(again)


def events_of(raw: bytes) -> list[Event]:
    return [(name.removeprefix("thread."), data) for name, data in check_run_stream(raw)]


def whole(events: list[Event]) -> list[Event]:
    """Everything but the deltas."""
    return [event for event in events if not event[0].endswith("delta")]


def said(events: list[Event]) -> Any:
    """What the deltas say, put together."""
    texts, calls = dict[tuple[str, int, str], str](), dict[int, list[str]]()
    for name, data in events:
        if name == "message.delta":
            for part in data["delta"]["content"]:
                text = part["text"]["value"] if part["type"] == "text" else part["refusal"]
                place = (data["id"], part["index"], part["type"])
                texts[place] = texts.get(place, "") + text
        elif name == "run.step.delta":
            for call in data["delta"]["step_details"]["tool_calls"]:
                known = calls.setdefault(call["index"], ["", "", ""])
                known[0] += call.get("id", "")
                known[1] += call["function"].get("name", "")
                known[2] += call["function"]["arguments"]
    return texts, calls


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_stream_is_told_again_as_it_was(
    rig: Rig, upstream: FakeUpstream, scenario: str
) -> None:
    """Every event but the deltas is told in the same words, and the deltas say the same."""
    reply, expected, _ = SCENARIOS[scenario]
    upstream.enqueue(reply)
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])

    first, again = await told_twice(rig, f"/threads/{thread}/runs", {"assistant_id": assistant})

    assert folded(names(first)) == expected
    if scenario in NEVER_WHOLE:
        assert names(again) == [name for name in expected if name not in STEP_OF_CALLS]
        assert again[-2:] == first[-2:]
    else:
        assert whole(again) == whole(first)
        assert said(again) == said(first)
    assert len(upstream.requests) == 1


async def test_a_stream_that_made_its_thread_tells_of_it_again(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """`thread.created` comes first, as it did, and there is one thread."""
    upstream.enqueue(text_reply("Hello"))
    body = {"assistant_id": await rig.assistant(), "thread": {"metadata": {"a": "b"}}}

    first, again = await told_twice(rig, "/threads/runs", body)

    assert names(again)[0] == "created"
    assert whole(again) == whole(first)
    assert len((await rig.get("/threads"))["data"]) == 1


async def test_each_stretch_of_a_run_is_told_again_alone(rig: Rig, upstream: FakeUpstream) -> None:
    """The stream that made a run, and that of its outputs, stay what they were after its end."""
    upstream.enqueue(
        tool_reply([("call_aaaaaaaa", "weather", ARGUMENTS)], "One moment"),
        tool_reply([("call_bbbbbbbb", "weather", "{}")]),
        text_reply("12 degrees"),
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    runs = f"/threads/{thread}/runs"
    told = [await told_twice(rig, runs, {"assistant_id": assistant})]
    run = told[0][0][-2][1]
    submitted = f"{runs}/{run['id']}/submit_tool_outputs"
    outputs = [
        {"tool_outputs": [{"tool_call_id": c, "output": "12"}]}
        for c in ("call_aaaaaaaa", "call_bbbbbbbb")
    ]
    for number, body in enumerate(outputs):
        first = events_of((await post(rig, submitted, {**body, "stream": True}, f"s{number}"))[1])
        told.append((first, []))

    again = [
        events_of((await post(rig, runs, {"assistant_id": assistant, "stream": True}))[1]),
        *[
            events_of((await post(rig, submitted, {**body, "stream": True}, f"s{number}"))[1])
            for number, body in enumerate(outputs)
        ],
    ]

    assert [whole(events) for events in again] == [whole(first) for first, _ in told]
    assert [said(events) for events in again] == [said(first) for first, _ in told]
    assert len(upstream.requests) == 3


async def test_a_run_that_was_cancelled_later_still_waits_in_its_stream(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """The stream ended with the calls; that the run ended otherwise afterwards is not part of it."""
    upstream.enqueue(tool_reply([("call_aaaaaaaa", "weather", ARGUMENTS)]))
    thread, assistant = await rig.thread("Hi"), await rig.assistant(tools=[WEATHER])
    path, body = f"/threads/{thread}/runs", {"assistant_id": assistant, "stream": True}
    first = events_of((await post(rig, path, body))[1])
    rig.clock.advance(1)
    await rig.cancel(first[-2][1])

    again = events_of((await post(rig, path, body))[1])

    assert whole(again) == whole(first)


async def test_a_message_that_was_deleted_is_told_again_as_empty(
    rig: Rig, upstream: FakeUpstream
) -> None:
    """The order stays whole; what the caller took away is not brought back."""
    upstream.enqueue(text_reply("Hello"))
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    path, body = f"/threads/{thread}/runs", {"assistant_id": assistant, "stream": True}
    first = events_of((await post(rig, path, body))[1])
    [message] = [data for name, data in first if name == "message.completed"]
    await rig.call("DELETE", f"/threads/{thread}/messages/{message['id']}")

    again = events_of((await post(rig, path, body))[1])

    assert folded(names(again)) == [name for name in folded(names(first)) if "delta" not in name]
    [empty] = [data for name, data in again if name == "message.completed"]
    assert empty == message | {"content": []}


@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_run_that_nobody_hears_goes_on_to_its_end(
    rig: Rig, upstream: FakeUpstream, is_cancelled: bool
) -> None:
    """A client that leaves a stream with a key does not cancel the run; coming again it is told all."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(chunk({"content": "Hel"}), gate, chunk({"content": "lo"}, "stop"))
    )
    thread, assistant = await rig.thread("Hi"), await rig.assistant()
    path, body = f"/threads/{thread}/runs", {"assistant_id": assistant, "stream": True}
    async with rig.http.post(f"/v1{path}", json=body, headers={"Idempotency-Key": KEY}) as response:
        await gate.reached.wait()
        await response.content.readany()
        response.close()
    [run] = (await rig.get(path))["data"]
    refused = await refusal(rig, path, body)

    if is_cancelled:
        await rig.cancel(run)
    gate.release()
    await until_idle(rig)
    again = events_of((await post(rig, path, body))[1])

    assert (refused["code"], run["status"]) == ("idempotency_in_progress", "in_progress")
    assert names(again)[-2] == ("run.cancelled" if is_cancelled else "run.completed")
    assert [*said(again)[0].values()] == ["Hel" if is_cancelled else "Hello"]
    assert len(upstream.requests) == 1


async def refusal(rig: Rig, path: str, body: Json) -> Json:
    headers = {"Idempotency-Key": KEY}
    async with rig.http.post(f"/v1{path}", json=body, headers=headers) as response:
        assert response.status >= 400
        error: Json = orjson.loads(await response.read())["error"]
        return error


async def until_idle(rig: Rig) -> None:
    """Until no request with a key is worked on."""
    async with asyncio.timeout(WAIT_S_MAX):
        await rig.proxy.services.idempotency.idle.wait()
