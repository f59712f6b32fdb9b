"""One proxy with all nineteen providers, and the one far end that plays each of them."""

import contextlib
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
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
from tests.conformance.stream import check_run_stream
from tests.e2e.test_nineteen import FOLDERS, KEY, TOKEN, TRANSCRIPTS, TYPES, recorded
from tests.providers.test_bedrock_stream import framed

Answer = tuple[bytes, str]
Events = list[tuple[str, Any]]
PAYLOAD: Final = re.compile(r"(?P<before>(?:data: |\w+ )?)(?P<json>\{.*\})")
JSON_TYPE: Final = "application/json"
MISTRALS_ID: Final = re.compile(r"[A-Za-z0-9]{9}")
ANY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
DECLARES_CALLED: Final = ("anthropic", "bedrock")
"""They refuse a history with calls if the request declares no tools."""


def transcript(provider: str, case: str) -> list[tuple[str, Any]]:
    """The deltas of a recorded answer: each one's kind and fields."""
    path = TRANSCRIPTS / FOLDERS.get(provider, provider) / f"{case}.json"
    return [next(iter(delta.items())) for delta in json.loads(path.read_text())]


def cases(wanted: Callable[[list[tuple[str, Any]]], bool]) -> list[tuple[str, str]]:
    """Every provider's recorded answers whose deltas are `wanted`."""
    return [
        (provider, path.stem)
        for provider in TYPICAL_MODELS
        for path in sorted((TRANSCRIPTS / FOLDERS.get(provider, provider)).glob("*.json"))
        if not path.name.endswith(".request.json") and wanted(transcript(provider, path.stem))
    ]


def of_kind(deltas: list[tuple[str, Any]], kind: str) -> list[Any]:
    return [fields for name, fields in deltas if name == kind]


def finish(deltas: list[tuple[str, Any]]) -> str | None:
    """Why the model stopped; None for an answer that is not whole."""
    return next((fields["reason"] for fields in of_kind(deltas, "Finish")), None)


def text_of(deltas: list[tuple[str, Any]]) -> str:
    return "".join(fields["text"] for fields in of_kind(deltas, "TextDelta"))


def said(provider: str, text: str) -> Answer:
    """The provider's plain answer with other words in it, on its own wire."""
    raw, content_type = recorded(provider, "plain")
    if provider == "replicate":  # its words stand in no JSON
        return f"event: output\ndata: {text}\n\nevent: done\ndata: {{}}\n\n".encode(), content_type
    pieces = [fields["text"] for fields in of_kind(transcript(provider, "plain"), "TextDelta")]
    whole, left = "".join(pieces), deque(pieces)

    def other(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: other(item) for key, item in value.items()}
        if isinstance(value, list):
            return [other(item) for item in value]
        if left and value == left[0]:
            left.popleft()
            return text if len(left) == len(pieces) - 1 else ""
        if left and isinstance(value, str) and value.endswith(f"</think>\n\n{left[0]}"):
            return value.removesuffix(left.popleft()) + text
        return text if value == whole else value

    def line(found: re.Match[str]) -> str:
        return found["before"] + json.dumps(other(json.loads(found["json"])))

    if content_type == TYPES[".frames"]:
        [path] = (TRANSCRIPTS / provider).glob("plain.frames")
        return framed([PAYLOAD.sub(line, row) for row in path.read_text().splitlines()]), (
            content_type
        )
    return PAYLOAD.sub(line, raw.decode()).encode(), content_type


def wire_faults(provider: str, body: Any) -> list[str]:
    """What a vendor would refuse in how calls and their outputs stand in a request."""
    calls, outputs = list[str](), list[str]()
    _collect(body, calls, outputs)
    faults = [] if calls == outputs else [f"calls {calls}, outputs {outputs}"]
    if len(set(calls)) < len(calls):
        faults.append(f"twice the same id: {calls}")
    allowed = MISTRALS_ID if provider == "mistral" else ANY_ID
    faults += [f"no id: {call}" for call in calls if not allowed.fullmatch(call)]
    if calls and provider in DECLARES_CALLED and not (body.get("tools") or body.get("toolConfig")):
        faults.append("calls in the history, but no tools")
    return faults


def _collect(value: Any, calls: list[str], outputs: list[str]) -> None:
    """The ids of calls, and those that outputs answer, whoever's wire it is."""
    match value:
        case list():
            for item in value:
                _collect(item, calls, outputs)
        case {"toolUse": {"toolUseId": str() as name}}:
            calls.append(name)
        case {"toolResult": {"toolUseId": str() as name}}:
            outputs.append(name)
        case {"type": "tool_use", "id": str() as name}:
            calls.append(name)
        case {"tool_use_id": str() as name} | {"tool_call_id": str() as name}:
            outputs.append(name)
        case {"type": "function_call", "call_id": str() as name}:
            calls.append(name)
        case {"type": "function_call_output", "call_id": str() as name}:
            outputs.append(name)
        case {"id": str() as name, "function": dict()}:
            calls.append(name)
        case dict():
            for item in value.values():
                _collect(item, calls, outputs)


class FarEnd:
    """Nineteen vendors on one port, by the first part of the path.

    Each says what stands in its queue, the last of it for ever. `calls` is what each was sent.
    """

    def __init__(self) -> None:
        self.url = ""
        self.queues: dict[str, deque[Answer | Callable[[Any], Answer]]] = {}
        self.calls: dict[str, list[Any]] = {name: [] for name in TYPICAL_MODELS}

    async def answer(self, request: web.Request) -> web.Response:
        """The next answer of the vendor in the path."""
        vendor = request.match_info["vendor"]
        raw = await request.read()
        if raw:
            self.calls[vendor].append(json.loads(raw))
        if request.path.endswith("/predictions"):
            listen = f"{self.url}/{vendor}/listen"
            return web.json_response({"id": "p", "urls": {"stream": listen}})
        queue = self.queues[vendor]
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        if callable(answer):
            answer = answer(json.loads(raw))
        return web.Response(body=answer[0], content_type=answer[1])


class Proxy:
    """A proxy with every provider, and calls through it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, far: FarEnd) -> None:
        self._url, self._session, self._far = url, session, far

    def answers(self, provider: str, *answers: str | Answer | Callable[[Any], Answer]) -> None:
        """What the provider says from now on, in order; a name is a recorded answer."""
        self._far.queues[provider] = deque(
            recorded(provider, answer) if isinstance(answer, str) else answer for answer in answers
        )

    def sent(self, provider: str) -> list[Any]:
        """The bodies the provider has received."""
        return self._far.calls[provider]

    async def post(self, path: str, body: dict[str, Any], *, status: int = 200) -> bytes:
        """The answer's bytes, held to OpenAI's shape; streams are for the caller to check."""
        async with self._session.post(self._url + path, json=body) as response:
            raw = await response.read()
        assert KEY.encode() not in raw
        assert response.status == status, raw
        if response.content_type == JSON_TYPE:
            check_response("POST", path, response.status, raw)
        return raw

    async def call(self, path: str, body: dict[str, Any], *, status: int = 200) -> Any:
        """The answer, parsed."""
        return json.loads(await self.post(path, body, status=status))

    async def assistant(self, provider: str, **fields: Any) -> str:
        """The id of a new assistant on the provider's typical model."""
        made = await self.call("/v1/assistants", {"model": model_of(provider)} | fields)
        return str(made["id"])

    async def run(self, provider: str, **fields: Any) -> Events:
        """The events of a streamed run on a new thread, held to their order."""
        message = {"role": "user", "content": "How is the weather in Bern?"}
        body = {
            "assistant_id": await self.assistant(provider),
            "thread": {"messages": [message]},
            "stream": True,
        }
        return check_run_stream(await self.post("/v1/threads/runs", body | fields))

    async def again(self, thread_id: str, **fields: Any) -> Events:
        """The events of one more run on a thread."""
        path = f"/v1/threads/{thread_id}/runs"
        return check_run_stream(await self.post(path, {"stream": True} | fields))

    async def submit(self, run: dict[str, Any], output: str) -> Events:
        """The events after the same output for every call that the run waits for."""
        path = f"/v1/threads/{run['thread_id']}/runs/{run['id']}/submit_tool_outputs"
        outputs = [{"tool_call_id": call["id"], "output": output} for call in calls_of(run)]
        return check_run_stream(await self.post(path, {"stream": True, "tool_outputs": outputs}))


def model_of(provider: str) -> str:
    return f"fc:{provider}/{TYPICAL_MODELS[provider]}"


def calls_of(run: dict[str, Any]) -> list[Any]:
    """The calls a run waits for."""
    assert run["status"] == "requires_action", run["last_error"]
    calls: list[Any] = run["required_action"]["submit_tool_outputs"]["tool_calls"]
    return calls


def last_run(events: Events) -> dict[str, Any]:
    """The run as the stream leaves it."""
    run: dict[str, Any] = [data for name, data in events if name.startswith("thread.run.")][-1]
    assert run["object"] == "thread.run"
    return run


@contextlib.asynccontextmanager
async def all_nineteen(home: Path) -> AsyncIterator[Proxy]:
    """A proxy on a store in `home`, until the block ends."""
    async with contextlib.AsyncExitStack() as stack:
        far = FarEnd()
        app = web.Application()
        app.router.add_route("*", "/{vendor}/{path:.*}", far.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        far.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        settings = Settings(
            server=ServerSettings(port=0),
            admin=AdminSettings(port=0),
            store=StoreSettings(url=f"sqlite:///{home / 'ringside.db'}"),
            auth=AuthSettings(tokens=(TokenSettings(name="t", hash_of_token=TokenHash.of(TOKEN)),)),
            providers={
                name: ProviderSettings(api_key=Secret(KEY), base_url=f"{far.url}/{name}")
                for name in TYPICAL_MODELS
            },
        )
        proxy = await stack.enter_async_context(running(settings))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
        )
        yield Proxy(proxy.url, session, far)
