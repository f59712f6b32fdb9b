"""Tokens: made once, shown once, kept as hashes; what the role of one opens."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from ringside_proxy.api.routes import ROUTES
from ringside_proxy.services.tokens import hash_token
from ringside_proxy.store.db import WAITING_ITEMS_MAX
from tests.api.rig import CLIENT_A, DEVELOPER, Caller, Ringside, exchange, path_of, rows, serving
from tests.fakes import FakeClock
from tests.store.writing import held

FIELDS: Final = [
    "id",
    "object",
    "name",
    "role",
    "customer",
    "created_at",
    "expires_at",
    "last_used_at",
    "source",
]


async def test_a_token_is_shown_by_its_creation_alone(api: Caller) -> None:
    """The answer to POST has the secret; the list has everything but it."""
    made = await api.make("/v1/tokens", {"name": "web", "role": "client", "customer": "c@x.y"})
    listed = (await api.get("/v1/tokens")).json["data"]

    assert list(made) == [*FIELDS, "token"]
    assert made["token"].startswith("ko_")
    assert len(made["token"]) == 46
    assert listed[0] == {name: made[name] for name in FIELDS}
    assert made["token"] not in str(listed)


async def test_a_token_is_a_developer_s_for_ever_unless_said_otherwise(api: Caller) -> None:
    """Name alone makes a developer token that does not expire."""
    made = await api.make("/v1/tokens", {"name": "ci"})

    assert (made["role"], made["customer"], made["expires_at"]) == ("developer", None, None)
    assert (await api.using(made["token"]).get("/v1/tokens")).status == 200


async def test_a_token_says_when_it_expires(api: Caller) -> None:
    """`expires_in` counts from its creation."""
    made = await api.make("/v1/tokens", {"name": "ci", "expires_in": 3600})

    assert made["expires_at"] == made["created_at"] + 3600


async def test_the_store_keeps_the_hash_of_a_token_alone(ringside: Ringside) -> None:
    """No column of the row holds the token, or a part of it."""
    made = await ringside.developer.make("/v1/tokens", {"name": "ci"})

    stored = [str(value) for row in rows(ringside.home, "api_tokens") for value in row.values()]

    assert hash_token(made["token"]) in stored
    assert not any(made["token"][3:11] in value for value in stored)


async def test_two_tokens_are_never_the_same(api: Caller) -> None:
    """Equal bodies make different tokens."""
    made = [await api.make("/v1/tokens", {"name": "same"}) for _ in range(20)]

    assert len({token["token"] for token in made}) == 20


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "name", "missing_required_parameter"),
        ({"name": ""}, "name", "empty_string"),
        ({"name": "x" * 257}, "name", "string_above_max_length"),
        ({"name": "x", "role": "admin"}, "role", "invalid_value"),
        ({"name": "x", "role": "client"}, "customer", "invalid_value"),
        ({"name": "x", "customer": "c"}, "customer", "invalid_value"),
        ({"name": "x", "role": "client", "customer": "a b"}, "customer", "invalid_value"),
        ({"name": "x", "role": "client", "customer": "a/b"}, "customer", "invalid_value"),
        ({"name": "x", "role": "client", "customer": ""}, "customer", "empty_string"),
        ({"name": "x", "expires_in": 0}, "expires_in", "integer_below_min_value"),
        ({"name": "x", "expires_in": 2**62}, "expires_in", "integer_above_max_value"),
        ({"name": "x", "expires_in": "1h"}, "expires_in", "invalid_type"),
        ({"name": "x", "token": "ko_mine"}, "token", "unknown_parameter"),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(
    api: Caller, body: dict[str, Any], param: str, code: str
) -> None:
    """The answer names the field, and no token is made."""
    before = (await api.get("/v1/tokens")).json["data"]

    answer = await api.post("/v1/tokens", body)

    after = (await api.get("/v1/tokens")).json["data"]
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)
    assert [token["id"] for token in after] == [token["id"] for token in before]


async def test_a_token_of_the_configuration_is_listed_and_cannot_be_revoked(api: Caller) -> None:
    """It shows where it comes from, and only the configuration can take it away."""
    listed = (await api.get("/v1/tokens")).json["data"]
    token_id = listed[0]["id"]

    answer = await api.delete(f"/v1/tokens/{token_id}")

    assert {token["source"] for token in listed} == {"config"}
    assert [token["name"] for token in listed] == ["app", "a", "b"]
    assert answer.status == 404
    assert (await api.get("/v1/tokens")).status == 200


async def test_a_revoked_token_is_gone_from_the_list(api: Caller) -> None:
    """DELETE answers as OpenAI's deletions do; a second one is a 404."""
    made = await api.make("/v1/tokens", {"name": "x"})

    deleted = await api.delete(f"/v1/tokens/{made['id']}")
    again = await api.delete(f"/v1/tokens/{made['id']}")

    assert deleted.json == {"id": made["id"], "object": "token.deleted", "deleted": True}
    assert again.status == 404
    assert made["id"] not in str((await api.get("/v1/tokens")).json)


async def test_tokens_survive_a_restart(tmp_path: Path) -> None:
    """A minted token opens the next process, a revoked one does not."""
    async with serving(tmp_path) as ringside:
        kept = await ringside.developer.make("/v1/tokens", {"name": "kept"})
        revoked = await ringside.developer.make("/v1/tokens", {"name": "revoked"})
        await ringside.developer.delete(f"/v1/tokens/{revoked['id']}")

    async with serving(tmp_path) as ringside:
        answers = [
            await ringside.developer.using(made["token"]).get("/v1/models")
            for made in (kept, revoked)
        ]

    assert [answer.status for answer in answers] == [200, 401]


async def test_a_token_says_when_it_was_last_used(tmp_path: Path) -> None:
    """To the second and at once, of minted and of configured tokens; never used is null."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        made = await ringside.developer.make("/v1/tokens", {"name": "x"})
        clock.advance(100)
        await ringside.developer.using(made["token"]).get("/v1/models")
        clock.advance(50)
        listed = (await ringside.developer.get("/v1/tokens")).json["data"]

    start = made["created_at"]
    assert made["last_used_at"] is None
    assert [(token["name"], token["last_used_at"]) for token in listed] == [
        ("x", start + 100),
        ("app", start + 150),
        ("a", None),
        ("b", None),
    ]


async def test_a_refused_token_is_not_used(tmp_path: Path) -> None:
    """Expired, it keeps the time when it last opened something."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        made = await ringside.developer.make("/v1/tokens", {"name": "x", "expires_in": 10})
        await ringside.developer.using(made["token"]).get("/v1/models")
        clock.advance(20)
        refused = await ringside.developer.using(made["token"]).get("/v1/models")
        listed = (await ringside.developer.get("/v1/tokens")).json["data"]

    assert refused.status == 401
    assert listed[0]["last_used_at"] == made["created_at"]


async def test_uses_survive_a_restart(tmp_path: Path) -> None:
    """What was used last before the stop is still told after it."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        made = await ringside.developer.make("/v1/tokens", {"name": "x"})
        await ringside.developer.using(made["token"]).get("/v1/models")
        await ringside.developer.using(CLIENT_A).get("/v1/models")
    clock.advance(1000)
    async with serving(tmp_path, clock) as ringside:
        listed = (await ringside.developer.get("/v1/tokens")).json["data"]

    used = {token["name"]: token["last_used_at"] for token in listed}
    assert used == {
        "x": made["created_at"],
        "app": made["created_at"] + 1000,
        "a": made["created_at"],
        "b": None,
    }


async def test_requests_cost_no_write(ringside: Ringside) -> None:
    """However many come, uses are stored in one go, once each, by the minute and at the stop."""
    caller, tokens = ringside.developer, ringside.proxy.services.tokens
    for _ in range(20):
        await caller.get("/v1/models")
        await caller.using(CLIENT_A).get("/v1/models")
    before = rows(ringside.home, "token_uses")

    await tokens.save_uses()
    saved = rows(ringside.home, "token_uses")
    changes = await ringside.proxy.services.db.write(lambda tx: tx.one("SELECT total_changes()"))
    await tokens.save_uses()

    assert (len(before), len(saved)) == (0, 2)
    assert changes == await ringside.proxy.services.db.write(
        lambda tx: tx.one("SELECT total_changes()")
    )


async def test_uses_are_saved_by_the_minute(ringside: Ringside) -> None:
    """The task that does so goes on by itself; here its minute is very short."""
    task = asyncio.create_task(ringside.proxy.services.tokens.run(every_s=0))
    for caller in (ringside.developer, ringside.developer.using(CLIENT_A)):
        known = len(rows(ringside.home, "token_uses"))
        await caller.get("/v1/models")
        async with asyncio.timeout(10):
            while len(rows(ringside.home, "token_uses")) == known:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
    task.cancel()

    assert len(rows(ringside.home, "token_uses")) == 2


async def test_uses_that_cannot_be_stored_now_are_stored_later(ringside: Ringside) -> None:
    """A full writer costs a line in the log, and nothing is forgotten."""
    services = ringside.proxy.services
    await ringside.developer.get("/v1/models")

    async with held(services.db):
        waiting = [
            asyncio.create_task(services.db.write(lambda tx: None))
            for _ in range(WAITING_ITEMS_MAX)
        ]
        await asyncio.sleep(0)
        await services.tokens.save_uses()
    await asyncio.gather(*waiting, return_exceptions=True)  # the last ones found no room
    refused = rows(ringside.home, "token_uses")
    await services.tokens.save_uses()

    assert (len(refused), len(rows(ringside.home, "token_uses"))) == (0, 1)


async def test_a_revoked_token_leaves_no_use(ringside: Ringside) -> None:
    """Neither in memory nor in the store."""
    tokens = ringside.proxy.services.tokens
    made = [await ringside.developer.make("/v1/tokens", {"name": name}) for name in "ab"]
    for token in made:
        await ringside.developer.using(token["token"]).get("/v1/models")
    await ringside.developer.delete(f"/v1/tokens/{made[0]['id']}")
    await tokens.save_uses()
    await ringside.developer.delete(f"/v1/tokens/{made[1]['id']}")
    await tokens.save_uses()

    stored = [row["token_id"] for row in rows(ringside.home, "token_uses")]
    assert not {token["id"] for token in made} & set(stored)
    assert [tokens.used_ms(token["id"]) for token in made] == [None, None]


async def test_an_expired_token_is_still_listed(tmp_path: Path) -> None:
    """The list shows what was made, so that it can be cleaned up."""
    clock = FakeClock()
    async with serving(tmp_path, clock) as ringside:
        made = await ringside.developer.make("/v1/tokens", {"name": "x", "expires_in": 1})
        clock.advance(2)

        listed = (await ringside.developer.get("/v1/tokens")).json["data"]

    assert made["id"] in [token["id"] for token in listed]


async def test_minted_tokens_are_paged_newest_first(api: Caller) -> None:
    """`limit` and `after` walk through them without a gap; a cursor on nothing is a 400."""
    made = [(await api.make("/v1/tokens", {"name": str(i)}))["id"] for i in range(5)]

    first = (await api.get("/v1/tokens?limit=2")).json
    second = (await api.get(f"/v1/tokens?limit=2&after={first['last_id']}")).json
    lost = await api.get("/v1/tokens?after=tok_nothing")

    assert [token["id"] for token in first["data"] + second["data"]] == made[:0:-1]
    assert (first["has_more"], second["has_more"]) == (True, True)
    assert (lost.status, lost.error["param"]) == (400, "after")


@pytest.mark.parametrize("token", ["configured", "minted"])
async def test_a_client_token_opens_the_openai_surface_alone(api: Caller, token: str) -> None:
    """Everything of Ringside's own that costs or shows others is 403 for it."""
    if token == "minted":
        body = {"name": "m", "role": "client", "customer": "customer_a"}
        client = api.using((await api.make("/v1/tokens", body))["token"])
    else:
        client = api.using(CLIENT_A)

    answers = {
        (route.method, route.path): await client.call(route.method, path_of(route))
        for route in ROUTES
    }

    refused = {key: answer for key, answer in answers.items() if answer.status == 403}
    assert refused.keys() == {(r.method, r.path) for r in ROUTES if r.open_to == "developers"}
    assert {answer.error["code"] for answer in refused.values()} == {"insufficient_permissions"}
    assert {answer.error["type"] for answer in refused.values()} == {"permission_error"}
    assert all(answer.status != 401 for answer in answers.values())


async def test_bytes_that_are_no_text_are_a_wrong_token(ringside: Ringside) -> None:
    """A header may hold any byte: the answer is 401, not a failure of ours."""
    request = b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n"

    answers = [
        await exchange(ringside.proxy.url, request % token)
        for token in (b"\xff\xfe", b"\xe2\x82" * 20, "ü".encode() * 20)
    ]

    assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers)
    assert all(b'"code":"invalid_api_key"' in answer for answer in answers)


async def test_nobody_needs_a_token_where_none_is_required(tmp_path: Path) -> None:
    """`auth.required: false` lets everyone in as a developer; a client token keeps its scope."""
    async with serving(tmp_path) as ringside:
        required = ringside.settings.auth
    auth = msgspec.structs.replace(required, required=False)
    async with serving(tmp_path, auth=auth) as ringside:
        api = ringside.developer
        answers = [await api.using(token).get("/v1/tokens") for token in (None, "nonsense")]
        client = await api.using(CLIENT_A).get("/v1/tokens")

    assert [answer.status for answer in answers] == [200, 200]
    assert client.status == 403


async def test_the_developer_s_own_token_is_nowhere_in_the_store(ringside: Ringside) -> None:
    """A configured token stays in memory, as a hash."""
    await ringside.developer.get("/v1/models")

    with closing(
        sqlite3.connect(f"file:{ringside.home}/ringside.db?mode=ro", uri=True)
    ) as connection:
        dump = "\n".join(connection.iterdump())

    assert DEVELOPER not in dump
    assert hash_token(DEVELOPER) not in dump
