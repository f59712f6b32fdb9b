"""/v1/threads and their messages: forms of content, modifications, lists and filters."""

from typing import Any, Final
from urllib.parse import quote

import pytest

from tests.api.rig import Caller, Ringside, rows

IMAGE: Final = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
TEXT: Final = {"type": "text", "text": {"value": "hi", "annotations": []}}

CONTENTS: Final = [
    ("hi", [TEXT]),
    ([{"type": "text", "text": "hi"}], [TEXT]),
    ([{"type": "text", "text": ""}], [{"type": "text", "text": {"value": "", "annotations": []}}]),
    (
        [{"type": "text", "text": "hi"}, IMAGE],
        [TEXT, {"type": "image_url", "image_url": {**IMAGE["image_url"], "detail": "auto"}}],
    ),
    (
        [
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"},
            }
        ],
        [
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"},
            }
        ],
    ),
    (
        [{"type": "image_url", "image_url": {"url": "https://x.example", "detail": None}}],
        [{"type": "image_url", "image_url": {"url": "https://x.example", "detail": "auto"}}],
    ),
]
"""Content as it is sent, and as it comes back."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": b""},
        {"data": b"", "headers": {"content-type": "application/json"}},
        {"json": {}},
        {"json": {"messages": None, "metadata": None, "tool_resources": None}},
        {"json": {"messages": [], "metadata": {}, "tool_resources": {}}},
        {"data": b"{}", "headers": {"content-type": "text/plain"}},
    ],
    ids=["nothing", "empty", "typed", "object", "nulls", "empties", "text"],
)
async def test_a_thread_needs_no_body(api: Caller, options: dict[str, Any]) -> None:
    """Nothing, an empty object and nulls all make an empty thread, whatever the content type."""
    answer = await api.post("/v1/threads", **options)

    assert answer.status == 200
    assert (answer.json["metadata"], answer.json["tool_resources"]) == ({}, {})
    assert (await api.get(f"/v1/threads/{answer.json['id']}/messages")).json["data"] == []


async def test_a_thread_echoes_its_metadata(api: Caller) -> None:
    """From its creation, from a GET and from the list; `user` is not shown."""
    made = await api.make("/v1/threads", {"metadata": {"k": "v"}, "user": "u"})

    assert made["metadata"] == {"k": "v"}
    assert "user" not in made
    assert (await api.get(f"/v1/threads/{made['id']}")).json == made
    assert (await api.get("/v1/threads")).json["data"] == [made]


@pytest.mark.parametrize("body", [None, {}, {"metadata": None}, {"tool_resources": {}}])
async def test_a_thread_s_metadata_stays_if_none_is_given(api: Caller, body: Any) -> None:
    """A modification of nothing gives back the thread."""
    made = await api.make("/v1/threads", {"metadata": {"a": "1"}})

    assert await api.make(f"/v1/threads/{made['id']}", body) == made


@pytest.mark.parametrize("metadata", [{"b": "2"}, {}])
async def test_a_thread_s_metadata_is_replaced_whole(api: Caller, metadata: dict[str, str]) -> None:
    """In the object, and for the filters of the list."""
    made = await api.make("/v1/threads", {"metadata": {"a": "1"}})

    modified = await api.make(f"/v1/threads/{made['id']}", {"metadata": metadata})

    assert modified == made | {"metadata": metadata}
    assert (await api.get("/v1/threads?metadata[a]=1")).json["data"] == []
    query = "&".join(f"metadata[{key}]={value}" for key, value in metadata.items())
    assert (await api.get(f"/v1/threads?{query}")).json["data"] == [modified]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["both", "one", "none"]),
        ("metadata[k]=v", ["both", "one"]),
        ("metadata[k]=v&metadata[l]=w", ["both"]),
        ("metadata%5Bk%5D=v", ["both", "one"]),
        ("metadata[l]=w", ["both"]),
        ("metadata[k]=V", []),
        ("metadata[k]=", []),
        ("metadata[v]=k", []),
        ("metadata[nothing]=v", []),
        ("metadata[k]=v&limit=1", ["both"]),
        ("metadata[k]=v&order=asc", ["one", "both"]),
    ],
)
async def test_threads_are_found_by_their_metadata(
    api: Caller, query: str, found: list[str]
) -> None:
    """All pairs of the query have to be there."""
    await api.thread(metadata={"name": "none"})
    await api.thread(metadata={"name": "one", "k": "v"})
    await api.thread(metadata={"name": "both", "k": "v", "l": "w"})

    answer = await api.get(f"/v1/threads?{query}")

    assert [thread["metadata"]["name"] for thread in answer.json["data"]] == found


@pytest.mark.parametrize("word", ["ü ö", "a&b=c", "[x]", "100%", "\u2028", "emoji 🥊", "a+b"])
async def test_any_metadata_can_be_asked_for(api: Caller, word: str) -> None:
    """Keys and values of any characters are found, once they are percent-encoded."""
    made = await api.thread(metadata={word: word})
    await api.thread(metadata={word: "other"})

    found = (await api.get(f"/v1/threads?metadata[{quote(word)}]={quote(word)}")).json["data"]

    assert [thread["id"] for thread in found] == [made]


async def test_a_filtered_list_is_paged_without_a_gap(api: Caller) -> None:
    """What does not match takes no place on a page."""
    made = []
    for number in range(5):
        made.append(await api.thread(metadata={"k": "v", "n": str(number)}))
        await api.thread(metadata={"k": "w"})

    first = (await api.get("/v1/threads?metadata[k]=v&limit=3")).json
    second = (await api.get(f"/v1/threads?metadata[k]=v&limit=3&after={first['last_id']}")).json

    assert [t["id"] for t in first["data"] + second["data"]] == made[::-1]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_a_deleted_thread_is_gone_with_everything_below_it(api: Caller) -> None:
    """Each path below it is a 404, the list is without it, and a second deletion too."""
    thread, assistant = await api.thread("hi"), await api.assistant()
    run = await api.run(thread, assistant)
    path = f"/v1/threads/{thread}"

    deleted = await api.delete(path)

    message = {"role": "user", "content": "x"}
    answers = [
        await api.get(path),
        await api.post(path, {}),
        await api.delete(path),
        await api.get(f"{path}/messages"),
        await api.post(f"{path}/messages", message),
        await api.get(f"{path}/runs"),
        await api.get(f"{path}/runs/{run['id']}"),
        await api.get(f"{path}/runs/{run['id']}/steps"),
        await api.post(f"{path}/runs", {"assistant_id": assistant}),
    ]
    assert deleted.json == {"id": thread, "object": "thread.deleted", "deleted": True}
    assert {answer.status for answer in answers} == {404}
    assert {a.error["message"] for a in answers} == {f"No thread found with id '{thread}'."}
    assert (await api.get("/v1/threads")).json["data"] == []


async def test_a_thread_with_an_active_run_can_be_deleted(api: Caller) -> None:
    """The run is stopped first."""
    thread = await api.thread("hi")
    await api.begin(thread, await api.assistant(model="fc:sandbox/hang"))

    deleted = await api.delete(f"/v1/threads/{thread}")

    assert deleted.status == 200
    assert (await api.get(f"/v1/threads/{thread}")).status == 404


@pytest.mark.parametrize(("content", "stored"), CONTENTS)
@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("is_created_with_thread", [False, True])
async def test_a_message_echoes_every_form_of_content(
    api: Caller, role: str, content: Any, stored: Any, is_created_with_thread: bool
) -> None:
    """A text is a string on the way in and an object on the way out, on both ways to create it."""
    message = {"role": role, "content": content, "metadata": {"k": "v"}}
    if is_created_with_thread:
        thread = (await api.make("/v1/threads", {"messages": [message]}))["id"]
    else:
        thread = await api.thread()
        await api.make(f"/v1/threads/{thread}/messages", message)

    [made] = (await api.get(f"/v1/threads/{thread}/messages")).json["data"]

    assert (made["role"], made["content"], made["metadata"]) == (role, stored, {"k": "v"})
    assert (made["assistant_id"], made["run_id"], made["attachments"]) == (None, None, [])
    assert (made["status"], made["completed_at"]) == ("completed", made["created_at"])
    assert (await api.get(f"/v1/threads/{thread}/messages/{made['id']}")).json == made


@pytest.mark.parametrize("attachments", [[], None])
async def test_no_attachments_are_fine(api: Caller, attachments: Any) -> None:
    """Clients send them empty by habit."""
    thread = await api.thread()
    body = {"role": "user", "content": "x", "attachments": attachments, "metadata": None}

    made = await api.make(f"/v1/threads/{thread}/messages", body)

    assert (made["attachments"], made["metadata"]) == ([], {})


@pytest.mark.parametrize(
    ("message", "param", "code"),
    [
        ({"role": "user"}, "content", "missing_required_parameter"),
        ({"content": "x"}, "role", "missing_required_parameter"),
        ({"role": "system", "content": "x"}, "role", "invalid_value"),
        ({"role": "user", "content": ""}, "content", "empty_string"),
        ({"role": "user", "content": []}, "content", "empty_array"),
        ({"role": "user", "content": None}, "content", "invalid_type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content[0].text", "missing_required_parameter"),
        ({"role": "user", "content": [{"type": "text", "text": {"value": "x"}}]}, "content[0].text", "invalid_type"),
        ({"role": "user", "content": [{"type": "audio"}]}, "content[0].type", "invalid_value"),
        ({"role": "user", "content": "x" * 256_001}, "content", "string_above_max_length"),
        ({"role": "user", "content": [{"type": "image_file", "image_file": {"file_id": "file-1"}}]},
         "content[0].image_file.file_id", "invalid_value"),
        ({"role": "user", "content": "x", "attachments": [{"file_id": "f", "tools": [{"type": "file_search"}]}]},
         "attachments[0].tools[0].type", "unsupported_tool_type"),
        ({"role": "user", "content": "x", "attachments": [{"file_id": "f"}]},
         "attachments[0].file_id", "invalid_value"),
        ({"role": "user", "content": "x", "metadata": {"k": 1}}, "metadata.k", "invalid_type"),
        ({"role": "user", "content": "x", "user": "u"}, "user", "unknown_parameter"),
    ],
)  # fmt: skip
async def test_a_message_that_makes_no_sense_is_refused_wherever_it_stands(
    api: Caller, message: dict[str, Any], param: str, code: str
) -> None:
    """The same fault has the same code in each of the four places, under its own path."""
    thread, assistant = await api.thread("hi"), await api.assistant()
    before = await api.get(f"/v1/threads/{thread}/messages")
    places: dict[str, tuple[str, dict[str, Any]]] = {
        "": (f"/v1/threads/{thread}/messages", message),
        "messages[0].": ("/v1/threads", {"messages": [message]}),
        "additional_messages[0].": (
            f"/v1/threads/{thread}/runs",
            {"assistant_id": assistant, "additional_messages": [message]},
        ),
        "thread.messages[0].": (
            "/v1/threads/runs",
            {"assistant_id": assistant, "thread": {"messages": [message]}},
        ),
    }

    answers = {prefix: await api.post(*place) for prefix, place in places.items()}

    assert {a.status for a in answers.values()} == {400}
    assert {a.error["code"] for a in answers.values()} == {code}
    assert [a.error["param"] for a in answers.values()] == [f"{at}{param}" for at in places]
    assert (await api.get(f"/v1/threads/{thread}/messages")).json == before.json
    assert len((await api.get("/v1/threads")).json["data"]) == 1


@pytest.mark.parametrize("body", [None, {}, {"metadata": None}])
async def test_a_message_s_metadata_stays_if_none_is_given(api: Caller, body: Any) -> None:
    """A modification of nothing gives back the message."""
    thread = await api.thread()
    message = {"role": "user", "content": "x", "metadata": {"a": "1"}}
    made = await api.make(f"/v1/threads/{thread}/messages", message)

    assert await api.make(f"/v1/threads/{thread}/messages/{made['id']}", body) == made


async def test_a_message_s_metadata_is_replaced_whole(api: Caller) -> None:
    """And nothing else of it changes."""
    thread = await api.thread()
    message = {"role": "user", "content": "x", "metadata": {"a": "1"}}
    made = await api.make(f"/v1/threads/{thread}/messages", message)

    modified = await api.make(
        f"/v1/threads/{thread}/messages/{made['id']}", {"metadata": {"b": "2"}}
    )

    assert modified == made | {"metadata": {"b": "2"}}


async def test_a_deleted_message_is_gone_for_callers_and_models(
    ringside: Ringside, api: Caller
) -> None:
    """It is in no list, and no later run is shown it."""
    thread = await api.thread("first", "second")
    [_, first] = (await api.get(f"/v1/threads/{thread}/messages")).json["data"]
    path = f"/v1/threads/{thread}/messages/{first['id']}"

    deleted = await api.delete(path)
    await api.run(thread, await api.assistant(model="fc:sandbox/transcript"))

    [answer, second] = (await api.get(f"/v1/threads/{thread}/messages")).json["data"]
    assert deleted.json == {"id": first["id"], "object": "thread.message.deleted", "deleted": True}
    assert [(await api.get(path)).status, (await api.delete(path)).status] == [404, 404]
    assert second["content"][0]["text"]["value"] == "second"
    assert "first" not in answer["content"][0]["text"]["value"]
    assert first["id"] not in [row["id"] for row in rows(ringside.home, "items")]


@pytest.mark.parametrize(("order", "step"), [("asc", 1), ("desc", -1)])
async def test_messages_of_one_second_stay_in_their_order(
    api: Caller, order: str, step: int
) -> None:
    """The order is that of creation, not of the time, and pages keep it."""
    texts = [str(number) for number in range(7)]
    thread = await api.thread(*texts)
    path = f"/v1/threads/{thread}/messages?limit=3&order={order}"

    seen: list[str] = []
    page = (await api.get(path)).json
    while page["data"]:
        seen += [message["content"][0]["text"]["value"] for message in page["data"]]
        page = (await api.get(f"{path}&after={page['last_id']}")).json

    assert seen == texts[::step]


async def test_a_message_of_another_thread_is_no_cursor(api: Caller) -> None:
    """Cursors belong to the list they are used on."""
    thread, other = await api.thread("a"), await api.thread("b")
    [foreign] = (await api.get(f"/v1/threads/{other}/messages")).json["data"]

    answer = await api.get(f"/v1/threads/{thread}/messages?after={foreign['id']}")

    assert (answer.status, answer.error["param"]) == (400, "after")


async def test_messages_are_listed_by_the_run_that_made_them(api: Caller) -> None:
    """`run_id` selects answers, never what users wrote; an unknown one selects nothing."""
    thread, assistant = await api.thread("one"), await api.assistant()
    first = await api.run(thread, assistant)
    user = [{"role": "user", "content": "two"}]
    second = await api.run(thread, assistant, additional_messages=user)
    path = f"/v1/threads/{thread}/messages?run_id="

    found = {
        run: [m["content"][0]["text"]["value"] for m in (await api.get(path + run)).json["data"]]
        for run in (first["id"], second["id"], "run_nothing")
    }

    assert found == {first["id"]: ["one"], second["id"]: ["two"], "run_nothing": []}


@pytest.mark.parametrize("is_modification", [False, True])
async def test_files_of_a_thread_are_refused(api: Caller, is_modification: bool) -> None:
    """tool_resources that name a file are an error on both ways."""
    path = "/v1/threads" + (f"/{await api.thread()}" if is_modification else "")
    body = {"tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}}}

    answer = await api.post(path, body)

    assert (answer.status, answer.error["code"]) == (400, "unsupported_tool_type")
    assert answer.error["param"] == "tool_resources.file_search.vector_store_ids"
