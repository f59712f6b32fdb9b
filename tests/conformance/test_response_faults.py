"""A JSON answer with one fault is refused, and the reason names the fault."""

import pytest

from tests.conformance.faults import NonConformance
from tests.conformance.mutations import Path, patched, reversed_keys, without
from tests.conformance.samples import (
    ASSISTANT_ID,
    CALL_ID,
    LATER,
    MESSAGE_ID,
    NOW,
    RUN_ID,
    STEP_ID,
    THREAD_ID,
    Json,
    answered_calls,
    assistant,
    chat_completion,
    compact,
    cut_message,
    embeddings,
    error_body,
    message_step,
    models,
    page,
    run,
    thread,
    tool_step,
    user_message,
    written_message,
)
from tests.conformance.schema import check_response

ASSISTANT = f"GET /v1/assistants/{ASSISTANT_ID}"
THREAD = f"GET /v1/threads/{THREAD_ID}"
MESSAGE = f"{THREAD}/messages/{MESSAGE_ID}"
RUN = f"{THREAD}/runs/{RUN_ID}"
STEP = f"{RUN}/steps/{STEP_ID}"
MESSAGES = f"{THREAD}/messages"
CHAT, EMBEDDINGS = "POST /v1/chat/completions", "POST /v1/embeddings"


def check(call: str, value: object, status: int = 200) -> None:
    method, path = call.split(" ")
    check_response(method, path, status, compact(value).encode())


OBJECTS: dict[str, tuple[str, Json]] = {
    "assistant": (ASSISTANT, assistant()),
    "thread": (THREAD, thread()),
    "message": (MESSAGE, written_message()),
    "user message": (MESSAGE, user_message()),
    "run": (RUN, run("requires_action")),
    "message step": (STEP, message_step("completed")),
    "tool step": (STEP, tool_step("in_progress")),
    "list": (MESSAGES, page(written_message(), user_message())),
    "deletion": (
        f"DELETE /v1/threads/{THREAD_ID}",
        {"id": THREAD_ID, "object": "thread.deleted", "deleted": True},
    ),
}


@pytest.mark.parametrize(
    ("name", "key"), [(name, key) for name, (_, value) in OBJECTS.items() for key in value]
)
def test_every_key_is_required(name: str, key: str) -> None:
    """No key of any object may be left out, null or not; the reason names it."""
    call, value = OBJECTS[name]

    with pytest.raises(NonConformance, match=key):
        check(call, without(value, (key,)))


@pytest.mark.parametrize("name", OBJECTS)
def test_keys_come_in_the_recorded_order_and_no_others(name: str) -> None:
    """An object's keys are those of the recordings, in their order."""
    call, value = OBJECTS[name]

    with pytest.raises(NonConformance, match="key order"):
        check(call, reversed_keys(value))
    with pytest.raises(NonConformance, match="unexpected key customer"):
        check(call, value | {"customer": "customer_42"})


REQUIRED_CALL = ("required_action", "submit_tool_outputs", "tool_calls", 0)
TOOL = ("tools", 0, "function")
TEXT = ("content", 0, "text")
STEP_CALL = ("step_details", "tool_calls", 0)
ANSWERED = tool_step("completed", step_details=answered_calls("sunny", "rain"))

FAULTS: list[tuple[str, str, Json, Path, object, str]] = [
    # ids and times
    ("id with a wrong prefix", THREAD, thread(), ("id",), f"conv_{'0' * 24}", "no id of the form"),
    ("id too short", THREAD, thread(), ("id",), "thread_1", "no id of the form thread_"),
    ("id with a dash", RUN, run("queued"), ("assistant_id",), f"asst_{'-' * 24}", "assistant_id"),
    ("milliseconds", THREAD, thread(), ("created_at",), NOW * 1000, "not in seconds"),
    ("time as a float", THREAD, thread(), ("created_at",), float(NOW), "not an integer"),
    ("time as text", THREAD, thread(), ("created_at",), "2026-11-21", "created_at"),
    ("ended before it began", RUN, run("completed"), ("completed_at",), NOW - 1, "lies before"),
    # metadata and settings
    ("metadata null", THREAD, thread(), ("metadata",), None, "metadata: null"),
    ("metadata number", THREAD, thread(), ("metadata",), {"a": 1}, "metadata"),
    ("metadata value long", THREAD, thread(), ("metadata",), {"a": "x" * 513}, "longer than"),
    ("metadata key long", THREAD, thread(), ("metadata",), {"k" * 65: ""}, "longer than"),
    ("metadata pairs", THREAD, thread(), ("metadata",), {str(n): "" for n in range(17)}, "more"),
    ("tool_resources null", THREAD, thread(), ("tool_resources",), None, "tool_resources: null"),
    ("temperature 1", ASSISTANT, assistant(), ("temperature",), 1, "the wire says 1.0"),
    ("no strict", ASSISTANT, assistant(), TOOL, {"name": "f", "parameters": {}}, "strict"),
    ("strict null", RUN, run("queued"), (*TOOL, "strict"), None, "strict: no boolean"),
    ("no parameters", RUN, run("queued"), TOOL, {"name": "f", "strict": False}, "parameters"),
    ("unknown tool", ASSISTANT, assistant(), ("tools", 0, "type"), "browser", "tools"),
    ("response_format null", RUN, run("queued"), ("response_format",), None, "response_format"),
    ("tool_choice null", RUN, run("queued"), ("tool_choice",), None, "tool_choice: null"),
    ("truncation null", RUN, run("queued"), ("truncation_strategy",), None, "truncation_strategy"),
    ("truncation short", RUN, run("queued"), ("truncation_strategy",), {"type": "auto"}, "last_m"),
    ("effort unknown", RUN, run("queued"), ("reasoning_effort",), "huge", "reasoning_effort"),
    ("limit below one", RUN, run("queued"), ("max_prompt_tokens",), 0, "max_prompt_tokens"),
    ("run's resources", RUN, run("queued"), ("tool_resources",), [], "tool_resources"),
    # runs
    ("unknown status", RUN, run("queued"), ("status",), "running", "running"),
    ("usage while active", RUN, run("in_progress"), ("usage",), run("failed")["usage"],
     "usage: must be null, status is in_progress"),
    ("usage at requires_action", RUN, run("requires_action"), ("usage",), run("failed")["usage"],
     "usage: must be null"),
    ("no usage at the end", RUN, run("failed"), ("usage",), None, "usage: null, status is failed"),
    ("usage total", RUN, run("completed"), ("usage", "total_tokens"), 1, "total_tokens: is not"),
    ("usage detail's name", RUN, run("completed"), ("usage",),
     {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}, "prompt_token_details"),
    ("negative tokens", RUN, run("completed"),
     ("usage", "prompt_token_details", "cached_tokens"), -1, "-1 of 260 is no count of tokens"),
    ("more cached than sent", RUN, run("completed"),
     ("usage", "prompt_token_details", "cached_tokens"), 261, "261 of 260 is no count of tokens"),
    ("incomplete without reason", RUN, run("incomplete"), ("incomplete_details",), {},
     "incomplete_details: missing key reason"),
    ("expiry of an ended run", RUN, run("completed"), ("expires_at",), LATER, "expires_at: must"),
    ("no expiry", RUN, run("queued"), ("expires_at",), None, "expires_at: null"),
    ("never started", RUN, run("in_progress"), ("started_at",), None, "started_at: null"),
    ("completed without time", RUN, run("completed"), ("completed_at",), None, "completed_at: null"),
    ("cancelled too early", RUN, run("cancelling"), ("cancelled_at",), LATER, "cancelled_at: must"),
    ("no required_action", RUN, run("requires_action"), ("required_action",), None,
     "required_action: null, status is requires_action"),
    ("required_action kept", RUN, run("queued"), ("required_action",),
     run("requires_action")["required_action"], "required_action: must be null"),
    ("an output in required_action", RUN, run("requires_action"),
     (*REQUIRED_CALL, "function", "output"), None, "unexpected key output"),
    ("arguments as an object", RUN, run("requires_action"),
     (*REQUIRED_CALL, "function", "arguments"), {}, "arguments"),
    ("call id of a provider", RUN, run("requires_action"), (*REQUIRED_CALL, "id"), "toolu_01",
     "no call id"),
    ("failed without error", RUN, run("failed"), ("last_error",), None, "last_error: null"),
    ("unknown error code", RUN, run("failed"), ("last_error", "code"), "budget", "budget"),
    ("error of an expired run", RUN, run("expired"), ("last_error",), run("failed")["last_error"],
     "last_error: must be null"),
    ("incomplete_details kept", RUN, run("completed"), ("incomplete_details",),
     {"reason": "max_prompt_tokens"}, "incomplete_details: must be null"),
    # steps
    ("a queued step", STEP, tool_step(), ("status",), "queued", "queued"),
    ("step type", STEP, message_step(), ("type",), "tool_calls", "step is tool_calls"),
    ("step without expiry", STEP, tool_step(), ("expires_at",), None, "the run is active"),
    ("step usage missing", STEP, message_step("completed"), ("usage",), None, "usage: null"),
    ("step usage early", STEP, tool_step(), ("usage",), run("failed")["usage"], "usage: must be"),
    ("step error code", STEP, tool_step("failed"), ("last_error", "code"), "invalid_prompt",
     "last_error"),
    ("step expired untimed", STEP, tool_step("expired"), ("expired_at",), None, "expired_at: null"),
    ("step's message id", STEP, message_step(),
     ("step_details", "message_creation", "message_id"), "message_1", "message_id"),
    ("half the outputs", STEP, ANSWERED, (*STEP_CALL, "function", "output"), None,
     "output: null, step completed"),
    ("one id for two calls", STEP, ANSWERED, ("step_details", "tool_calls", 1, "id"), CALL_ID,
     "a call id stands twice"),
    ("outputs in an open step", STEP, tool_step(), ("step_details",),
     answered_calls("sunny", "rain"), "output: not null, step in_progress"),
    ("completed without calls", STEP, ANSWERED, ("step_details", "tool_calls"), [],
     "completed without a call"),
    # messages
    ("request's text part", MESSAGE, user_message(), TEXT, "Hi", "content"),
    ("no annotations", MESSAGE, user_message(), TEXT, {"value": "Hi"}, "content"),
    ("annotations first", MESSAGE, user_message(), TEXT, {"annotations": [], "value": ""},
     "key order"),
    ("image without detail", MESSAGE, user_message(), ("content", 0),
     {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "key detail"),
    ("attachments null", MESSAGE, user_message(), ("attachments",), None, "attachments: null"),
    ("user with a run", MESSAGE, written_message(), ("role",), "user", "role"),
    ("run without assistant", MESSAGE, written_message(), ("assistant_id",), None, "alone"),
    ("user message open", MESSAGE, user_message(), ("status",), "in_progress", "completed_at"),
    ("user message later", MESSAGE, user_message(), ("completed_at",), LATER, "so it is created_at"),
    ("cut for no reason", MESSAGE, cut_message("run_failed"), ("incomplete_details",), None,
     "incomplete_details: null"),
    ("cut and completed", MESSAGE, cut_message("run_failed"), ("completed_at",), LATER,
     "completed_at: must be null"),
    # lists
    ("list's object", MESSAGES, page(user_message()), ("object",), "page", "'page' is not 'list'"),
    ("first_id of nothing", MESSAGES, page(), ("first_id",), "", "first_id: ''"),
    ("last_id", MESSAGES, page(written_message(), user_message()), ("last_id",), MESSAGE_ID,
     "last_id"),
    ("item twice", MESSAGES, page(written_message(), user_message()), ("data", 1),
     written_message(), "an id stands twice"),
    ("a fault in an item", MESSAGES, page(user_message()), ("data", 0, "run_id"), RUN_ID, "alone"),
    ("another object", RUN, run("queued"), ("object",), "run", "object"),
    # the neighbours
    ("no choice", CHAT, chat_completion(), ("choices",), [], "choices: empty"),
    ("choice index", CHAT, chat_completion(), ("choices", 0, "index"), 1, "index: 1"),
    ("no calls", CHAT, chat_completion(), ("choices", 0, "message", "tool_calls"), [], "empty"),
    ("calls called stop", CHAT, chat_completion(), ("choices", 0, "finish_reason"), "end", "end"),
    ("chat call twice", CHAT, chat_completion(),
     ("choices", 0, "message", "tool_calls", 1, "id"), CALL_ID, "stands twice"),
    ("embedding order", EMBEDDINGS, embeddings([1.0], [2.0]), ("data", 1, "index"), 0, "index: 0"),
    ("embedding sizes", EMBEDDINGS, embeddings([1.0], [2.0]), ("data", 1, "embedding"), [1.0, 2.0],
     "different sizes"),
    ("not base64", EMBEDDINGS, embeddings([1.0]), ("data", 0, "embedding"), "?", "not base64"),
    ("not float32", EMBEDDINGS, embeddings([1.0]), ("data", 0, "embedding"), "AAAA", "float32"),
    ("model twice", "GET /v1/models", models("a", "b"), ("data", 1, "id"), "a", "stands twice"),
    ("model without keys", "GET /v1/models", models("a"), ("data", 0), "a", "object"),
    ("model without owner", "GET /v1/models/a", models("a")["data"][0], ("owned_by",), None,
     "owned_by"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "value", "path", "new", "reason"),
    [row[1:] for row in FAULTS],
    ids=[row[0] for row in FAULTS],
)
def test_a_wrong_value_is_named(
    call: str, value: Json, path: Path, new: object, reason: str
) -> None:
    """One wrong value in a correct object is refused for what is wrong with it."""
    check(call, value)

    with pytest.raises(NonConformance, match=reason):
        check(call, patched(value, path, new))


ERROR_FAULTS: list[tuple[str, object, str]] = [
    *(
        (f"no {key}", without(error_body(), ("error", key)), key)
        for key in ("message", "type", "param", "code")
    ),
    ("bare", error_body()["error"], "error"),
    ("order", patched(error_body(), ("error",), reversed_keys(error_body()["error"])), "key order"),
    ("silent", error_body(message=""), "says nothing"),
    ("more around it", error_body() | {"detail": ""}, "unexpected key detail"),
    ("code as a number", error_body(code=404), "code"),
    ("a text", "Not Found", "object"),
]


@pytest.mark.parametrize(
    ("value", "reason"), [row[1:] for row in ERROR_FAULTS], ids=[row[0] for row in ERROR_FAULTS]
)
@pytest.mark.parametrize("call", [THREAD, "GET /v1/customers/customer_42"])
def test_a_wrong_error_is_named(call: str, value: object, reason: str) -> None:
    """Errors have the one envelope, with all four keys, on OpenAI's paths and on ours."""
    with pytest.raises(NonConformance, match=reason):
        check(call, value, status=404)


@pytest.mark.parametrize(
    ("call", "status", "reason"),
    [
        ("POST /v1/assistants", 201, "success is 200"),
        ("GET /v1/assistants", 302, "success is 200"),
        (f"PATCH /v1/threads/{THREAD_ID}", 200, "no such operation"),
        ("GET /v1/files", 200, "no such operation"),
        (f"GET /threads/{THREAD_ID}", 200, "no such operation"),
        (f"GET /v1/threads/{THREAD_ID}/runs/", 200, "no such operation"),
    ],
)
def test_a_success_that_cannot_be_is_refused(call: str, status: int, reason: str) -> None:
    """Success is always 200, and only on an operation that exists."""
    with pytest.raises(NonConformance, match=reason):
        check(call, thread(), status)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b'{"id":1,"id":2}', "stands twice"),
        (b'{"id":NaN}', "NaN"),
        (b'{"id":"\xff"}', "utf-8"),
    ],
)
def test_a_body_that_is_not_json_is_refused(body: bytes, reason: str) -> None:
    """JSON is read strictly: no NaN, no key twice, UTF-8 alone."""
    with pytest.raises(NonConformance, match=reason):
        check_response("GET", f"/v1/threads/{THREAD_ID}", 200, body)
