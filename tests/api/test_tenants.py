"""Nobody sees or changes what is another's, on any route."""

from typing import Any, Final

import pytest

from ringside_proxy.api.routes import ROUTES
from tests.api.rig import Caller, Ringside, path_of, rows
from tests.api.tenants import TOKENS, body_for, world_of

OBJECT_ROUTES: Final = [
    route
    for route in ROUTES
    if "{" in route.path and route.open_to == "tokens" and not route.path.startswith("/v1/models")
]
REFUSED_BY_STATE: Final = {"cancel", "submit_tool_outputs"}
"""The runs of these tests are over."""


@pytest.mark.parametrize(
    ("intruder", "owner"),
    [("a", "b"), ("b", "a"), ("a", "developer"), ("b", "developer")],
)
async def test_another_s_object_is_not_found_on_any_route(
    api: Caller, intruder: str, owner: str
) -> None:
    """To a client another's object does not exist, in OpenAI's words, and nothing of it changes."""
    world = await world_of(api.using(TOKENS[owner]))
    own = await world_of(api.using(TOKENS[intruder]))
    before = await world.look()

    answers = {
        route: await own.caller.call(
            route.method,
            path_of(route, world.ids),
            body_for(route, own.ids["assistant_id"]),
        )
        for route in OBJECT_ROUTES
    }

    for route, answer in answers.items():
        noun = "assistant" if "{assistant_id}" in route.path else "thread"
        message = f"No {noun} found with id '{world.ids[f'{noun}_id']}'."
        assert (answer.status, answer.error["message"]) == (404, message), route
    assert await world.look() == before


@pytest.mark.parametrize(
    ("caller", "owner"),
    [("developer", "developer"), ("a", "a"), ("developer", "a"), ("developer", "b")],
)
async def test_one_s_own_object_is_found_on_every_route(
    api: Caller, caller: str, owner: str
) -> None:
    """The owner may do everything, and so may a developer."""
    world = await world_of(api.using(TOKENS[owner]))
    ours = api.using(TOKENS[caller])
    assistant = await ours.assistant()
    deletions_last = sorted(OBJECT_ROUTES, key=lambda r: (r.method == "DELETE", -len(r.path)))

    answers = {
        route: await ours.call(route.method, path_of(route, world.ids), body_for(route, assistant))
        for route in deletions_last
    }

    for route, answer in answers.items():
        is_refused = route.path.rpartition("/")[2] in REFUSED_BY_STATE
        assert answer.status == (400 if is_refused else 200), route


@pytest.mark.parametrize(
    ("name", "noun", "path"),
    [
        ("message_id", "message", "/v1/threads/{thread_id}/messages/{id}"),
        ("run_id", "run", "/v1/threads/{thread_id}/runs/{id}"),
        ("run_id", "run", "/v1/threads/{thread_id}/runs/{id}/steps"),
        ("step_id", "run step", "/v1/threads/{thread_id}/runs/{run_id}/steps/{id}"),
    ],
)
@pytest.mark.parametrize("owner", ["a", "b"])
async def test_another_thread_s_object_is_not_found_below_one_s_own(
    api: Caller, client_a: Caller, owner: str, name: str, noun: str, path: str
) -> None:
    """An id is only good below the thread and run it belongs to, even if all are one's own."""
    own = await world_of(client_a)
    other = await world_of(api.using(TOKENS[owner]))

    answer = await client_a.get(path.format(**own.ids, id=other.ids[name]))

    assert answer.status == 404
    assert answer.error["message"] == f"No {noun} found with id '{other.ids[name]}'."


async def test_another_s_assistant_cannot_be_run(client_a: Caller, client_b: Caller) -> None:
    """A run on one's own thread with another's assistant is a 404, and makes no run."""
    assistant, thread = await client_b.assistant(), await client_a.thread("hi")

    on_thread = await client_a.post(f"/v1/threads/{thread}/runs", {"assistant_id": assistant})
    with_thread = await client_a.post("/v1/threads/runs", {"assistant_id": assistant})

    for answer in (on_thread, with_thread):
        assert answer.status == 404
        assert answer.error["message"] == f"No assistant found with id '{assistant}'."
    assert (await client_a.get(f"/v1/threads/{thread}/runs")).json["data"] == []
    assert [t["id"] for t in (await client_a.get("/v1/threads")).json["data"]] == [thread]


async def test_messages_of_another_s_run_are_not_listed(client_a: Caller, client_b: Caller) -> None:
    """`run_id` of a run elsewhere selects nothing."""
    own, other = await world_of(client_a), await world_of(client_b)
    path = f"/v1/threads/{own.ids['thread_id']}/messages?run_id="

    mine = (await client_a.get(path + own.ids["run_id"])).json["data"]
    theirs = (await client_a.get(path + other.ids["run_id"])).json["data"]

    assert [message["run_id"] for message in mine] == [own.ids["run_id"]]
    assert theirs == []


@pytest.mark.parametrize("path", ["/v1/assistants", "/v1/threads"])
async def test_lists_show_one_s_own_alone(api: Caller, path: str) -> None:
    """Each client pages through what it made; a developer through everything."""
    worlds = {name: await world_of(api.using(token)) for name, token in TOKENS.items()}
    noun = f"{path.rpartition('/')[2][:-1]}_id"

    shown = {
        name: [thing["id"] for thing in (await world.caller.get(path)).json["data"]]
        for name, world in worlds.items()
    }

    everything = [worlds[name].ids[noun] for name in ("b", "a", "developer")]
    assert shown["developer"] == everything
    assert shown["a"] == [worlds["a"].ids[noun]]
    assert shown["b"] == [worlds["b"].ids[noun]]


async def test_a_page_is_full_although_others_objects_lie_between(
    client_a: Caller, client_b: Caller
) -> None:
    """What is not the caller's takes no place on a page and does not count for `has_more`."""
    mine = []
    for _ in range(3):
        mine.append(await client_a.assistant())
        await client_b.assistant()

    page = (await client_a.get("/v1/assistants?limit=2&order=asc")).json
    rest = (await client_a.get(f"/v1/assistants?limit=2&order=asc&after={page['last_id']}")).json

    assert [a["id"] for a in page["data"] + rest["data"]] == mine
    assert (page["has_more"], rest["has_more"]) == (True, False)


@pytest.mark.parametrize("path", ["/v1/assistants", "/v1/threads"])
@pytest.mark.parametrize("cursor", ["after", "before"])
async def test_another_s_object_is_no_cursor(
    client_a: Caller, client_b: Caller, path: str, cursor: str
) -> None:
    """A cursor on another's object answers as one on nothing: it does not tell that it exists."""
    world = await world_of(client_b)
    other = world.ids["assistant_id" if path.endswith("assistants") else "thread_id"]

    answer = await client_a.get(f"{path}?{cursor}={other}")

    assert (answer.status, answer.error["param"]) == (400, cursor)


async def test_metadata_filters_find_one_s_own_threads_alone(
    client_a: Caller, client_b: Caller
) -> None:
    """Equal metadata on another's thread is no match."""
    mine = await client_a.thread(metadata={"k": "v"})
    await client_b.thread(metadata={"k": "v"})

    found = (await client_a.get("/v1/threads?metadata[k]=v")).json["data"]

    assert [thread["id"] for thread in found] == [mine]


@pytest.mark.parametrize(
    ("token", "thread", "run", "header", "customer"),
    [
        ("developer", {}, {}, None, None),
        ("developer", {}, {"user": "u1"}, None, "u1"),
        ("developer", {}, {}, "h1", "h1"),
        ("developer", {}, {"user": "u1"}, "h1", "u1"),
        ("developer", {"user": "t1"}, {}, None, "t1"),
        ("developer", {"user": "t1"}, {"user": "u1"}, None, "u1"),
        ("developer", {"metadata": {"user": "m1"}}, {}, None, "m1"),
        ("developer", {"user": "t1", "metadata": {"user": "m1"}}, {}, None, "t1"),
        ("a", {}, {}, None, "customer_a"),
        ("a", {}, {"user": "u1"}, "h1", "customer_a"),
        ("a", {"user": "t1", "metadata": {"user": "m1"}}, {}, None, "customer_a"),
    ],
)
async def test_a_run_is_booked_on_its_customer(
    ringside: Ringside,
    token: str,
    thread: dict[str, Any],
    run: dict[str, Any],
    header: str | None,
    customer: str | None,
) -> None:
    """The token's customer wins, then the body, then the header, then the thread."""
    caller = ringside.developer.using(TOKENS[token])
    assistant, thread_id = await caller.assistant(), await caller.thread("hi", **thread)
    headers = {} if header is None else {"x-ringside-customer": header}

    answer = await caller.post(
        f"/v1/threads/{thread_id}/runs", {"assistant_id": assistant} | run, headers=headers
    )

    assert answer.status == 200
    assert [row["customer"] for row in rows(ringside.home, "runs")] == [customer]


async def test_a_developer_s_run_on_a_client_s_thread_is_the_client_s(
    ringside: Ringside, client_a: Caller
) -> None:
    """Who owns the thread pays for what is run on it, unless the run names another."""
    api = ringside.developer
    thread = await client_a.thread("hi", user="claimed", metadata={"user": "claimed"})
    assistant = await api.assistant()

    await api.run(thread, assistant)
    await api.run(thread, assistant, user="other")

    assert [row["customer"] for row in rows(ringside.home, "runs")] == ["customer_a", "other"]


@pytest.mark.parametrize("user", ["a b", "a/b", "ü", "a?b", "x" * 257])
@pytest.mark.parametrize("path", ["/v1/threads", "/v1/chat/completions", "/v1/embeddings"])
async def test_a_customer_that_could_not_stand_in_a_path_is_refused(
    api: Caller, path: str, user: str
) -> None:
    """A bad `user` is the caller's mistake, wherever one is taken."""
    bodies = {
        "/v1/chat/completions": {
            "model": "fc:sandbox/echo",
            "messages": [{"role": "user", "content": "x"}],
        },
        "/v1/embeddings": {"model": "fc:sandbox/embed", "input": "x"},
    }

    answer = await api.post(path, bodies.get(path, {}) | {"user": user})

    assert (answer.status, answer.error["param"]) == (400, "user")
