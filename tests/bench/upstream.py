"""The far end of the bench: answers OpenAI's wire with ready-made bytes, as fast as a loop can.

`POST …/chat/completions` is answered whole, or as a stream when the body says `"stream":true`: in
one burst, or, for a model named `paced-<chunks>-<per second>`, chunk by chunk. It parses nothing but
lengths, so that it is no bottleneck: `bench` shows how far it is from being one.
"""

import argparse
import asyncio
import re
import time
from typing import Final, cast

import uvloop

CHUNKS: Final = 200
FEW_CHUNKS: Final = 5
"""Text chunks of a streamed answer; of one to a model whose name begins with `short`."""

LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
STREAM: Final = re.compile(rb'"stream":\s*true')
SHORT: Final = re.compile(rb'"model":\s*"short')
PACED: Final = re.compile(rb'"model":\s*"paced-(\d+)-(\d+)"')

USAGE: Final = b'{"prompt_tokens":20,"completion_tokens":50,"total_tokens":70,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}'
PLAIN: Final = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"gpt-4o-mini",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"'
    + b"word " * 40
    + b'","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":'
    + USAGE
    + b"}"
)
HEAD: Final = b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini","choices":[{"index":0,"delta":'


def frame(delta: bytes, finish: bytes = b"null") -> bytes:
    """A chunk of a stream."""
    return HEAD + delta + b',"logprobs":null,"finish_reason":' + finish + b'}],"usage":null}\n\n'


FIRST: Final = frame(b'{"role":"assistant","content":"","refusal":null}')
TEXT: Final = frame(b'{"content":"word "}')
LAST: Final = (
    frame(b"{}", b'"stop"')
    + b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,'
    + b'"model":"gpt-4o-mini","choices":[],"usage":'
    + USAGE
    + b"}\n\ndata: [DONE]\n\n"
)


def chunked(data: bytes) -> bytes:
    """A piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


PLAIN_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(PLAIN)
    + PLAIN
)
STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


def burst(chunks: int) -> bytes:
    """A whole streamed answer, every frame a piece of a chunked body, as vendors send them."""
    pieces = (FIRST, *(TEXT for _ in range(chunks)), LAST)
    return STREAM_HEAD + b"".join(map(chunked, pieces)) + b"0\r\n\r\n"


BURST_ANSWER: Final = burst(CHUNKS)
SHORT_ANSWER: Final = burst(FEW_CHUNKS)


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._pacing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A proxy has connected."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, but does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._pacing is not None:
            self._pacing.cancel()

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        self._data += data
        head_end = self._data.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = LENGTH.search(self._data, 0, head_end)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._data) < end:
            return
        body, self._data = self._data[head_end + 4 : end], self._data[end:]
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        assert self._transport is not None
        paced = PACED.search(body)
        if paced:
            pacing = self._pace(int(paced[1]), 1 / int(paced[2]))
            self._pacing = asyncio.get_running_loop().create_task(pacing)
        else:
            streamed = SHORT_ANSWER if SHORT.search(body) else BURST_ANSWER
            self._transport.write(streamed if STREAM.search(body) else PLAIN_ANSWER)

    async def _pace(self, chunks: int, pause_s: float) -> None:
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._transport.write(STREAM_HEAD + chunked(FIRST))
        due_s = loop.time()
        for _ in range(chunks):
            due_s += pause_s
            await asyncio.sleep(due_s - loop.time())
            stamp = b'{"content":"%.6f "}' % time.monotonic()
            self._transport.write(chunked(frame(stamp)))
        self._transport.write(chunked(LAST) + b"0\r\n\r\n")


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", port, backlog=4096
    )
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvloop.run(serve(parser.parse_args().port))
