"""What callers see when a provider fails: every fault, at all nineteen, as a run and as a chat.

Each provider has one proxy. A fault is named in the prompt, so that the far end, which speaks HTTP
byte by byte, knows what to do to that call and those that only wait can wait together.
"""

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from ringside_proxy.app import Proxy, running
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from ringside_proxy.settings.schema import (
    AdminSettings,
    AuthSettings,
    ModelListSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
    StoreSettings,
    TimeoutSettings,
    TokenSettings,
)
from ringside_proxy.settings.values import Secret, TokenHash
from tests.conformance.schema import check_response
from tests.conformance.stream import check_run_stream
from tests.e2e.faults import (
    ALL,
    FAULTS,
    GOOD,
    JSON,
    KEY,
    REFUSED,
    STALLS,
    Fault,
    Means,
    Silence,
    Step,
    answer,
    wire,
)
from tests.e2e.ringside import TOKEN
from tests.fakes import Cut, Reset

STALL_S: Final = 0.5
"""How long a silent provider is waited for here; the calls that wait do so together."""
QUIET_S: Final = 5.0
"""Bounds the wait for what has to end by itself."""
TOKENS_MAX: Final = 1_000_000_000
ASSISTANTS: Final = "/v1/assistants"
RUNS: Final = "/v1/threads/runs"
CHAT: Final = "/v1/chat/completions"
NAMED: Final = re.compile(rb"fault-(\d+)-")
HEAD_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
AT_ONCE: Final = 2 * len(STALLS)
"""How many calls are made at the same time, and so how many connections may be kept for the next."""


class FarEnd:
    """A provider that does to each call what its prompt names. It is there once it listens."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._answering = 0
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Takes connections; until then they are refused."""
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def settled(self, connections_max: int) -> None:
        """Returns when every call was answered or let go of, and few connections are left."""
        async with asyncio.timeout(QUIET_S):
            while self._answering or len(self._writers) > connections_max:
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        """Hangs up on everyone."""
        if self._server:
            self._server.close()
        self._socket.close()
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._call(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            self._changed.set()
            writer.close()

    async def _call(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one call; whether the connection is good for another."""
        asked = await reader.readuntil(b"\r\n\r\n")
        if length := HEAD_LENGTH.search(asked):
            asked += await reader.readexactly(int(length[1]))
        self._answering += 1
        try:
            return await self._play(self._steps(asked), reader, writer)
        finally:
            self._answering -= 1
            self._changed.set()

    def _steps(self, asked: bytes) -> list[Step]:
        number = int(NAMED.findall(asked)[-1])
        if b"/predictions " in asked.partition(b"\r\n")[0]:
            listen = f"{self.url}/listen/fault-{number}-"
            prediction = {"id": "p", "urls": {"stream": listen}}
            return answer(JSON, json.dumps(prediction).encode(), 201)
        body = asked.partition(b"\r\n\r\n")[2]
        is_relayed = self.provider == "openai" and not json.loads(body).get("stream")
        return ALL[number].steps(wire(self.provider, is_relayed=is_relayed))

    async def _play(
        self, steps: list[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        for step in steps:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case Silence():
                    await reader.read()
                    return False
                case Reset():
                    linger = struct.pack("ii", 1, 0)
                    connection = writer.get_extra_info("socket")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    return False
                case Cut():
                    return False
        return True


def check_counts(usage: dict[str, Any] | None) -> None:
    """Token counts that can be true; none at all is for those that have no answer."""
    for key in ("prompt_tokens", "completion_tokens") if usage else ():
        assert 0 <= usage[key] <= TOKENS_MAX, usage


class Caller:
    """Calls through a proxy, and what they show of a fault."""

    def __init__(self, provider: str, url: str, session: aiohttp.ClientSession) -> None:
        self.provider = provider
        self.model = f"fc:{provider}/{TYPICAL_MODELS[provider]}"
        self.complaints: list[str] = []
        self.assistant_id = ""
        self._url, self._session = url, session

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer that tells no secret."""
        async with self._session.post(self._url + path, json=body) as response:
            answered = await response.read()
        assert KEY.encode() not in answered + repr(response.headers).encode(), "the key leaked"
        return response.status, response.headers, answered

    async def make_assistant(self) -> None:
        """Makes the assistant of all the runs."""
        _, _, made = await self.post(ASSISTANTS, {"model": self.model})
        self.assistant_id = json.loads(made)["id"]

    async def suffer(self, *faults: Fault, then_again: bool = True) -> None:
        """Meets faults at the same time, each as a run and as a chat."""
        runs = [self._kept("run", fault, self._run(fault, then_again)) for fault in faults]
        chats = [self._kept("chat", fault, self._chat(fault)) for fault in faults]
        await asyncio.gather(*runs, *chats)

    async def _kept(self, kind: str, fault: Fault, trial: Any) -> None:
        complaint = None
        try:
            await trial
        except AssertionError as error:
            complaint = str(error).partition("\n")[0]
        if complaint is not None:
            self.complaints.append(f"{fault.name}, {kind}: {complaint}")

    async def _run(self, fault: Fault, then_again: bool) -> None:
        """A streamed run that meets the fault, then one more on its thread that does not."""
        prompt = [{"role": "user", "content": f"fault-{ALL.index(fault)}-"}]
        body = {"assistant_id": self.assistant_id, "stream": True}
        run, thread_id = await self._streamed(RUNS, body | {"thread": {"messages": prompt}})

        means = self._means(fault, is_relayed=False)
        self._check_run(run, means)
        if then_again:
            again = [{"role": "user", "content": f"fault-{ALL.index(GOOD)}-"}]
            path = f"/v1/threads/{thread_id}/runs"
            run, _ = await self._streamed(path, body | {"additional_messages": again})
            assert run["status"] == "completed", f"the next run: {run['last_error']}"

    async def _streamed(self, path: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The run as its stream leaves it, and its thread."""
        status, _, answered = await self.post(path, body)
        assert status == 200, f"{path}: {status} {answered!r}"
        events: list[Any] = check_run_stream(answered)
        run = [data for name, data in events if data != "[DONE]" and name.startswith("thread.run.")]
        assert run[-1]["object"] == "thread.run"
        return run[-1], run[-1]["thread_id"]

    def _check_run(self, run: dict[str, Any], means: Means | None) -> None:
        error = run["last_error"]
        shown = run["status"], error and error["code"]
        assert shown == (("failed", means.run_code) if means else ("completed", None)), (
            f"{shown} {error}"
        )
        assert error is None or self.provider in error["message"], error
        assert means or run["usage"], "an answer without usage"
        check_counts(run["usage"])

    async def _chat(self, fault: Fault) -> None:
        """A plain chat completion that meets the fault."""
        prompt = [{"role": "user", "content": f"fault-{ALL.index(fault)}-"}]
        status, headers, answered = await self.post(CHAT, {"model": self.model, "messages": prompt})

        is_relayed = self.provider == "openai"
        means = self._means(fault, is_relayed=is_relayed)
        said = json.loads(answered)
        if means is None:
            assert status == 200, f"{status} {said}"
            if not is_relayed:  # which passes on what the vendor says
                check_response("POST", CHAT, status, answered)
                check_counts(said.get("usage"))
            return
        check_response("POST", CHAT, status, answered)
        assert (status, said["error"]["type"]) == means[:2], f"{status} {said}"
        assert self.provider in said["error"]["message"], said
        if fault.retry_after is not None:
            assert headers["retry-after"] == fault.retry_after, headers["retry-after"]

    def _means(self, fault: Fault, *, is_relayed: bool) -> Means | None:
        at = wire(self.provider, is_relayed=is_relayed)
        return fault.means(at) if callable(fault.means) else fault.means


@contextlib.asynccontextmanager
async def proxied(provider: str, url: str, home: Path) -> AsyncIterator[Proxy]:
    """A proxy with one provider, which is not waited for long and not asked twice."""
    settings = Settings(
        server=ServerSettings(port=0),
        admin=AdminSettings(port=0),
        models=ModelListSettings(refresh_s=None),
        store=StoreSettings(url=f"sqlite:///{home / 'ringside.db'}", synchronous="normal"),
        auth=AuthSettings(tokens=(TokenSettings(name="t", hash_of_token=TokenHash.of(TOKEN)),)),
        providers={
            provider: ProviderSettings(
                api_key=Secret(KEY),
                base_url=url,
                max_retries=0,
                breaker=False,  # each fault is to be met, not kept away
                timeouts=TimeoutSettings(
                    first_byte_s=STALL_S, between_chunks_s=STALL_S, total_s=2 * STALL_S
                ),
            )
        },
    )
    async with running(settings) as proxy:
        yield proxy


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_faults_are_told_in_openais_words_and_leave_nothing(
    provider: str, tmp_path: Path
) -> None:
    """Each has its status or `last_error`, frees its thread, and keeps no connection and no task."""
    far = FarEnd(provider)
    async with proxied(provider, far.url, tmp_path) as proxy:
        before = asyncio.all_tasks()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            caller = Caller(provider, proxy.url, session)
            await caller.make_assistant()

            await caller.suffer(REFUSED, then_again=False)
            await far.listen()
            await caller.suffer(*STALLS)
            for fault in (*FAULTS, GOOD):
                await caller.suffer(fault)

        await far.settled(connections_max=AT_ONCE)
        far.close()
        left = asyncio.all_tasks() - before
        if left:
            _, left = await asyncio.wait(left, timeout=QUIET_S)

        assert len(proxy.services.live_runs) == 0

    assert not left
    assert not caller.complaints, "\n".join(caller.complaints)
