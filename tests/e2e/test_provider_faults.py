"""What callers see when a provider fails: every fault, at all nineteen, in runs and chats.

Each provider has one proxy. A fault is named in the prompt, so that the far end, which speaks HTTP
byte by byte, knows what to do to that call and those that only wait can wait together.
"""

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
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
from tests.e2e.fault_caller import Caller
from tests.e2e.faults import (
    DISORDER,
    ENDLESS,
    FAULTS,
    FINAL,
    GOOD,
    KEY,
    PASSING,
    REFUSED,
    STALLS,
)
from tests.e2e.ringside import TOKEN
from tests.e2e.rude_end import QUIET_S, RudeEnd

STALL_S: Final = 2.5
"""How long a silent provider is waited for here; the calls that wait do so together."""
KINDS: Final = 4
"""Runs and chats, plain and streamed."""
AT_ONCE: Final = KINDS * len(PASSING)
"""How many calls are made at the same time, and so how many connections may be kept for the next."""
CALLED: Final = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "now")
]
HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}


@contextlib.asynccontextmanager
async def proxied(
    urls: Mapping[str, str], home: Path, *, retries: int = 0, patience_s: float = STALL_S
) -> AsyncIterator[Proxy]:
    """A proxy with these providers, which are not waited for long."""
    timeouts = TimeoutSettings(
        connect_s=patience_s,
        first_byte_s=patience_s,
        between_chunks_s=patience_s,
        total_s=4 * patience_s,
    )
    settings = Settings(
        server=ServerSettings(port=0),
        admin=AdminSettings(port=0),
        models=ModelListSettings(refresh_s=None),
        store=StoreSettings(url=f"sqlite:///{home / 'ringside.db'}", synchronous="normal"),
        auth=AuthSettings(tokens=(TokenSettings(name="t", hash_of_token=TokenHash.of(TOKEN)),)),
        providers={
            name: ProviderSettings(
                api_key=Secret(KEY),
                base_url=url,
                max_retries=retries,
                breaker=False,  # each fault is to be met, not kept away
                timeouts=timeouts,
            )
            for name, url in urls.items()
        },
    )
    async with running(settings) as proxy:
        yield proxy


@contextlib.asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """What the block did leaves no task and no file descriptor behind."""
    before, files = asyncio.all_tasks(), open_files()
    yield
    left = asyncio.all_tasks() - before
    if left:
        _, left = await asyncio.wait(left, timeout=QUIET_S)
    assert not left
    assert open_files() <= files


def open_files() -> int:
    """How many this process has open, where that can be told."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_faults_are_told_in_openais_words_and_leave_nothing(
    provider: str, tmp_path: Path
) -> None:
    """Each has its status or `last_error`, frees its thread, and keeps no connection and no task."""
    async with leaving_nothing():
        far = RudeEnd(provider)
        async with (
            proxied({provider: far.url}, tmp_path) as proxy,
            aiohttp.ClientSession(headers=HEADERS) as session,
        ):
            caller = Caller(provider, proxy.url, session)
            await caller.make_assistant()

            await caller.suffer(REFUSED, then_again=False)
            await far.listen()
            await caller.suffer(*STALLS)
            for fault in (*FAULTS, GOOD):
                await caller.suffer(fault)

            await far.settled(connections_max=AT_ONCE)
            far.close()
            assert len(proxy.services.live_runs) == 0

    assert not caller.complaints, "\n".join(caller.complaints)


@pytest.mark.parametrize("fault", DISORDER, ids=lambda fault: fault.name)
async def test_calls_in_disorder_stay_calls_or_become_an_error(fault: Any, tmp_path: Path) -> None:
    """Pieces in another order, or twice: OpenAI's shape holds, and the run comes to an end."""
    ends = {"requires_action", "failed", "incomplete", "completed"}
    async with talking(TYPICAL_MODELS, tmp_path) as callers:
        for caller in callers:
            run = await caller.run_to_its_end(fault, tools=CALLED)
            assert run["status"] in ends, f"{caller.provider}: {run['status']}"
            error = run["last_error"]
            assert error is None or caller.provider in error["message"], error
            await caller.chat_to_its_end(fault, tools=CALLED)


async def test_what_never_ends_is_ended(tmp_path: Path) -> None:
    """A drip that says nothing: a plain chat by its time, a run by its own, a stream by its caller."""
    async with talking(TYPICAL_MODELS, tmp_path) as callers:
        chats = [caller.plain_chat(ENDLESS) for caller in callers]
        left = [caller.leave_a_chat(ENDLESS) for caller in callers]
        runs = [caller.run_to_its_end(ENDLESS, expires_after=1) for caller in callers]

        *_, ended = await asyncio.gather(
            asyncio.gather(*chats), asyncio.gather(*left), asyncio.gather(*runs)
        )

    assert {run["status"] for run in ended} == {"expired"}


@contextlib.asynccontextmanager
async def talking(names: Any, home: Path) -> AsyncIterator[list[Caller]]:
    """All of these providers at once, each at its own rude end; nothing may be left of it."""
    async with leaving_nothing():
        ends = {name: RudeEnd(name) for name in names}
        async with (
            proxied({name: end.url for name, end in ends.items()}, home) as proxy,
            aiohttp.ClientSession(headers=HEADERS) as session,
        ):
            callers = [Caller(name, proxy.url, session) for name in names]
            for end in ends.values():
                await end.listen()
            for caller in callers:
                await caller.make_assistant()
            try:
                yield callers
                for end in ends.values():
                    await end.settled(connections_max=AT_ONCE)
                assert len(proxy.services.live_runs) == 0
            finally:
                for end in ends.values():
                    end.close()


@pytest.mark.parametrize("is_tls", [True, False], ids=["TLS stall", "connect stall"])
async def test_a_connection_that_never_comes_about_is_a_timeout(
    is_tls: bool, tmp_path: Path
) -> None:
    """Accepted, but no word of TLS; or not even accepted: at all nineteen, within the time to connect."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(len(TYPICAL_MODELS) * AT_ONCE if is_tls else 0)
        address = listener.getsockname()
        if not is_tls:
            fill(stack, address)
        url = f"{'https' if is_tls else 'http'}://127.0.0.1:{address[1]}"
        async with (
            leaving_nothing(),
            proxied(dict.fromkeys(TYPICAL_MODELS, url), tmp_path) as proxy,
            aiohttp.ClientSession(headers=HEADERS) as session,
        ):
            callers = [Caller(name, proxy.url, session) for name in TYPICAL_MODELS]
            for caller in callers:
                await caller.make_assistant()

            stalled = STALLS[0]
            await asyncio.gather(*(c.suffer(stalled, then_again=False) for c in callers))

            assert len(proxy.services.live_runs) == 0
    complaints = [f"{c.provider}: {text}" for c in callers for text in c.complaints]
    assert not complaints, "\n".join(complaints)


def fill(stack: contextlib.ExitStack, address: Any) -> None:
    """Takes every place in a listener's queue, so that it answers no further connection."""
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(address)


@pytest.mark.parametrize("provider", TYPICAL_MODELS)
async def test_what_may_go_better_is_asked_again(provider: str, tmp_path: Path) -> None:
    """With retries on: a failure before the first word once more, a refusal and what began never."""
    async with leaving_nothing():
        far = RudeEnd(provider)
        async with (
            proxied({provider: far.url}, tmp_path, retries=2, patience_s=QUIET_S) as proxy,
            aiohttp.ClientSession(headers=HEADERS) as session,
        ):
            caller = Caller(provider, proxy.url, session)
            await far.listen()
            await caller.make_assistant()

            caller.mode = "once"
            await caller.suffer(*PASSING, then_again=False)
            again, caller.mode = Counter(far.attempts.values()), "always"
            await caller.suffer(*FINAL, then_again=False)
            asked = Counter(far.attempts.values()) - again

            await far.settled(connections_max=AT_ONCE)
            far.close()
    assert not caller.complaints, "\n".join(caller.complaints)
    assert again == {2: KINDS * len(PASSING)}
    # Nothing of a whole answer is told until it is there: OpenAI's own may break off and come again.
    whole = 1 if provider == "openai" else 0
    assert asked == {1: KINDS * len(FINAL) - whole, **({3: whole} if whole else {})}
