"""The far sides of the proxy, owned by the tests: a clock, and a provider on OpenAI's wire."""

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Self

import orjson
from aiohttp import web

CHAT_PARAMS = frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "messages",
        "metadata",
        "modalities",
        "model",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
EMBEDDINGS_PARAMS = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
BODY_BYTES_MAX = 64 * 1024 * 1024


class FakeClock:
    """A clock that only the test moves."""

    def __init__(self, now_ms: int = 1_763_700_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 1000.0

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Seconds that go forward with `advance` alone."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Moves both times."""
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds


class Gate:
    """A point in a reply where the upstream waits for the test; `reached` says that it does."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Lets the reply go on."""
        self._released.set()

    async def wait(self) -> None:
        """The upstream's side."""
        self.reached.set()
        await self._released.wait()


class Reset:
    """A point in a reply where the connection is reset (RST)."""


class Cut:
    """A point in a reply where the connection is closed, whatever was promised."""


Step = bytes | Gate | Reset | Cut


@dataclass
class Scripted:
    """One reply, step by step. `is_raw`: the steps are the whole HTTP answer, head and all."""

    steps: Sequence[Step] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    is_raw: bool = False


Reply = Scripted | Callable[[dict[str, Any]], Scripted]
"""A reply, or what makes one from the parsed request."""


@dataclass
class Recorded:
    """A request as it came, header names in lower case.

    `gone` is set when its client left before the reply was complete.
    """

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes
    body: Any
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class FakeUpstream:
    """A provider that says what it is told to, in order, and refuses what OpenAI refuses.

    async with FakeUpstream() as upstream:
        upstream.enqueue(text_reply("Hello"), error_reply(500))
    """

    def __init__(self, *, is_strict: bool = True) -> None:
        self.requests: list[Recorded] = []
        self._arrived = asyncio.Condition()
        self._replies: deque[Reply] = deque()
        self._is_strict = is_strict

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """What a provider's `base_url` is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        """How many sockets the clients hold open, idle ones included."""
        assert self._runner.server is not None
        return len(self._runner.server.connections)

    def enqueue(self, *replies: Reply) -> None:
        """Adds replies; each request takes one, unless it is refused."""
        self._replies.extend(replies)

    def forget(self) -> None:
        """Drops the replies that nobody has taken."""
        self._replies.clear()

    async def request(self, number: int) -> Recorded:
        """The request with that number, from 0, as soon as it is there."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        try:
            body = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            body = None
        headers = {name.lower(): value for name, value in request.headers.items()}
        recorded = Recorded(request.method, request.path, headers, raw, body)
        async with self._arrived:
            self.requests.append(recorded)
            self._arrived.notify_all()
        try:
            return await _play(request, self._reply_to(request, body))
        except (asyncio.CancelledError, ConnectionError):
            recorded.gone.set()
            raise

    def _reply_to(self, request: web.Request, body: Any) -> Scripted:
        problem = _problem(request.path, body) if self._is_strict else None
        if problem:
            return error_reply(400, None, problem)
        if not self._replies:
            return error_reply(418, "unscripted", "The test has scripted no further reply.")
        reply = self._replies.popleft()
        return reply if isinstance(reply, Scripted) else reply(body)


async def _play(request: web.Request, reply: Scripted) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    transport = request.transport
    assert transport is not None
    has_head = reply.is_raw
    for step in reply.steps:
        match step:
            case Gate():
                await step.wait()
            case Reset():
                connection = transport.get_extra_info("socket")
                connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                transport.abort()
                return response
            case Cut():
                transport.close()
                return response
            case bytes() if reply.is_raw:
                transport.write(step)
            case bytes():
                if not has_head:
                    await response.prepare(request)
                    has_head = True
                await response.write(step)
    if reply.is_raw:
        transport.close()
        return response
    if not has_head:
        await response.prepare(request)
    await response.write_eof()
    return response


def json_reply(payload: Any, status: int = 200, **headers: str) -> Scripted:
    body = orjson.dumps(payload)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Scripted([body], status, {"content-type": "application/json", **names})


def stream_reply(*steps: Step | dict[str, Any]) -> Scripted:
    """Server-sent events: an object becomes a `data:` frame, bytes and the rest stay as they are."""
    framed = [frame(step) if isinstance(step, dict) else step for step in steps]
    return Scripted(framed, 200, {"content-type": "text/event-stream; charset=utf-8"})


def error_reply(
    status: int, code: str | None = None, message: str = "The test says no.", **headers: str
) -> Scripted:
    kind = "invalid_request_error" if status < 429 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json_reply({"error": error}, status, **headers)


def text_reply(text: str, *, finish_reason: str = "stop") -> Reply:
    """An answer in words, streamed or whole as the request asks."""

    def reply(request: dict[str, Any]) -> Scripted:
        message = {"role": "assistant", "content": text, "refusal": None}
        deltas = [{"content": f"{word}"} for word in _words(text)]
        return _answer(request, message, deltas, finish_reason)

    return reply


def tool_reply(calls: Sequence[tuple[str, str, str]], text: str | None = None) -> Reply:
    """Calls of functions, each as (id, name, arguments)."""

    def reply(request: dict[str, Any]) -> Scripted:
        tool_calls = [
            {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
            for id_, name, arguments in calls
        ]
        deltas: list[dict[str, Any]] = [{"content": word} for word in _words(text or "")]
        for index, (call, (_, name, arguments)) in enumerate(zip(tool_calls, calls, strict=True)):
            opening = {"index": index, **call, "function": {"name": name, "arguments": ""}}
            pieces = [arguments[:3], arguments[3:]]
            deltas.append({"tool_calls": [opening]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in pieces
                if piece
            ]
        message = {"role": "assistant", "content": text, "tool_calls": tool_calls}
        return _answer(request, message, deltas, "tool_calls")

    return reply


def chunk(delta: dict[str, Any] | None, finish_reason: str | None = None, **fields: Any) -> Any:
    """One chunk of a streamed completion; no delta means no choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1763700000,
        "model": "fake-model",
        "choices": [] if delta is None else [choice],
        **fields,
    }


def frame(payload: Any) -> bytes:
    return b"data: " + orjson.dumps(payload) + b"\n\n"


def usage(prompt: int = 9, completion: int = 4) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _answer(
    request: dict[str, Any],
    message: dict[str, Any],
    deltas: list[dict[str, Any]],
    finish_reason: str,
) -> Scripted:
    if not request.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": finish_reason}
        head = {"id": "chatcmpl-fake", "object": "chat.completion", "created": 1763700000}
        return json_reply(
            {**head, "model": request["model"], "choices": [choice], "usage": usage()}
        )
    chunks = [chunk({"role": "assistant", "content": "" if message["content"] else None})]
    chunks += [chunk(delta) for delta in deltas]
    chunks.append(chunk({}, finish_reason))
    if (request.get("stream_options") or {}).get("include_usage"):
        chunks = [{**each, "usage": None} for each in chunks]
        chunks.append(chunk(None, usage=usage()))
    return stream_reply(*chunks, b"data: [DONE]\n\n")


def _words(text: str) -> list[str]:
    words = text.split(" ")
    return [word if i == 0 else f" {word}" for i, word in enumerate(words)] if text else []


def _problem(path: str, body: Any) -> str | None:
    """What OpenAI would refuse in a request; None if nothing."""
    is_chat = path.endswith("/chat/completions")
    allowed = CHAT_PARAMS if is_chat else EMBEDDINGS_PARAMS
    if not is_chat and not path.endswith("/embeddings"):
        return None
    if not isinstance(body, dict):
        return "We could not parse the JSON body of your request."
    if unknown := sorted(body.keys() - allowed):
        return f"Unrecognized request argument supplied: {unknown[0]}"
    for name in ("model", "messages" if is_chat else "input"):
        if not body.get(name):
            return f"Missing required parameter: '{name}'."
    return _chat_problem(body) if is_chat else None


def _chat_problem(body: dict[str, Any]) -> str | None:
    if body.get("tools") == []:
        return "Invalid 'tools': empty array. Expected an array with minimum length 1."
    if "tools" not in body and "tool_choice" in body:
        return "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
    if "tools" not in body and "parallel_tool_calls" in body:
        return "Invalid value for 'parallel_tool_calls': only allowed when 'tools' are specified."
    if "max_tokens" in body and "max_completion_tokens" in body:
        return "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
    if "stream_options" in body and not body.get("stream"):
        return "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    return _pairing_problem(body["messages"])


def _pairing_problem(messages: list[dict[str, Any]]) -> str | None:
    """Every call is answered right after it, and nothing else is."""
    waiting: set[str] = set()
    for i, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return (
                    f"Invalid parameter: messages[{i}] with role 'tool' must be a response to a "
                    "preceding message with 'tool_calls'."
                )
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            break
        if message.get("tool_calls") == []:
            return f"Invalid 'messages[{i}].tool_calls': empty array."
        if message["role"] != "assistant" and message.get("content") is None:
            return f"Invalid value for 'content': expected a string, got null. (messages[{i}])"
        waiting = {call["id"] for call in message.get("tool_calls") or ()}
    if not waiting:
        return None
    return (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to "
        "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
        + ", ".join(sorted(waiting))
    )
