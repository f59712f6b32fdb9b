"""Connections belong to a provider's configuration, and end after its last call."""

import asyncio

import msgspec
import pytest

from ringside_proxy.domain.errors import ProviderUnavailableError
from tests.fakes import Gate, chunk, error_reply, stream_reply, text_reply

DONE = b"data: [DONE]\n\n"


def other(target):
    """The same provider under another configuration."""
    return msgspec.structs.replace(target, session=target.session + 1)


async def closed(upstream):
    """Wait until the provider has no connection left."""
    async with asyncio.timeout(30):
        while True:
            if not upstream.open_connections:
                return
            await asyncio.sleep(0)


async def test_connections_of_a_configuration_are_shared(caller, upstream):
    """One call after the other goes over one connection."""
    upstream.enqueue(text_reply("a"), text_reply("b"))

    await caller.send()
    await caller.send()

    assert upstream.open_connections == 1


async def test_a_call_outlives_its_configuration(caller, upstream):
    """It streams on to its end, and only then its connection is closed."""
    gate = Gate()
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), gate, chunk({}, "stop"), DONE))

    async with caller.stream() as batches:
        await anext(batches)
        caller.client.keep_only([other(caller.target)])
        assert caller.client.calls_to("openai") == 1
        gate.release()
        rest = [batch async for batch in batches]

    assert len(rest) == 1
    assert caller.outcomes == ["ok"]
    assert caller.client.calls_to("openai") == 0
    await closed(upstream)


async def test_idle_connections_of_a_former_configuration_end_at_once(caller, upstream):
    """Nobody uses them: nobody waits."""
    upstream.enqueue(text_reply("a"))
    await caller.send()
    assert upstream.open_connections == 1

    caller.client.keep_only([other(caller.target)])

    await closed(upstream)


async def test_connections_of_a_kept_configuration_stay(caller, upstream):
    """A reload that changes other things costs no handshake."""
    upstream.enqueue(text_reply("a"), text_reply("b"))
    await caller.send()

    caller.client.keep_only([caller.target])
    await caller.send()

    assert upstream.open_connections == 1


async def test_a_former_configuration_still_works_for_what_began_with_it(caller, upstream):
    """The second call of a run, say; its connection ends with it."""
    caller.client.keep_only([other(caller.target)])
    upstream.enqueue(text_reply("Hello"))

    assert await caller.send()

    await closed(upstream)


@pytest.mark.parametrize("kind", ["deltas", "send", "relayed"])
async def test_calls_that_fail_are_not_counted_on(caller, upstream, kind):
    """However a call ends, it ends."""
    upstream.enqueue(*[error_reply(503)] * 3)

    with pytest.raises(ProviderUnavailableError):
        await getattr(caller, kind)()

    assert caller.client.calls_to("openai") == 0


async def test_a_cancelled_call_is_not_counted_on(caller, upstream):
    """A client that left does not keep a former configuration alive."""
    upstream.enqueue(stream_reply(chunk({"content": "Hello"}), Gate()))
    task = asyncio.create_task(caller.deltas())
    await upstream.request(0)

    task.cancel()
    await asyncio.wait({task})

    assert caller.client.calls_to("openai") == 0
    caller.client.keep_only([other(caller.target)])
    await closed(upstream)
