"""All nineteen providers through a whole proxy, each answering with bytes of its own wire.

What an adapter does with a request is shown in `tests/providers`; here it is shown that a run and
a chat completion come out in OpenAI's exact shape whichever provider answers.
"""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web

from ringside_proxy.app import running
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from ringside_proxy.settings.schema import (
    AdminSettings,
    AuthSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    TokenSettings,
)
from ringside_proxy.settings.values import Secret, TokenHash
from tests.conformance.schema import check_response
from tests.conformance.stream import check_chat_stream, check_run_stream
from tests.providers.test_bedrock_stream import framed

TRANSCRIPTS: Final = Path(__file__).parent.parent / "providers" / "transcripts"
TOKEN: Final = "ko_nineteen000000000000000000000000000000000"
KEY: Final = "provider-key-that-nobody-may-see"
FOLDERS: Final = {"xai": "responses/xai", "perplexity": "responses/perplexity"}
TYPES: Final = {
    ".sse": "text/event-stream",
    ".ndjson": "application/x-ndjson",
    ".frames": "application/vnd.amazon.eventstream",
}
CAN_CALL: Final = [name for name in TYPICAL_MODELS if name != "replicate"]
WEATHER: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def recorded(provider: str, case: str) -> tuple[bytes, str]:
    """The bytes of an answer on the provider's wire, and their content type."""
    folder = TRANSCRIPTS / FOLDERS.get(provider, provider)
    [path] = [folder / f"{case}{end}" for end in TYPES if (folder / f"{case}{end}").exists()]
    if path.suffix == ".frames":
        return framed(path.read_text().splitlines()), TYPES[path.suffix]
    return path.read_bytes(), TYPES[path.suffix]


class Vendor:
    """The far end: answers every call with the bytes it is set to."""

    def __init__(self) -> None:
        self.body, self.content_type = b"", ""
        self.url = ""
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Whatever was asked, the answer that was set."""
        raw = await request.read()
        self.calls.append((request.path, json.loads(raw) if raw else {}))
        if request.path.endswith("/predictions"):
            return web.json_response({"id": "p", "urls": {"stream": f"{self.url}/listen"}})
        return web.Response(body=self.body, content_type=self.content_type)


class Through:
    """A proxy with one provider, and calls through it."""

    def __init__(self, provider: str, vendor: Vendor, url: str, session: Any) -> None:
        self.model = f"fc:{provider}/{TYPICAL_MODELS[provider]}"
        self.provider = provider
        self.vendor = vendor
        self._url = url
        self._session = session

    def answers(self, case: str) -> None:
        """What the provider answers from now on."""
        self.vendor.body, self.vendor.content_type = recorded(self.provider, case)

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """The answer's bytes, held to OpenAI's shape; streams are for the caller to check."""
        async with self._session.post(self._url + path, json=body) as response:
            raw: bytes = await response.read()
        assert KEY.encode() not in raw
        assert response.status == 200, raw
        if not body.get("stream"):
            check_response("POST", path, response.status, raw)
        return raw

    async def run(self, **fields: Any) -> list[tuple[str, Any]]:
        """The events of a streamed run on a new thread, held to their order."""
        assistant = json.loads(await self.post("/v1/assistants", {"model": self.model}))
        message = {"role": "user", "content": "How is the weather in Bern?"}
        body = {
            "assistant_id": assistant["id"],
            "thread": {"messages": [message]},
            "stream": True,
        } | fields
        return check_run_stream(await self.post("/v1/threads/runs", body))


@contextlib.asynccontextmanager
async def through(provider: str, home: Path) -> AsyncIterator[Through]:
    async with contextlib.AsyncExitStack() as stack:
        yield await _started(provider, home, stack)


async def _started(provider: str, home: Path, stack: contextlib.AsyncExitStack) -> Through:
    vendor = Vendor()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", vendor.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    settings = Settings(
        server=ServerSettings(port=0),
        admin=AdminSettings(port=0),
        store=StoreSettings(url=f"sqlite:///{home / 'ringside.db'}"),
        auth=AuthSettings(tokens=(TokenSettings(name="t", hash_of_token=TokenHash.of(TOKEN)),)),
        providers={provider: ProviderSettings(api_key=Secret(KEY), base_url=vendor.url)},
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    proxy = await stack.enter_async_context(running(settings))
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
    return Through(provider, vendor, proxy.url, session)


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_a_run_in_text_is_openais_whoever_answers(provider: str, tmp_path: Path) -> None:
    """The stream keeps OpenAI's order, the message has text, the usage is counted."""
    async with through(provider, tmp_path) as proxy:
        proxy.answers("plain")

        events = await proxy.run()

    name, run = events[-2]
    assert (name, run["status"]) == ("thread.run.completed", "completed"), run["last_error"]
    [message] = [data for name, data in events if name == "thread.message.completed"]
    assert message["content"][0]["text"]["value"]
    assert run["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize("provider", CAN_CALL)
async def test_a_run_that_calls_stops_for_the_outputs(provider: str, tmp_path: Path) -> None:
    """The calls come with ids, names and arguments that are JSON."""
    async with through(provider, tmp_path) as proxy:
        proxy.answers("tool_call")

        events = await proxy.run(tools=[WEATHER])

    name, run = events[-2]
    assert name == "thread.run.requires_action", run["last_error"]
    calls = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert calls
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert all(call["function"]["name"] for call in calls)


@pytest.mark.parametrize("provider", [name for name in TYPICAL_MODELS if name != "openai"])
async def test_a_chat_is_openais_whoever_answers(provider: str, tmp_path: Path) -> None:
    """Plain and streamed are the same answer, in OpenAI's shape, with the usage when asked for."""
    body = {"messages": [{"role": "user", "content": "How is the weather in Bern?"}]}
    options = {"stream": True, "stream_options": {"include_usage": True}}
    async with through(provider, tmp_path) as proxy:
        proxy.answers("plain")
        body |= {"model": proxy.model}

        plain = json.loads(await proxy.post("/v1/chat/completions", body))
        chunks = check_chat_stream(await proxy.post("/v1/chat/completions", body | options))

    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    assert plain["choices"][0]["message"]["content"] == text
    assert chunks[-1]["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"] > 0
