"""The faults of a provider, on the wire of each of the nineteen, and what they mean outside."""

import gzip
import json
import re
import struct
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

from ringside_proxy.domain import errors
from tests.fakes import Cut, Reset, text_reply
from tests.providers.test_bedrock_stream import message
from tests.vendors.recorded import FOLDERS, TRANSCRIPTS, TYPES, recorded
from tests.vendors.speech import Call, Say
from tests.vendors.wires import ENCODERS

JSON: Final = "application/json"
DRIPS: Final = 25
DRIP_S: Final = 0.005
BOMB_BYTES: Final = 40 * 1024 * 1024
"""More than any answer may have."""
LINE_BYTES: Final = 100 * 1024 * 1024
KEY: Final = "provider-key-that-nobody-may-see"
PAYLOAD: Final = re.compile(rb"\{.*\}")
COUNTS: Final = frozenset({"usage", "usageMetadata", "metrics"})
COUNT: Final = re.compile(r".*(_count|Count)")


class Silence:
    """A point in an answer where nothing more comes; it ends when the caller lets go."""


class Drip(NamedTuple):
    """Bytes that come one by one, or for ever."""

    data: bytes
    gap_s: float
    is_endless: bool = False


class Flood(NamedTuple):
    """One byte, very often."""

    count: int


class Means(NamedTuple):
    """How an error looks outside: status and type of a chat, code of a run's `last_error`."""

    status: int
    type: str
    run_code: str


MEANINGS: Final = {
    errors.ProviderRateLimitedError: Means(429, "rate_limit_error", "rate_limit_exceeded"),
    errors.ProviderQuotaExceededError: Means(429, "insufficient_quota", "rate_limit_exceeded"),
    errors.ProviderAuthenticationError: Means(502, "provider_error", "server_error"),
    errors.ProviderRejectedError: Means(400, "invalid_request_error", "invalid_prompt"),
    errors.ProviderUnavailableError: Means(503, "provider_error", "server_error"),
    errors.ProviderTimeoutError: Means(504, "provider_error", "server_error"),
    errors.ProviderBadReplyError: Means(502, "provider_error", "server_error"),
}
LIMITED, QUOTA, AUTH, REJECTED, UNAVAILABLE, TIMEOUT, BAD = MEANINGS.values()

Step = bytes | Silence | Reset | Cut | Drip | Flood


class Wire(NamedTuple):
    """A provider's good answer: `rows` are its frames, the words begin in `rows[first]`."""

    provider: str
    rows: list[bytes]
    first: int
    content_type: str

    @property
    def begun(self) -> bytes:
        """The answer as far as its first words."""
        return b"".join(self.rows[: self.first + 1])

    @property
    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self.rows)

    @property
    def is_whole_json(self) -> bool:
        """OpenAI is asked for a plain chat without streaming: its own bytes are passed on."""
        return self.content_type == JSON


@cache
def wire(provider: str, *, is_relayed: bool) -> Wire:
    """The recorded answer in its frames; a relayed plain chat is one JSON object in two halves."""
    if is_relayed:
        reply = text_reply("Hello there")
        body = reply({"model": "m"}).steps[0]  # type: ignore[operator,union-attr]
        return Wire(provider, [body[:99], body[99:]], 0, JSON)
    case = "metrics" if provider == "replicate" else "plain"  # the one that counts tokens
    raw, content_type = recorded(provider, case)
    folder = TRANSCRIPTS / FOLDERS.get(provider, provider)
    if content_type == TYPES[".frames"]:
        lines = (folder / f"{case}.frames").read_bytes().splitlines()
        parted = [line.partition(b" ") for line in lines]
        rows = [message(name.decode(), payload) for name, _, payload in parted]
    else:
        end = rb"\n" if content_type == TYPES[".ndjson"] else rb"\n\n+"
        rows = re.findall(rb".+?(?:%b|\Z)" % end, raw, re.DOTALL)
    deltas = json.loads((folder / f"{case}.json").read_text())
    words = next(delta["TextDelta"]["text"] for delta in deltas if "TextDelta" in delta)
    first = next(i for i, row in enumerate(rows) if words.split()[0].encode() in row)
    assert b"".join(rows) == raw
    return Wire(provider, rows, first, content_type)


def edited(at: Wire, change: Callable[[bytes], bytes]) -> bytes:
    """The whole answer with its JSON changed, row by row."""
    if at.is_whole_json:
        return change(at.whole)
    if at.content_type != TYPES[".frames"]:
        return b"".join(PAYLOAD.sub(lambda found: change(found[0]), row) for row in at.rows)
    lines = (TRANSCRIPTS / at.provider / "plain.frames").read_bytes().splitlines()
    parted = [line.partition(b" ") for line in lines]
    return b"".join(message(name.decode(), change(payload)) for name, _, payload in parted)


def with_counts(at: Wire, value: Any) -> bytes:
    """The whole answer with `value` for each token count; None takes them out."""

    def walk(node: Any, *, counts: bool) -> Any:
        if isinstance(node, list):
            return [walk(item, counts=counts) for item in node]
        if not isinstance(node, dict):
            return node
        out = {}
        for key, item in node.items():
            is_count = isinstance(item, int | float) and (counts or COUNT.fullmatch(key))
            if not is_count:
                out[key] = walk(item, counts=counts or key in COUNTS)
            elif value is not None:
                out[key] = value
        return out

    def change(payload: bytes) -> bytes:
        return json.dumps(walk(json.loads(payload), counts=False)).encode()

    told = edited(at, change)
    assert told != edited(at, lambda payload: json.dumps(json.loads(payload)).encode())
    return told


def head(status: int, content_type: str, length: int | None, **headers: str) -> bytes:
    """The head of an answer; no length means chunks."""
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    more = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
    return f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{size}\r\n{more}\r\n".encode()


def answer(content_type: str, body: bytes, status: int = 200, **headers: str) -> list[Step]:
    return [head(status, content_type, len(body), **headers) + body]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def refusal(status: int, code: str = "", words: str = "The test says no.", **headers: str) -> Any:
    """An answer with OpenAI's envelope and a status that means what it says."""
    error = {"message": words, "type": code, "param": None, "code": code or None}
    body = json.dumps({"error": error}).encode()
    return lambda _: answer(JSON, body, status, **headers)


def body_of(said: bytes | Callable[[Wire], bytes], content_type: str = "", **headers: str) -> Any:
    """A 200 with this body, by default under the provider's own content type."""

    def steps(at: Wire) -> list[Step]:
        body = said(at) if callable(said) else said
        return answer(content_type or at.content_type, body, **headers)

    return steps


def begun(*steps: Step) -> Callable[[Wire], list[Step]]:
    """The head and the first words, then this."""
    return lambda at: [head(200, at.content_type, None) + chunk(at.begun), *steps]


def raw(*steps: Step) -> Callable[[Wire], list[Step]]:
    return lambda _: list(steps)


def error_inside(at: Wire) -> list[Step]:
    """The error that each vendor sends inside a 200."""
    if at.is_whole_json:
        return refusal(200, "server_error")(at)  # type: ignore[no-any-return]
    body, content_type = recorded(at.provider, "error_in_stream")
    return answer(content_type, body)


def means_error_inside(at: Wire) -> Means:
    if at.is_whole_json:
        return UNAVAILABLE
    path = TRANSCRIPTS / FOLDERS.get(at.provider, at.provider) / "error_in_stream.json"
    [name] = json.loads(path.read_text())[-1]
    return MEANINGS[getattr(errors, name)]


def means_last_row(at: Wire) -> Means | None:
    """Whether the last row of an answer only says that it is over, or is part of it."""
    needed = {"google", "ollama", "perplexity", "replicate"}
    return BAD if at.provider in needed or at.is_whole_json else None


def dripped(at: Wire) -> list[Step]:
    """The whole answer, the middle of it byte by byte: slow is not broken."""
    start, stop = len(at.begun), min(len(at.begun) + DRIPS, len(at.whole))
    first = head(200, at.content_type, len(at.whole)) + at.whole[:start]
    return [first, Drip(at.whole[start:stop], DRIP_S), at.whole[stop:]]


def endless(at: Wire) -> list[Step]:
    """Words, and then for ever what means nothing: a comment, a blank, an event nobody knows."""
    nothing = {TYPES[".ndjson"]: b"\n", TYPES[".frames"]: message("ping", b"{}"), JSON: b" "}
    filler = nothing.get(at.content_type, b": still here\n\n")
    return [*begun()(at), Drip(chunk(filler), DRIP_S, is_endless=True)]


def flooded(at: Wire) -> list[Step]:
    """A line of 100 MB."""
    opened = b"data: " if at.content_type == TYPES[".sse"] else b""
    return [head(200, at.content_type, len(opened) + LINE_BYTES) + opened, Flood(LINE_BYTES)]


def called(provider: str) -> Wire:
    """Two calls of functions on the provider's wire."""
    calls = (Call("call_a1", "get_weather", '{"city": "Bern"}'), Call("call_b2", "now", "{}"))
    encode, content_type = ENCODERS[provider]
    raw = encode(Say("", calls), "m")
    if content_type == TYPES[".frames"]:
        rows = []
        while raw:
            (length,) = struct.unpack(">I", raw[:4])
            rows.append(raw[:length])
            raw = raw[length:]
        return Wire(provider, rows, 0, content_type)
    end = rb"\n" if content_type == TYPES[".ndjson"] else rb"\n\n+"
    return Wire(provider, re.findall(rb".+?(?:%b|\Z)" % end, raw, re.DOTALL), 0, content_type)


def reordered(at: Wire) -> list[Step]:
    """The pieces of two calls, the last first; only the beginning and the end stand in place."""
    first, *middle, last = called(at.provider).rows
    return answer(called(at.provider).content_type, b"".join([first, *reversed(middle), last]))


def doubled(at: Wire) -> list[Step]:
    """Every piece of two calls twice."""
    wire_of_calls = called(at.provider)
    return answer(wire_of_calls.content_type, b"".join(row * 2 for row in wire_of_calls.rows))


def enormous(at: Wire) -> bytes:
    if at.content_type == TYPES[".frames"]:  # a frame that says it has 2 GiB
        prelude = struct.pack(">II", 2**31, 16)
        return prelude + struct.pack(">I", zlib.crc32(prelude)) + b"x" * 100
    return at.begun + b"data: " + b"x" * (2 * 1024 * 1024)


def not_text(at: Wire) -> bytes:
    """The answer with a piece of text that is not UTF-8."""
    if at.content_type == TYPES[".frames"]:
        piece = message("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"\xff\xfe"}}')
        return at.rows[0] + piece + b"".join(at.rows[1:])
    if at.provider == "replicate":
        return at.whole.replace(b"one two", b"one \xff\xfe")
    return PAYLOAD.sub(lambda found: found[0][:-2] + b',"x":"\xff\xfe' + found[0][-2:], at.whole)


@cache
def gzip_bomb() -> bytes:
    return gzip.compress(bytes(BOMB_BYTES), 9)


class Fault(NamedTuple):
    """What the far end does, and what it means outside: None where the answer still counts."""

    name: str
    steps: Callable[[Wire], list[Step]]
    means: Means | Callable[[Wire], Means | None] | None
    retry_after: str | None = None


EMPTY: Final = b"0\r\n\r\n"
HTML: Final = b"<!doctype html><html><body><h1>It works!</h1></body></html>"
NO_QUOTA: Final = "You exceeded your current quota, please check your plan and billing details."

STALLS: Final = (
    Fault("accept and silent", raw(Silence()), TIMEOUT),
    Fault("head, then stall", lambda at: [head(200, at.content_type, None), Silence()], TIMEOUT),
    Fault("half a head, then stall", raw(b"HTTP/1.1 200 OK\r\nContent-Ty", Silence()), TIMEOUT),
    Fault("stall after a word", begun(Silence()), TIMEOUT),
    Fault("refusal cut short", raw(head(503, JSON, 500) + b"{", Cut()), UNAVAILABLE),
)
FAULTS: Final = (
    Fault("429 with retry-after", refusal(429, retry_after="7"), LIMITED, "7"),
    Fault("429 without", refusal(429), LIMITED, "1"),
    Fault("429 with a long retry-after", refusal(429, retry_after="3600"), LIMITED, "3600"),
    Fault("429 for money", refusal(429, "insufficient_quota", NO_QUOTA), QUOTA),
    Fault("402", refusal(402), QUOTA),
    Fault("401 that repeats the key", refusal(401, words=f"Wrong API key: {KEY}."), AUTH),
    Fault("400", refusal(400, "invalid_request_error"), REJECTED),
    Fault("500", refusal(500), UNAVAILABLE),
    Fault("502", lambda _: answer("text/html", HTML, 502), UNAVAILABLE),
    Fault("503", refusal(503), UNAVAILABLE),
    Fault("503 with nothing", lambda _: answer(JSON, b"", 503), UNAVAILABLE),
    Fault("504", refusal(504), TIMEOUT),
    Fault("529", refusal(529, "overloaded_error"), UNAVAILABLE),
    Fault("302", lambda _: answer("text/html", HTML, 302, location="/elsewhere"), BAD),
    Fault("reset at once", raw(Reset()), UNAVAILABLE),
    Fault("closed at once", raw(Cut()), UNAVAILABLE),
    Fault("reset after a word", begun(Reset()), BAD),
    Fault("chunk cut short", begun(b"fff\r\ndata: {", Cut()), BAD),
    Fault("chunk without a size", begun(b"zz\r\nnonsense\r\n", Cut()), BAD),
    Fault("end after a word", begun(EMPTY), BAD),
    Fault("no last frame", body_of(lambda at: b"".join(at.rows[:-1])), means_last_row),
    Fault("not HTTP", raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n", Cut()), BAD),
    Fault("garbage", body_of(bytes(range(256)) * 8), BAD),
    Fault("bad UTF-8", body_of(not_text), BAD),
    Fault("enormous line", body_of(enormous), BAD),
    Fault("line of 100 MB", flooded, BAD),
    Fault("slow drip", dripped, None),
    Fault("gzip bomb", body_of(lambda _: gzip_bomb(), content_encoding="gzip"), BAD),
    Fault("not gzip", body_of(lambda at: at.whole, content_encoding="gzip"), BAD),
    Fault("HTML with 200", body_of(HTML, "text/html"), BAD),
    Fault("HTML as the right type", body_of(HTML), BAD),
    Fault("plain text", body_of(b"upstream connect error", "text/plain"), BAD),
    Fault("the answer as another type", body_of(lambda at: at.whole, "text/plain"), None),
    Fault("empty body", body_of(b""), BAD),
    Fault("only [DONE]", body_of(b"data: [DONE]\n\n"), BAD),
    Fault("JSON that is no answer", body_of(b"{}", JSON), BAD),
    Fault("error in a 200", refusal(200, "server_error"), UNAVAILABLE),
    Fault("error inside the stream", error_inside, means_error_inside),
    Fault("usage missing", body_of(lambda at: with_counts(at, None)), None),
    Fault("usage negative", body_of(lambda at: with_counts(at, -5)), None),
    Fault("usage huge", body_of(lambda at: with_counts(at, 10**12)), None),
    Fault("usage beyond 64 bits", body_of(lambda at: with_counts(at, 10**30)), None),
    Fault("usage in words", body_of(lambda at: with_counts(at, "many")), None),
)
PASSING: Final = (
    *(
        Fault(f"{status} for a moment", refusal(status, retry_after_ms="1"), UNAVAILABLE)
        for status in (408, 429, 500, 502, 503, 504, 529)
    ),
    Fault("reset for a moment", raw(Reset()), UNAVAILABLE),
    Fault("closed for a moment", raw(Cut()), UNAVAILABLE),
)
"""What goes better when it is tried again."""
FINAL: Final = tuple(
    fault
    for fault in FAULTS
    if fault.name.startswith(
        ("429 for money", "429 with a long", "402", "401", "400", "reset after")
    )
)
"""What is never tried again."""
DISORDER: Final = (
    Fault("tool deltas reordered", reordered, None),
    Fault("tool deltas twice", doubled, None),
)
"""What is made of them is open, so long as it is OpenAI's shape and comes to an end."""
ENDLESS: Final = Fault("drip without end", endless, TIMEOUT)
REFUSED: Final = Fault("connection refused", raw(), UNAVAILABLE)
GOOD: Final = Fault("good answer", body_of(lambda at: at.whole), None)
ALL: Final = (GOOD, REFUSED, *STALLS, *FAULTS, *DISORDER, ENDLESS, *PASSING)
