"""Images by address reach models that take bytes alone, in chats and in runs."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ringside_proxy.settings.outgoing import ImageSettings
from ringside_proxy.settings.schema import ProviderSettings
from tests.api.rig import Caller, serving
from tests.fakes import FakeUpstream, Scripted
from tests.services.image_server import PNG, ImageServer

MODEL = "fc:ollama/llava"
ANSWER = (
    b'{"message":{"role":"assistant","content":"A cat."},"done":true,"done_reason":"stop",'
    b'"prompt_eval_count":9,"eval_count":4}\n'
)
CHAT = "/v1/chat/completions"


@pytest.fixture
async def ollama() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream(is_strict=False) as upstream:
        yield upstream


@pytest.fixture
async def server() -> AsyncIterator[ImageServer]:
    async with ImageServer.running() as server:
        yield server


@pytest.fixture
def allowed() -> tuple[str, ...]:
    return ("127.0.0.1",)


@pytest.fixture
async def caller(
    tmp_path: Path, ollama: FakeUpstream, allowed: tuple[str, ...]
) -> AsyncIterator[Caller]:
    there = ProviderSettings(base_url=ollama.base_url, max_retries=0)
    images = ImageSettings(allow_private=allowed)
    async with serving(tmp_path, providers={"ollama": there}, images=images) as proxy:
        yield proxy.developer


def seen(upstream: FakeUpstream) -> list[Any]:
    """The images of each request that came."""
    return [request.body["messages"][-1].get("images") for request in upstream.requests]


def body(url: str, **values: Any) -> dict[str, Any]:
    parts = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": MODEL, "messages": [{"role": "user", "content": parts}], **values}


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_shows_the_image(
    caller: Caller, ollama: FakeUpstream, server: ImageServer, stream: bool
) -> None:
    """The address is the proxy's business, the bytes the model's."""
    ollama.enqueue(Scripted([ANSWER]))

    answer = await caller.post(CHAT, body(server.serve("a", PNG, "image/png"), stream=stream))

    assert answer.status == 200
    assert b"A cat." in answer.body
    assert seen(ollama) == [[base64.b64encode(PNG).decode()]]


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_with_an_image_that_cannot_be_had_is_refused(
    caller: Caller, ollama: FakeUpstream, server: ImageServer, stream: bool
) -> None:
    """Before the model is asked, with the image's place."""
    answer = await caller.post(CHAT, body(server.serve("a", status=404), stream=stream))

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "invalid_image_url"
    assert answer.error["param"] == "messages[0].content[1].image_url.url"
    assert ollama.requests == []


@pytest.mark.parametrize("allowed", [()])
async def test_image_inside_is_refused(
    caller: Caller, ollama: FakeUpstream, server: ImageServer
) -> None:
    """Unless the owner lists where images may come from."""
    answer = await caller.post(CHAT, body(server.serve("a", PNG, "image/png")))

    assert (answer.status, answer.error["code"]) == (400, "invalid_image_url")
    assert "images.allow_private" in answer.error["message"]
    assert server.asked == []


async def run_with(caller: Caller, url: str) -> Any:
    thread = await caller.make("/v1/threads", {"messages": body(url)["messages"]})
    return await caller.run(thread["id"], await caller.assistant(model=MODEL))


async def test_run_shows_the_image(
    caller: Caller, ollama: FakeUpstream, server: ImageServer
) -> None:
    """A thread keeps the address; each model call gets the image."""
    ollama.enqueue(Scripted([ANSWER]))

    run = await run_with(caller, server.serve("a", PNG, "image/png"))

    assert run["status"] == "completed"
    assert seen(ollama) == [[base64.b64encode(PNG).decode()]]


async def test_run_with_an_image_that_cannot_be_had_fails(
    caller: Caller, ollama: FakeUpstream, server: ImageServer
) -> None:
    """The run says which, and why."""
    url = server.serve("a", status=404)

    run = await run_with(caller, url)

    assert (run["status"], run["last_error"]["code"]) == ("failed", "invalid_prompt")
    assert url in run["last_error"]["message"]
    assert "status 404" in run["last_error"]["message"]
    assert ollama.requests == []
