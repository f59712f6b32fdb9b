"""64 clients at once: on their own threads nobody waits, on one thread one run goes at a time."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.fakes import FakeUpstream, Gate, Scripted, chunk, stream_reply
from tests.services.rig import Json, Rig, names, text_of

CLIENTS = 64
ROUNDS = 4


class Echo:
    """A provider that repeats the last message, and counts the calls under way for each thread.

    A thread is known by its first message. A call is under way from its arrival until `hold` lets
    it go; the proxy's run is at work at least as long.
    """

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self.shown: list[list[str]] = []
        self.hold: asyncio.Event | None = None
        self._now: Counter[str] = Counter()

    def __call__(self, request: Json) -> Scripted:
        """The reply to a call."""
        said = [message["content"] for message in request["messages"] if message["role"] == "user"]
        self.shown.append(said)
        answer = chunk({"content": f"echo {said[-1]}"})
        return stream_reply(UnderWay(self, said[0]), answer, chunk({}, "stop"))

    async def count(self, thread: str) -> None:
        """A call of `thread` is under way while this lasts."""
        self._now[thread] += 1
        self.most[thread] = max(self.most[thread], self._now[thread])
        if self.hold is not None:
            await self.hold.wait()
        for _ in range(10):
            await asyncio.sleep(0)  # a few turns of the loop, in which another call would show
        self._now[thread] -= 1


class UnderWay(Gate):
    """Where the provider counts a call of `thread`."""

    def __init__(self, echo: Echo, thread: str) -> None:
        super().__init__()
        self._echo = echo
        self._thread = thread

    async def wait(self) -> None:
        """The provider's side."""
        self.reached.set()
        await self._echo.count(self._thread)


@pytest.fixture
def echo(upstream: FakeUpstream) -> Echo:
    echo = Echo()
    upstream.enqueue(*[echo] * 1000)
    return echo


async def all_messages(rig: Rig, thread: str) -> list[Json]:
    """Every message, page by page, oldest first."""
    found: list[Json] = []
    after = ""
    while True:
        page = await rig.get(f"/threads/{thread}/messages?order=asc&limit=100{after}")
        found += page["data"]
        if not page["has_more"]:
            return found
        after = f"&after={page['last_id']}"


async def test_clients_on_their_own_threads_do_not_disturb_each_other(
    rig: Rig, upstream: FakeUpstream, echo: Echo
) -> None:
    """64 clients in dialogue at once: each thread has its own messages and answers, in order."""
    assistant = await rig.assistant()

    async def dialogue(client: int) -> list[str]:
        thread = await rig.thread()
        for number in range(ROUNDS):
            await rig.say(thread, f"client-{client} message-{number}")
            if number % 2:
                events = await rig.stream_run(thread, assistant)
                assert names(events)[-2] == "run.completed"
            else:
                assert (await rig.run(thread, assistant))["status"] == "completed"
        return await rig.texts(thread)

    found = await asyncio.gather(*(dialogue(client) for client in range(CLIENTS)))

    for client, texts in enumerate(found):
        said = [f"client-{client} message-{number}" for number in range(ROUNDS)]
        assert texts == [text for each in said for text in (each, f"echo {each}")]
    assert len(upstream.requests) == CLIENTS * ROUNDS
    assert set(echo.most.values()) == {1}
    assert len(echo.most) == CLIENTS


async def test_one_of_64_runs_wins_a_thread(rig: Rig, echo: Echo) -> None:
    """Of 64 runs asked for at once one begins; the others, and all messages, are refused."""
    assistant = await rig.assistant()
    thread = await rig.thread("first")
    path = f"/threads/{thread}"
    expected = ["first"]

    for number in range(ROUNDS):
        echo.hold = asyncio.Event()
        bodies = [
            {
                "assistant_id": assistant,
                "additional_messages": [{"role": "user", "content": f"round-{number} by-{client}"}],
            }
            for client in range(CLIENTS)
        ]
        answers = await asyncio.gather(*(rig.attempt(f"{path}/runs", body) for body in bodies))
        [(winner, run)] = [(i, body) for i, (status, body) in enumerate(answers) if status == 200]
        refused = {
            (status, body["error"]["code"], body["error"]["message"])
            for status, body in answers
            if status != 200
        }
        late = await asyncio.gather(
            *(
                rig.attempt(f"{path}/messages", {"role": "user", "content": "too late"})
                for _ in range(CLIENTS)
            )
        )
        echo.hold.set()

        text = f"Thread {thread} already has an active run {run['id']}."
        assert refused == {(409, "conversation_locked", text)}
        text = f"Can't add messages to {thread} while a run {run['id']} is active."
        told = {(status, body["error"]["code"], body["error"]["message"]) for status, body in late}
        assert told == {(400, "conversation_locked", text)}
        assert (await rig.settled(run))["status"] == "completed"
        said = f"round-{number} by-{winner}"
        expected += [said, f"echo {said}"]

    assert await rig.texts(thread) == expected
    assert echo.most == {"first": 1}


async def test_refused_run_is_not_worth_a_retry(rig: Rig, echo: Echo) -> None:
    """SDKs retry a 409 by themselves; the header tells them that it will not help."""
    assistant, thread = await rig.assistant(), await rig.thread("first")
    echo.hold = asyncio.Event()
    run = await rig.post(f"/threads/{thread}/runs", {"assistant_id": assistant})

    refusal = await rig.refusal("POST", f"/threads/{thread}/runs", {"assistant_id": assistant})
    echo.hold.set()

    assert (refusal.status, refusal.headers["x-should-retry"]) == (409, "false")
    assert (await rig.settled(run))["status"] == "completed"


async def test_clients_that_compete_for_a_thread_lose_nothing(
    rig: Rig, upstream: FakeUpstream, echo: Echo
) -> None:
    """Runs and messages of 64 clients meet on one thread: what was accepted is there, in order."""
    assistant, thread = await rig.assistant(), await rig.thread("first")
    path = f"/threads/{thread}"
    run_ended = asyncio.Condition()
    accepted: dict[str, str] = {}
    refusals: Counter[tuple[int, str]] = Counter()

    async def until_accepted(target: str, body: Json) -> Any:
        """Tries again after each run that ends."""
        while True:
            status, answer = await rig.attempt(target, body)
            if status == 200:
                return answer
            refusals[status, answer["error"]["code"]] += 1
            async with run_ended:
                is_free = (await rig.get(f"{path}/runs?limit=1"))["data"][0]["completed_at"]
                if is_free is None:
                    await run_ended.wait()

    async def client(number: int) -> None:
        for part in range(2):
            text = f"client-{number} part-{part}"
            message = await until_accepted(f"{path}/messages", {"role": "user", "content": text})
            accepted[message["id"]] = text
        run = await until_accepted(f"{path}/runs", {"assistant_id": assistant})
        assert (await rig.settled(run))["status"] == "completed"
        async with run_ended:
            run_ended.notify_all()

    async with asyncio.timeout(120):
        await asyncio.gather(*(client(number) for number in range(CLIENTS)))

    stored = await all_messages(rig, thread)
    users = [message for message in stored if message["role"] == "user"]
    assert {each["id"]: text_of(each) for each in users[1:]} == accepted
    for number in range(CLIENTS):
        own = [text_of(each) for each in users if text_of(each).startswith(f"client-{number} ")]
        assert own == [f"client-{number} part-0", f"client-{number} part-1"]
    answered_after: list[list[str]] = []
    said: list[str] = []
    for message in stored:
        if message["role"] == "user":
            said.append(text_of(message))
        else:
            assert text_of(message) == f"echo {said[-1]}"
            answered_after.append(list(said))
    assert answered_after == echo.shown
    assert len(upstream.requests) == CLIENTS
    assert echo.most == {"first": 1}
    assert set(refusals) <= {(409, "conversation_locked"), (400, "conversation_locked")}
    assert refusals
