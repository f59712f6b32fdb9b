"""Hostile input in numbers, from a seed: no answer in the 500s, nothing logged, nobody kept waiting.

`make test` takes a few thousand of each, `make hostile` all of them (`tests.faults.sizes`).
"""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import orjson
import pytest
from aiohttp import web

from ringside_proxy.api.openapi_operations import EXAMPLES, OPERATIONS
from ringside_proxy.api.routes import ROUTES
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.schema_judge import SchemaJudge
from tests.api.hostile import (
    AT_ONCE,
    INSTANCES,
    SEED,
    malformed,
    raw_request,
    schema,
    watched,
)
from tests.api.rig import DEVELOPER, ECHO, Ringside, exchange, path_of
from tests.api.tenants import WEBHOOK, world_of
from tests.faults.sizes import TIMEOUT_S, size

BODIES: Final = size("bodies")
REQUESTS: Final = size("raw requests")
SCHEMAS: Final = size("schemas")
SCHEMAS_SERVED: Final = SCHEMAS // 10
PATIENCE_S: Final = 0.1
"""An answer to half a request is not waited for any longer."""

WITH_BODY: Final = [route for route in ROUTES if OPERATIONS[route.handler].body]
QUESTION: Final = [{"role": "user", "content": "x"}]
HEAD: Final = b"Host: x\r\nAuthorization: Bearer " + DEVELOPER.encode() + b"\r\n"
JSON: Final = b"Content-Type: application/json\r\n"
WHOLE: Final = [
    b"GET /v1/models HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /v1/threads?limit=2&metadata[a]=b HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"DELETE /v1/threads/thread_x HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"POST /v1/threads HTTP/1.1\r\n" + HEAD + JSON + b'Content-Length: 15\r\n\r\n{"metadata":{}}',
    b"POST /v1/threads HTTP/1.1\r\n"
    + HEAD
    + b"Idempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b'5\r\n{"met\r\na\r\nadata":{}}\r\n0\r\n\r\n',
    b"POST /v1/customers/c HTTP/1.1\r\n" + HEAD + JSON + b'Content-Length: 12\r\n\r\n{"name":"x"}',
]


@asynccontextmanager
async def unharmed(ringside: Ringside, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """The attack goes in here: nothing blocks, nothing goes wrong, and the proxy is well after it."""
    caplog.set_level(logging.ERROR)
    async with watched() as watch:
        yield
    print(f"seed {SEED}: at most {watch.worst_s * 1000:.0f} ms of computing between two ticks")
    assert (await ringside.developer.get("/healthz")).status == 200
    assert (await ringside.admin("/readyz")).status == 200
    assert [record.getMessage() for record in caplog.records if is_wrong(record)] == []


def is_wrong(record: logging.LogRecord) -> bool:
    """An error of the proxy's, or one that aiohttp found in it.

    Not that what is left of a body which was refused already cannot be read, either.
    """
    error = record.exc_info[1] if record.exc_info else None
    return record.name.startswith(("ringside_proxy", "aiohttp.server")) and not isinstance(
        error, web.RequestPayloadError
    )


async def each(times: int, attack: Callable[[int], Awaitable[None]]) -> None:
    """`attack` so many times, many at once."""
    numbers = iter(range(times))

    async def work() -> None:
        for number in numbers:
            await attack(number)

    async with asyncio.TaskGroup() as workers:
        for _ in range(AT_ONCE):
            workers.create_task(work())


@pytest.mark.timeout(TIMEOUT_S)
async def test_malformed_bodies_are_answered(
    ringside: Ringside, caplog: pytest.LogCaptureFixture
) -> None:
    """Bodies broken as bytes, on every route that reads one: a 200 or in the 400s."""
    source, statuses, api = random.Random(SEED), Counter[int](), ringside.developer
    world = await world_of(api)
    webhook = await api.make("/v1/webhooks", WEBHOOK)
    ids = world.ids | {"customer_id": "c", "webhook_id": webhook["id"]}

    async def attack(number: int) -> None:
        route = WITH_BODY[number % len(WITH_BODY)]
        body_type = OPERATIONS[route.handler].body
        assert body_type is not None
        model = "fc:sandbox/embed" if route.path == "/v1/embeddings" else ECHO
        start = {"model": model, "messages": QUESTION, "url": WEBHOOK["url"]}
        start = {name: start.get(name, value) for name, value in EXAMPLES[body_type].items()}
        data = malformed(source, start)

        answer = await api.call(route.method, path_of(route, ids), data=data)

        statuses[answer.status] += 1
        assert answer.status < 500, (route.path, data, answer.body)

    async with unharmed(ringside, caplog):
        await each(BODIES, attack)
    print(f"{BODIES} bodies: {dict(statuses)}")
    assert statuses[400] > BODIES // 2


@pytest.mark.timeout(TIMEOUT_S)
async def test_mutated_requests_are_refused(
    ringside: Ringside, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests broken as bytes on the socket: refused or cut off, and the next one is served."""
    source, statuses, url = random.Random(SEED), Counter[bytes](), ringside.proxy.url

    async def attack(_: int) -> None:
        data = raw_request(source, WHOLE)

        answer = await exchange(url, data, patience_s=PATIENCE_S)

        status = answer.split(b" ", 2)[1] if answer else b"none"
        statuses[status] += 1
        assert status == b"none" or b"100" <= status < b"500", (data, answer)

    async with unharmed(ringside, caplog):
        await each(REQUESTS, attack)
    print(f"{REQUESTS} requests: {dict(statuses)}")
    assert statuses[b"400"] > REQUESTS // 10
    answers = [(await exchange(url, data)).split(b" ", 2)[1] for data in WHOLE]
    assert answers == [b"200", b"200", b"404", b"200", b"200", b"200"]


@pytest.mark.timeout(TIMEOUT_S)
async def test_hostile_schemas_are_bounded() -> None:
    """Whatever pretends to be a schema is refused, or applied to anything, and nobody waits for it."""
    source, fates = random.Random(SEED), Counter[str]()
    judge = SchemaJudge()
    schemas = Schemas(judge)
    async with watched() as watch:
        for _ in range(SCHEMAS):
            made, fate = schema(source), "taken"
            try:
                compiled = schemas.compile(made)
                await compiled.check()
                for instance in INSTANCES:
                    await compiled.faults(instance, orjson.dumps(instance).decode())
            except InvalidRequestError as error:
                fate = str(error.code)
            fates[fate] += 1
            await asyncio.sleep(0)
    await judge.close()
    print(f"seed {SEED}: {SCHEMAS} schemas: {dict(fates)}, at most {watch.worst_s * 1000:.0f} ms")
    assert min(fates.values()) > SCHEMAS // 100
    assert set(fates) == {"taken", "invalid_json_schema", "schema_too_complex"}


async def test_hostile_schemas_are_answered(
    ringside: Ringside, caplog: pytest.LogCaptureFixture
) -> None:
    """In a request they are a 400, or the answer meets them, or does not after all repairs."""
    source, statuses, api = random.Random(SEED), Counter[int](), ringside.developer

    async def attack(_: int) -> None:
        spec = {"name": "n", "schema": schema(source)}
        body = {
            "model": "fc:sandbox/json",
            "messages": QUESTION,
            "response_format": {"type": "json_schema", "json_schema": spec},
        }

        answer = await api.post("/v1/chat/completions", body)

        statuses[answer.status] += 1
        assert answer.status in (200, 400, 422), (spec, answer.body)

    async with unharmed(ringside, caplog):
        await each(SCHEMAS_SERVED, attack)
    print(f"{SCHEMAS_SERVED} requests with a schema: {dict(statuses)}")
    assert statuses[400] > 0
