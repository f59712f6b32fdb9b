"""What is done to runs that exist: polling, tool outputs, cancelling, modifying, reading steps."""

import asyncio
from typing import Any, Final

import pytest

from tests.api.rig import FUNCTION, UPSTREAM_MODEL, Caller
from tests.conformance.stream import check_run_stream
from tests.fakes import FakeUpstream, tool_reply

HANG: Final = "fc:sandbox/hang"
TOOLS: Final = "fc:sandbox/tools"
OTHER_FUNCTION: Final = {"type": "function", "function": {"name": "other"}}


async def settled(api: Caller, run: Any, *statuses: str) -> Any:
    """The run, once it has one of these statuses."""
    path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}"
    async with asyncio.timeout(20):
        while True:
            found = (await api.get(path)).json
            if found["status"] in statuses:
                return found


@pytest.fixture
async def waiting(api: Caller) -> Any:
    """A run that waits for the outputs of two calls."""
    assistant = await api.assistant(model=TOOLS, tools=[FUNCTION, OTHER_FUNCTION])
    run = await api.run(await api.thread("hi"), assistant)
    assert run["status"] == "requires_action"
    return run


def path_to(run: Any) -> str:
    """Where the run is."""
    return f"/v1/threads/{run['thread_id']}/runs/{run['id']}"


def calls_of(run: Any) -> list[str]:
    """The ids of the calls that it waits for."""
    return [call["id"] for call in run["required_action"]["submit_tool_outputs"]["tool_calls"]]


def outputs(*ids: str) -> dict[str, Any]:
    """A body with an output for each call."""
    return {"tool_outputs": [{"tool_call_id": id_, "output": f"out of {id_}"} for id_ in ids]}


async def test_polling_is_told_how_long_to_wait_while_a_run_is_active(api: Caller) -> None:
    """`openai-poll-after-ms` comes with each GET of an active run, and with no other answer."""
    run = await api.begin(await api.thread("hi"), await api.assistant(model=HANG))

    active = await api.get(path_to(run))
    await api.post(f"{path_to(run)}/cancel")
    ended = await settled(api, run, "cancelled")
    over = await api.get(path_to(run))

    assert active.headers["openai-poll-after-ms"] == "300"
    assert ended["status"] == "cancelled"
    assert "openai-poll-after-ms" not in over.headers


async def test_a_waiting_run_is_polled_too(api: Caller, waiting: Any) -> None:
    """requires_action is active."""
    answer = await api.get(path_to(waiting))

    assert answer.headers["openai-poll-after-ms"] == "300"
    assert answer.json["usage"] is None


@pytest.mark.parametrize(
    ("choose", "shown"),
    [
        (lambda a, b: [a], lambda a, b: [a]),
        (lambda a, b: [], lambda a, b: []),
        (lambda a, b: [a, "call_x"], lambda a, b: [a, "call_x"]),
        (lambda a, b: [a, b, "call_x"], lambda a, b: [a, b, "call_x"]),
        (lambda a, b: [a, a], lambda a, b: [a, a]),
        (lambda a, b: [a, b, b], lambda a, b: [a, b, b]),
    ],
    ids=["partial", "none", "unknown", "surplus", "twice", "one twice"],
)
async def test_outputs_that_do_not_match_the_calls_are_refused_as_a_whole(
    api: Caller, waiting: Any, choose: Any, shown: Any
) -> None:
    """OpenAI's words name both lists; the run goes on waiting and takes the right outputs later."""
    a, b = calls_of(waiting)

    answer = await api.post(f"{path_to(waiting)}/submit_tool_outputs", outputs(*choose(a, b)))

    assert answer.status == 400
    assert answer.error == {
        "message": f"Expected tool outputs for call_ids ['{a}', '{b}'], got {shown(a, b)}",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert (await api.get(path_to(waiting))).json == waiting
    accepted = await api.post(f"{path_to(waiting)}/submit_tool_outputs", outputs(b, a))
    assert accepted.json["status"] == "queued"


@pytest.mark.parametrize(
    ("output", "stored"),
    [("out", "out"), ("", ""), (None, ""), (..., ""), ("\u2028🥊", "\u2028🥊")],
)
async def test_an_output_may_be_empty(api: Caller, output: Any, stored: str) -> None:
    """Null and absent count as an empty text; any text is kept as it is."""
    assistant = await api.assistant(model=TOOLS, tools=[FUNCTION])
    run = await api.run(await api.thread("hi"), assistant)
    [call] = calls_of(run)
    given = {"tool_call_id": call} | ({} if output is ... else {"output": output})

    await api.make(f"{path_to(run)}/submit_tool_outputs", {"tool_outputs": [given]})
    await settled(api, run, "completed")

    steps = (await api.get(f"{path_to(run)}/steps?order=asc")).json["data"]
    [shown] = steps[0]["step_details"]["tool_calls"]
    assert shown["function"]["output"] == stored


async def test_a_run_goes_on_with_its_outputs(api: Caller, waiting: Any) -> None:
    """Queued at first, without its required action and with the old expiry; then completed."""
    queued = await api.make(f"{path_to(waiting)}/submit_tool_outputs", outputs(*calls_of(waiting)))
    ended = await settled(api, waiting, "completed")

    assert (queued["status"], queued["required_action"]) == ("queued", None)
    assert queued["expires_at"] == waiting["expires_at"]
    assert queued["started_at"] == waiting["started_at"]
    assert ended["usage"]["total_tokens"] > 0
    assert ended["expires_at"] is None


async def test_outputs_may_be_streamed(api: Caller, waiting: Any) -> None:
    """The stream begins with the finished tool step and ends with the run."""
    body = outputs(*calls_of(waiting)) | {"stream": True}

    answer = await api.post(f"{path_to(waiting)}/submit_tool_outputs", body)

    names = [name for name, _ in check_run_stream(answer.body)]
    assert names[:3] == ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]
    assert names[-2:] == ["thread.run.completed", "done"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "tool_outputs", "missing_required_parameter"),
        ({"tool_outputs": None}, "tool_outputs", "invalid_type"),
        ({"tool_outputs": {}}, "tool_outputs", "invalid_type"),
        ({"tool_outputs": [{"output": "x"}]}, "tool_outputs[0].tool_call_id",
         "missing_required_parameter"),
        ({"tool_outputs": [{"tool_call_id": "c", "output": {}}]}, "tool_outputs[0].output",
         "invalid_type"),
        ({"tool_outputs": [], "model": "x"}, "model", "unknown_parameter"),
    ],
)  # fmt: skip
async def test_outputs_that_make_no_sense_are_refused(
    api: Caller, waiting: Any, body: Any, param: str, code: str
) -> None:
    """The field is named and the run goes on waiting."""
    answer = await api.post(f"{path_to(waiting)}/submit_tool_outputs", body)

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)
    assert (await api.get(path_to(waiting))).json == waiting


async def test_outputs_are_only_taken_by_a_run_that_waits(api: Caller) -> None:
    """In progress, cancelled and completed runs refuse them, with their status in the words."""
    hanging, echo = await api.assistant(model=HANG), await api.assistant()
    active = await api.begin(await api.thread("hi"), hanging)
    await settled(api, active, "in_progress")
    done = await api.run(await api.thread("hi"), echo)

    in_progress = await api.post(f"{path_to(active)}/submit_tool_outputs", outputs("call_x"))
    completed = await api.post(f"{path_to(done)}/submit_tool_outputs", outputs("call_x"))
    await api.post(f"{path_to(active)}/cancel")
    await settled(api, active, "cancelled")
    cancelled = await api.post(f"{path_to(active)}/submit_tool_outputs", outputs("call_x"))

    answers = {"in_progress": in_progress, "completed": completed, "cancelled": cancelled}
    for status, answer in answers.items():
        assert answer.status == 400
        assert answer.error == {
            "message": f'Runs in status "{status}" do not accept tool outputs.',
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }


async def test_outputs_are_taken_once(api: Caller, waiting: Any) -> None:
    """A second submission finds a run that no longer waits."""
    body = outputs(*calls_of(waiting))

    answers = await asyncio.gather(
        *(api.post(f"{path_to(waiting)}/submit_tool_outputs", body) for _ in range(4))
    )

    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400]
    assert (await settled(api, waiting, "completed"))["last_error"] is None


async def test_one_of_many_runs_gets_the_thread(api: Caller) -> None:
    """Of runs created at once one begins, and the others are told which."""
    thread, assistant = await api.thread("hi"), await api.assistant(model=HANG)
    body = {"assistant_id": assistant}

    answers = await asyncio.gather(
        *(api.post(f"/v1/threads/{thread}/runs", body) for _ in range(8))
    )

    [run] = (await api.get(f"/v1/threads/{thread}/runs")).json["data"]
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert {a.error["message"] for a in answers if a.status == 409} == {
        f"Thread {thread} already has an active run {run['id']}."
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": b""},
        {"data": b"", "headers": {"content-type": "application/json"}},
        {"json": {}},
        {"data": b"nonsense"},
    ],
    ids=["nothing", "empty", "typed", "object", "nonsense"],
)
async def test_cancelling_needs_no_body(api: Caller, options: dict[str, Any]) -> None:
    """The answer says `cancelling`; then the run is cancelled and its thread is free."""
    thread = await api.thread("hi")
    run = await api.begin(thread, await api.assistant(model=HANG))

    answer = await api.post(f"{path_to(run)}/cancel", **options)
    ended = await settled(api, run, "cancelled")

    assert (answer.status, answer.json["status"]) == (200, "cancelling")
    assert answer.json["cancelled_at"] is None
    assert (ended["cancelled_at"] is not None, ended["expires_at"]) == (True, None)
    assert (await api.run(thread, await api.assistant()))["status"] == "completed"


async def test_a_waiting_run_can_be_cancelled(api: Caller, waiting: Any) -> None:
    """Its required action is gone and its step is cancelled with it."""
    await api.make(f"{path_to(waiting)}/cancel")
    ended = await settled(api, waiting, "cancelled")

    [step] = (await api.get(f"{path_to(waiting)}/steps")).json["data"]
    assert ended["required_action"] is None
    assert step["status"] == "cancelled"


@pytest.mark.parametrize("model", ["echo", "fail-500", "hang"])
async def test_a_run_that_is_over_cannot_be_cancelled(api: Caller, model: str) -> None:
    """OpenAI's words name the status; the run stays as it is."""
    run = await api.begin(await api.thread("hi"), await api.assistant(model=f"fc:sandbox/{model}"))
    if model == "hang":
        await api.make(f"{path_to(run)}/cancel")
    ended = await settled(api, run, "completed", "failed", "cancelled")

    answer = await api.post(f"{path_to(run)}/cancel")

    assert answer.status == 400
    assert answer.error == {
        "message": f"Cannot cancel run with status '{ended['status']}'.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    assert (await api.get(path_to(run))).json == ended


async def test_a_provider_s_refusal_fails_the_run(api: Caller) -> None:
    """`last_error` has one of OpenAI's three codes, and the run says what was consumed."""
    thread = await api.thread("hi")

    failed = {
        model: await api.run(thread, await api.assistant(model=f"fc:sandbox/{model}"))
        for model in ("fail-500", "quota", "rate-limit", "too-long")
    }

    codes = {model: run["last_error"]["code"] for model, run in failed.items()}
    assert codes == {
        "fail-500": "server_error",
        "quota": "rate_limit_exceeded",
        "rate-limit": "rate_limit_exceeded",
        "too-long": "invalid_prompt",
    }
    assert {run["status"] for run in failed.values()} == {"failed"}
    assert {run["usage"]["total_tokens"] for run in failed.values()} == {0}


@pytest.mark.parametrize("body", [None, {}, {"metadata": None}])
async def test_a_run_s_metadata_stays_if_none_is_given(api: Caller, body: Any) -> None:
    """A modification of nothing gives back the run."""
    run = await api.run(await api.thread("hi"), await api.assistant(), metadata={"a": "1"})

    assert await api.make(path_to(run), body) == run


async def test_a_run_s_metadata_is_replaced_whole(api: Caller, waiting: Any) -> None:
    """Also while it is active, and nothing else of it changes."""
    first = await api.make(path_to(waiting), {"metadata": {"a": "1", "b": "2"}})
    second = await api.make(path_to(waiting), {"metadata": {"b": "3"}})

    assert first == waiting | {"metadata": {"a": "1", "b": "2"}}
    assert second == waiting | {"metadata": {"b": "3"}}
    assert (await api.get(path_to(waiting))).json == second


async def test_steps_are_listed_in_order(api: Caller) -> None:
    """Tool rounds and the message, newest first unless asked otherwise, page by page."""
    assistant = await api.assistant(model="fc:sandbox/tools-2", tools=[FUNCTION])
    run = await api.run(await api.thread("hi"), assistant)
    for _ in range(2):
        waiting = await settled(api, run, "requires_action")
        await api.make(f"{path_to(run)}/submit_tool_outputs", outputs(*calls_of(waiting)))
    await settled(api, run, "completed")
    path = f"{path_to(run)}/steps"

    oldest_first = (await api.get(f"{path}?order=asc")).json["data"]
    first = (await api.get(f"{path}?limit=2")).json
    rest = (await api.get(f"{path}?limit=2&after={first['last_id']}")).json

    assert [s["type"] for s in oldest_first] == ["tool_calls", "tool_calls", "message_creation"]
    assert first["data"] + rest["data"] == oldest_first[::-1]
    assert (first["has_more"], rest["has_more"]) == (True, False)
    assert [(await api.get(f"{path}/{s['id']}")).json for s in oldest_first] == oldest_first


async def test_a_step_of_another_run_is_not_found(api: Caller) -> None:
    """Steps belong to one run; as a cursor too."""
    thread, assistant = await api.thread("hi"), await api.assistant()
    one, two = await api.run(thread, assistant), await api.run(thread, assistant)
    [step] = (await api.get(f"{path_to(one)}/steps")).json["data"]

    found = await api.get(f"{path_to(two)}/steps/{step['id']}")
    cursor = await api.get(f"{path_to(two)}/steps?after={step['id']}")

    assert (found.status, cursor.status) == (404, 400)
    assert found.error["message"] == f"No run step found with id '{step['id']}'."


async def test_calls_are_shown_as_the_model_wrote_them(api: Caller, upstream: FakeUpstream) -> None:
    """Ids, names and arguments of the provider go through unchanged, whatever the text is."""
    calls = [
        ("call_1aaaaaaa", "look_up", '{"q": "\\u2028 ü 🥊"}'),
        ("call_2aaaaaaa", "other", "not json"),
    ]
    upstream.enqueue(tool_reply(calls))
    assistant = await api.assistant(model=UPSTREAM_MODEL, tools=[FUNCTION, OTHER_FUNCTION])

    run = await api.run(await api.thread("hi"), assistant)

    shown = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in shown] == calls
