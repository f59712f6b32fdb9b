"""Every route for a developer, a client of A, a client of B and nobody: no route shows or changes
what is another's.
"""

from typing import Any, Final

import pytest

from ringside_proxy.api.routes import ROUTES, Route
from tests.api.rig import CLIENT_A, CLIENT_B, Answer, Caller, Ringside, path_of
from tests.api.tenants import WEBHOOK, World, body_for, world_of

SECRET: Final = "of-a-alone-7c1e"
"""What A wrote into everything of A's."""

OWNED: Final = "an object that somebody owns"
LISTED: Final = "a list of what one owns"
MADE: Final = "makes something of one's own, or nothing at all"
SHARED: Final = "the same for everybody with a token"
DEVELOPERS: Final = "for developers alone"
OPEN: Final = "for everybody"

MATRIX: Final = {
    "POST /v1/assistants": MADE,
    "GET /v1/assistants": LISTED,
    "GET /v1/assistants/{assistant_id}": OWNED,
    "POST /v1/assistants/{assistant_id}": OWNED,
    "DELETE /v1/assistants/{assistant_id}": OWNED,
    "POST /v1/threads": MADE,
    "GET /v1/threads": LISTED,
    "POST /v1/threads/runs": MADE,
    "GET /v1/threads/{thread_id}": OWNED,
    "POST /v1/threads/{thread_id}": OWNED,
    "DELETE /v1/threads/{thread_id}": OWNED,
    "POST /v1/threads/{thread_id}/messages": OWNED,
    "GET /v1/threads/{thread_id}/messages": OWNED,
    "GET /v1/threads/{thread_id}/messages/{message_id}": OWNED,
    "POST /v1/threads/{thread_id}/messages/{message_id}": OWNED,
    "DELETE /v1/threads/{thread_id}/messages/{message_id}": OWNED,
    "POST /v1/threads/{thread_id}/runs": OWNED,
    "GET /v1/threads/{thread_id}/runs": OWNED,
    "GET /v1/threads/{thread_id}/runs/{run_id}": OWNED,
    "POST /v1/threads/{thread_id}/runs/{run_id}": OWNED,
    "POST /v1/threads/{thread_id}/runs/{run_id}/cancel": OWNED,
    "POST /v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs": OWNED,
    "GET /v1/threads/{thread_id}/runs/{run_id}/steps": OWNED,
    "GET /v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}": OWNED,
    "POST /v1/chat/completions": MADE,
    "POST /v1/embeddings": MADE,
    "GET /v1/models": SHARED,
    "GET /v1/models/{model:.+}": SHARED,
    "GET /v1/compatibility": SHARED,
    "GET /v1/customers": DEVELOPERS,
    "POST /v1/customers": DEVELOPERS,
    "GET /v1/customers/{customer_id}": DEVELOPERS,
    "PATCH /v1/customers/{customer_id}": DEVELOPERS,
    "POST /v1/customers/{customer_id}": DEVELOPERS,
    "DELETE /v1/customers/{customer_id}": DEVELOPERS,
    "GET /v1/customers/{customer_id}/usage": DEVELOPERS,
    "GET /v1/usage": DEVELOPERS,
    "GET /v1/usage/records": DEVELOPERS,
    "GET /v1/wallet": DEVELOPERS,
    "POST /v1/wallet/top_ups": DEVELOPERS,
    "GET /v1/wallet/transactions": DEVELOPERS,
    "POST /v1/tokens": DEVELOPERS,
    "GET /v1/tokens": DEVELOPERS,
    "DELETE /v1/tokens/{token_id}": DEVELOPERS,
    "POST /v1/webhooks": DEVELOPERS,
    "GET /v1/webhooks": DEVELOPERS,
    "GET /v1/webhooks/{webhook_id}": DEVELOPERS,
    "POST /v1/webhooks/{webhook_id}": DEVELOPERS,
    "PATCH /v1/webhooks/{webhook_id}": DEVELOPERS,
    "DELETE /v1/webhooks/{webhook_id}": DEVELOPERS,
    "POST /v1/webhooks/{webhook_id}/rotate": DEVELOPERS,
    "POST /v1/webhooks/{webhook_id}/test": DEVELOPERS,
    "POST /v1/webhooks/{webhook_id}/replay": DEVELOPERS,
    "GET /v1/webhooks/{webhook_id}/deliveries": DEVELOPERS,
    "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": DEVELOPERS,
    "GET /v1/config/status": DEVELOPERS,
    "GET /openapi.json": OPEN,
    "GET /healthz": OPEN,
}
"""Every route: whose business it is. A new one belongs here before it is served."""

ALLOWED: Final = 200
EXPECTED: Final = {
    OWNED: {"nobody": 401, "b": 404, "a": ALLOWED, "developer": ALLOWED},
    LISTED: {"nobody": 401, "b": ALLOWED, "a": ALLOWED, "developer": ALLOWED},
    MADE: {"nobody": 401, "b": ALLOWED, "a": ALLOWED, "developer": ALLOWED},
    SHARED: {"nobody": 401, "b": ALLOWED, "a": ALLOWED, "developer": ALLOWED},
    DEVELOPERS: {"nobody": 401, "b": 403, "a": 403, "developer": ALLOWED},
    OPEN: {"nobody": ALLOWED, "b": ALLOWED, "a": ALLOWED, "developer": ALLOWED},
}
REFUSED_BY_STATE: Final = ("cancel", "submit_tool_outputs")
"""The run is over: who may ask is told so with a 400."""


def key(route: Route) -> str:
    """A route's line in the matrix."""
    return f"{route.method} {route.path}"


async def everything(api: Caller) -> list[Any]:
    """What only developers see, as it stands."""
    paths = ["/v1/customers", "/v1/tokens", "/v1/wallet", "/v1/wallet/transactions", "/v1/webhooks"]
    pages = [(await api.get(path)).json for path in paths]
    for token in pages[1]["data"]:
        del token["last_used_at"]  # asking moves it
    for webhook in pages[4]["data"]:  # the ping moves them
        del webhook["last_failure_at"], webhook["consecutive_failures"]
    return pages


async def ids_of(api: Caller, world: World) -> dict[str, str]:
    """Ids of existing things for every path, A's where something has an owner."""
    await api.post("/v1/customers/customer_a", {"name": SECRET})
    token = await api.make("/v1/tokens", {"name": SECRET})
    webhook = await api.make("/v1/webhooks", WEBHOOK | {"description": SECRET})
    ping = await api.make(f"/v1/webhooks/{webhook['id']}/test")
    shared = {"customer_id": "customer_a", "token_id": token["id"], "model:.+": "slot:fast"}
    shared |= {"webhook_id": webhook["id"], "delivery_id": ping["id"]}
    return world.ids | shared


async def called(caller: Caller, route: Route, ids: dict[str, str], assistant: str) -> Answer:
    """The route, called with these ids in its path and an assistant of the caller's own."""
    return await caller.call(route.method, path_of(route, ids), body_for(route, assistant))


def test_every_route_has_its_line() -> None:
    """No route is served whose owner the matrix does not name, and the matrix names no other."""
    assert set(MATRIX) == {key(route) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=key)
async def test_a_stranger_neither_sees_nor_changes_anything(
    ringside: Ringside, route: Route
) -> None:
    """B and nobody get what the matrix says, not a word of A's, and all is as it was."""
    api, b = ringside.developer, ringside.developer.using(CLIENT_B)
    world = await world_of(api.using(CLIENT_A), SECRET)
    ids = await ids_of(api, world)
    own = await b.assistant()
    before = [await world.look(), await everything(api)]

    answers = {
        "nobody": await called(api.using(None), route, ids, own),
        "b": await called(b, route, ids, own),
    }

    expected = EXPECTED[MATRIX[key(route)]]
    for name, answer in answers.items():
        assert answer.status == expected[name], (name, answer.body)
        assert SECRET.encode() not in answer.body
        if MATRIX[key(route)] != OWNED:  # a 404 repeats the id that was asked for
            assert not [value for value in world.ids.values() if value.encode() in answer.body]
    after = [await world.look(), await everything(api)]
    if MATRIX[key(route)] == MADE:
        assert after[0] == before[0]
    else:
        assert after == before


@pytest.mark.parametrize("who", ["a", "developer"])
@pytest.mark.parametrize("route", ROUTES, ids=key)
async def test_who_may_is_served(ringside: Ringside, route: Route, who: str) -> None:
    """A, whose things they are, and a developer get what the matrix says."""
    api, a = ringside.developer, ringside.developer.using(CLIENT_A)
    world = await world_of(a, SECRET)
    caller = a if who == "a" else api
    ids = await ids_of(api, world)

    answer = await called(caller, route, ids, await caller.assistant())

    expected = EXPECTED[MATRIX[key(route)]][who]
    is_refused = route.path.endswith(REFUSED_BY_STATE) and expected == ALLOWED
    assert answer.status == (400 if is_refused else expected), answer.body


@pytest.mark.parametrize("route", [r for r in ROUTES if MATRIX[key(r)] == OWNED], ids=key)
async def test_nobody_else_s_object_can_be_told_from_none(ringside: Ringside, route: Route) -> None:
    """To B, A's object and one that never was are the same answer but for the id."""
    api, b = ringside.developer, ringside.developer.using(CLIENT_B)
    world = await world_of(api.using(CLIENT_A), SECRET)
    own = await b.assistant()
    never = {name: f"{value.partition('_')[0]}_{'0' * 24}" for name, value in world.ids.items()}

    real = await called(b, route, world.ids, own)
    unreal = await called(b, route, never, own)

    def without_ids(answer: Answer, ids: dict[str, str]) -> str:
        text = answer.body.decode()
        for value in ids.values():
            text = text.replace(value, "ID")
        return text

    assert real.status == unreal.status == 404
    assert without_ids(real, world.ids) == without_ids(unreal, never)
    assert real.headers.keys() == unreal.headers.keys()
