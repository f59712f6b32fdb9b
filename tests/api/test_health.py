"""/healthz, /readyz and /metrics: who is served, what they say, and which labels they carry."""

import asyncio
import re
from contextlib import suppress
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ringside_proxy.domain.errors import OverloadedError
from tests.api.rig import CLIENT_A, ECHO, Ringside, stop
from tests.store.writing import held, keys

ID: Final = re.compile(r"(asst|thread|msg|run|step|call|req|tok|conv|resp|fco?)_[A-Za-z0-9]{16,}")
LABELS: Final = {"route", "method", "code", "status", "provider", "model", "outcome", "operation"}
LABELS_OF_TYPES: Final = {"type", "reason", "version", "le"}
CUSTOMER: Final = "customer_4711"
LABEL_SETS_MAX: Final = 301


async def samples(ringside: Ringside) -> list[Any]:
    """Every sample of /metrics."""
    text = (await ringside.admin("/metrics")).body.decode()
    return [s for family in text_string_to_metric_families(text) for s in family.samples]


async def test_health_is_served_without_a_token(ringside: Ringside) -> None:
    """On both listeners; readiness and metrics on the admin's alone."""
    api = ringside.developer.using(None)

    answers = [await ringside.admin(path) for path in ("/healthz", "/readyz", "/metrics")]
    on_api = await api.get("/healthz")

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert [answer.json for answer in answers[:2]] == [{"status": "ok", "reasons": []}] * 2
    assert on_api.json == {"status": "ok", "reasons": []}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_the_admin_listener_answers_gets_alone(ringside: Ringside, path: str) -> None:
    """Nothing can be changed through it."""
    statuses = set()
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        async with ringside.session.request(method, ringside.proxy.admin_url + path) as response:
            statuses.add(response.status)

    assert statuses == {405}


async def test_a_writer_with_a_full_queue_is_alive_if_it_moves(ringside: Ringside) -> None:
    """A pod under more load than it can take is not started again for it."""
    db = ringside.proxy.services.db
    async with held(db) as writer:
        waiting = []
        with suppress(OverloadedError):
            while True:
                waiting.append(db.submit(keys))
        asked = asyncio.ensure_future(ringside.admin("/healthz"))
        refused = await ringside.developer.post("/v1/threads", {})
        writer.release()
        answer = await asked
        await asyncio.gather(*waiting)

    assert (refused.status, refused.error["code"]) == (503, "overloaded")
    assert answer.status == 200


async def test_a_writer_that_stands_still_is_not_alive(ringside: Ringside) -> None:
    """After five seconds."""
    async with held(ringside.proxy.services.db):
        answer = await ringside.admin("/healthz")

    assert (answer.status, answer.json["reasons"]) == (503, ["store_writer_stuck"])


async def test_a_draining_proxy_is_alive_but_not_ready(ringside: Ringside) -> None:
    """/readyz says why; /healthz stays, so that nobody kills it before it is done."""
    await stop(ringside.proxy)

    ready, healthy = await ringside.admin("/readyz"), await ringside.admin("/healthz")

    assert (ready.status, ready.json) == (503, {"status": "unready", "reasons": ["draining"]})
    assert healthy.status == 200


async def test_metrics_are_prometheus_text(ringside: Ringside) -> None:
    """The content type says so, every family has a help text, and the text parses."""
    answer = await ringside.admin("/metrics")

    families = list(text_string_to_metric_families(answer.body.decode()))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert families
    assert all(family.name.startswith("ringside_") for family in families)
    assert all(family.documentation for family in families)


async def test_metrics_count_requests_by_route_and_status(ringside: Ringside) -> None:
    """A route is its pattern; what is no route is `other`, and so is a made-up method."""
    api = ringside.developer
    thread = await api.thread("hi")
    await api.get(f"/v1/threads/{thread}")
    await api.get("/v1/threads/thread_nothing")
    await api.get("/v1/no/such/path")
    await api.call("PROPFIND", "/v1/models")
    await api.using(None).get("/v1/models")

    counted = {
        (s.labels["route"], s.labels["method"], s.labels["code"]): s.value
        for s in await samples(ringside)
        if s.name == "ringside_requests_total"
    }

    assert counted == {
        ("/v1/threads", "POST", "200"): 1,
        ("/v1/threads/{thread_id}", "GET", "200"): 1,
        ("/v1/threads/{thread_id}", "GET", "404"): 1,
        ("other", "GET", "404"): 1,
        ("other", "other", "405"): 1,
        ("/v1/models", "GET", "401"): 1,
    }


async def test_labels_name_no_object_customer_or_token(ringside: Ringside) -> None:
    """After traffic of every kind the labels are of the closed list, their values nobody's ids."""
    api = ringside.developer
    thread, assistant = await api.thread("hi", user=CUSTOMER), await api.assistant()
    run = await api.run(thread, assistant, user=CUSTOMER)
    tools = await api.assistant(
        model="fc:sandbox/tools", tools=[{"type": "function", "function": {"name": "f"}}]
    )
    await api.run(thread, tools)
    await api.get(f"/v1/threads/{thread}/runs/{run['id']}/steps/step_unknown")
    await api.get(f"/v1/{CUSTOMER}/{thread}")
    chat = {"model": ECHO, "messages": [{"role": "user", "content": "hi"}], "user": CUSTOMER}
    await api.post("/v1/chat/completions", chat)
    await api.post("/v1/chat/completions", chat | {"model": "fc:sandbox/fail-500"})
    await api.using(CLIENT_A).thread("hi")
    await api.using("ko_nobody").get("/v1/models")
    await api.post(f"/v1/threads/{thread}/runs", {"assistant_id": "asst_nothing"})

    labels = [label for sample in await samples(ringside) for label in sample.labels.items()]

    assert {name for name, _ in labels} <= LABELS | LABELS_OF_TYPES
    values = {value for _, value in labels}
    assert [value for value in values if ID.search(value)] == []
    assert not any(word in value for value in values for word in (CUSTOMER, "customer_a", "ko_"))
    assert "/v1/threads/{thread_id}/runs" in values


async def test_made_up_models_do_not_fill_the_metrics(ringside: Ringside) -> None:
    """Past the limit of label sets new names are counted as `other`."""
    api = ringside.developer
    for number in range(LABEL_SETS_MAX + 20):
        body = {"model": f"fc:sandbox/no-{number}x", "messages": [{"role": "user", "content": "x"}]}
        await api.post("/v1/chat/completions", body)

    counts = {
        s.labels["model"]: s.value
        for s in await samples(ringside)
        if s.name == "ringside_upstream_requests_total"
    }

    assert len(counts) <= LABEL_SETS_MAX
    assert counts["other"] >= 20
    assert sum(counts.values()) == LABEL_SETS_MAX + 20
