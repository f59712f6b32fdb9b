"""What makes it fast, in numbers that are the same on every machine: how often what is done."""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

import aiohttp
import msgspec
import orjson
import pytest

from ringside_proxy.settings.money import BudgetSettings
from tests.api.rig import DEVELOPER, UPSTREAM_MODEL, Caller, Ringside, serving
from tests.fakes import FakeUpstream, Gate, chunk, frame, stream_reply, text_reply

CALLS: Final = 20
COMMITTED: Final = re.compile(rb"^ringside_store_tx_total ([0-9.]+)$", re.MULTILINE)
JSON: Final = {
    orjson.loads: "request parsed",
    msgspec.json.decode: "envelope parsed",
    orjson.dumps: "request written",
}
GENERATORS: Final = 0x20 | 0x80 | 0x200
"""The flags of code that is entered anew whenever it goes on."""
SWEEPS: Final = 10
"""Transactions that go on beside the calls, at most: the sweeper ticks every five seconds."""


async def transactions(ringside: Ringside) -> int:
    """How many have been committed so far."""
    found = COMMITTED.search((await ringside.admin("/metrics")).body)
    assert found
    return int(float(found[1]))


@contextmanager
def noted() -> Iterator[Counter[str]]:
    """How often the proxy calls what on the event loop, by name: its own functions, and JSON."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, called: Any) -> None:
        module = str(frame.f_globals.get("__name__"))
        if event == "call" and not frame.f_code.co_flags & GENERATORS:
            calls[f"{module}.{frame.f_code.co_qualname}"] += 1
        elif event == "c_call" and called in JSON and module.startswith("ringside_proxy"):
            calls[JSON[called]] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


async def test_a_capped_customer_s_chat_is_parsed_once_each_way_and_built_once(
    tmp_path: Path,
) -> None:
    """The request, and the answer's envelope; its bytes pass, and nothing is read of the store."""
    budgets = BudgetSettings(default_monthly_nano_usd=10**12)
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}], "user": "c"}
    async with serving(tmp_path, budgets=budgets) as ringside:
        ringside.upstream.enqueue(*[text_reply("Hello there you")] * (CALLS + 1))
        await ringside.developer.post("/v1/chat/completions", body)
        with noted() as calls:
            for _ in range(CALLS):
                await ringside.developer.post("/v1/chat/completions", body)

    assert [calls[name] for name in JSON.values()] == [CALLS, CALLS, CALLS]
    assert calls["ringside_proxy.providers.chat.adapter.OpenAICompatible.build_request"] == CALLS
    assert calls["ringside_proxy.providers.chat.adapter.OpenAICompatible._found_rules"] == 0
    assert calls["ringside_proxy.store.db.Database.get"] == 0
    assert calls["ringside_proxy.services.model_routing.ModelRouter._to"] == 0
    assert calls["aiohttp.client_reqrep.ClientRequest.__init__"] == CALLS  # the test's own


@contextmanager
def written(ringside: Ringside) -> Iterator[list[bytes]]:
    """What the proxy writes to its client, each write by itself."""
    port, writes = int(ringside.proxy.url.rpartition(":")[2]), list[bytes]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_qualname == "_SelectorSocketTransport.write":
            transport = frame.f_locals["self"]
            if transport.get_extra_info("sockname")[1] == port:
                writes.append(bytes(frame.f_locals["data"]))

    sys.setprofile(note)
    try:
        yield writes
    finally:
        sys.setprofile(None)


async def test_what_comes_from_a_provider_at_once_is_one_write(
    ringside: Ringside, upstream: FakeUpstream
) -> None:
    """The head goes out with the first frames, and what one read brings goes on in one piece."""
    gate, words = Gate(), [chunk({"content": f" w{number}"}) for number in range(5)]
    rest = b"".join(map(frame, [*words, chunk({}, "stop")])) + b"data: [DONE]\n\n"
    upstream.enqueue(stream_reply(chunk({"content": "w"}), gate, rest))
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"authorization": f"Bearer {DEVELOPER}"}

    async with aiohttp.ClientSession(ringside.proxy.url, headers=headers) as http:
        with written(ringside) as writes:
            answer = await http.post("/v1/chat/completions", json=body | {"stream": True})
            await gate.reached.wait()
            told = await answer.content.readany()
            gate.release()
            told += await answer.read()

    assert told.count(b'"content"') == 6
    first, second, *others = writes
    assert first.startswith(b"HTTP/1.1 200 ")
    assert (first.count(b'"content"'), second.count(b'"content"')) == (1, 5)
    assert not any(b'"content"' in each for each in others)
    assert len(others) <= 1  # the end of the body


@pytest.mark.parametrize("is_streamed", [False, True])
async def test_chat_is_two_transactions(
    ringside: Ringside, api: Caller, upstream: FakeUpstream, is_streamed: bool
) -> None:
    """Its hold, and its booking; whoever it is for."""
    upstream.enqueue(*[text_reply("Hello there you")] * CALLS)
    body = {"model": UPSTREAM_MODEL, "messages": [{"role": "user", "content": "hi"}], "user": "c"}
    before = await transactions(ringside)

    for _ in range(CALLS):
        await api.post("/v1/chat/completions", body | {"stream": is_streamed})

    added = await transactions(ringside) - before
    assert 2 * CALLS <= added <= 2 * CALLS + SWEEPS


async def test_run_is_three_transactions(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """Created; started and held; ended, with all that was said if that came in one piece."""
    upstream.enqueue(*[text_reply("Hello there you")] * CALLS)
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    threads = [await api.thread("hi") for _ in range(CALLS)]
    before = await transactions(ringside)

    await asyncio.gather(*(api.run(thread, assistant) for thread in threads))

    added = await transactions(ringside) - before
    assert 3 * CALLS <= added <= 3 * CALLS + SWEEPS


async def test_run_that_speaks_slowly_stores_its_message_before_it_tells_of_it(
    ringside: Ringside, api: Caller, upstream: FakeUpstream
) -> None:
    """That is a transaction more, however many pieces follow."""
    pauses = [Gate() for _ in range(CALLS)]
    upstream.enqueue(
        *[stream_reply(chunk({"content": "Hello"}), pause, chunk({}, "stop")) for pause in pauses]
    )
    assistant = await api.assistant(model=UPSTREAM_MODEL)
    threads = [await api.thread("hi") for _ in range(CALLS)]
    before = await transactions(ringside)

    running = [asyncio.create_task(api.run(thread, assistant)) for thread in threads]
    for pause in pauses:
        await pause.reached.wait()
        pause.release()
    await asyncio.gather(*running)

    added = await transactions(ringside) - before
    assert 4 * CALLS <= added <= 4 * CALLS + SWEEPS
