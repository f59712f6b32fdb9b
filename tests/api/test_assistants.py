"""/v1/assistants: defaults, echoes, what a modification touches, and its lists."""

from typing import Any, Final

import pytest

from tests.api.rig import ECHO, FUNCTION, Caller

DEFAULTS: Final = {
    "name": None,
    "description": None,
    "model": ECHO,
    "instructions": None,
    "tools": [],
    "top_p": 1.0,
    "temperature": 1.0,
    "reasoning_effort": None,
    "tool_resources": {},
    "metadata": {},
    "response_format": "auto",
}
SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FULL: Final[dict[str, Any]] = {
    "name": "Ada",
    "description": "counts",
    "instructions": "Be brief.",
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "does f",
                "parameters": SCHEMA,
                "strict": True,
            },
        }
    ],
    "temperature": 0.5,
    "top_p": 0.25,
    "reasoning_effort": "low",
    "metadata": {"k": "v", "": "", "ü": "\u2028"},
    "response_format": {"type": "json_object"},
}

TOOLS: Final = [
    (
        FUNCTION,
        {"name": "look_up", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ),
    (
        {
            "type": "function",
            "function": {"name": "f", "strict": None, "parameters": None, "description": None},
        },
        {"name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ),
    (
        {"type": "function", "function": {"name": "f", "parameters": {}}},
        {"name": "f", "parameters": {}, "strict": False},
    ),
    (
        {"type": "function", "function": {"name": "f", "description": "", "strict": True}},
        {
            "name": "f",
            "description": "",
            "parameters": {"type": "object", "properties": {}},
            "strict": True,
        },
    ),
    (
        {
            "type": "function",
            "function": {"name": "f", "parameters": SCHEMA | {"x-own": [1, None]}},
        },
        {"name": "f", "parameters": SCHEMA | {"x-own": [1, None]}, "strict": False},
    ),
]
"""A tool as it is sent, and its function as it comes back."""

FORMATS: Final = [
    "auto",
    {"type": "text"},
    {"type": "json_object"},
    {"type": "json_schema", "json_schema": {"name": "n"}},
    {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
    {"type": "json_schema", "json_schema": {"name": "n", "strict": None}},
]


async def test_an_assistant_has_openai_s_defaults(api: Caller) -> None:
    """The model is all that is needed; everything else is what OpenAI would say."""
    made = await api.make("/v1/assistants", {"model": ECHO})

    assert {key: made[key] for key in DEFAULTS} == DEFAULTS


async def test_null_means_not_given_for_every_field(api: Caller) -> None:
    """Clients write null everywhere; it is the same as silence."""
    nulls = dict.fromkeys(DEFAULTS) | {"model": ECHO}

    made = await api.make("/v1/assistants", nulls)

    assert {key: made[key] for key in DEFAULTS} == DEFAULTS


async def test_an_assistant_echoes_every_field(api: Caller) -> None:
    """What was sent comes back, from the creation, from a GET and from the list."""
    made = await api.make("/v1/assistants", {"model": "slot:fast", **FULL})

    assert {key: made[key] for key in FULL} == FULL
    assert made["model"] == "slot:fast"
    assert (await api.get(f"/v1/assistants/{made['id']}")).json == made
    assert (await api.get("/v1/assistants")).json["data"] == [made]


@pytest.mark.parametrize(("tool", "function"), TOOLS)
async def test_a_function_is_echoed_with_its_defaults(
    api: Caller, tool: dict[str, Any], function: dict[str, Any]
) -> None:
    """Parameters and strict are filled in, a description is not, and a schema stays as it is."""
    made = await api.make("/v1/assistants", {"model": ECHO, "tools": [tool]})

    assert made["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize("response_format", FORMATS)
async def test_a_response_format_is_echoed_as_given(api: Caller, response_format: Any) -> None:
    """Nothing is added to it and nothing is left out."""
    body = {"model": ECHO, "response_format": response_format}

    made = await api.make("/v1/assistants", body)

    assert made["response_format"] == response_format


@pytest.mark.parametrize(("given", "echoed"), [(0, 0.0), (2, 2.0), (1, 1.0), (0.1, 0.1)])
async def test_a_temperature_is_echoed_as_a_decimal(
    api: Caller, given: float, echoed: float
) -> None:
    """0 is a value, not a default."""
    answer = await api.post("/v1/assistants", {"model": ECHO, "temperature": given})

    assert answer.json["temperature"] == echoed
    assert f'"temperature":{echoed}'.encode() in answer.body


@pytest.mark.parametrize(
    "change",
    [
        *({key: value} for key, value in FULL.items()),
        {"model": "fc:openai/gpt-4o"},
        {"tools": []},
        {"metadata": {}},
        {"temperature": 0},
        {"name": ""},
    ],
)
async def test_a_modification_changes_what_is_given_alone(
    api: Caller, change: dict[str, Any]
) -> None:
    """Every other field stays, also when the object is read again."""
    made = await api.make("/v1/assistants", {"model": "slot:fast", **FULL, "top_p": 0.75})

    modified = await api.make(f"/v1/assistants/{made['id']}", change)

    assert modified == made | change
    assert (await api.get(f"/v1/assistants/{made['id']}")).json == modified


@pytest.mark.parametrize("field", ["name", "description", "instructions"])
async def test_null_clears_a_text_of_an_assistant(api: Caller, field: str) -> None:
    """On a modification null is not silence for the three texts."""
    made = await api.make("/v1/assistants", {"model": ECHO, **FULL})

    modified = await api.make(f"/v1/assistants/{made['id']}", {field: None})

    assert modified == made | {field: None}


@pytest.mark.parametrize(
    "field",
    ["model", "tools", "metadata", "temperature", "top_p", "response_format", "reasoning_effort"],
)
async def test_null_leaves_the_other_fields_of_an_assistant(api: Caller, field: str) -> None:
    """Where null is no value, it says nothing."""
    made = await api.make("/v1/assistants", {"model": ECHO, **FULL})

    modified = await api.make(f"/v1/assistants/{made['id']}", {field: None})

    assert modified == made


@pytest.mark.parametrize("body", [None, {}])
async def test_a_modification_of_nothing_changes_nothing(api: Caller, body: Any) -> None:
    """An empty body, or none, gives back the object."""
    made = await api.make("/v1/assistants", {"model": ECHO, **FULL})

    assert await api.make(f"/v1/assistants/{made['id']}", body) == made


async def test_metadata_is_replaced_whole(api: Caller) -> None:
    """Keys that are not in the new map are gone."""
    made = await api.make("/v1/assistants", {"model": ECHO, "metadata": {"a": "1", "b": "2"}})

    modified = await api.make(f"/v1/assistants/{made['id']}", {"metadata": {"b": "3"}})

    assert modified["metadata"] == {"b": "3"}


@pytest.mark.parametrize("tool", ["code_interpreter", "file_search"])
@pytest.mark.parametrize("is_modification", [False, True])
async def test_a_hosted_tool_is_refused_by_name(
    api: Caller, tool: str, is_modification: bool
) -> None:
    """The answer points at the tool and says what is served instead; nothing is stored."""
    path = "/v1/assistants" + (f"/{await api.assistant()}" if is_modification else "")
    before = (await api.get("/v1/assistants")).json

    answer = await api.post(path, {"model": ECHO, "tools": [FUNCTION, {"type": tool}]})

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "unsupported_tool_type"
    assert answer.error["param"] == "tools[1].type"
    assert f"'{tool}'" in answer.error["message"]
    assert (await api.get("/v1/assistants")).json == before


@pytest.mark.parametrize(
    "resources",
    [
        {},
        {"code_interpreter": {}},
        {"code_interpreter": {"file_ids": []}, "file_search": {"vector_store_ids": []}},
        {"code_interpreter": None, "file_search": {"vector_stores": None}},
    ],
)
async def test_empty_tool_resources_pass(api: Caller, resources: Any) -> None:
    """Clients send them by habit; they are shown as `{}`."""
    made = await api.make("/v1/assistants", {"model": ECHO, "tool_resources": resources})

    assert made["tool_resources"] == {}


@pytest.mark.parametrize(
    ("resources", "param"),
    [
        ({"code_interpreter": {"file_ids": ["file-1"]}}, "code_interpreter.file_ids"),
        ({"file_search": {"vector_store_ids": ["vs_1"]}}, "file_search.vector_store_ids"),
        ({"file_search": {"vector_stores": [{}]}}, "file_search.vector_stores"),
    ],
)
async def test_files_in_tool_resources_are_refused(api: Caller, resources: Any, param: str) -> None:
    """A file that nothing would read is an error, not silence."""
    answer = await api.post("/v1/assistants", {"model": ECHO, "tool_resources": resources})

    assert (answer.status, answer.error["code"]) == (400, "unsupported_tool_type")
    assert answer.error["param"] == f"tool_resources.{param}"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-4o", "'fc:openai/gpt-4o'"),
        ("", ""),
        ("fc:openai", "'fc:<provider>/<model>'"),
        ("fc:openai/", "'fc:<provider>/<model>'"),
        ("fc:opnai/gpt-4o", "'openai'"),
        ("FC:openai/gpt-4o", "needs its provider"),
        ("slot:fst", "'slot:fast'"),
        ("slot:", "slot"),
        ("fc:sandbox/echo\r\nx-evil: 1", "fc:<provider>/<model>"),
        ("fc:sandbox/echo\n", "fc:<provider>/<model>"),
        ("fc:sandbox/\x7f", "fc:<provider>/<model>"),
    ],
)
async def test_a_model_that_can_never_be_served_is_refused(
    api: Caller, model: str, words: str
) -> None:
    """At creation and at modification the answer says what to write; nothing changes."""
    assistant = await api.assistant()

    created = await api.post("/v1/assistants", {"model": model})
    modified = await api.post(f"/v1/assistants/{assistant}", {"model": model})

    for answer in (created, modified):
        assert (answer.status, answer.error["param"]) == (400, "model")
        assert answer.error["code"] == ("invalid_model" if model else "empty_string")
        assert words in answer.error["message"]
    assert [a["model"] for a in (await api.get("/v1/assistants")).json["data"]] == [ECHO]


async def test_a_model_whose_provider_has_no_key_may_be_named(api: Caller) -> None:
    """The key may come later: only its use is refused."""
    thread = await api.thread("hi")
    assistant = await api.assistant(model="fc:anthropic/claude")

    answer = await api.post(f"/v1/threads/{thread}/runs", {"assistant_id": assistant})

    assert (answer.status, answer.error["param"]) == (400, "model")


@pytest.mark.parametrize(("order", "step"), [("desc", -1), ("asc", 1), (None, -1)])
async def test_assistants_are_paged_in_order(api: Caller, order: str | None, step: int) -> None:
    """`after` walks through all of them without a gap, newest first unless asked otherwise."""
    made = [await api.assistant() for _ in range(7)]
    query = "limit=3" + (f"&order={order}" if order else "")

    seen: list[str] = []
    sizes = []
    after = ""
    while True:
        page = (await api.get(f"/v1/assistants?{query}{after}")).json
        seen += [assistant["id"] for assistant in page["data"]]
        sizes.append(len(page["data"]))
        if not page["has_more"]:
            break
        after = f"&after={page['last_id']}"

    assert seen == made[::step]
    assert sizes == [3, 3, 1]
    assert (await api.get(f"/v1/assistants?{query}&after={seen[-1]}")).json["data"] == []


async def test_before_gives_the_page_next_to_the_cursor(api: Caller) -> None:
    """The items are those adjacent to it, in the order asked for."""
    a, b, c, d, e = [await api.assistant() for _ in range(5)]

    newest_first = (await api.get(f"/v1/assistants?limit=2&before={a}")).json
    oldest_first = (await api.get(f"/v1/assistants?limit=2&order=asc&before={e}")).json
    between = (await api.get(f"/v1/assistants?after={e}&before={b}")).json

    assert [x["id"] for x in newest_first["data"]] == [c, b]
    assert [x["id"] for x in oldest_first["data"]] == [c, d]
    assert [x["id"] for x in between["data"]] == [d, c]


async def test_a_page_names_its_ends(api: Caller) -> None:
    """first_id and last_id are those of the page, null if it is empty."""
    empty = (await api.get("/v1/assistants")).json
    made = [await api.assistant() for _ in range(3)]

    page = (await api.get("/v1/assistants?limit=2")).json

    assert (empty["first_id"], empty["last_id"], empty["has_more"]) == (None, None, False)
    assert (page["first_id"], page["last_id"], page["has_more"]) == (made[2], made[1], True)


async def test_a_deleted_object_is_still_a_cursor(api: Caller) -> None:
    """Who deletes while paging can go on."""
    a, b, c = [await api.assistant() for _ in range(3)]
    await api.delete(f"/v1/assistants/{b}")

    page = (await api.get(f"/v1/assistants?after={b}")).json

    assert [x["id"] for x in page["data"]] == [a]
    assert c not in str(page)


@pytest.mark.parametrize(
    ("query", "param", "code", "message"),
    [
        (
            "limit=0",
            "limit",
            "integer_below_min_value",
            "Invalid 'limit': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            "limit=101",
            "limit",
            "integer_above_max_value",
            "Invalid 'limit': integer above maximum value. Expected a value <= 100, but got 101 instead.",
        ),
        ("limit=-1", "limit", "integer_below_min_value", None),
        ("limit=x", "limit", "invalid_type", None),
        ("limit=1.5", "limit", "invalid_type", None),
        ("limit=99999999999999999999", "limit", "invalid_type", None),
        (
            "order=up",
            "order",
            "invalid_value",
            "Invalid value: 'up'. Supported values are: 'asc' and 'desc'.",
        ),
        ("after=asst_nothing", "after", "invalid_value", None),
        ("before=nothing", "before", "invalid_value", None),
    ],
)
async def test_a_list_query_that_makes_no_sense_is_refused(
    api: Caller, query: str, param: str, code: str, message: str | None
) -> None:
    """Limits, orders and cursors are checked, in OpenAI's grammar."""
    answer = await api.get(f"/v1/assistants?{query}")

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)
    assert message in (None, answer.error["message"])


@pytest.mark.parametrize(
    "query", ["limit=", "order=", "after=", "before=", "foo=bar", "limit=1&limit=2"]
)
async def test_empty_and_unknown_parameters_count_as_silence(api: Caller, query: str) -> None:
    """Clients write parameters that they have no value for."""
    made = await api.assistant()

    answer = await api.get(f"/v1/assistants?{query}")

    assert [assistant["id"] for assistant in answer.json["data"]] == [made]


async def test_a_deleted_assistant_is_gone(api: Caller) -> None:
    """GET, POST, DELETE and a run say so; its runs keep their snapshot."""
    assistant, thread = await api.assistant(), await api.thread("hi")
    run = await api.run(thread, assistant)

    deleted = await api.delete(f"/v1/assistants/{assistant}")

    path = f"/v1/assistants/{assistant}"
    body = {"assistant_id": assistant}
    answers = [
        await api.get(path),
        await api.post(path, {}),
        await api.delete(path),
        await api.post(f"/v1/threads/{thread}/runs", body),
    ]
    assert deleted.json == {"id": assistant, "object": "assistant.deleted", "deleted": True}
    assert {answer.status for answer in answers} == {404}
    assert (await api.get(f"/v1/threads/{thread}/runs/{run['id']}")).json == run
