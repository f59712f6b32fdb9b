"""/v1/webhooks: who is told what happens; a proxy, its callers, and receivers on real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from aiohttp import web

from ringside_proxy.domain.webhooks import configured_id
from ringside_proxy.settings.outgoing import WebhookEndpointSettings, WebhookSettings
from ringside_proxy.settings.values import Secret
from ringside_proxy.store import events
from tests.api.live import following, until
from tests.api.rig import Caller, Ringside, rows, serving
from tests.delivery.receiver import Received, Receiver

FIELDS: Final = [
    *("id", "object", "created_at", "url", "events", "enabled", "description", "metadata"),
    *("source", "secret_hint", "last_success_at", "last_failure_at", "consecutive_failures"),
    "disabled_reason",
]
DELIVERY_FIELDS: Final = [
    *("id", "object", "event_id", "event_type", "state", "attempts", "next_attempt_at"),
    "created_at",
]
PUBLIC: Final = "https://hooks.invalid/ringside"
SECRET: Final = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIDMyIGI="
LOCAL: Final = WebhookSettings(allow_private=("127.0.0.1",))
WAIT_S_MAX: Final = 20.0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on a real socket; it accepts everything."""
    async with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def ringside(tmp_path: Path) -> AsyncIterator[Ringside]:
    """A proxy that may post to this machine."""
    async with serving(tmp_path, webhooks=LOCAL) as proxy:
        yield proxy


async def make(api: Caller, url: str = PUBLIC, **values: Any) -> Any:
    """A new webhook."""
    return await api.make("/v1/webhooks", {"url": url, "events": ["*"], **values})


async def happen(ringside: Ringside, number: int = 1) -> None:
    """Something of which receivers are told."""
    for count in range(number):
        await ringside.proxy.services.db.write(events.emit, "wallet.low", {"balance_usd": count})


async def settled(
    api: Caller, webhook: Any, done: Callable[[list[Any]], bool] = lambda _: True
) -> list[Any]:
    """Its deliveries, newest first, once none is at work and they are as wanted."""
    async with asyncio.timeout(WAIT_S_MAX):
        while True:
            answer = await api.get(f"/v1/webhooks/{webhook['id']}/deliveries?limit=100")
            found: list[Any] = answer.json["data"]
            at_work = any(each["state"] == "in_flight" or not each["attempts"] for each in found)
            if not at_work and done(found):
                return found
            await asyncio.sleep(0.01)


# ------------------------------------------------------------------------------------ the objects


async def test_a_secret_is_shown_by_the_answer_that_made_it_alone(api: Caller) -> None:
    """POST and rotate have it; retrieve and list have the hint."""
    made = await make(api)
    shown = (await api.get(f"/v1/webhooks/{made['id']}")).json
    listed = (await api.get("/v1/webhooks")).json["data"]

    assert list(made) == [*FIELDS, "secret"]
    assert made["secret"].startswith("whsec_")
    assert made["secret_hint"] == "whsec_…" + made["secret"][-4:]
    assert [shown] == listed == [{name: made[name] for name in FIELDS}]


async def test_a_webhook_begins_enabled_and_without_a_past(api: Caller) -> None:
    """Everything in it is what was given, or its default."""
    made = await make(api, events=["run.completed"], description="crm", metadata={"team": "a"})

    assert made["id"].startswith("wh_")
    assert (made["object"], made["source"], made["enabled"]) == ("webhook", "api", True)
    assert (made["url"], made["events"]) == (PUBLIC, ["run.completed"])
    assert (made["description"], made["metadata"]) == ("crm", {"team": "a"})
    past = ("last_success_at", "last_failure_at", "consecutive_failures", "disabled_reason")
    assert [made[name] for name in past] == [None, None, 0, None]


async def test_a_secret_can_be_given(api: Caller) -> None:
    """One that every library takes."""
    assert (await make(api, secret=SECRET))["secret"] == SECRET


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_only_what_is_given_changes(api: Caller, method: str) -> None:
    """And null clears the description."""
    made = await make(api, description="old", metadata={"a": "1"})
    path = f"/v1/webhooks/{made['id']}"

    first = (await api.call(method, path, {"events": ["run.failed"], "url": PUBLIC + "/2"})).json
    second = (await api.call(method, path, {"description": None, "metadata": {"b": "2"}})).json

    assert list(first) == FIELDS
    assert (first["events"], first["url"]) == (["run.failed"], PUBLIC + "/2")
    assert (first["description"], first["metadata"]) == ("old", {"a": "1"})
    assert (second["description"], second["metadata"]) == (None, {"b": "2"})
    assert second == (await api.get(path)).json


async def test_a_deleted_webhook_is_gone(api: Caller) -> None:
    """On every route."""
    made = await make(api)
    path = f"/v1/webhooks/{made['id']}"

    deleted = (await api.delete(path)).json

    assert deleted == {"id": made["id"], "object": "webhook.deleted", "deleted": True}
    answers = [
        await api.get(path),
        await api.patch(path, {"enabled": True}),
        await api.delete(path),
        await api.post(f"{path}/rotate"),
        await api.post(f"{path}/test"),
        await api.post(f"{path}/replay", {"from": 0}),
        await api.get(f"{path}/deliveries"),
    ]
    assert {answer.status for answer in answers} == {404}
    assert {a.error["message"] for a in answers} == {f"No webhook found with id '{made['id']}'."}
    assert (await api.get("/v1/webhooks")).json["data"] == []


async def test_webhooks_are_listed_in_pages(api: Caller) -> None:
    """Newest first, with the cursors of every list."""
    ids = [(await make(api))["id"] for _ in range(3)]

    page = (await api.get(f"/v1/webhooks?limit=1&after={ids[2]}")).json

    assert [each["id"] for each in page["data"]] == [ids[1]]
    assert page["has_more"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"events": ["*"]}, "url", "missing_required_parameter"),
        ({"url": PUBLIC}, "events", "missing_required_parameter"),
        ({"url": PUBLIC, "events": []}, "events", "empty_array"),
        ({"url": PUBLIC, "events": ["run.complete"]}, "events[0]", "invalid_value"),
        ({"url": PUBLIC, "events": ["webhook.ping"]}, "events[0]", "invalid_value"),
        ({"url": PUBLIC, "events": ["*"], "secret": "whsec_short"}, "secret", "invalid_value"),
        ({"url": PUBLIC, "events": ["*"], "secret": "hunter2" * 8}, "secret", "invalid_value"),
        ({"url": PUBLIC, "events": ["*"], "enabled": True}, "enabled", "unknown_parameter"),
        ({"url": "", "events": ["*"]}, "url", "empty_string"),
    ],
)
async def test_a_body_that_is_wrong_is_refused(
    api: Caller, body: dict[str, Any], param: str, code: str
) -> None:
    """The parameter is named, a secret is not repeated, and nothing is stored."""
    answer = await api.post("/v1/webhooks", body)

    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
    assert "hunter2" not in answer.error["message"]
    assert (await api.get("/v1/webhooks")).json["data"] == []


async def test_an_unknown_event_is_answered_with_the_list(api: Caller) -> None:
    """Whoever mistypes one finds the right one."""
    answer = await api.post("/v1/webhooks", {"url": PUBLIC, "events": ["run.complete"]})

    for known in ("*", "run.completed", "customer.budget_warning", "wallet.exhausted"):
        assert f"'{known}'" in answer.error["message"]


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/",
        "https://2130706434/",
        "https://[::ffff:127.0.0.2]/",
        "https://169.254.169.254/latest/meta-data",
        "http://localhost:8080/",
        "https://localhost:8080/",
        "http://hooks.example.com/",
        "https://user:secret@hooks.example.com/",
        "https://hooks.example.com:22/",
        "ftp://hooks.example.com/",
        "hooks.example.com",
    ],
)
async def test_a_url_inside_is_refused_with_the_way_to_allow_it(tmp_path: Path, url: str) -> None:
    """Also as a change; names are looked up."""
    async with serving(tmp_path) as ringside:
        api = ringside.developer
        made = await make(api)
        answers = [
            await api.post("/v1/webhooks", {"url": url, "events": ["*"]}),
            await api.patch(f"/v1/webhooks/{made['id']}", {"url": url}),
        ]
        left = (await api.get("/v1/webhooks")).json["data"]

    assert {(a.status, a.error["param"]) for a in answers} == {(400, "url")}
    assert {a.error["code"] for a in answers} == {"address_not_allowed"}
    if "10.0.0.1" in url or "localhost" in url:
        assert all("webhooks.allow_private" in answer.error["message"] for answer in answers)
    assert [each["url"] for each in left] == [PUBLIC]


async def test_there_are_at_most_a_hundred(api: Caller) -> None:
    """The next one is refused in words."""
    for _ in range(100):
        await make(api)

    answer = await api.post("/v1/webhooks", {"url": PUBLIC, "events": ["*"]})

    assert (answer.status, answer.error["code"]) == (400, "too_many_webhooks")


async def test_the_store_holds_no_secret_in_the_clear(ringside: Ringside) -> None:
    """Neither the new one nor the one before it, nor any part worth having."""
    made = await make(ringside.developer, secret=SECRET)
    rotated = await ringside.developer.make(f"/v1/webhooks/{made['id']}/rotate")

    text = " ".join(str(row) for row in rows(ringside.home, "webhooks"))

    for secret in (SECRET, rotated["secret"]):
        assert secret[6:20] not in text


# ---------------------------------------------------------------------------------- configuration


def configured(*urls: str) -> WebhookSettings:
    """A configuration with these receivers."""
    return WebhookSettings(
        endpoints=tuple(WebhookEndpointSettings(url=url, secret=Secret(SECRET)) for url in urls),
        allow_private=("127.0.0.1",),
    )


async def test_the_configuration_s_webhooks_are_its_own(tmp_path: Path) -> None:
    """They are shown, and not changed: 409 managed_by_config, whatever is asked."""
    async with serving(tmp_path, webhooks=configured(PUBLIC)) as ringside:
        api = ringside.developer
        [shown] = (await api.get("/v1/webhooks")).json["data"]
        path = f"/v1/webhooks/{shown['id']}"

        answers = [
            await api.patch(path, {"enabled": False}),
            await api.post(path, {"events": ["run.failed"]}),
            await api.delete(path),
            await api.post(f"{path}/rotate"),
        ]

        assert (shown["source"], shown["url"], shown["events"]) == ("config", PUBLIC, ["*"])
        assert shown["secret_hint"] == "whsec_…" + SECRET[-4:]
        assert {(a.status, a.error["type"], a.error["code"]) for a in answers} == {
            (409, "conflict_error", "managed_by_config")
        }
        assert {a.headers["x-should-retry"] for a in answers} == {"false"}
        assert (await api.get(path)).json == shown


async def test_the_configuration_s_webhooks_keep_their_ids(tmp_path: Path) -> None:
    """Over restarts, with what was sent to them; one that it no longer names is gone."""
    other = PUBLIC + "/other"
    async with serving(tmp_path, webhooks=configured(PUBLIC, other)) as ringside:
        before = (await ringside.developer.get("/v1/webhooks")).json["data"]
    async with serving(tmp_path, webhooks=configured(PUBLIC)) as ringside:
        after = (await ringside.developer.get("/v1/webhooks")).json["data"]

    assert {each["id"] for each in before} == {configured_id(PUBLIC), configured_id(other)}
    assert [each["id"] for each in after] == [configured_id(PUBLIC)]
    assert after[0] in before


async def test_the_configuration_s_webhooks_are_told_too(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Signed with the secret of the file, which is not in the store."""
    async with serving(tmp_path, webhooks=configured(receiver.url)) as ringside:
        await happen(ringside)
        [received] = await receiver.received(1)
        stored = rows(ringside.home, "webhooks")

    verify(received, SECRET)
    assert [row["secret"] for row in stored] == [None]


# ---------------------------------------------------------------------------------------- sending


def verify(received: Received, secret: str) -> None:
    """What a receiver does who has OpenAI's SDK."""
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9") as client:
        client.webhooks.verify_signature(received.body, received.headers, secret=secret)


async def test_an_event_reaches_those_who_asked_for_it(
    ringside: Ringside, receiver: Receiver
) -> None:
    """Once each, signed with each one's own secret."""
    api = ringside.developer
    wants = await make(api, f"{receiver.url}/1", events=["wallet.low"])
    also = await make(api, f"{receiver.url}/2")
    await make(api, f"{receiver.url}/3", events=["run.failed"])

    await happen(ringside)
    await settled(api, wants)
    await settled(api, also)

    received = {each.path: each for each in receiver.requests}
    assert len(receiver.requests) == len(received) == 2
    verify(received["/hook/1"], wants["secret"])
    verify(received["/hook/2"], also["secret"])
    assert received["/hook/1"].body == received["/hook/2"].body
    assert received["/hook/1"].headers["user-agent"].startswith("Ringside-Webhooks/")


async def test_a_webhook_shows_how_it_is_doing(ringside: Ringside, receiver: Receiver) -> None:
    """When it last succeeded and failed, how often in a row; and what its answers were."""
    api = ringside.developer
    made = await make(api, receiver.url)
    await happen(ringside)
    await settled(api, made)
    receiver.answer = lambda _: web.Response(status=503, text="down for\nmaintenance")
    await happen(ringside)

    failed, delivered = await settled(api, made)
    shown = (await api.get(f"/v1/webhooks/{made['id']}")).json

    assert list(failed) == DELIVERY_FIELDS
    assert (delivered["state"], delivered["next_attempt_at"]) == ("delivered", None)
    assert (failed["state"], failed["event_type"]) == ("pending", "wallet.low")
    assert failed["next_attempt_at"] - failed["attempts"][0]["at"] in range(7, 13)
    [attempt] = failed["attempts"]
    assert list(attempt) == ["at", "status", "error", "duration_ms"]
    assert (attempt["status"], attempt["error"]) == (
        503,
        "answered 503: down for maintenance",
    )
    assert shown["last_success_at"] <= shown["last_failure_at"]
    assert shown["consecutive_failures"] == 1


async def test_a_gone_receiver_is_disabled_until_it_is_enabled(
    ringside: Ringside, receiver: Receiver
) -> None:
    """Nothing is queued for it meanwhile; a replay brings it what it missed."""
    api = ringside.developer
    made = await make(api, receiver.url)
    path = f"/v1/webhooks/{made['id']}"
    receiver.answer = lambda _: web.Response(status=410)
    await happen(ringside)
    [dead] = await settled(api, made)
    disabled = (await api.get(path)).json
    refused = await api.post(f"{path}/test")
    await happen(ringside)

    receiver.answer = lambda _: web.Response()
    enabled = (await api.patch(path, {"enabled": True})).json
    replayed = (await api.post(f"{path}/replay", {"from": disabled["created_at"]})).json
    deliveries = await settled(api, made, lambda found: len(found) == 2)

    assert (dead["state"], disabled["enabled"]) == ("dead", False)
    assert disabled["disabled_reason"] == "gone"
    assert (refused.status, "is disabled (gone)" in refused.error["message"]) == (400, True)
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)
    assert replayed["queued"] == 2
    assert {each["state"] for each in deliveries} == {"delivered"}


async def test_a_webhook_can_be_paused(ringside: Ringside, receiver: Receiver) -> None:
    """What waits is given up, and nothing is queued."""
    api = ringside.developer
    made = await make(api, receiver.url)
    receiver.answer = lambda _: web.Response(status=500)
    await happen(ringside)
    await settled(api, made)

    paused = (await api.patch(f"/v1/webhooks/{made['id']}", {"enabled": False})).json
    await happen(ringside)
    found = await settled(api, made, lambda found: found[0]["state"] == "dead")

    assert (paused["enabled"], paused["disabled_reason"]) == (False, "requested")
    assert len(found) == 1


async def test_rotation_signs_with_both_secrets(ringside: Ringside, receiver: Receiver) -> None:
    """A receiver can change its own at any moment of the overlap."""
    api = ringside.developer
    made = await make(api, receiver.url)

    rotated = await api.make(f"/v1/webhooks/{made['id']}/rotate")
    await happen(ringside)
    [received] = await receiver.received(1)

    assert list(rotated) == [*FIELDS, "secret"]
    assert rotated["secret"] != made["secret"]
    verify(received, made["secret"])
    verify(received, rotated["secret"])


async def test_rotation_without_overlap_ends_the_old_secret(
    tmp_path: Path, receiver: Receiver
) -> None:
    """`webhooks.rotation_overlap: 0s`, for a secret that got out."""
    settings = WebhookSettings(allow_private=("127.0.0.1",), rotation_overlap_s=0)
    async with serving(tmp_path, webhooks=settings) as ringside:
        made = await make(ringside.developer, receiver.url)
        rotated = await ringside.developer.make(f"/v1/webhooks/{made['id']}/rotate")
        await happen(ringside)
        [received] = await receiver.received(1)

    verify(received, rotated["secret"])
    with pytest.raises(openai.InvalidWebhookSignatureError):
        verify(received, made["secret"])


async def test_a_test_sends_a_ping_to_one_receiver(ringside: Ringside, receiver: Receiver) -> None:
    """Once, and the delivery that it answers with shows what came of it."""
    api = ringside.developer
    made = await make(api, f"{receiver.url}/1", events=["run.failed"])
    await make(api, f"{receiver.url}/2")
    receiver.answer = lambda _: web.Response(status=500)

    delivery = await api.make(f"/v1/webhooks/{made['id']}/test")
    [shown] = await settled(api, made)

    [received] = receiver.requests
    assert list(delivery) == DELIVERY_FIELDS
    assert (delivery["object"], delivery["event_type"]) == ("webhook.delivery", "webhook.ping")
    assert (shown["id"], shown["event_id"]) == (delivery["id"], received.id)
    assert received.path == "/hook/1"
    assert received.json["data"] == {"webhook_id": made["id"]}
    assert (shown["state"], shown["next_attempt_at"]) == ("dead", None)


async def test_a_delivery_can_be_asked_for_again(ringside: Ringside, receiver: Receiver) -> None:
    """The same event under the same id, once."""
    api = ringside.developer
    made = await make(api, receiver.url)
    await happen(ringside)
    [first] = await settled(api, made)

    path = f"/v1/webhooks/{made['id']}/deliveries/{first['id']}/redeliver"
    again = await api.make(path)
    [second] = await settled(api, made, lambda found: len(found[0]["attempts"]) == 2)

    assert (again["id"], again["state"]) == (first["id"], "pending")
    assert second["state"] == "delivered"
    assert len({(each.id, each.body) for each in receiver.requests}) == 1
    assert len(receiver.requests) == 2
    assert (await api.post(path.replace("del_", "del_x"))).status == 404


async def test_a_replay_sends_the_events_of_a_time(ringside: Ringside, receiver: Receiver) -> None:
    """Those that it wants, also from before it was there; the answer says how many."""
    api = ringside.developer
    await happen(ringside, 3)
    made = await make(api, receiver.url)
    path = f"/v1/webhooks/{made['id']}/replay"
    now = made["created_at"]

    none = (await api.post(path, {"from": 0, "to": now - 3600})).json
    replayed = (await api.post(path, {"from": now - 3600})).json
    await settled(api, made, lambda found: len(found) == 3)
    backwards = await api.post(path, {"from": now, "to": now - 1})

    assert list(none) == ["object", "webhook_id", "from", "to", "queued"]
    assert (none["queued"], replayed["queued"]) == (0, 3)
    assert replayed["object"] == "webhook.replay"
    assert [each.json["sequence"] for each in receiver.requests] == [1, 2, 3]
    assert (backwards.status, backwards.error["param"]) == (400, "to")


async def test_deliveries_are_listed_by_state_and_in_pages(
    ringside: Ringside, receiver: Receiver
) -> None:
    """Newest first."""
    api = ringside.developer
    made = await make(api, receiver.url)
    await happen(ringside, 3)
    await settled(api, made, lambda found: {each["state"] for each in found} == {"delivered"})
    path = f"/v1/webhooks/{made['id']}/deliveries"

    page = (await api.get(f"{path}?state=delivered&limit=2")).json
    rest = (await api.get(f"{path}?state=delivered&after={page['last_id']}")).json
    dead = (await api.get(f"{path}?state=dead")).json
    wrong = await api.get(f"{path}?state=lost")

    assert (len(page["data"]), page["has_more"], len(rest["data"])) == (2, True, 1)
    assert dead["data"] == []
    assert (wrong.status, wrong.error["param"]) == (400, "state")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/webhooks", {"url": PUBLIC, "events": ["*"]}),
        ("GET", "/v1/webhooks", None),
        ("GET", "/v1/webhooks/{}", None),
        ("PATCH", "/v1/webhooks/{}", {"enabled": False}),
        ("POST", "/v1/webhooks/{}/rotate", None),
        ("GET", "/v1/webhooks/{}/deliveries", None),
    ],
)
async def test_client_tokens_cannot_reach_webhooks(
    api: Caller, client_a: Caller, method: str, path: str, body: Any
) -> None:
    """They would learn of other customers' runs."""
    made = await make(api)

    answer = await client_a.call(method, path.format(made["id"]), body)

    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")


# ---------------------------------------------------------------------------- a file that changes


def in_file(*urls: str) -> Any:
    """The section of a configuration with these receivers."""
    return {
        "allow_private": ["127.0.0.1"],
        "endpoints": [{"url": url, "secret": SECRET} for url in urls],
    }


async def test_webhooks_follow_the_file(tmp_path: Path, receiver: Receiver) -> None:
    """Within two seconds one that it names is told, and one that it no longer names is not."""
    first, second = f"{receiver.url}/1", f"{receiver.url}/2"
    async with following(tmp_path, webhooks=in_file(first)) as live:

        async def urls() -> list[str]:
            return [each["url"] for each in (await live.developer.get("/v1/webhooks")).json["data"]]

        async def is_second_alone() -> bool:
            return await urls() == [second]

        assert await urls() == [first]
        live.write(webhooks=in_file(second))
        await until(is_second_alone)
        await live.proxy.services.db.write(events.emit, "wallet.low", {})
        [received] = await receiver.received(1)

    assert received.path == "/hook/2"
    verify(received, SECRET)


async def test_a_file_whose_webhooks_cannot_be_is_refused(tmp_path: Path) -> None:
    """The running ones go on, and the status says what is wrong with which."""
    async with following(tmp_path, webhooks=in_file(PUBLIC)) as live:
        live.write(webhooks=in_file(PUBLIC, PUBLIC, "https://10.0.0.1/"))
        assert not await live.reload()
        problems = (await live.status())["problems"]
        [left] = (await live.developer.get("/v1/webhooks")).json["data"]

    assert [each["path"] for each in problems] == [
        "webhooks.endpoints[1].url",
        "webhooks.endpoints[2].url",
    ]
    assert problems[0]["message"] == "is there twice"
    assert "10.0.0.1" in problems[1]["message"]
    assert "webhooks.allow_private" in problems[1]["remedy"]
    assert left["url"] == PUBLIC


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid", "x" * 300])
async def test_a_host_that_is_no_name_breaks_nothing(api: Caller, host: str) -> None:
    """A label that no lookup can be asked for is like a host that is not there."""
    answer = await api.post("/v1/webhooks", {"url": f"https://{host}/x", "events": ["*"]})

    assert answer.status in (200, 400), answer.body
