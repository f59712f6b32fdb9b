"""The relay itself: it passes everything on, and it sees what an SDK would let pass."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from tests.e2e.relay import Exchange, Relay, faults, relaying

DELETED = b'{"id":"thread_0123456789abcdef01234567","object":"thread.deleted","deleted":true}'
ENVELOPE = {"message": "no", "type": "provider_error", "param": None, "code": None}
CHAT = b'data: {"choices":[]}\n\n'
CHAT_ERROR = b'data: {"error":' + json.dumps(ENVELOPE).encode() + b"}\n\n"
STREAM = {"content-type": "text/event-stream; charset=utf-8"}


def exchange(
    body: bytes = DELETED,
    *,
    method: str = "DELETE",
    path: str = "/v1/threads/thread_0123456789abcdef01234567",
    sent: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    end: str = "whole",
) -> Exchange:
    """An exchange that keeps the contract, but for what is given."""
    return Exchange(
        method=method,
        path=path,
        request_headers=CIMultiDictProxy(CIMultiDict(sent or {})),
        status=200,
        headers=CIMultiDictProxy(CIMultiDict({"x-request-id": "req_1", **(headers or {})})),
        body=body,
        end=end,
    )


def chat(body: bytes) -> Exchange:
    """A streamed chat completion."""
    return exchange(body, method="POST", path="/v1/chat/completions", headers=STREAM)


def run_stream(body: bytes, end: str) -> Exchange:
    """A streamed run."""
    return exchange(body, method="POST", path="/v1/threads/runs", headers=STREAM, end=end)


@pytest.mark.parametrize(
    "good", [exchange(), chat(CHAT_ERROR), chat(CHAT_ERROR + b"data: [DONE]\n\n")]
)
def test_right_answer_has_no_fault(good: Exchange) -> None:
    """What keeps the contract passes."""
    assert faults(good) == []


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (exchange(headers={"x-request-id": ""}), "no x-request-id"),
        (exchange(sent={"x-stainless-retry-count": "1"}), "retried"),
        (exchange(end="server broke off"), "broke its answer off"),
        (exchange(DELETED.replace(b"true", b'"yes"')), "deleted"),
        (exchange(path="/v1/nonsense"), "no such operation"),
        (chat(CHAT), "end"),
        (chat(b'data: {"error":{}}\n\n'), "error"),
        (run_stream(b"event: done\ndata: [DONE]\n\n", "whole"), "out of order"),
        (run_stream(b"event: thread.run.queued\ndata: {}\n\n", "client left"), "event 0"),
    ],
)
def test_fault_is_named(bad: Exchange, fault: str) -> None:
    """Each breach of the contract is reported, in words that name it."""
    assert any(fault in found for found in faults(bad)), faults(bad)


def test_operation_is_remembered_without_its_ids() -> None:
    """What a suite has used is read off the paths that succeeded."""
    relay = Relay(url="")

    relay.record(exchange())
    relay.record(run_stream(b"", "client left"))

    assert relay.operations == {"DELETE /v1/threads/{}", "POST /v1/threads/runs (stream)"}


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    """A relay in front of a server that answers with what it was sent."""

    async def echo(request: web.Request) -> web.Response:
        got = {"target": request.raw_path, "body": (await request.read()).decode()}
        return web.json_response(got, headers={"x-request-id": "req_1"}, status=201)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with relaying(f"http://{host}:{port}") as relay:
        yield relay
    await runner.cleanup()


async def test_request_and_answer_pass_unchanged(relay: Relay) -> None:
    """Target, body and status are the client's and the server's own, and the case is counted."""
    target = "/v1/threads/thread_0/runs?include%5B%5D=a&limit=2"

    async with (
        aiohttp.ClientSession() as session,
        session.post(relay.url + target, data=b"{}", headers={"x-e2e-case": "one"}) as answer,
    ):
        got = await answer.json()

    assert (answer.status, got) == (201, {"target": target, "body": "{}"})
    assert relay.cases["one"] == 1
    assert len(relay.violations) == 1  # 201 is not OpenAI's
