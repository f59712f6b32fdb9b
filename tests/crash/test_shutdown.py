"""How a proxy ends that is asked to: it drains, it hurries, it exits with 0."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import orjson
import pytest

from tests.crash.client import Client, LostError, RefusedError, until
from tests.crash.process import Home, Server
from tests.crash.story import begin, messages_of, path_of, text_of
from tests.e2e.ringside import ROOT, TOKEN
from tests.fakes import FakeUpstream, chunk, stream_reply

Json = dict[str, Any]

SHUT_DOWN: Final = {
    "code": "server_error",
    "message": "The proxy was shut down while the run was in progress.",
}
SERVER: Final[Json] = {"port": 0, "drain": "300s"}
SHORT_DRAIN_S: Final = 15.0
"""Far above the second that one of them drains, below the 20 that it would by default."""
AT_ONCE_S: Final = 60.0
"""Far below that drain, far above what a stop takes on a busy machine."""
SAME_LOOKS: Final = 15
LONG_WORD: Final = "word" * 1000
LONG_WORDS: Final = 3000
"""Twelve megabytes: the kernel keeps at most four for a connection, and the proxy some batches."""
POEM: Final = " ".join(f"verse {i}" for i in range(20))


class Listener:
    """Streams a run in the background; `events` grows as they come."""

    def __init__(self, client: Client, body: Json) -> None:
        self.events: list[tuple[str, Any]] = []
        self.changed = asyncio.Event()
        self.task = asyncio.create_task(self._listen(client, body))

    async def _listen(self, client: Client, body: Json) -> None:
        async for event in client.stream("/v1/threads/runs", body):
            self.events.append(event)
            self.changed.set()

    async def heard(self, name: str) -> Any:
        """The payload of the first event of that name, as soon as it has come."""
        async with asyncio.timeout(AT_ONCE_S):
            while name not in dict(self.events):
                self.changed.clear()
                await self.changed.wait()
        return next(data for event, data in self.events if event == name)


@asynccontextmanager
async def streaming(client: Client, model: str) -> AsyncIterator[Listener]:
    """A streamed run that has begun to speak."""
    assistant = await client.post("/v1/assistants", {"model": f"fc:sandbox/{model}"})
    thread = {"messages": [{"role": "user", "content": POEM}]}
    listener = Listener(client, {"assistant_id": assistant["id"], "thread": thread})
    try:
        await listener.heard("thread.message.delta")
        yield listener
    finally:
        listener.task.cancel()


async def readiness(server: Server) -> tuple[int, Json]:
    """What /readyz says."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.admin_url}/readyz") as response,
    ):
        return response.status, orjson.loads(await response.read())


async def draining(server: Server) -> Json:
    """What /readyz says, once it is 503."""
    _, said = await until(lambda: readiness(server), lambda found: found[0] == 503)
    return said


async def exits_at_once(server: Server) -> int:
    """Its exit status. Raises TimeoutError if that takes as long as a drain may."""
    return await server.exit_code(AT_ONCE_S)


@pytest.fixture
def home(home: Home) -> Home:
    """A proxy that waits for what is at work as good as for ever, unless it is told twice."""
    home.configure(server=SERVER)
    return home


async def test_a_drain_lets_a_streamed_run_complete(home: Home) -> None:
    """After SIGTERM a run at work is streamed to its end and stored; then the exit is 0."""
    async with home.serving() as server, Client.of(server.url) as client:
        async with streaming(client, "slow-50") as listener:
            server.signal(signal.SIGTERM)
            said = await draining(server)
            made_meanwhile = await client.post("/v1/threads")
            await listener.task
        assert await exits_at_once(server) == 0
    run = await listener.heard("thread.run.completed")

    async with home.serving() as server, Client.of(server.url) as client:
        stored = await client.get(path_of(run))
        [message] = await messages_of(client, run)
        kept = await client.get(f"/v1/threads/{made_meanwhile['id']}")

    assert said == {"status": "unready", "reasons": ["draining"]}
    assert stored == run
    assert text_of(message) == POEM
    assert kept == made_meanwhile
    assert "Traceback" not in home.logged()


async def test_a_second_sigterm_skips_the_wait(home: Home) -> None:
    """A run at work is then failed with its text kept; its listener is told, and the exit is 0."""
    async with home.serving() as server, Client.of(server.url) as client:
        plain = await begin(client, "sandbox/hang")
        async with streaming(client, "hang-midstream") as listener:
            server.signal(signal.SIGTERM)
            await draining(server)
            server.signal(signal.SIGTERM)
            await listener.task
        assert await exits_at_once(server) == 0
    run = await listener.heard("thread.run.failed")

    async with home.serving() as server, Client.of(server.url) as client:
        stored = await client.get(path_of(run))
        stored_plain = await client.get(path_of(plain))
        [message] = await messages_of(client, run)

    assert stored == run
    assert (stored["last_error"], stored_plain["last_error"]) == (SHUT_DOWN, SHUT_DOWN)
    assert (stored_plain["status"], stored_plain["usage"]["total_tokens"]) == ("failed", 0)
    assert message["incomplete_details"] == {"reason": "run_failed"}
    assert text_of(message) == "Here is what I know so far:"
    assert "Traceback" not in home.logged()


async def test_a_drain_ends_when_its_time_is_up(home: Home) -> None:
    """`server.drain` bounds the wait for a run that does not end."""
    home.configure(server={"port": 0, "drain": "1s"})
    async with home.serving() as server, Client.of(server.url) as client:
        made = await begin(client, "sandbox/hang")
        server.signal(signal.SIGTERM)
        assert await server.exit_code(SHORT_DRAIN_S) == 0

    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.get(path_of(made))

    assert (run["status"], run["last_error"]) == ("failed", SHUT_DOWN)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_with_nothing_at_work_is_immediate(home: Home, number: signal.Signals) -> None:
    """An idle connection, and a run that waits for its caller, hold nothing up."""
    async with home.serving() as server, Client.of(server.url) as client:
        tool = {"type": "function", "function": {"name": "look_up"}}
        waiting = await client.settled(await begin(client, "sandbox/tools", tools=[tool]))
        server.signal(number)
        assert await exits_at_once(server) == 0

    async with home.serving() as server, Client.of(server.url) as client:
        assert await client.get(path_of(waiting)) == waiting
    assert waiting["status"] == "requires_action"
    assert "Traceback" not in home.logged()


@pytest.fixture
async def talker(home: Home) -> AsyncIterator[None]:
    """A provider that says more than all buffers between it and a client hold."""
    async with FakeUpstream() as upstream:
        upstream.enqueue(stream_reply(*[chunk({"content": LONG_WORD})] * LONG_WORDS))
        openai = {"api_key": "k", "base_url": upstream.base_url}
        home.configure(providers={"openai": openai}, server=SERVER)
        yield


@pytest.mark.usefixtures("talker")
async def test_a_listener_that_does_not_read_holds_no_stop_up(home: Home) -> None:
    """A client that takes nothing from its socket cannot keep a proxy alive that was told twice."""
    async with home.serving() as server, Client.of(server.url) as client:
        assistant = await client.post("/v1/assistants", {"model": "fc:openai/talker"})
        thread = await client.post("/v1/threads", {"messages": [{"role": "user", "content": "?"}]})
        with unread_stream(server, thread["id"], assistant["id"]):
            runs = f"/v1/threads/{thread['id']}/runs"
            [made] = await until(lambda: client.every(runs), bool)
            await stalled(client, made)
            server.signal(signal.SIGTERM)
            await draining(server)
            assert (await client.get(path_of(made)))["status"] == "in_progress"
            server.signal(signal.SIGTERM)
            assert await exits_at_once(server) == 0

    async with home.serving() as server, Client.of(server.url) as client:
        run = await client.get(path_of(made))

    assert (run["status"], run["last_error"]) == ("failed", SHUT_DOWN)


async def stalled(client: Client, run: Json) -> None:
    """Until what the run has said grows no more: every buffer on the way is full."""
    sizes: list[int] = []

    async def look() -> int:
        messages = await messages_of(client, run)
        sizes.append(sum(len(text_of(message)) for message in messages))
        return sizes[-1]

    await until(look, lambda size: size > 0 and sizes[-SAME_LOOKS:] == [size] * SAME_LOOKS)


def unread_stream(server: Server, thread_id: str, assistant_id: str) -> socket.socket:
    """A connection that asked for a streamed run and reads nothing of it."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    body = orjson.dumps({"assistant_id": assistant_id, "stream": True})
    connection.sendall(
        f"POST /v1/threads/{thread_id}/runs HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return connection


HANGS: Final = """\
import socket, threading
look_up = socket.getaddrinfo
def hang(host, *args, **options):
    if host == "hangs.example":
        threading.Event().wait()
    return look_up(host, *args, **options)
socket.getaddrinfo = hang
"""


async def test_a_lookup_that_hangs_holds_no_stop_up(home: Home) -> None:
    """A thread in which a name is looked up for ever is not waited for."""
    (home.path / "sitecustomize.py").write_text(HANGS)
    async with (
        home.serving(PYTHONPATH=f"{home.path}:{ROOT}") as server,
        Client.of(server.url) as client,
    ):
        await client.post("/v1/webhooks", {"url": "https://hangs.example/", "events": ["*"]})

        assert await server.stop() == 0

    assert "Traceback" not in home.logged()


async def test_sighup_stops_nothing(home: Home) -> None:
    """A proxy that is told to reload goes on serving, runs at work too."""
    async with home.serving() as server, Client.of(server.url) as client:
        async with streaming(client, "slow-50") as listener:
            server.signal(signal.SIGHUP)
            await until(lambda: logged(home), lambda text: "in effect as it was" in text)
            await listener.task
        assert (await readiness(server))[0] == 200
        assert await server.stop() == 0

    assert listener.events[-2][0] == "thread.run.completed"


async def logged(home: Home) -> str:
    return home.logged()


async def test_after_the_drain_no_run_is_begun(home: Home) -> None:
    """Once the drain is over a new run is refused, or its connection is; it is never left behind."""
    async with home.serving() as server, Client.of(server.url) as client:
        assistant = await client.post("/v1/assistants", {"model": "fc:sandbox/hang"})
        thread = {"messages": [{"role": "user", "content": "?"}]}
        body = {"assistant_id": assistant["id"], "thread": thread}
        begun = [await client.post("/v1/threads/runs", body)]
        server.signal(signal.SIGTERM)
        await draining(server)
        server.signal(signal.SIGTERM)
        refusals: list[int] = []
        try:
            while True:
                begun.append(await client.post("/v1/threads/runs", body))
        except RefusedError as refused:
            refusals.append(refused.status)
        except LostError:
            refusals.append(0)
        assert await exits_at_once(server) == 0

    async with home.serving() as server, Client.of(server.url) as client:
        statuses = {(await client.get(path_of(run)))["status"] for run in begun}

    assert refusals in ([503], [0])
    assert statuses == {"failed"}
