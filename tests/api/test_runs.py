"""Creating runs: defaults, echoes, overrides, the order of checks, and what goes to the model."""

from typing import Any, Final

import pytest

from tests.api.rig import ECHO, FUNCTION, UPSTREAM_MODEL, Caller
from tests.conformance.stream import check_run_stream
from tests.fakes import FakeUpstream, text_reply

HANG: Final = "fc:sandbox/hang"
STORED_FUNCTION: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    },
}
INCLUDE: Final = "step_details.tool_calls[*].file_search.results[*].content"

DEFAULTS: Final = {
    "started_at": None,
    "cancelled_at": None,
    "failed_at": None,
    "completed_at": None,
    "required_action": None,
    "last_error": None,
    "model": ECHO,
    "instructions": None,
    "tools": [],
    "tool_resources": {},
    "metadata": {},
    "temperature": 1.0,
    "top_p": 1.0,
    "reasoning_effort": None,
    "max_completion_tokens": None,
    "max_prompt_tokens": None,
    "truncation_strategy": {"type": "auto", "last_messages": None},
    "incomplete_details": None,
    "usage": None,
    "response_format": "auto",
    "tool_choice": "auto",
    "parallel_tool_calls": True,
}

ECHOES: Final[list[tuple[dict[str, Any], dict[str, Any]]]] = [
    ({"metadata": {"k": "v"}}, {"metadata": {"k": "v"}}),
    ({"model": "slot:fast"}, {"model": "slot:fast"}),
    ({"instructions": "Mine."}, {"instructions": "Mine."}),
    ({"temperature": 0}, {"temperature": 0.0}),
    ({"top_p": 0.5}, {"top_p": 0.5}),
    ({"max_prompt_tokens": 1000}, {"max_prompt_tokens": 1000}),
    ({"max_completion_tokens": 16}, {"max_completion_tokens": 16}),
    ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ({"tools": [FUNCTION]}, {"tools": [STORED_FUNCTION]}),
    ({"tool_choice": "none"}, {"tool_choice": "none"}),
    ({"tool_choice": "auto"}, {"tool_choice": "auto"}),
    ({"tool_choice": "required", "tools": [FUNCTION]}, {"tool_choice": "required"}),
    (
        {"tool_choice": {"type": "function", "function": {"name": "look_up"}}, "tools": [FUNCTION]},
        {"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
    ),
    (
        {"truncation_strategy": {"type": "auto"}},
        {"truncation_strategy": {"type": "auto", "last_messages": None}},
    ),
    (
        {"truncation_strategy": {"type": "last_messages", "last_messages": 3}},
        {"truncation_strategy": {"type": "last_messages", "last_messages": 3}},
    ),
    ({"response_format": "auto"}, {"response_format": "auto"}),
    ({"response_format": {"type": "text"}}, {"response_format": {"type": "text"}}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}},
    ),
    ({"user": "u", "max_tokens": 10, "seed": 7, "expires_after": 30}, {}),
]
"""What is sent, and what differs from the defaults in the answer."""


@pytest.fixture
async def thread(api: Caller) -> str:
    """A thread with one message."""
    return await api.thread("hi")


@pytest.mark.parametrize("has_thread", [True, False])
async def test_a_run_has_openai_s_defaults(api: Caller, thread: str, has_thread: bool) -> None:
    """On an existing thread or a new one, the assistant's id is all that is needed."""
    assistant = await api.assistant()
    body = {"assistant_id": assistant}
    body |= {} if has_thread else {"thread": {"messages": [{"role": "user", "content": "hi"}]}}

    run = await api.make(f"/v1/threads/{thread}/runs" if has_thread else "/v1/threads/runs", body)

    assert {key: run[key] for key in DEFAULTS} == DEFAULTS
    assert (run["status"], run["assistant_id"]) == ("queued", assistant)
    assert (run["thread_id"] == thread) == has_thread
    assert run["expires_at"] == run["created_at"] + 600


async def test_null_means_not_given_for_every_field_of_a_run(api: Caller, thread: str) -> None:
    """A wall of nulls, as some libraries send it, is a plain run."""
    fields = (
        "model instructions tools metadata temperature top_p max_prompt_tokens seed user "
        "max_completion_tokens truncation_strategy tool_choice parallel_tool_calls response_format "
        "stream expires_after max_tokens reasoning_effort additional_instructions "
        "additional_messages"
    )
    nulls: dict[str, Any] = dict.fromkeys(fields.split())

    run = await api.begin(thread, await api.assistant(), **nulls)

    assert {key: run[key] for key in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(("given", "echoed"), ECHOES)
@pytest.mark.parametrize("has_thread", [True, False])
async def test_a_run_echoes_what_it_was_given(
    api: Caller, thread: str, given: dict[str, Any], echoed: dict[str, Any], has_thread: bool
) -> None:
    """On both ways to create it; Ringside's own fields are taken and not shown."""
    body = {"assistant_id": await api.assistant(), **given}
    body |= {} if has_thread else {"thread": {"messages": [{"role": "user", "content": "hi"}]}}

    run = await api.make(f"/v1/threads/{thread}/runs" if has_thread else "/v1/threads/runs", body)

    expected = DEFAULTS | echoed
    if "tools" in given:
        expected["tools"] = [STORED_FUNCTION]
    assert {key: run[key] for key in expected} == expected


async def test_a_run_takes_over_what_its_assistant_says(api: Caller, thread: str) -> None:
    """Model, instructions, tools, format and sampling come from the assistant."""
    assistant = {
        "model": "slot:fast",
        "instructions": "Be brief.",
        "tools": [FUNCTION],
        "temperature": 0.5,
        "top_p": 0.25,
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
    }

    run = await api.begin(thread, await api.assistant(**assistant))

    inherited = assistant | {"tools": [STORED_FUNCTION]}
    assert {key: run[key] for key in inherited} == inherited
    assert run["metadata"] == {}


async def test_a_run_s_own_values_win_over_its_assistant_s(api: Caller, thread: str) -> None:
    """`tools: []` is a value too: no tools."""
    assistant = await api.assistant(
        instructions="A.", tools=[FUNCTION], temperature=0.5, response_format={"type": "text"}
    )
    own = {"instructions": "", "tools": [], "temperature": 1.5, "response_format": "auto"}

    run = await api.begin(thread, assistant, model="slot:fast", **own)

    assert {key: run[key] for key in own} == own
    assert run["model"] == "slot:fast"


@pytest.mark.parametrize(
    ("assistant", "own", "additional", "shown"),
    [
        ("A.", None, "B.", "A.\n\nB."),
        ("A.", "O.", "B.", "O.\n\nB."),
        (None, None, "B.", "B."),
        ("A.", None, "", "A."),
    ],
)
async def test_additional_instructions_are_appended(
    api: Caller, assistant: str | None, own: str | None, additional: str, shown: str
) -> None:
    """The run shows the joined text."""
    assistant_id, thread = await api.assistant(instructions=assistant), await api.thread("hi")

    run = await api.begin(
        thread, assistant_id, instructions=own, additional_instructions=additional
    )

    assert run["instructions"] == shown


async def test_additional_messages_come_before_the_answer(api: Caller, thread: str) -> None:
    """They are stored in the thread, in their order, with what they carry."""
    messages = [
        {"role": "user", "content": "one", "metadata": {"k": "v"}},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "text", "text": "three"}]},
    ]

    await api.run(thread, await api.assistant(), additional_messages=messages)

    stored = (await api.get(f"/v1/threads/{thread}/messages?order=asc")).json["data"]
    texts = [message["content"][0]["text"]["value"] for message in stored]
    assert texts == ["hi", "one", "two", "three", "three"]
    assert [message["metadata"] for message in stored[1:3]] == [{"k": "v"}, {}]
    assert [message["run_id"] is None for message in stored] == [True] * 4 + [False]


async def test_a_refused_run_leaves_no_messages(api: Caller, thread: str) -> None:
    """Additional messages of a run that was not created are not stored."""
    await api.begin(thread, await api.assistant(model=HANG))
    messages = [{"role": "user", "content": "more"}]
    body = {"assistant_id": await api.assistant(), "additional_messages": messages}

    answer = await api.post(f"/v1/threads/{thread}/runs", body)

    assert answer.status == 409
    assert len((await api.get(f"/v1/threads/{thread}/messages")).json["data"]) == 1


@pytest.mark.parametrize("query", ["", f"?include[]={INCLUDE}", f"?include%5B%5D={INCLUDE}"])
async def test_include_is_accepted(api: Caller, thread: str, query: str) -> None:
    """.NET sends it on every run and step list; it changes nothing."""
    body = {"assistant_id": await api.assistant(), "stream": True}

    created = await api.post(f"/v1/threads/{thread}/runs{query}", body)
    [run] = (await api.get(f"/v1/threads/{thread}/runs")).json["data"]
    steps = await api.get(f"/v1/threads/{thread}/runs/{run['id']}/steps{query}")
    step = await api.get(
        f"/v1/threads/{thread}/runs/{run['id']}/steps/{steps.json['data'][0]['id']}{query}"
    )

    assert [created.status, steps.status, step.status] == [200, 200, 200]
    assert step.json == steps.json["data"][0]


async def test_an_unknown_include_is_refused(api: Caller, thread: str) -> None:
    """What could never be included is a mistake."""
    body = {"assistant_id": await api.assistant()}

    answer = await api.post(f"/v1/threads/{thread}/runs?include[]=usage", body)

    assert (answer.status, answer.error["param"]) == (400, "include[0]")


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"assistant_id": None}, "assistant_id", "invalid_type"),
        ({"assistant_id": "wf_1"}, "assistant_id", "invalid_value"),
        ({"assistant_id": ""}, "assistant_id", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"top_p": -0.1}, "top_p", "decimal_below_min_value"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "integer_below_min_value"),
        ({"max_prompt_tokens": -1}, "max_prompt_tokens", "integer_below_min_value"),
        ({"tools": [FUNCTION] * 21}, "tools", "array_above_max_length"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type", "unsupported_tool_type"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type", "invalid_value"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type", "unsupported_tool_type"),
        ({"tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"truncation_strategy": {"type": "last_messages"}}, "truncation_strategy.last_messages",
         "missing_required_parameter"),
        ({"response_format": "json"}, "response_format", "invalid_value"),
        ({"expires_after": "1d"}, "expires_after", "invalid_value"),
        ({"expires_after": "999h"}, "expires_after", "integer_above_max_value"),
        ({"expires_after": 0}, "expires_after", "integer_below_min_value"),
        ({"user": "a b"}, "user", "invalid_value"),
        ({"model": "gpt-4o"}, "model", "invalid_model"),
        ({"model": "slot:nothing"}, "model", "invalid_model"),
        ({"stop": "x"}, "stop", "unknown_parameter"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("has_thread", [True, False])
async def test_a_run_that_makes_no_sense_is_refused(
    api: Caller, body: dict[str, Any], param: str, code: str, has_thread: bool
) -> None:
    """The field is named, and neither a run nor a thread is made."""
    thread = await api.thread("hi")
    body = {"assistant_id": await api.assistant()} | body
    path = f"/v1/threads/{thread}/runs" if has_thread else "/v1/threads/runs"

    answer = await api.post(path, body)

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)
    assert (await api.get(f"/v1/threads/{thread}/runs")).json["data"] == []
    assert len((await api.get("/v1/threads")).json["data"]) == 1


@pytest.mark.parametrize("field", ["additional_messages", "additional_instructions"])
async def test_a_thread_and_run_takes_no_additions(api: Caller, field: str) -> None:
    """They belong into the thread and the instructions there."""
    body = {"assistant_id": await api.assistant(), field: None}

    answer = await api.post("/v1/threads/runs", body)

    assert (answer.status, answer.error["code"]) == (400, "unknown_parameter")
    assert answer.error["param"] == field


async def test_a_run_with_nothing_to_say_is_refused(api: Caller) -> None:
    """An empty thread and an assistant without instructions: OpenAI's words, and no thread."""
    thread, assistant = await api.thread(), await api.assistant()

    answers = [
        await api.post(f"/v1/threads/{thread}/runs", {"assistant_id": assistant}),
        await api.post("/v1/threads/runs", {"assistant_id": assistant}),
        await api.post("/v1/threads/runs", {"assistant_id": assistant, "thread": {}}),
    ]

    for answer in answers:
        assert answer.status == 400
        assert answer.error == {
            "message": "Run creation requires a Thread with a user message or an assistant with "
            "instructions.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_thread",
        }
    assert len((await api.get("/v1/threads")).json["data"]) == 1
    assert (await api.get(f"/v1/threads/{thread}/runs")).json["data"] == []


@pytest.mark.parametrize(
    "values",
    [
        {"instructions": "Say something."},
        {"additional_instructions": "Say something."},
        {"additional_messages": [{"role": "user", "content": "hi"}]},
    ],
)
async def test_a_run_with_something_to_say_needs_no_messages(
    api: Caller, values: dict[str, Any]
) -> None:
    """Instructions or additional messages are enough on an empty thread."""
    run = await api.run(
        await api.thread(), await api.assistant(model="fc:sandbox/transcript"), **values
    )

    assert run["status"] == "completed"


async def test_checks_come_in_openai_s_order(api: Caller) -> None:
    """JSON, then fields, then existence, then state: the first thing wrong is what is said."""
    thread = await api.thread("hi")
    await api.begin(thread, await api.assistant(model=HANG))
    busy, unknown = f"/v1/threads/{thread}/runs", "/v1/threads/thread_nothing/runs"
    assistant, nothing = {"assistant_id": await api.assistant()}, {"assistant_id": "asst_nothing"}

    statuses = [
        (await api.post(unknown, data=b"{")).status,
        (await api.post(unknown, {"x": 1})).error["code"],
        (await api.post(unknown, nothing | {"temperature": 3})).error["code"],
        (await api.post(unknown, nothing)).error["message"],
        (await api.post(busy, nothing)).error["message"],
        (await api.post(busy, assistant | {"model": "gpt-4o"})).error["code"],
        (await api.post(busy, assistant)).error["code"],
    ]

    assert statuses == [
        400,
        "missing_required_parameter",
        "decimal_above_max_value",
        "No thread found with id 'thread_nothing'.",
        "No assistant found with id 'asst_nothing'.",
        "invalid_model",
        "conversation_locked",
    ]


@pytest.mark.parametrize(
    ("given", "seconds"), [(45, 45), ("45s", 45), ("10m", 600), ("2h", 7200), (604800, 604800)]
)
async def test_a_run_may_say_when_it_expires(
    api: Caller, thread: str, given: Any, seconds: int
) -> None:
    """`expires_at` tells the truth."""
    run = await api.begin(thread, await api.assistant(), expires_after=given)

    assert run["expires_at"] - run["created_at"] == seconds


async def test_a_run_says_which_model_answers(api: Caller, thread: str) -> None:
    """A header shows what a slot stands for, plain and streamed."""
    assistant = await api.assistant(model="slot:fast")
    path, body = f"/v1/threads/{thread}/runs", {"assistant_id": assistant}

    streamed = await api.post(path, body | {"stream": True})
    plain = await api.post(path, body)

    assert streamed.headers["x-ringside-model"] == ECHO
    assert plain.headers["x-ringside-model"] == ECHO


async def test_a_stream_is_openai_s_in_head_and_body(api: Caller, thread: str) -> None:
    """Headers, frames and order of a streamed run, and of one that brings its thread."""
    assistant = await api.assistant()

    on_thread = await api.post(
        f"/v1/threads/{thread}/runs", {"assistant_id": assistant, "stream": True}
    )
    messages = {"messages": [{"role": "user", "content": "hi"}]}
    with_thread = await api.post(
        "/v1/threads/runs", {"assistant_id": assistant, "stream": True, "thread": messages}
    )

    for answer in (on_thread, with_thread):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert "content-encoding" not in answer.headers
    assert check_run_stream(on_thread.body)[0][0] == "thread.run.created"
    assert check_run_stream(with_thread.body)[0][0] == "thread.created"


async def test_a_run_s_parameters_reach_the_model(
    api: Caller, upstream: FakeUpstream, thread: str
) -> None:
    """The provider is sent what the run says, under the provider's names, and no more."""
    upstream.enqueue(text_reply("ok"))

    await api.run(
        thread,
        await api.assistant(model=UPSTREAM_MODEL, instructions="A.", tools=[FUNCTION]),
        temperature=0.5,
        top_p=0.25,
        seed=7,
        max_tokens=99,
        user="u",
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        additional_instructions="B, as JSON.",
    )

    body = upstream.requests[0].body
    assert body.pop("messages") == [
        {"role": "system", "content": "A.\n\nB, as JSON."},
        {"role": "user", "content": "hi"},
    ]
    assert [tool["function"]["name"] for tool in body.pop("tools")] == ["look_up"]
    assert body == {
        "model": "gpt-4o-mini",
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "temperature": 0.5,
        "top_p": 0.25,
        "seed": 7,
        "max_completion_tokens": 99,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_object"},
    }


async def test_a_slot_s_parameters_stand_under_the_run_s(
    api: Caller, upstream: FakeUpstream, thread: str
) -> None:
    """The slot says temperature 0.2 and top_p 0.9; the run says top_p 0.5."""
    upstream.enqueue(text_reply("ok"))

    await api.run(thread, await api.assistant(model="slot:warm"), top_p=0.5)

    body = upstream.requests[0].body
    assert (body["model"], body["temperature"], body["top_p"]) == ("gpt-4o-mini", 0.2, 0.5)


async def test_runs_are_paged_newest_first(api: Caller, thread: str) -> None:
    """`after` and `before` walk through a thread's runs; another thread's run is no cursor."""
    assistant = await api.assistant()
    made = [(await api.run(thread, assistant))["id"] for _ in range(4)]
    foreign = (await api.run(await api.thread("x"), assistant))["id"]
    path = f"/v1/threads/{thread}/runs"

    first = (await api.get(f"{path}?limit=3")).json
    second = (await api.get(f"{path}?limit=3&after={first['last_id']}")).json
    before = (await api.get(f"{path}?limit=1&before={made[0]}")).json
    lost = await api.get(f"{path}?after={foreign}")

    assert [run["id"] for run in first["data"] + second["data"]] == made[::-1]
    assert [run["id"] for run in before["data"]] == [made[1]]
    assert (lost.status, lost.error["param"]) == (400, "after")
