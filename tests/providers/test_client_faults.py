"""What a call does when the provider misbehaves: the right error, in bounded time and memory."""

import asyncio
import gzip
import socket
import zlib
from contextlib import suppress

import msgspec
import pytest

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.providers.client import REPLY_BYTES_MAX
from ringside_proxy.providers.exchange import STREAM_BYTES_MAX
from ringside_proxy.providers.types import Finish, TextDelta, UsageDelta
from tests.fakes import (
    Cut,
    Gate,
    Reset,
    Scripted,
    chunk,
    error_reply,
    frame,
    json_reply,
    stream_reply,
    text_reply,
    usage,
)
from tests.providers.conftest import API_KEY

SOON_S = 0.05
"""A time-out for tests: long enough to be reached, not to be waited for."""

HEL = chunk({"content": "Hel"})
DONE = b"data: [DONE]\n\n"
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
KINDS = ["deltas", "send", "relayed"]


def raw(*steps: object) -> Scripted:
    return Scripted(steps, is_raw=True)  # type: ignore[arg-type]


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


BROKEN_BEFORE_A_WORD = {
    "reset": raw(Reset()),
    "closed": raw(Cut()),
    "half a head": raw(b"HTTP/1.1 200 OK\r\nContent-Ty", Cut()),
    "half a body": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b'{"a', Cut()),
    "reset after the head": Scripted([b": hi\n\n", Reset()]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reply", BROKEN_BEFORE_A_WORD.values(), ids=BROKEN_BEFORE_A_WORD)
async def test_connection_that_breaks_early_is_tried_again(caller, upstream, kind, reply):
    """Nothing was said, so nothing is lost."""
    upstream.enqueue(reply, reply, text_reply("Hello there"))

    assert await getattr(caller, kind)()
    assert len(upstream.requests) == 3
    assert caller.slept_s == [0.5, 1]


@pytest.mark.parametrize("kind", KINDS)
async def test_provider_that_cannot_be_reached(caller, unused_port, kind):
    """A refused connection is tried again, then told."""
    caller.base_url = f"http://127.0.0.1:{unused_port}/v1"

    with pytest.raises(ProviderUnavailableError, match="openai cannot be reached"):
        await getattr(caller, kind)()

    assert caller.outcomes == ["provider_unavailable"] * 3


@pytest.mark.parametrize("kind", KINDS)
async def test_connection_that_is_not_taken(caller, kind):
    """A server that accepts and never shakes hands costs `connect_s`, each time."""
    caller.set(connect_s=SOON_S, max_retries=1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        caller.base_url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"

        with pytest.raises(ProviderTimeoutError, match="did not accept a connection in time"):
            await getattr(caller, kind)()

    assert caller.outcomes == ["provider_timeout"] * 2


@pytest.mark.parametrize("url", ["http://", "127.0.0.1/v1", "ftp://127.0.0.1/v1"])
async def test_base_url_that_is_none(caller, url):
    """A typing mistake in the configuration is named as one."""
    caller.base_url = url

    with pytest.raises(ProviderUnavailableError, match="`base_url` that is not an HTTP URL"):
        await caller.deltas()

    assert caller.slept_s == []


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
@pytest.mark.parametrize("words", [[], [b": keep-alive\n\n"]], ids=["silence", "a comment"])
async def test_stream_that_never_begins(caller, upstream, kind, words):
    """Silence ends at `first_byte_s`; it is not asked again, the provider may be at work on it."""
    caller.set(first_byte_s=SOON_S, between_chunks_s=SOON_S)
    upstream.enqueue(stream_reply(*words, Gate()))

    with pytest.raises(ProviderTimeoutError, match="took too long"):
        await getattr(caller, kind)()

    assert len(upstream.requests) == 1
    assert caller.outcomes == ["provider_timeout"]


async def test_first_byte_counts_from_the_connection(caller, upstream):
    """However patient the connection may be, the first byte has its own time."""
    caller.set(first_byte_s=SOON_S, connect_s=1000, pool_s=1000)
    upstream.enqueue(*[stream_reply(Gate())] * 2, text_reply("Hello"))

    for _ in range(2):
        with pytest.raises(ProviderTimeoutError):
            await asyncio.wait_for(caller.deltas(), timeout=30)


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
async def test_stream_that_stalls(caller, upstream, kind):
    """Silence amid an answer ends at `between_chunks_s`."""
    caller.set(between_chunks_s=SOON_S)
    upstream.enqueue(stream_reply(HEL, Gate()))

    with pytest.raises(ProviderTimeoutError, match="took too long"):
        await getattr(caller, kind)()

    await asyncio.wait_for(upstream.requests[0].gone.wait(), timeout=30)


@pytest.mark.parametrize("steps", [[Gate()], [b'{"a":', Gate()]], ids=["silence", "half a body"])
async def test_answer_that_takes_too_long(caller, upstream, steps):
    """A whole answer has `total_s`, and one try."""
    caller.set(total_s=SOON_S)
    upstream.enqueue(Scripted(steps))

    with pytest.raises(ProviderTimeoutError, match="took too long"):
        await caller.send()

    assert caller.outcomes == ["provider_timeout"]


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
@pytest.mark.parametrize(
    ("end", "error"),
    [
        (Reset(), ProviderError),
        (Cut(), ProviderBadReplyError),
        (b"", ProviderBadReplyError),
        (b"data: {\n\n", ProviderBadReplyError),
    ],
    ids=["reset", "cut", "ended without a finish", "ended in half a frame"],
)
async def test_stream_that_breaks_off(caller, upstream, kind, end, error):
    """What was said has been given out; then comes the error, and no second call."""
    upstream.enqueue(stream_reply(HEL, end))

    with pytest.raises(error):
        await getattr(caller, kind)()

    assert len(upstream.requests) == 1
    assert caller.outcomes[0] in ("provider_bad_response", "provider_unavailable")


async def test_half_an_answer_is_given_before_its_error(caller, upstream):
    """The caller keeps what there is."""
    upstream.enqueue(stream_reply(HEL, Cut()))

    async with caller.stream() as batches:
        assert await anext(batches) == [TextDelta("Hel")]
        with pytest.raises(ProviderBadReplyError, match="broke off"):
            await anext(batches)


@pytest.mark.parametrize("end", [Reset(), Cut(), Gate()], ids=["reset", "cut", "stall"])
async def test_finished_answer_survives_its_connection(caller, upstream, end):
    """After the finish nothing is missing but [DONE]."""
    caller.set(between_chunks_s=SOON_S)
    upstream.enqueue(stream_reply(HEL, chunk({}, "stop"), end))

    assert await caller.deltas() == [TextDelta("Hel"), Finish("stop")]
    assert caller.outcomes == ["ok"]


GARBAGE = {
    "html": Scripted([b"<html>hello</html>"], 200, {"content-type": "text/html"}),
    "html as a stream": Scripted([b"<html></html>"], 200, {"content-type": "text/event-stream"}),
    "text": Scripted([b"hello"], 200, {"content-type": "text/plain"}),
    "bytes": Scripted([b"\xff\xfe\x00"], 200, {"content-type": "application/octet-stream"}),
    "nothing": Scripted([], 200),
    "half json": Scripted([b'{"choices": ['], 200, {"content-type": "application/json"}),
    "not gzip": Scripted([b"hello"], 200, {"content-encoding": "gzip"}),
    "no content": Scripted([], 204),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_a_bad_reply(caller, upstream, kind, reply):
    """An answer that is none is never handed on as one."""
    caller.set(max_retries=0)
    upstream.enqueue(reply)

    with pytest.raises(ProviderBadReplyError, match="openai "):
        await getattr(caller, kind)()


@pytest.mark.parametrize("kind", KINDS)
async def test_answer_that_is_not_http(caller, upstream, kind):
    """Another protocol on the port is a bad reply, not a crash."""
    caller.set(max_retries=0)
    upstream.enqueue(raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))

    with pytest.raises(ProviderBadReplyError, match="not HTTP"):
        await getattr(caller, kind)()


async def test_whole_answer_to_a_streamed_call_is_a_bad_reply(caller, upstream):
    """A provider that ignores `stream` is not guessed at."""
    upstream.enqueue(json_reply({"id": "x", "choices": [{"message": {"content": "Hi"}}]}))

    with pytest.raises(ProviderBadReplyError, match="it is application/json"):
        await caller.deltas()


def gzip_bomb(unpacked_bytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * (1024 * 1024)
    parts = [packer.compress(block) for _ in range(unpacked_bytes // len(block))]
    return b"".join(parts) + packer.flush()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [200, 500])
async def test_gzip_bomb_is_bounded(caller, upstream, kind, status):
    """Unpacked bytes count: a hundred kilobytes that stand for a hundred megabytes are stopped."""
    caller.set(max_retries=0)
    bomb = gzip_bomb(100 * 1024 * 1024)
    assert len(bomb) < 200 * 1024
    headers = {"content-encoding": "gzip", "content-type": "text/event-stream"}
    upstream.enqueue(Scripted([bomb], status, headers))

    with pytest.raises(ProviderError) as caught:
        await getattr(caller, kind)()

    expected = ProviderBadReplyError if status == 200 else ProviderUnavailableError
    assert type(caught.value) is expected


async def test_packed_answers_are_unpacked(caller, upstream):
    """Compression by a provider or gateway is not the caller's business."""
    body = frame(HEL) + frame(chunk({}, "stop")) + DONE
    headers = {"content-encoding": "gzip", "content-type": "text/event-stream"}
    upstream.enqueue(Scripted([gzip.compress(body)], 200, headers))

    assert await caller.deltas() == [TextDelta("Hel"), Finish("stop")]


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
async def test_line_without_end_is_bounded(caller, upstream, kind):
    """Of a 100 MB line no more is read than shows that it is one."""
    caller.set(max_retries=0)
    upstream.enqueue(stream_reply(b"data: ", *[b"x" * (1024 * 1024)] * 100))

    with pytest.raises(ProviderBadReplyError, match="line of more than 1048576 bytes"):
        await getattr(caller, kind)()


@pytest.mark.parametrize("kind", ["deltas", "relayed"])
async def test_stream_without_end_is_bounded(caller, upstream, kind):
    """A model that never stops is stopped."""
    frames = frame(HEL) * (1024 * 1024 // len(frame(HEL)))
    upstream.enqueue(stream_reply(*[frames] * (STREAM_BYTES_MAX // len(frames) + 2)))

    with pytest.raises(ProviderBadReplyError, match=f"more than {STREAM_BYTES_MAX} bytes"):
        await getattr(caller, kind)()


async def test_body_without_end_is_bounded(caller, upstream):
    """A whole answer has its limit too, and what is within it is taken."""
    block = b" " * (1024 * 1024)
    fitting = [block] * (REPLY_BYTES_MAX // len(block) - 1)
    upstream.enqueue(Scripted([*fitting, b"{}"]), Scripted([*fitting, block, b"{}"]))

    assert await caller.send() == b"{}"
    with pytest.raises(ProviderBadReplyError, match=f"more than {REPLY_BYTES_MAX} bytes"):
        await caller.send()


@pytest.mark.parametrize(
    "reported", [{"prompt_tokens": -5}, {"prompt_tokens": 10**12, "completion_tokens": 1}, [], "x"]
)
async def test_impossible_usage_is_missing(caller, upstream, reported):
    """Counts that cannot be true are as good as none, streamed or whole."""
    upstream.enqueue(
        stream_reply(HEL, chunk({}, "stop"), chunk(None, usage=reported), DONE),
        json_reply({"choices": [], "usage": reported}),
    )

    deltas = await caller.deltas()
    reply = await caller.client.send(caller.target, caller.request(is_stream=False))

    assert not [delta for delta in deltas if isinstance(delta, UsageDelta)]
    assert reply.usage is None


async def test_good_usage_is_found(caller, upstream):
    """The check above would not notice if none ever were."""
    upstream.enqueue(stream_reply(HEL, chunk({}, "stop"), chunk(None, usage=usage()), DONE))

    assert [delta for delta in await caller.deltas() if isinstance(delta, UsageDelta)]


@pytest.mark.parametrize("kind", KINDS)
async def test_our_key_is_never_repeated(caller, upstream, kind):
    """A gateway that echoes the request's headers does not make us publish them."""
    caller.set(max_retries=0)
    upstream.enqueue(error_reply(401, None, f"You sent {API_KEY}."))

    with pytest.raises(ProviderError) as caught:
        await getattr(caller, kind)()

    assert API_KEY not in f"{caught.value.message}{caught.value}"


async def test_placeholder_key_takes_no_words_away(caller, upstream):
    """Local servers are often given `none` or `x` for a key."""
    upstream.enqueue(error_reply(400, None, "There is none next to it."))
    request = caller.request(is_stream=True)
    keyless = msgspec.structs.replace(request, headers={"authorization": "Bearer none"})

    with pytest.raises(ProviderError, match="There is none next to it"):
        await caller.client.send(caller.target, keyless)


async def test_redirect_is_not_followed(caller, upstream):
    """The key goes to the configured host and to no other."""
    upstream.enqueue(error_reply(307, location=f"{upstream.base_url}/elsewhere"))

    with pytest.raises(ProviderBadReplyError, match="HTTP 307"):
        await caller.deltas()

    assert len(upstream.requests) == 1


async def test_cookies_are_not_kept(caller, upstream):
    """One caller's session at a provider's front is not the next caller's."""
    upstream.enqueue(json_reply({}, set_cookie="a=b"), json_reply({}))

    await caller.send()
    await caller.send()

    assert "cookie" not in upstream.requests[1].headers


async def test_close_ends_idle_connections(caller, upstream):
    """Nothing stays open, and a closed client can begin again."""
    upstream.enqueue(text_reply("Hello"), text_reply("Hello"))
    await caller.send()

    await caller.client.close()

    assert await caller.send()
    assert upstream.open_connections == 1


async def test_cancelled_while_connecting_leaks_nothing(caller):
    """A call given up before it has a connection leaves none behind."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        caller.base_url = f"https://127.0.0.1:{silent.getsockname()[1]}/v1"
        call = asyncio.create_task(caller.deltas())
        loop = asyncio.get_running_loop()
        silent.setblocking(False)
        connection, _ = await loop.sock_accept(silent)
        with connection:
            connection.setblocking(False)
            assert await loop.sock_recv(connection, 1)
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
            while await asyncio.wait_for(loop.sock_recv(connection, 4096), timeout=30):
                pass

    assert call.cancelled()
    assert caller.outcomes == ["cancelled"]
