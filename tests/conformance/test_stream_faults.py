"""A stream with one fault is refused, and the reason names the fault."""

from collections.abc import Callable

import pytest

from tests.conformance.faults import NonConformance
from tests.conformance.mutations import (
    EventsFault,
    doubling,
    dropping,
    inserting,
    patched,
    patching,
    removing,
    renaming,
    reordering,
    swapping,
)
from tests.conformance.samples import (
    CALL_ID,
    LATER,
    NOW,
    answered_calls,
    compact,
    error_body,
    message,
    message_step,
    run,
    text_part,
    thread,
    tool_step,
)
from tests.conformance.scenarios import CHAT_CHUNKS, SCENARIOS, chat_bytes, stream_bytes
from tests.conformance.stream import RunStreamChecker, check_chat_stream, check_run_stream

OTHER = "0123456789abcdef01234567"
STEP, MESSAGE, RUN = "thread.run.step", "thread.message", "thread.run"
TEXT_DELTA, CALL_DELTA = f"{MESSAGE}.delta", f"{STEP}.delta"
PART = ("delta", "content", 0)
CALL = ("delta", "step_details", "tool_calls", 0)
REQUIRED = ("required_action", "submit_tool_outputs", "tool_calls")

EVENT_FAULTS: list[tuple[str, str, EventsFault, str]] = [
    # order
    ("no created run", "text", dropping(f"{RUN}.created"), "run.queued is out of order: nothing"),
    ("not queued", "text", dropping(f"{RUN}.queued"), "run.in_progress is out of order"),
    ("two runs", "text", doubling(f"{RUN}.created"), "run.created is out of order"),
    ("queued late", "text", swapping(f"{RUN}.queued"), "run.in_progress is out of order"),
    ("thread late", "create_and_run", swapping("thread.created"), "thread.created is out of order"),
    ("created in a resumed stream", "outputs_then_text",
     inserting(f"{RUN}.created", run("queued"), f"{RUN}.queued"),
     "run.created is out of order: the tool step has its outputs"),
    ("resumed without the step", "outputs_then_text", dropping(f"{STEP}.completed"),
     "run.queued is out of order: nothing"),
    ("delta before created", "text", inserting(*SCENARIOS["text"][7], f"{STEP}.created"),
     "message.delta is out of order: the run is in progress and nothing is open"),
    ("delta before in_progress", "text", swapping(f"{MESSAGE}.in_progress"),
     "message.delta is out of order: the message is created"),
    ("delta after the end", "text", inserting(*SCENARIOS["text"][8], f"{STEP}.completed"),
     "message.delta is out of order: the message is completed"),
    ("message without delta", "text",
     lambda events: [event for event in events if event[0] != TEXT_DELTA],
     "content: not what was streamed"),
    ("message without step", "text", dropping(f"{STEP}.created"), "step.in_progress is out of"),
    ("step never in progress", "text", dropping(f"{STEP}.in_progress"), "message.created is out"),
    ("two open steps", "text", inserting(f"{STEP}.created", tool_step(), TEXT_DELTA),
     "tool_step.created is out of order: the message is being written"),
    ("step twice", "text", doubling(f"{STEP}.created"), "message_step.created is out of order"),
    ("two open messages", "text", doubling(f"{MESSAGE}.created"), "message.created is out of"),
    ("two message steps", "text_then_calls",
     inserting(f"{STEP}.created", message_step(), f"{STEP}.created", 1),
     "message_step.created is out of order: the message step is completed"),
    ("step before message", "text", swapping(f"{MESSAGE}.completed"),
     "message_step.completed is out of order: the message is being written"),
    ("run before step", "text", swapping(f"{STEP}.completed"),
     "run.completed is out of order: the message is completed and its step is open"),
    ("no end of the run", "text", dropping(f"{RUN}.completed"),
     "done is out of order: the message step is completed"),
    ("no requires_action", "function_call", dropping(f"{RUN}.requires_action"),
     "done is out of order: calls are being written"),
    ("completed with open calls", "function_call",
     inserting(*SCENARIOS["outputs_then_text"][0], f"{RUN}.requires_action"),
     "tool_step.completed is out of order: calls are being written"),
    ("other calls than streamed", "failed_in_call",
     removing(f"{STEP}.failed", ("step_details", "tool_calls", 1)), "calls are not the streamed"),
    ("action without calls", "text", renaming(f"{RUN}.completed", f"{RUN}.requires_action"),
     "status: completed; the event says requires_action"),
    ("events after the end", "text", doubling(f"{RUN}.completed"),
     "run.completed is out of order: the run is over"),
    ("message left open", "failed_in_message", dropping(f"{MESSAGE}.incomplete"),
     "message_step.failed is out of order"),
    ("step left open", "failed_in_call", dropping(f"{STEP}.failed"), "run.failed is out of order"),
    ("cut for another reason", "failed_in_message",
     patching(f"{MESSAGE}.incomplete", ("incomplete_details", "reason"), "run_expired"),
     "message_step.failed is out of order: the message ran out of time"),
    ("cancelled unannounced", "cancelled_in_message", dropping(f"{RUN}.cancelling"),
     "message.incomplete run_cancelled is out of order"),
    ("error, then more", "server_fault", doubling("error"), "error is out of order: an error"),
    ("error at once", "server_fault", lambda events: events[-1:], "error is out of order: nothing"),
    ("unknown event", "text", renaming(f"{RUN}.queued", f"{RUN}.waiting"), "no such event"),
    # deltas
    ("id in a later fragment", "function_call", patching(CALL_DELTA, (*CALL, "id"), CALL_ID, 1),
     "later fragment of a call: unexpected key id"),
    ("name in a later fragment", "function_call",
     patching(CALL_DELTA, (*CALL, "function", "name"), "f", 1), "unexpected key name"),
    ("one id for two calls", "function_call", patching(CALL_DELTA, (*CALL, "id"), CALL_ID, 3),
     f"call id {CALL_ID} stands twice"),
    ("call without id", "function_call", removing(CALL_DELTA, (*CALL, "id")), "missing key id"),
    ("call without output", "function_call", removing(CALL_DELTA, (*CALL, "function", "output")),
     "first fragment of a call.function: missing key output"),
    ("call index gap", "function_call", patching(CALL_DELTA, (*CALL, "index"), 2, 3),
     "index 2 leaves a gap; 1 are known"),
    ("call index as a float", "function_call", patching(CALL_DELTA, (*CALL, "index"), 0.0),
     "index 0.0 is not an integer"),
    ("call index missing", "function_call", removing(CALL_DELTA, (*CALL, "index")), "delta"),
    ("calls interleaved", "function_call", swapping(CALL_DELTA, 2),
     "call 0 goes on after the next began"),
    ("fragments out of order", "function_call", swapping(CALL_DELTA, 1),
     "required_action is not the streamed calls"),
    ("role in a delta", "text", patching(TEXT_DELTA, ("delta", "role"), "assistant"),
     "unexpected key role"),
    ("no annotations at first", "text", removing(TEXT_DELTA, (*PART, "text", "annotations")),
     "first fragment of a text: missing key annotations"),
    ("annotations later", "text", patching(TEXT_DELTA, (*PART, "text", "annotations"), [], 1),
     "later fragment of a text: unexpected key annotations"),
    ("part index gap", "text", patching(TEXT_DELTA, (*PART, "index"), 1), "index 1 leaves a gap"),
    ("empty delta", "text", patching(TEXT_DELTA, ("delta", "content"), []), "content: empty"),
    ("part changes its type", "refusal",
     patching(TEXT_DELTA, PART, {"index": 0, "type": "text", "text": {"value": "a"}}, 1),
     "a refusal part goes on as text"),
    ("delta for another message", "text", patching(TEXT_DELTA, ("id",), f"msg_{OTHER}"),
     f"msg_{OTHER} is not the open message"),
    ("delta for another step", "function_call", patching(CALL_DELTA, ("id",), f"step_{OTHER}"),
     f"step_{OTHER} is not the open step"),
    # payloads against each other
    ("created differs", "text", patching(f"{STEP}.in_progress", ("created_at",), NOW + 2),
     "differs from its created event"),
    ("message created differs", "text", patching(f"{MESSAGE}.in_progress", ("metadata",), {"a": ""}),
     "differs from its created event"),
    ("content from the start", "text",
     patching(f"{MESSAGE}.created", ("content",), [text_part("Since")]), "not \\[\\] before"),
    ("calls from the start", "function_call",
     patching(f"{STEP}.created", ("step_details",), answered_calls(None, None)),
     "calls before any delta"),
    ("text lost", "text", patching(f"{MESSAGE}.completed", ("content",), [text_part("Since")]),
     "content: not what was streamed"),
    ("delta lost", "text", dropping(TEXT_DELTA, 2), "content: not what was streamed"),
    ("partial text lost", "cancelled_in_message",
     patching(f"{MESSAGE}.incomplete", ("content",), []), "content: not what was streamed"),
    ("a call lost", "function_call", removing(f"{RUN}.requires_action", (*REQUIRED, 1)),
     "required_action is not the streamed calls"),
    ("no calls to answer", "function_call", patching(f"{RUN}.requires_action", REQUIRED, []),
     "no calls to answer"),
    ("no required_action", "function_call",
     patching(f"{RUN}.requires_action", ("required_action",), None), "required_action: null"),
    ("message of another step", "text",
     patching(f"{STEP}.created", ("step_details", "message_creation", "message_id"),
              f"msg_{OTHER}"), "differs from its created event"),
    ("message not announced", "text", patching(f"{MESSAGE}.created", ("id",), f"msg_{OTHER}"),
     "the step announced"),
    ("another run", "text", patching(f"{RUN}.completed", ("id",), f"run_{OTHER}"),
     "is not the stream's"),
    ("another thread", "create_and_run", patching("thread.created", ("id",), f"thread_{OTHER}"),
     "is not the stream's"),
    ("step of another run", "text", patching(f"{STEP}.completed", ("run_id",), f"run_{OTHER}"),
     "is not the stream's"),
    ("a step's id used again", "outputs_then_text",
     patching(f"{STEP}.completed", ("id",), message_step()["id"]), "was created before"),
    ("run's model changes", "text", patching(f"{RUN}.completed", ("model",), "fc:xai/grok"),
     "model: changed; a run is a snapshot"),
    ("expiry moves", "outputs_then_text",
     patching(f"{RUN}.in_progress", ("expires_at",), NOW + 900), "expires_at: moved"),
    ("a run that never started", "failed_before_output",
     patching(f"{RUN}.failed", ("started_at",), None), "started_at: null, but the run had started"),
    ("cut by no limit", "incomplete",
     patching(f"{RUN}.incomplete", ("incomplete_details",), None), "a limit cut the message"),
    ("step's own expiry", "text", patching(f"{STEP}.created", ("expires_at",), LATER),
     "is not the run's"),
    ("output missing", "outputs_then_text",
     patching(f"{STEP}.completed", ("step_details", "tool_calls"), []), "completed without a call"),
    ("wrong status", "text", patching(f"{RUN}.queued", ("status",), "in_progress"),
     "status: in_progress; the event says queued"),
    ("step status", "text", patching(f"{STEP}.created", ("status",), "queued"), "queued"),
    ("usage while waiting", "function_call",
     patching(f"{RUN}.requires_action", ("usage",), run("completed")["usage"]),
     "usage: must be null, status is requires_action"),
    ("milliseconds", "text", patching(f"{RUN}.completed", ("completed_at",), LATER * 1000),
     "not in seconds"),
    ("key order", "text", reordering(f"{RUN}.completed"), "key order"),
    ("missing key", "text", removing(f"{MESSAGE}.created", ("incomplete_at",)), "incomplete_at"),
    ("bare error", "server_fault",
     lambda events: [*events[:-1], ("error", error_body()["error"])], '"error" is a required'),
    ("wrapped run", "text",
     lambda events: [("thread.run.created", {"data": run("queued")}), *events[1:]], "required"),
    ("a user's message", "text",
     inserting(f"{MESSAGE}.created", message(role="user"), f"{RUN}.queued"), "role"),
    ("thread in the middle", "text", inserting("thread.created", thread(), f"{RUN}.queued"),
     "thread.created is out of order"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fault", "reason"),
    [row[1:] for row in EVENT_FAULTS],
    ids=[row[0] for row in EVENT_FAULTS],
)
def test_a_wrong_event_is_named(name: str, fault: EventsFault, reason: str) -> None:
    """One wrong event in a correct stream is refused for what is wrong with it."""
    with pytest.raises(NonConformance, match=reason):
        check_run_stream(stream_bytes(fault(SCENARIOS[name])))


BYTE_FAULTS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("done lost", lambda raw: raw.removesuffix(b"event: done\ndata: [DONE]\n\n"), "does not end"),
    ("data after done", lambda raw: raw + b'event: error\ndata: {}\n\n', "does not end"),
    ("comment after done", lambda raw: raw + b": ping\n\n", "does not end"),
    ("done twice", lambda raw: raw + b"event: done\ndata: [DONE]\n\n",
     "done is out of order: the stream is done; expected: nothing"),
    ("done as JSON", lambda raw: raw.replace(b"[DONE]", b'"[DONE]"'), "does not end"),
    ("CRLF", lambda raw: raw.replace(b"\n", b"\r\n"), "carriage return"),
    ("no last blank line", lambda raw: raw[:-1], "does not end"),
    ("multi-line JSON", lambda raw: raw.replace(b'{"id"', b'{\ndata: "id"', 1), "not one event"),
    ("spaced JSON", lambda raw: raw.replace(b'","object"', b'", "object"', 1), "not compact"),
    ("frames run together", lambda raw: raw.replace(b"\n\nevent", b"\nevent", 1), "not one event"),
    ("blank line too many", lambda raw: raw.replace(b"\n\nevent", b"\n\n\nevent", 1), "blank line"),
    ("no event line", lambda raw: raw.replace(b"event: thread.run.queued\n", b""), "not one event"),
    ("data first", lambda raw: b'data: {}\nevent: thread.created\n\n' + raw, "not one event"),
    ("an id line", lambda raw: b"id: 1\n" + raw, "not one event"),
    ("no space", lambda raw: raw.replace(b"data: ", b"data:", 1), "not one event"),
    ("comment inside a frame", lambda raw: b": ping\n" + raw, "not one event"),
    ("byte order mark", lambda raw: b"\xef\xbb\xbf" + raw, "not one event"),
    ("not UTF-8", lambda raw: raw.replace(b"sunny", b"s\xff\xfeny", 1), "not UTF-8"),
    ("broken JSON", lambda raw: raw.replace(b"}\n\n", b"\n\n", 1), "not JSON"),
    ("a key twice", lambda raw: raw.replace(b'{"id"', b'{"id":"","id"', 1), "stands twice"),
    ("NaN", lambda raw: raw.replace(b'"top_p":1.0', b'"top_p":NaN', 1), "NaN"),
    ("nothing", lambda raw: b"", "does not end"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "reason"), [row[1:] for row in BYTE_FAULTS], ids=[row[0] for row in BYTE_FAULTS]
)
def test_a_wrong_frame_is_named(fault: Callable[[bytes], bytes], reason: str) -> None:
    """Frames are checked to the byte."""
    with pytest.raises(NonConformance, match=reason):
        check_run_stream(fault(stream_bytes(SCENARIOS["text"])))


def test_a_stream_without_done_is_unfinished() -> None:
    """Fed event by event, the missing end shows at `finish`."""
    checker = RunStreamChecker()
    for event, payload in SCENARIOS["text"]:
        checker.feed(event, compact(payload))

    with pytest.raises(NonConformance, match="ends without done: the run is over"):
        checker.finish()


FIRST_CALL = ("choices", 0, "delta", "tool_calls", 0)
CHAT_FAULTS: list[tuple[str, int, tuple[str | int, ...], object, str]] = [
    ("no role", 0, ("choices", 0, "delta"), {"content": ""}, "the first delta has no role"),
    ("role again", 2, ("choices", 0, "delta", "role"), "assistant", "first delta only"),
    ("another id", 2, ("id",), "chatcmpl-other", "chatcmpl-other"),
    ("another time", 2, ("created",), 1, "created: 1"),
    ("call id again", 2, (*FIRST_CALL, "id"), CALL_ID, "call 0 repeats its id"),
    ("name again", 2, (*FIRST_CALL, "function", "name"), "f", "call 0 repeats its name"),
    ("one id for two calls", 3, (*FIRST_CALL, "id"), CALL_ID, "stands twice"),
    ("index gap", 3, (*FIRST_CALL, "index"), 2, "tool index 2 leaves a gap"),
    ("float index", 1, (*FIRST_CALL, "index"), 0.0, "not an integer"),
    ("finished twice", 4, ("choices", 0, "finish_reason"), "tool_calls", "follows the choice's"),
    ("never finished", 5, ("choices", 0, "finish_reason"), None, "usage before finish_reason"),
    ("unknown finish_reason", 5, ("choices", 0, "finish_reason"), "end_turn", "end_turn"),
    ("usage with choices", 5, ("usage",), CHAT_CHUNKS[-1]["usage"], "without choices"),
    ("no usage, no choices", 6, ("usage",), None, "neither choices nor usage"),
    ("choice missing", 5, ("choices", 0, "index"), 2, "no role"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "path", "new", "reason"),
    [row[1:] for row in CHAT_FAULTS],
    ids=[row[0] for row in CHAT_FAULTS],
)
def test_a_wrong_chunk_is_named(
    number: int, path: tuple[str | int, ...], new: object, reason: str
) -> None:
    """One wrong chunk in a correct chat stream is refused for what is wrong with it."""
    chunks = patched(CHAT_CHUNKS, (number, *path), new)

    with pytest.raises(NonConformance, match=reason):
        check_chat_stream(chat_bytes(chunks))


CHAT_BYTE_FAULTS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("no end", lambda raw: raw.removesuffix(b"data: [DONE]\n\n"), "does not end"),
    ("two ends", lambda raw: raw + b"data: [DONE]\n\n", "a frame follows"),
    ("an event line", lambda raw: b"event: chunk\n" + raw, "not one data: line"),
    ("CRLF", lambda raw: raw.replace(b"\n", b"\r\n"), "carriage return"),
    ("usage first", lambda raw: chat_bytes([CHAT_CHUNKS[-1], *CHAT_CHUNKS[:-1]]), "usage before"),
    ("more after usage", lambda raw: chat_bytes([*CHAT_CHUNKS, CHAT_CHUNKS[-1]]), "is the last"),
    ("no finish", lambda raw: chat_bytes(CHAT_CHUNKS[:-2]), "no finish_reason"),
    ("finish without calls", lambda raw: chat_bytes([CHAT_CHUNKS[0], CHAT_CHUNKS[5]]),
     "there are no calls"),
    ("nothing in it", lambda raw: chat_bytes([]), "holds no choice"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "reason"),
    [row[1:] for row in CHAT_BYTE_FAULTS],
    ids=[row[0] for row in CHAT_BYTE_FAULTS],
)
def test_a_wrong_chat_stream_is_named(fault: Callable[[bytes], bytes], reason: str) -> None:
    """Frames and the order of chunks of a chat stream are checked too."""
    with pytest.raises(NonConformance, match=reason):
        check_chat_stream(fault(chat_bytes(CHAT_CHUNKS)))
