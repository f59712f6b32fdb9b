"""Providers whose work goes on when nobody listens are told to stop, and nobody waits for it."""

import asyncio
from typing import Any

import msgspec
import orjson
import pytest

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.chat.stream import ChatStreamDecoder
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.types import HTTPRequest
from tests.fakes import (
    Cut,
    FakeUpstream,
    Gate,
    Scripted,
    chunk,
    error_reply,
    json_reply,
    stream_reply,
    usage,
)
from tests.providers.conftest import Caller

DONE = b"data: [DONE]\n\n"
CREATED = json_reply({"stream": "/files/1", "cancel": "/predictions/1/cancel"}, 201)
WHOLE = stream_reply(chunk({"content": "Hello"}), chunk({}, "stop", usage=usage()), DONE)
POST, GET = ("POST", "/v1/chat/completions"), ("GET", "/v1/files/1")
CANCEL = ("POST", "/v1/predictions/1/cancel")


def following(caller: Caller) -> HTTPRequest:
    """A request whose first answer says where the real one is, and how to stop it."""
    asked = caller.request(is_stream=True)

    def follow(body: bytes) -> HTTPRequest:
        urls = orjson.loads(body)
        headers = {"authorization": asked.headers["authorization"]}
        cancel = HTTPRequest(url=caller.base_url + urls["cancel"], headers=headers)
        return HTTPRequest(
            method="GET", url=caller.base_url + urls["stream"], headers=headers, abandon=cancel
        )

    return msgspec.structs.replace(asked, follow=follow)


async def read(caller: Caller, batches_max: int | None = None) -> None:
    """Reads the answer, or its beginning."""
    async with caller.client.stream(
        caller.target,
        following(caller),
        lambda: ChatStreamDecoder("openai", lambda prefix: f"{prefix}_new"),
    ) as batches:
        seen = 0
        async for _ in batches:
            seen += 1
            if seen == batches_max:
                break


def asked_for(upstream: FakeUpstream) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in upstream.requests]


async def settled(caller: Caller) -> None:
    """Whatever is still being told has been."""
    await caller.client.close()


async def test_provider_is_told_when_its_caller_leaves(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """The work is paid by the second, with the owner's key."""
    upstream.enqueue(CREATED, stream_reply(chunk({"content": "Hello"}), Gate()), json_reply({}))

    await read(caller, batches_max=1)
    told = await asyncio.wait_for(upstream.request(2), timeout=30)

    assert asked_for(upstream) == [POST, GET, CANCEL]
    assert told.headers["authorization"] == upstream.requests[0].headers["authorization"]
    assert caller.outcomes == ["cancelled"]


async def test_provider_is_told_when_its_caller_is_cancelled(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """Also before the first word has come."""
    gate = Gate()
    upstream.enqueue(CREATED, stream_reply(gate), json_reply({}))
    task = asyncio.create_task(read(caller))
    await gate.reached.wait()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(upstream.request(2), timeout=30)

    assert asked_for(upstream) == [POST, GET, CANCEL]


@pytest.mark.parametrize("failure", [Scripted([Gate()]), error_reply(500), Scripted([Cut()])])
async def test_caller_does_not_wait_for_it(
    caller: Caller, upstream: FakeUpstream, failure: Scripted
) -> None:
    """A provider that does not listen to it either changes nothing for the caller."""
    upstream.enqueue(CREATED, stream_reply(chunk({"content": "Hello"}), Gate()), failure)

    async with asyncio.timeout(30):
        await read(caller, batches_max=1)
    await asyncio.wait_for(upstream.request(2), timeout=30)
    async with asyncio.timeout(30):
        await settled(caller)


async def test_finished_work_is_left_alone(caller: Caller, upstream: FakeUpstream) -> None:
    """There is nothing to stop."""
    upstream.enqueue(CREATED, WHOLE)

    await read(caller)
    await settled(caller)

    assert asked_for(upstream) == [POST, GET]


async def test_work_that_failed_is_left_alone(caller: Caller, upstream: FakeUpstream) -> None:
    """Who says that it failed has stopped."""
    broken = {"error": {"message": "bad", "type": "invalid_request_error"}}
    upstream.enqueue(CREATED, stream_reply(chunk({"content": "Hello"}), broken))

    with pytest.raises(ProviderError):
        await read(caller)
    await settled(caller)

    assert asked_for(upstream) == [POST, GET]


@pytest.mark.parametrize(
    "broken",
    [
        [error_reply(503)] * 3,
        [stream_reply(chunk({"content": "Hello"}), Cut())],
        [stream_reply(b": hm\n\n", Cut())],
    ],
    ids=["never fetched", "broke off", "broke off before the first word"],
)
async def test_work_whose_answer_is_lost_is_stopped(
    caller: Caller, upstream: FakeUpstream, broken: list[Any]
) -> None:
    """Nobody will read what it makes: after the last try, and before another is begun."""
    caller.set(max_retries=len(broken) - 1)
    upstream.enqueue(CREATED, *broken, json_reply({}))

    with pytest.raises(ProviderError):
        await read(caller)
    await settled(caller)

    assert asked_for(upstream) == [POST, *[GET] * len(broken), CANCEL]


async def test_end_waits_a_moment_for_what_is_being_told(
    caller: Caller, upstream: FakeUpstream
) -> None:
    """A process that ends its runs still gets the word out."""
    upstream.enqueue(CREATED, stream_reply(chunk({"content": "Hello"}), Gate()), json_reply({}))
    client: ProviderClient = caller.client

    await read(caller, batches_max=1)
    await client.close()

    assert asked_for(upstream) == [POST, GET, CANCEL]
