"""The server on the wire: streams, limits, usage, breaks, identity."""

import asyncio
import io
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ringside_proxy.sandbox.server import (
    BODIES_REMEMBERED_MAX,
    BODY_BYTES_MAX,
    Attempts,
    create_app,
    serve,
)

QUESTION = "one two three four"
ASKED = [{"role": "user", "content": QUESTION}]
CHAT = "/v1/chat/completions"


def frames(body: str) -> list[Any]:
    """The events of a stream; `[DONE]` as it is."""
    data = [event.removeprefix("data: ") for event in body.split("\n\n") if event]
    return [text if text == "[DONE]" else json.loads(text) for text in data]


async def ask(http: aiohttp.ClientSession, model: str = "echo", **params: Any) -> dict[str, Any]:
    async with http.post(CHAT, json={"model": model, "messages": ASKED, **params}) as response:
        assert response.status == 200
        return await response.json()


async def ask_stream(http: aiohttp.ClientSession, model: str, **params: Any) -> list[Any]:
    body = {"model": model, "messages": ASKED, "stream": True, **params}
    async with http.post(CHAT, json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return frames(await response.text())


async def collect(response: aiohttp.ClientResponse, received: bytearray) -> None:
    async for data in response.content.iter_any():
        received += data


async def test_a_plain_answer_has_openais_shape(http: aiohttp.ClientSession) -> None:
    """Field for field, null and empty ones included."""
    completion = await ask(http)

    assert completion == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_764_000_000,
        "model": "echo",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": QUESTION,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 4,
            "completion_tokens": 4,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


async def test_a_stream_with_usage_has_openais_order(http: aiohttp.ClientSession) -> None:
    """Role, words, finish, usage without choices, [DONE]; usage is null on all others."""
    *chunks, last, done = await ask_stream(
        http, "echo", stream_options={"include_usage": True}, max_tokens=2
    )

    assert [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in chunks] == [
        ({"role": "assistant", "content": "", "refusal": None}, None),
        ({"content": "one"}, None),
        ({"content": " two"}, None),
        ({}, "length"),
    ]
    assert {c["usage"] for c in chunks} == {None}
    assert last["choices"] == []
    assert (last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (2, 6)
    assert done == "[DONE]"


async def test_a_stream_without_usage_does_not_name_it(http: aiohttp.ClientSession) -> None:
    """No usage key, no chunk without choices."""
    *chunks, done = await ask_stream(http, "echo")

    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)
    assert done == "[DONE]"


async def test_streamed_calls_come_in_openais_fragments(
    http: aiohttp.ClientSession, weather_tools: list[Any]
) -> None:
    """Id, type, name and empty arguments first; then the arguments, piece by piece."""
    *chunks, _ = await ask_stream(http, "tools", tools=weather_tools[1:])

    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": None, "refusal": None},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_3",
                    "type": "function",
                    "function": {"name": "get_time", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ' "four"}'}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_token_limit_cuts_the_answer(http: aiohttp.ClientSession, name: str) -> None:
    """Both names count; what is cut off finishes with length and is not billed."""
    completion = await ask(http, **{name: 3})

    choice = completion["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one two three", "length")
    assert completion["usage"]["completion_tokens"] == 3


async def test_a_limit_that_is_just_enough_cuts_nothing(http: aiohttp.ClientSession) -> None:
    """Four words within four tokens finish with stop."""
    completion = await ask(http, max_tokens=4)

    assert completion["choices"][0]["finish_reason"] == "stop"


async def test_a_stop_sequence_ends_the_answer(http: aiohttp.ClientSession) -> None:
    """The text ends before the sequence, also where it spans two tokens."""
    completion = await ask(http, stop=["nothing", "wo th"])

    choice = completion["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one t", "stop")
    assert completion["usage"]["completion_tokens"] == 2


async def test_usage_counts_functions_and_arguments(
    http: aiohttp.ClientSession, weather_tools: list[Any]
) -> None:
    """The prompt holds the functions, the completion the pieces of the arguments."""
    completion = await ask(http, "tools", tools=weather_tools[1:])

    usage = completion["usage"]
    assert usage["prompt_tokens"] == 4 + len(json.dumps(weather_tools[1:]).split())
    assert usage["completion_tokens"] == 2
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_the_usage_is_the_same_plain_and_streamed(
    http: aiohttp.ClientSession, weather_tools: list[Any]
) -> None:
    """One count for both forms."""
    plain = await ask(http, "say-then-tools", tools=weather_tools)
    *_, last, _ = await ask_stream(
        http, "say-then-tools", tools=weather_tools, stream_options={"include_usage": True}
    )

    assert last["usage"] == plain["usage"]
    assert plain["usage"]["completion_tokens"] == 5 + 4 + 2


async def test_an_error_midstream_is_an_event(http: aiohttp.ClientSession) -> None:
    """The words come first, then the error; there is no finish and no [DONE]."""
    *chunks, last = await ask_stream(http, "error-midstream")

    assert "".join(c["choices"][0]["delta"]["content"] for c in chunks).startswith("Here is")
    assert last["error"]["type"] == "server_error"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)


async def test_an_error_midstream_is_a_status_without_a_stream(http: aiohttp.ClientSession) -> None:
    """A plain answer is not sent before it is whole."""
    async with http.post(CHAT, json={"model": "error-midstream", "messages": ASKED}) as response:
        assert response.status == 500
        assert (await response.json())["error"]["type"] == "server_error"


async def test_a_broken_stream_ends_without_its_end(http: aiohttp.ClientSession) -> None:
    """What was said arrives; then the connection is cut inside the body."""
    body = {"model": "break-midstream", "messages": ASKED, "stream": True}
    received = bytearray()
    async with http.post(CHAT, json=body) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await collect(response, received)

    assert received.count(b"data: ") == 1 + 7
    assert b"[DONE]" not in received


async def test_a_broken_plain_answer_is_no_answer(http: aiohttp.ClientSession) -> None:
    """The connection is cut before a status."""
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(CHAT, json={"model": "break-midstream", "messages": ASKED})


@pytest.mark.parametrize("is_stream", [False, True])
async def test_garbage_is_a_web_page(http: aiohttp.ClientSession, is_stream: bool) -> None:
    """Status 200, HTML, whatever was asked for."""
    body = {"model": "garbage", "messages": ASKED, "stream": is_stream}
    async with http.post(CHAT, json=body) as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert (await response.text()).startswith("<html>")


@pytest.mark.parametrize("model", ["hang", "hang-midstream"])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_client_that_leaves_frees_the_handler(
    clock: Any, new_id: Any, model: str, is_stream: bool
) -> None:
    """The handler of a model that hangs is cancelled when the connection closes."""
    entered, cancelled = asyncio.Event(), asyncio.Event()

    @web.middleware
    async def watch(request: web.Request, handler: Any) -> web.StreamResponse:
        entered.set()
        try:
            return await handler(request)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    app = create_app(clock, new_id)
    app.middlewares.insert(0, watch)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    body = {"model": model, "messages": ASKED, "stream": is_stream}
    async with aiohttp.ClientSession(address, headers={"authorization": "Bearer x"}) as http:
        asking = asyncio.create_task(http.post(CHAT, json=body))
        await entered.wait()
        if model == "hang-midstream" and is_stream:
            response = await asking
            await response.content.readuntil(b"far:")
            response.close()
        else:
            asking.cancel()
            await asyncio.wait([asking])
        await cancelled.wait()
    await runner.cleanup()

    assert cancelled.is_set()


@pytest.mark.parametrize(("model", "word"), [("hang-midstream", b"Here"), ("slow-60000", b"one")])
async def test_closing_the_server_cuts_who_waits(
    clock: Any, new_id: Any, model: str, word: bytes
) -> None:
    """A silent stream and a long pause do not keep the server from going down: they are cut."""
    headers = {"authorization": "Bearer x"}
    body = {"model": model, "messages": ASKED, "stream": True}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with serve(clock, new_id) as port:
            response = await http.post(f"http://127.0.0.1:{port}{CHAT}", json=body)
            await response.content.readuntil(word)

        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer  ", "Basic YTpi"])
async def test_a_request_without_a_key_is_refused(url: str, authorization: str | None) -> None:
    """401 in OpenAI's shape, on every path."""
    headers = {} if authorization is None else {"authorization": authorization}
    async with (
        aiohttp.ClientSession(url, headers=headers) as http,
        http.get("/v1/models") as response,
    ):
        error = (await response.json())["error"]

    assert response.status == 401
    assert error["message"].startswith("You didn't provide an API key.")


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v1/none", 404, "Invalid URL (GET /v1/none)"),
        ("GET", CHAT, 405, f"Not allowed to GET on {CHAT}"),
    ],
)
async def test_an_unknown_route_answers_in_openais_shape(
    http: aiohttp.ClientSession, method: str, path: str, status: int, message: str
) -> None:
    """The router's own refusals have the envelope, too."""
    async with http.request(method, path) as response:
        assert response.status == status
        assert (await response.json())["error"]["message"] == message


async def test_a_body_that_is_too_large_answers_in_openais_shape(
    http: aiohttp.ClientSession,
) -> None:
    """413 with the envelope."""
    async with http.post("/v1/embeddings", data=io.BytesIO(bytes(BODY_BYTES_MAX + 1))) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "request_too_large"


async def test_a_request_id_is_echoed_or_made(http: aiohttp.ClientSession) -> None:
    """A usable one comes back; without one, or with an unusable one, it is made here."""
    ids = []
    for given in ({"x-request-id": "mine"}, {}, {"x-request-id": "x" * 129}):
        async with http.get("/v1/models", headers=given) as response:
            ids.append(response.headers["x-request-id"])

    assert ids == ["mine", "req_1", "req_2"]


async def test_a_stream_has_a_request_id(http: aiohttp.ClientSession) -> None:
    """The header is there although the body is not whole yet."""
    body = {"model": "echo", "messages": ASKED, "stream": True}
    async with http.post(CHAT, json=body, headers={"x-request-id": "mine"}) as response:
        assert response.headers["x-request-id"] == "mine"
        await response.read()


def test_attempts_are_forgotten_oldest_first() -> None:
    """The memory is bounded; a body seen again counts as new to it."""
    attempts = Attempts()
    attempts.count(b"first")
    attempts.count(b"second")
    attempts.count(b"first")
    for number in range(BODIES_REMEMBERED_MAX - 1):
        attempts.count(b"%d" % number)

    assert attempts.count(b"first") == 3
    assert attempts.count(b"second") == 1
