"""Long threads: what a request costs does not grow with them, and there is an end to them."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.items import InputText, Item, MessageBody
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.runs import RunEvent, RunSettings, RunStatus, TruncationStrategy
from ringside_proxy.providers import catalogue
from ringside_proxy.providers.client import Target
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import Credentials, TextDelta
from ringside_proxy.services import run_request, run_transactions
from ringside_proxy.services.model_routing import Route
from ringside_proxy.services.run_assembler import RunAssembler
from ringside_proxy.services.run_transactions import Ending, NewRun
from ringside_proxy.settings.schema import RunSettings as RunLimits
from ringside_proxy.store import files, items, runs, threads
from ringside_proxy.store.runs import RunRecord
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import system_ids
from tests.fakes import FakeClock, FakeUpstream, Gate, chunk, stream_reply, text_reply
from tests.services.rig import MODEL, Json, Rig, rigged

APP = Caller(token_id="cfg", name="app")
NOW_MS = 1_763_700_000_000
ROUTE = Route(
    ref=ModelRef("openai", "gpt-4o"),
    provider=PROVIDERS["openai"],
    credentials=Credentials(base_url="http://127.0.0.1:1/v1"),
    target=Target(provider="openai", model="gpt-4o"),
    facts=catalogue.find("openai", "gpt-4o"),
)


class Thread:
    """A store with one thread of `size` messages, and how much work SQLite does on it."""

    def __init__(self, folder: Path, size: int) -> None:
        self._connection = files.open_writer(folder / f"{size}.db", "normal")
        files.migrate(self._connection)
        self.new_id = system_ids()
        self._steps = 0
        self.messages = [self._message(number) for number in range(size)]
        tx = self._begin()
        self.record = threads.insert(tx, self.new_id("conv"), APP, None, {})
        items.append(tx, self.record.seq, self.messages)
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Gives the store up."""
        self._connection.close()

    def cost(self, work: Callable[..., Any], *args: Any) -> tuple[Any, int]:
        """The result of `work(tx, …)` and how many instructions of SQLite's machine it took."""
        self._steps = 0
        self._connection.set_progress_handler(self._step, 1)
        try:
            result = work(self._begin(), *args)
            self._connection.execute("COMMIT")
        finally:
            self._connection.set_progress_handler(None, 1)
        return result, self._steps

    def get(self, tx: Tx) -> threads.ThreadRecord:
        """The thread, as every request finds it first."""
        return threads.get(tx, self.record.thread.id, APP)

    def _begin(self) -> Tx:
        self._connection.execute("BEGIN IMMEDIATE")
        return Tx(self._connection, NOW_MS, system_ids())

    def _step(self) -> int:
        self._steps += 1
        return 0

    def _message(self, number: int) -> Item:
        return Item(
            id=self.new_id("msg"),
            role="user",
            created_ms=NOW_MS,
            ended_ms=NOW_MS,
            body=MessageBody([InputText(f"message-{number}")]),
        )


@pytest.fixture
async def short_and_long(tmp_path: Path) -> AsyncIterator[tuple[Thread, Thread]]:
    pair = Thread(tmp_path, 50), Thread(tmp_path, 5000)
    yield pair
    for thread in pair:
        thread.close()


def first_page(tx: Tx, thread: Thread, query: ListQuery) -> list[str]:
    page = items.message_page(tx, thread.get(tx), query, None)
    return [message.id for message in page.data]


PAGES: dict[str, Callable[[Thread], ListQuery]] = {
    "newest first": lambda thread: ListQuery(),
    "oldest first": lambda thread: ListQuery(order="asc"),
    "in the middle": lambda thread: ListQuery(after=thread.messages[len(thread.messages) // 2].id),
    "before a cursor": lambda thread: ListQuery(
        before=thread.messages[len(thread.messages) // 2].id
    ),
    "at the far end": lambda thread: ListQuery(after=thread.messages[21].id),
}


@pytest.mark.parametrize("query_of", PAGES.values(), ids=PAGES)
def test_page_of_messages_costs_the_same_in_a_long_thread(
    short_and_long: tuple[Thread, Thread], query_of: Callable[[Thread], ListQuery]
) -> None:
    """Wherever a page lies, SQLite does the same work for it among 5,000 messages as among 50."""
    short, long = short_and_long

    few, few_steps = short.cost(first_page, short, query_of(short))
    many, many_steps = long.cost(first_page, long, query_of(long))

    assert len(few) == len(many) == 20
    assert many_steps == few_steps > 0


def whole_run(tx: Tx, thread: Thread, query: TruncationStrategy) -> list[str]:
    """A run of one answer, as its transactions make it; gives what the model was shown."""
    record = thread.get(tx)
    new = NewRun(
        run_id=thread.new_id("run"),
        assistant_id="asst_1",
        settings=RunSettings(model=MODEL, truncation_strategy=query),
        customer=None,
        metadata={},
        expires_after_ms=600_000,
        messages=[],
        messages_max=10_000,
    )
    created = run_transactions.create(tx, record, new)
    started = run_transactions.start(tx, created.id, thread.new_id("resp"), MODEL)
    assert started is not None
    run, generation = started
    request = run_request.build(tx, run, ROUTE).request
    assert request is not None
    ended = run_transactions.finish(tx, run.id, generation, answered(thread, run))
    assert ended is not None
    assert ended.run.status is RunStatus.COMPLETED
    assert runs.active_run_id(tx, record) is None
    return [message["content"] for message in request.messages]


def answered(thread: Thread, run: RunRecord) -> Ending:
    assembler = RunAssembler(run, thread.new_id, FakeClock().now_ms)
    assembler.feed(TextDelta("Hello"))
    return Ending(event=RunEvent.COMPLETE, changes=assembler.take_changes())


def test_run_of_the_last_messages_costs_the_same_in_a_long_thread(
    short_and_long: tuple[Thread, Thread],
) -> None:
    """From create to finish, a run that is shown ten messages costs the same among 5,000."""
    short, long = short_and_long
    last_ten = TruncationStrategy("last_messages", 10)

    few, few_steps = short.cost(whole_run, short, last_ten)
    many, many_steps = long.cost(whole_run, long, last_ten)

    assert few == [f"message-{number}" for number in range(40, 50)]
    assert many == [f"message-{number}" for number in range(4990, 5000)]
    assert many_steps == few_steps > 0


def test_cost_grows_where_everything_is_read(short_and_long: tuple[Thread, Thread]) -> None:
    """The measure does tell: a run that is shown the whole thread costs a hundred times more."""
    short, long = short_and_long

    _, few_steps = short.cost(whole_run, short, TruncationStrategy())
    many, many_steps = long.cost(whole_run, long, TruncationStrategy())

    assert len(many) == 5000
    assert many_steps > 20 * few_steps


def message(text: str = "one more") -> Json:
    return {"role": "user", "content": text}


@pytest.fixture
async def small(tmp_path: Path, upstream: FakeUpstream) -> AsyncIterator[Rig]:
    """A proxy whose threads hold five messages."""
    async with rigged(tmp_path, upstream, runs=RunLimits(max_messages_per_thread=5)) as rig:
        yield rig


async def test_full_thread_takes_no_message(small: Rig) -> None:
    """The message past the cap is refused for good, and says so to SDKs that would retry."""
    thread = await small.thread("1", "2", "3", "4")
    await small.say(thread, "5")

    refusal = await small.refusal("POST", f"/threads/{thread}/messages", message())

    assert (refusal.status, refusal.code) == (409, "conversation_full")
    assert refusal.headers["x-should-retry"] == "false"
    assert "max_messages_per_thread" in refusal.message
    assert await small.texts(thread) == ["1", "2", "3", "4", "5"]


async def test_thread_is_full_at_5000_messages_by_default(rig: Rig) -> None:
    """Without a configured cap the 5,001st message is the first that is refused."""
    body = {"messages": [message(str(number)) for number in range(4999)]}
    thread = (await rig.post("/threads", body))["id"]
    await rig.say(thread, "the 5,000th")

    refusal = await rig.refusal("POST", f"/threads/{thread}/messages", message())

    assert (refusal.status, refusal.code) == (409, "conversation_full")
    assert refusal.headers["x-should-retry"] == "false"


async def test_deleting_a_message_makes_room(small: Rig) -> None:
    """The cap counts what is there, not what has been."""
    thread = await small.thread("1", "2", "3", "4", "5")
    first = (await small.messages(thread))[0]["id"]

    await small.call("DELETE", f"/threads/{thread}/messages/{first}")
    await small.say(thread, "6")

    assert await small.texts(thread) == ["2", "3", "4", "5", "6"]


TOO_MANY = [message(str(number)) for number in range(6)]


async def test_new_thread_with_too_many_messages_is_refused_whole(small: Rig) -> None:
    """A thread that would be past the cap is not made at all."""
    refusal = await small.refusal("POST", "/threads", {"messages": TOO_MANY})

    assert (refusal.status, refusal.code) == (409, "conversation_full")
    assert refusal.headers["x-should-retry"] == "false"
    assert (await small.get("/threads"))["data"] == []
    await small.post("/threads", {"messages": TOO_MANY[:5]})


async def test_run_with_too_many_messages_is_refused_whole(
    small: Rig, upstream: FakeUpstream
) -> None:
    """Additional messages past the cap leave no message, no run and no lock."""
    upstream.enqueue(text_reply("Hello"))
    thread, assistant = await small.thread("1", "2", "3"), await small.assistant()
    path = f"/threads/{thread}/runs"
    body = {"assistant_id": assistant, "additional_messages": TOO_MANY[:3]}

    refusal = await small.refusal("POST", path, body)

    assert (refusal.status, refusal.code) == (409, "conversation_full")
    assert refusal.headers["x-should-retry"] == "false"
    assert await small.texts(thread) == ["1", "2", "3"]
    assert (await small.get(path))["data"] == []
    ended = await small.run(thread, assistant, additional_messages=TOO_MANY[:2])
    assert ended["status"] == "completed"


async def test_create_and_run_with_too_many_messages_is_refused_whole(small: Rig) -> None:
    """Neither thread nor run is made."""
    body = {"assistant_id": await small.assistant(), "thread": {"messages": TOO_MANY}}

    refusal = await small.refusal("POST", "/threads/runs", body)

    assert (refusal.status, refusal.code) == (409, "conversation_full")
    assert (await small.get("/threads"))["data"] == []


async def test_full_thread_can_still_be_answered(small: Rig, upstream: FakeUpstream) -> None:
    """The cap keeps callers from adding; the model's answer to a full thread is kept."""
    upstream.enqueue(text_reply("Hello"))
    thread = await small.thread("1", "2", "3", "4", "5")

    ended = await small.run(thread, await small.assistant())

    assert ended["status"] == "completed"
    assert (await small.texts(thread))[-1] == "Hello"


async def test_lock_is_told_before_the_cap(small: Rig, upstream: FakeUpstream) -> None:
    """On a thread that is both busy and full the caller learns first that it is busy."""
    gate = Gate()
    upstream.enqueue(stream_reply(gate, chunk({}, "stop")))
    thread, assistant = await small.thread("1", "2", "3", "4", "5"), await small.assistant()
    path = f"/threads/{thread}"
    run = await small.post(f"{path}/runs", {"assistant_id": assistant})
    body = {"assistant_id": assistant, "additional_messages": [message()]}

    second = await small.refusal("POST", f"{path}/runs", body)
    added = await small.refusal("POST", f"{path}/messages", message())

    assert (second.code, added.code) == ("conversation_locked", "conversation_locked")
    gate.release()
    assert (await small.settled(run))["status"] == "completed"


def test_cost_counts_every_statement(tmp_path: Path) -> None:
    """The measure sees the work that a transaction does, beyond its own begin and end."""
    thread = Thread(tmp_path, 1)

    _, none = thread.cost(lambda tx: None)
    _, some = thread.cost(lambda tx: tx.all("SELECT * FROM items"))

    thread.close()
    assert 0 < none < some
