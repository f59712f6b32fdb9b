"""The checkers accept every correct answer, and no stream with a random fault in it."""

from collections.abc import Callable

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conformance import samples
from tests.conformance.faults import NonConformance
from tests.conformance.run_order import BEGIN, CLOSED, ORDER, UNDER_WAY, next_phase, symbol
from tests.conformance.samples import (
    RUN_IN,
    assistant,
    chat_completion,
    compact,
    embeddings,
    error_body,
    message,
    message_step,
    models,
    page,
    run,
    text_part,
    thread,
    tool_step,
    user_message,
    written_message,
)
from tests.conformance.scenarios import (
    CHAT_CHUNKS,
    SCENARIOS,
    Events,
    chat_bytes,
    chat_choice,
    chat_chunk,
    stream_bytes,
)
from tests.conformance.schema import check_response
from tests.conformance.spec import event_schemas, response_schema
from tests.conformance.stream import RunStreamChecker, check_chat_stream, check_run_stream

A, T, M = samples.ASSISTANT_ID, samples.THREAD_ID, samples.MESSAGE_ID
R, S = samples.RUN_ID, samples.STEP_ID
THREAD = f"/v1/threads/{T}"
RUN = f"{THREAD}/runs/{R}"


def deleted(kind: str, object_id: str) -> samples.Json:
    return {"id": object_id, "object": f"{kind}.deleted", "deleted": True}


CORRECT_ANSWERS = [
    ("POST", "/v1/assistants", assistant()),
    ("GET", "/v1/assistants?limit=2", page(assistant())),
    ("GET", f"/v1/assistants/{A}", assistant(tools=[], metadata={"tier": "gold"})),
    ("POST", f"/v1/assistants/{A}", assistant(response_format={"type": "json_object"})),
    ("DELETE", f"/v1/assistants/{A}", deleted("assistant", A)),
    ("POST", "/v1/threads", thread()),
    ("GET", "/v1/threads", page(thread())),
    ("GET", THREAD, thread()),
    ("POST", THREAD, thread(metadata={"a": "b"})),
    ("DELETE", THREAD, deleted("thread", T)),
    ("POST", "/v1/threads/runs", run("queued")),
    ("POST", f"{THREAD}/messages", user_message()),
    ("GET", f"{THREAD}/messages?run_id={R}", page(written_message(), user_message())),
    ("GET", f"{THREAD}/messages", page()),
    ("GET", f"{THREAD}/messages/{M}", message(content=[text_part("half")])),
    ("POST", f"{THREAD}/messages/{M}", samples.cut_message("run_cancelled")),
    ("DELETE", f"{THREAD}/messages/{M}", deleted("thread.message", M)),
    ("GET", f"{THREAD}/runs", page(run("completed"))),
    ("POST", f"{THREAD}/runs", run("queued", max_completion_tokens=16)),
    (
        "POST",
        f"{RUN}/cancel",
        run("cancelling", required_action=RUN_IN["requires_action"]["required_action"]),
    ),
    ("POST", f"{RUN}/submit_tool_outputs", run("queued", started_at=samples.NOW)),
    ("GET", f"{RUN}/steps", page(message_step("completed"), tool_step("cancelled"))),
    ("GET", f"{RUN}/steps/{S}", tool_step(step_details=samples.answered_calls(None, None))),
    ("POST", "/v1/chat/completions", chat_completion()),
    ("POST", "/v1/embeddings", embeddings([0.25, 1.0], [0.5, 2.0])),
    ("POST", "/v1/embeddings", embeddings("AACAPwAAAEA=")),
    ("GET", "/v1/models", models("fc:openai/gpt-4o", "slot:fast")),
    ("GET", "/v1/models/fc:openai/gpt-4o", models("fc:openai/gpt-4o")["data"][0]),
]


@pytest.mark.parametrize(
    ("method", "path", "value"), CORRECT_ANSWERS, ids=[f"{m} {p}" for m, p, _ in CORRECT_ANSWERS]
)
def test_a_correct_answer_is_accepted(method: str, path: str, value: samples.Json) -> None:
    """What the real service sent passes, for each operation."""
    check_response(method, path, 200, compact(value).encode())


@pytest.mark.parametrize("status", RUN_IN)
def test_a_run_is_accepted_in_every_status(status: str) -> None:
    """Each status has its own pattern of nulls."""
    check_response("GET", RUN, 200, compact(run(status)).encode())


@pytest.mark.parametrize("path", [THREAD, "/v1/wallet", "/nowhere"])
@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 413, 422, 429, 500, 503])
def test_an_error_is_accepted_on_every_path(path: str, status: int) -> None:
    """The envelope is the same everywhere, also on endpoints that OpenAI never had."""
    check_response("GET", path, status, compact(error_body()).encode())


@pytest.mark.parametrize(
    "path", ["/v1/customers/customer_42/usage?from=2026-11-01", "/v1/webhooks", "/healthz"]
)
def test_our_own_endpoints_are_not_judged(path: str) -> None:
    """Ringside's endpoints have shapes of their own, CSV and metrics among them."""
    check_response("GET", path, 200, b"day,model,requests")


def test_threads_runs_is_not_a_thread() -> None:
    """A literal path wins over a path with an id in it."""
    assert response_schema("POST", "/v1/threads/runs") == "RunObject"
    assert response_schema("POST", THREAD) == "ThreadObject"


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_correct_stream_is_accepted(name: str) -> None:
    """Every order of events that a run may show passes, and comes back event by event."""
    events = check_run_stream(stream_bytes(SCENARIOS[name]))

    assert events == [*SCENARIOS[name], ("done", "[DONE]")]


def test_calls_that_broke_off_may_be_left_out() -> None:
    """Half a call is of no use: the step that failed with it may show none."""
    events = SCENARIOS["failed_in_call"]
    without_calls = ("thread.run.step.failed", tool_step("failed"))

    check_run_stream(stream_bytes([*events[:-2], without_calls, events[-1]]))


def test_keep_alive_comments_are_accepted() -> None:
    """A comment is a frame of its own, anywhere before done."""
    raw = stream_bytes(SCENARIOS["text"])

    events = check_run_stream(b": ping\n\n" + raw.replace(b"\n\nevent", b"\n\n: ping\n\nevent", 3))

    assert len(events) == len(SCENARIOS["text"]) + 1


def test_a_stream_is_followed_event_by_event() -> None:
    """Without bytes the checker takes event names and data."""
    checker = RunStreamChecker()
    for event, payload in SCENARIOS["function_call"]:
        assert checker.feed(event, compact(payload)) == payload
    checker.feed("done", "[DONE]")

    checker.finish()


def test_the_scenarios_reach_every_phase_of_the_table() -> None:
    """No row of the order is there without a stream that takes it."""
    reached = {BEGIN}
    for events in SCENARIOS.values():
        phase = BEGIN
        for event, payload in [*events, ("done", {})]:
            phase = next_phase(phase, symbol(event, payload))
            reached.add(phase)

    assert reached == set(ORDER)
    assert set(UNDER_WAY) == reached - {BEGIN, CLOSED} - {p for p in ORDER if "done" in ORDER[p]}


def test_the_scenarios_hold_every_event_of_the_document() -> None:
    """OpenAI's published list of events is covered whole."""
    sent = {event for events in SCENARIOS.values() for event, _ in events}

    assert sent | {"done"} == set(event_schemas())


def test_a_correct_chat_stream_is_accepted() -> None:
    """Calls, usage and [DONE], as OpenAI streams them."""
    assert check_chat_stream(chat_bytes(CHAT_CHUNKS)) == CHAT_CHUNKS


def test_choices_of_a_chat_stream_may_alternate() -> None:
    """With n = 2 the chunks of both choices come in any order."""
    role = {"role": "assistant", "content": ""}
    chunks = [
        *(chat_chunk(chat_choice(role, index=index)) for index in (0, 1)),
        *(chat_chunk(chat_choice({"content": "a"}, index=index)) for index in (1, 0)),
        *(chat_chunk(chat_choice({}, "stop", index=index)) for index in (1, 0)),
    ]

    assert check_chat_stream(chat_bytes(chunks)) == chunks


# What an error cuts off has no end to be compared with; a lost delta there is nobody's fault.
WHOLE = sorted(set(SCENARIOS) - {"server_fault"})
OTHER_ID_DIGITS = "0" * 24


def drop(events: Events, at: int) -> Events:
    return [*events[:at], *events[at + 1 :]]


def double(events: Events, at: int) -> Events:
    return [*events[: at + 1], *events[at:]]


def swap(events: Events, at: int) -> Events:
    return [*events[:at], *reversed(events[at : at + 2]), *events[at + 2 :]]


def misname(events: Events, at: int) -> Events:
    return _change(events, at, name=events[at][0] + "s")


def lose_a_key(events: Events, at: int) -> Events:
    payload = events[at][1]
    lost = list(payload)[at % len(payload)]
    return _change(events, at, {key: payload[key] for key in payload if key != lost})


def add_a_key(events: Events, at: int) -> Events:
    return _change(events, at, events[at][1] | {"conversation_id": "conv_1"})


def turn_keys_round(events: Events, at: int) -> Events:
    return _change(events, at, dict(reversed(events[at][1].items())))


def change_the_id(events: Events, at: int) -> Events:
    payload = events[at][1]
    prefix = payload["id"].partition("_")[0]
    return _change(events, at, payload | {"id": f"{prefix}_{OTHER_ID_DIGITS}"})


def _change(events: Events, at: int, payload: object = None, name: str | None = None) -> Events:
    old_name, old_payload = events[at]
    changed = (name or old_name, old_payload if payload is None else payload)
    return [*events[:at], changed, *events[at + 1 :]]


PlaceFault = Callable[[Events, int], Events]
FAULTS: list[PlaceFault] = [
    drop,
    double,
    swap,
    misname,
    lose_a_key,
    add_a_key,
    turn_keys_round,
    change_the_id,
]


STILL_CORRECT: dict[tuple[str, PlaceFault], int] = {
    ("create_and_run", drop): 0,  # without its thread it is a run on an older one
    ("outputs_then_text", change_the_id): 0,  # the step comes from an earlier stream
    ("cancelled_before_output", drop): 2,  # cancelled while it was queued
}
"""The events where a fault makes another correct stream."""


@given(data=st.data(), name=st.sampled_from(WHOLE), fault=st.sampled_from(FAULTS))
@settings(max_examples=300, deadline=None)
def test_any_fault_in_any_event_is_caught(
    data: st.DataObject, name: str, fault: PlaceFault
) -> None:
    """One event lost, doubled, misplaced or changed makes every stream a wrong one."""
    events = SCENARIOS[name]
    last = len(events) - (2 if fault is swap else 1)
    at = data.draw(st.integers(0, last))
    assume(STILL_CORRECT.get((name, fault)) != at)

    with pytest.raises(NonConformance):
        check_run_stream(stream_bytes(fault(events, at)))


@given(
    name=st.sampled_from(sorted(SCENARIOS)),
    share=st.floats(0, 1, exclude_max=True),
    junk=st.sampled_from([None, b"\r", b"\n", b"\x00", b"\xff"]),
)
@settings(max_examples=200, deadline=None)
def test_any_cut_or_stray_byte_is_caught(name: str, share: float, junk: bytes | None) -> None:
    """A stream that breaks off, and a byte that does not belong, are told from a whole one."""
    raw = stream_bytes(SCENARIOS[name])
    at = int(share * len(raw))
    broken = raw[:at] if junk is None else raw[:at] + junk + raw[at:]

    with pytest.raises(NonConformance):
        check_run_stream(broken)
