"""Canaries: after traffic and faults of every kind, keys and tokens are nowhere, content is where
it belongs."""

import io
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from ringside_proxy.services.tokens import hash_token
from ringside_proxy.settings.outgoing import (
    UpstreamSettings,
    WebhookEndpointSettings,
    WebhookSettings,
)
from ringside_proxy.settings.values import Secret
from ringside_proxy.telemetry.logs import JSONLines, TextLines
from tests.api.rig import (
    CLIENT_A,
    CLIENT_B,
    DEVELOPER,
    FUNCTION,
    UPSTREAM_KEY,
    UPSTREAM_MODEL,
    Answer,
    Caller,
    Ringside,
    exchange,
    serving,
)
from tests.delivery.receiver import Received, Receiver
from tests.fakes import Cut, chunk, error_reply, stream_reply, text_reply, tool_reply

PROMPT: Final = "prompt-canary-5f2c"
ANSWER: Final = "answer-canary-91ab"
ARGUMENTS: Final = "arguments-canary-77de"
OUTPUT: Final = "output-canary-03bc"
CONTENT: Final = (PROMPT, ANSWER, ARGUMENTS, OUTPUT)

WEBHOOK_SECRET: Final = "whsec_canary0123456789ABCDEFGHIJKLMNOPQRSTUVWX"
FILE_SECRET: Final = "whsec_canaryOfTheFile0123456789ABCDEFGHIJKL="
UPSTREAM_SECRET: Final = "an upstream's pass phrase, which nothing gives away"
URL_TOKEN: Final = "url-canary-4b1d"
WRONG_TOKEN: Final = "ko_wrongcanary00000000000000000000000000000000"
CONTENT_TABLES: Final = {"items"}


class Trail:
    """Everything that a proxy leaves behind: its log in both formats, and what it answered."""

    def __init__(self) -> None:
        self.log = io.StringIO()
        self.answers: list[Answer] = []
        self.minted = ""
        self.rotated = ""
        self.metrics = b""
        self.tables: dict[str, str] = {}

    @property
    def everything(self) -> dict[str, str]:
        """Each place's text, by its name."""
        errors = [answer for answer in self.answers if answer.status >= 400]
        texts = {
            "log": self.log.getvalue(),
            "metrics": self.metrics.decode(),
            "errors": "\n".join(answer.body.decode() for answer in errors),
            "headers": "\n".join(str(answer.headers) for answer in self.answers),
        }
        return texts | {f"table {name}": text for name, text in self.tables.items()}


class Recorder(Caller):
    """A caller that keeps every answer."""

    def __init__(self, caller: Caller, trail: Trail) -> None:
        super().__init__(caller.session, caller.url, caller.token)
        self.trail = trail

    async def call(self, *args: Any, **options: Any) -> Answer:
        """The answer, kept."""
        answer = await super().call(*args, **options)
        self.trail.answers.append(answer)
        return answer


@pytest.fixture
def trail() -> Iterator[Trail]:
    """The log of everything in the process, from debug on, as the proxy would write it."""
    trail = Trail()
    root = logging.getLogger()
    handlers: list[logging.Handler] = []
    for formatter in (JSONLines(), TextLines()):
        handler = logging.StreamHandler(trail.log)
        handler.setFormatter(formatter)
        handlers.append(handler)
        root.addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in (None, "ringside_proxy", "aiohttp")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield trail
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)


@pytest.fixture
async def left(trail: Trail, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trail:
    """What is left of a proxy's life: good traffic, refusals, provider faults, a bug, bad HTTP."""
    async with Receiver() as receiver, serving(tmp_path, **_telling(receiver)) as ringside:
        api = Recorder(ringside.developer, trail)
        trail.minted = (await api.make("/v1/tokens", {"name": "minted"}))["token"]
        trail.rotated = await _listen_in(api, receiver)
        await _use(ringside, api)
        await receiver.until(_is_told_enough)
        await _misuse(ringside, api)
        await _break(ringside, api, monkeypatch)
        trail.metrics = (await ringside.admin("/metrics")).body
        trail.tables = tables(ringside.home)
    return trail


def _telling(receiver: Receiver) -> dict[str, Any]:
    """A configuration with a webhook and an upstream."""
    hook = WebhookEndpointSettings(url=f"{receiver.url}?{URL_TOKEN}", secret=Secret(FILE_SECRET))
    return {
        "webhooks": WebhookSettings(endpoints=(hook,), allow_private=("127.0.0.1",)),
        "upstream": UpstreamSettings(
            url=f"{receiver.url}/usage?{URL_TOKEN}",
            secret=Secret(UPSTREAM_SECRET),
            flush_interval_s=0.01,
        ),
    }


async def _listen_in(api: Caller, receiver: Receiver) -> str:
    """A webhook of the API's, whose receiver quotes all that it is sent; its second secret."""
    receiver.answer = lambda received: web.Response(status=500, text=str(received))
    body = {"url": f"{receiver.url}?{URL_TOKEN}", "events": ["*"], "secret": WEBHOOK_SECRET}
    made = await api.make("/v1/webhooks", body)
    rotated = await api.make(f"/v1/webhooks/{made['id']}/rotate")
    await api.make(f"/v1/webhooks/{made['id']}/test")
    return str(rotated["secret"])


def _is_told_enough(requests: list[Received]) -> bool:
    """Whether both receivers and the upstream were told of something."""
    kinds = {request.headers["x-fc-event-type"] for request in requests}
    return {"webhook.ping", "run.completed", "usage.recorded"} <= kinds


async def _use(ringside: Ringside, api: Caller) -> None:
    """Chats and runs that go well."""
    upstream = ringside.upstream
    chat = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": PROMPT}]}
    upstream.enqueue(text_reply(ANSWER), text_reply(ANSWER))
    await api.post("/v1/chat/completions", chat)
    await api.post("/v1/chat/completions", chat | {"stream": True})
    upstream.enqueue(
        tool_reply([("call_1aaaaaaa", "look_up", f'{{"q":"{ARGUMENTS}"}}')]), text_reply(ANSWER)
    )
    assistant = await api.assistant(model=UPSTREAM_MODEL, tools=[FUNCTION])
    thread = await api.thread(PROMPT)
    run = await api.run(thread, assistant)
    path = f"/v1/threads/{thread}/runs/{run['id']}"
    outputs = {
        "tool_outputs": [{"tool_call_id": "call_1aaaaaaa", "output": OUTPUT}],
        "stream": True,
    }
    await api.post(f"{path}/submit_tool_outputs", outputs)
    assert (await api.get(path)).json["status"] == "completed"


async def _misuse(ringside: Ringside, api: Caller) -> None:
    """Wrong tokens, wrong fields and wrong HTTP, each with something secret in it."""
    thread = await api.thread(PROMPT)
    await Recorder(api.using(WRONG_TOKEN), api.trail).get("/v1/models")
    await api.post("/v1/webhooks", {"url": "https://x.example", "secret": WEBHOOK_SECRET})
    await api.post(f"/v1/threads/{thread}/messages", {"role": "user", "content": [PROMPT]})
    await api.post(f"/v1/threads/{thread}/messages", data=f'{{"content": {PROMPT}'.encode())
    await api.get(f"/v1/nothing?key={UPSTREAM_KEY}")
    for broken in (
        f"GET /v1/models HTTP/1.1\r\nAuthorization: Bearer {DEVELOPER}\x01\r\n\r\n",
        f"POST /v1/threads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {DEVELOPER}\r\n"
        f"Content-Encoding: gzip\r\nContent-Length: {len(PROMPT)}\r\n\r\n{PROMPT}",
    ):
        await exchange(ringside.proxy.url, broken.encode())


async def _break(ringside: Ringside, api: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers that quote what they were sent, streams that break, and a bug of ours."""
    upstream = ringside.upstream
    assistant, thread = await api.assistant(model=UPSTREAM_MODEL), await api.thread(PROMPT)
    chat = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": PROMPT}]}
    quoted = f"Incorrect API key provided: {UPSTREAM_KEY}."
    for status in (400, 401, 403, 404, 429, 500, 503):
        upstream.enqueue(*[error_reply(status, None, quoted)] * 3)
        await api.post("/v1/chat/completions", chat)
        await api.post("/v1/chat/completions", chat | {"stream": True})
        await api.run(thread, assistant)
    for step in (Cut(), b"data: {" + PROMPT.encode() + b"\n\n"):
        upstream.enqueue(*[stream_reply(chunk({"content": ANSWER}), step)] * 2)
        await api.post("/v1/chat/completions", chat | {"stream": True})
        await api.run(thread, assistant)

    async def explode(*_: object) -> None:
        raise ValueError(f"{PROMPT} {UPSTREAM_KEY} {DEVELOPER}")

    with monkeypatch.context() as patch:
        patch.setattr(ringside.proxy.services.db, "write", explode)
        await api.post(f"/v1/threads/{thread}/messages", {"role": "user", "content": PROMPT})


def tables(home: Path) -> dict[str, str]:
    """Every row of every table, as text."""
    with closing(sqlite3.connect(f"file:{home}/ringside.db?mode=ro", uri=True)) as connection:
        names = [
            row[0]
            for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return {
            name: "\n".join(
                " ".join(
                    value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                    for value in row
                )
                for row in connection.execute(f'SELECT * FROM "{name}"')  # noqa: S608 - the store's own names
            )
            for name in names
        }


async def test_keys_and_tokens_are_nowhere(left: Trail) -> None:
    """Not in the log, the metrics, an error, a header or a row; nor are ours as their hashes."""
    secrets = {UPSTREAM_KEY, DEVELOPER, CLIENT_A, CLIENT_B, WRONG_TOKEN, WEBHOOK_SECRET}
    secrets |= {left.minted, hash_token(DEVELOPER), hash_token(CLIENT_A)}
    secrets |= {left.rotated, FILE_SECRET, UPSTREAM_SECRET}
    secrets |= {secret.removeprefix("whsec_") for secret in (WEBHOOK_SECRET, left.rotated)}

    found = {
        (place, secret)
        for place, text in left.everything.items()
        for secret in secrets
        if secret in text
    }

    assert found == set()


async def test_what_a_url_may_hide_is_told_to_nobody(left: Trail) -> None:
    """A receiver's address is kept with the receiver, and is in no log, metric or attempt."""
    found = {place for place, text in left.everything.items() if URL_TOKEN in text}

    assert found == {"table webhooks"}


async def test_content_is_in_its_table_alone(left: Trail) -> None:
    """Prompts, answers, arguments and outputs stand in the items, and in no other row."""
    found = {name for name, text in left.tables.items() if any(words in text for words in CONTENT)}

    assert found == CONTENT_TABLES
    assert all(words in left.tables["items"] for words in CONTENT)


@pytest.mark.parametrize("place", ["log", "metrics", "headers", "errors"])
async def test_content_is_told_to_nobody(left: Trail, place: str) -> None:
    """Neither the operator's log and metrics nor an error or a header repeat what was said."""
    text = left.everything[place]

    assert [words for words in CONTENT if words in text] == []
    assert text


async def test_the_trail_is_one_of_faults_too(left: Trail) -> None:
    """The canaries flew: each kind of answer was given, and the log has its errors."""
    statuses = {answer.status for answer in left.answers}

    assert {200, 400, 401, 404, 429, 500, 502, 503} <= statuses
    assert "request failed" in left.log.getvalue()
    assert "ValueError" in left.log.getvalue()
