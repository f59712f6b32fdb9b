"""Usage pushed upstream by a running proxy: the records that its API shows, signed, in order."""

from pathlib import Path
from typing import Any, Final

import openai
from aiohttp import web

from ringside_proxy.settings.outgoing import UpstreamSettings
from ringside_proxy.settings.values import Secret
from tests.api.rig import ECHO, Caller, serving
from tests.delivery.receiver import Receiver

SECRET: Final = "whsec_dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMsIDMyIGI="


def reporting_to(receiver: Receiver) -> UpstreamSettings:
    """A configuration with this upstream; plain http and loopback are the owner's to choose."""
    return UpstreamSettings(url=receiver.url, secret=Secret(SECRET), flush_interval_s=0.05)


async def chat(api: Caller, user: str) -> None:
    """A call that consumes tokens."""
    body = {"model": ECHO, "user": user, "messages": [{"role": "user", "content": "hello"}]}
    assert (await api.post("/v1/chat/completions", body)).status == 200


async def records(api: Caller) -> list[Any]:
    """What the API shows of single attempts."""
    answer = await api.get("/v1/usage/records?limit=100")
    found: list[Any] = answer.json["data"]
    return found


async def test_usage_is_reported_as_the_api_shows_it(tmp_path: Path) -> None:
    """Every record once, in the order of its sequence, under a signature of the shared secret."""
    async with (
        Receiver() as receiver,
        serving(tmp_path, upstream=reporting_to(receiver)) as ringside,
    ):
        api = ringside.developer
        for number in range(5):
            await chat(api, f"customer_{number}")
        shown = await records(api)
        batches = await receiver.until(
            lambda requests: bool(requests) and requests[-1].json["sequence_to"] == len(shown)
        )

    assert len(shown) == 5
    assert [record for batch in batches for record in batch.json["data"]] == shown
    with openai.OpenAI(api_key="none", base_url="http://127.0.0.1:9") as client:
        for batch in batches:
            client.webhooks.verify_signature(batch.body, batch.headers, secret=SECRET)
    assert all(batch.headers["idempotency-key"] == batch.json["id"] for batch in batches)


async def test_usage_waits_in_the_store_while_the_upstream_is_away(tmp_path: Path) -> None:
    """Over a restart: the batch comes again as it was, then what was consumed meanwhile."""
    async with Receiver() as receiver:
        receiver.answer = lambda _: web.Response(status=503)
        async with serving(tmp_path, upstream=reporting_to(receiver)) as ringside:
            await chat(ringside.developer, "customer_1")
            [first, *_] = await receiver.received(1)
            await chat(ringside.developer, "customer_2")
        receiver.answer = lambda _: web.Response(status=202)
        before = len(receiver.requests)
        async with serving(tmp_path, upstream=reporting_to(receiver)):
            await receiver.received(before + 2)

    again, rest = receiver.requests[before : before + 2]
    assert (again.id, again.body) == (first.id, first.body)
    assert rest.json["sequence_from"] == first.json["sequence_to"] + 1
    assert again.json["source"] == rest.json["source"]
