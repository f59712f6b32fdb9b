"""Bodies, raw requests and schemas that mean harm, from a seed; and a watch on how long they block.

RINGSIDE_HOSTILE_SEED is the seed.
"""

import asyncio
import gc
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson

Json = dict[str, Any]

SEED: Final = os.environ.get("RINGSIDE_HOSTILE_SEED", "20261130")
AT_ONCE: Final = 32
TICK_S: Final = 0.01
BLOCKED_S_MAX: Final = 0.25
"""The promise: no input keeps the loop from everybody else for longer."""

ATOMS: Final = (
    *(
        b"null",
        b"true",
        b"-0",
        b"1e400",
        b"1E-400",
        b"9" * 40,
        b"-" + b"9" * 30,
        b"0.1" + b"0" * 99,
    ),
    *(
        b'""',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\\',
        b'"\xff"',
        b'"\xc0\x80"',
        b"\xef\xbb\xbf",
        b"\x00",
    ),
    *(b"NaN", b"Infinity", b"01", b"+1", b".5", b"'x'", b"/**/", b"[]", b"{}", b"[[", b"]]", b"}{"),
    *(b",", b":", b"\xe2\x80\xa8", b'"__proto__":{}', b'"$ref":"#"', b'"model":1,"model":2', b"\n"),
)
HEADERS: Final = (
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Type: multipart/form-data; boundary=\x80\r\n",
    b"Content-Type: application/json; charset=utf-7\r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Connection: close\r\n",
    b"Host: \x00\r\n",
    b"Authorization: Bearer \xff\xfe\r\n",
    b"Idempotency-Key: \r\n",
    b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
    b"X-Request-Id: \x7f\r\n",
    b"X-Ringside-Customer: ../../etc\r\n",
    b"Accept: text/csv;q=9,*/*;q=\xff\r\n",
    b" folded: x\r\n",
    b"a" * 300 + b": b\r\n",
)


class Watch:
    """How much the process computed between two ticks of the loop, at most.

    Of computing, and not of time, so that a busy machine is not taken for a busy proxy: a loop
    that is blocked by its own work, or by a thread that keeps the interpreter, computes.
    """

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def look(self) -> None:
        """Goes on until it is cancelled."""
        while True:
            before_s = time.process_time()
            await asyncio.sleep(TICK_S)
            self.worst_s = max(self.worst_s, time.process_time() - before_s)


@asynccontextmanager
async def watched() -> AsyncIterator[Watch]:
    """Watches the loop while the body runs, and holds it to the promise.

    What the tests have piled up is not looked through for garbage meanwhile: a proxy has no such
    heap, and looking through it takes as long as the promise allows.
    """
    watch = Watch()
    gc.collect()
    gc.freeze()
    task = asyncio.create_task(watch.look())
    try:
        yield watch
    finally:
        task.cancel()
        gc.unfreeze()
    assert watch.worst_s < BLOCKED_S_MAX


def malformed(source: random.Random, body: Any) -> bytes:
    """A body that was valid, as bytes with up to four faults in them."""
    raw = orjson.dumps(body)
    for _ in range(source.randint(1, 4)):
        raw = source.choice(BODY_FAULTS)(source, raw)
    return raw


def raw_request(source: random.Random, requests: list[bytes]) -> bytes:
    """A request that was valid, with up to five faults anywhere in it."""
    data = source.choice(requests)
    for _ in range(source.randint(1, 5)):
        data = source.choice(REQUEST_FAULTS)(source, data)
        if source.random() < 0.05:
            data = _spliced(source, data, source.choice(requests))
    return data


Fault = Callable[[random.Random, bytes], bytes]


def _flipped(source: random.Random, raw: bytes) -> bytes:
    if not raw:
        return raw
    at = source.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << source.randrange(8))]) + raw[at + 1 :]


def _shortened(source: random.Random, raw: bytes) -> bytes:
    at = source.randrange(len(raw) + 1)
    return raw[:at] + raw[at + source.randint(1, 8) :]


def _cut(source: random.Random, raw: bytes) -> bytes:
    return raw[: source.randrange(len(raw) + 1)]


def _doubled(source: random.Random, raw: bytes) -> bytes:
    at = source.randrange(len(raw) + 1)
    piece = raw[at : at + source.randint(1, 40)]
    return raw[:at] + piece * source.choice((2, 2, 2, 50)) + raw[at + len(piece) :]


def _sprinkled(source: random.Random, raw: bytes) -> bytes:
    at = source.randrange(len(raw) + 1)
    return raw[:at] + source.choice(ATOMS) + raw[at:]


def _replaced(source: random.Random, raw: bytes) -> bytes:
    """A string or a number gives way to something else."""
    at = raw.find(b'"', source.randrange(len(raw) + 1))
    end = raw.find(b'"', at + 1)
    return raw if at < 0 or end < 0 else raw[:at] + source.choice(ATOMS) + raw[end + 1 :]


def _nested(source: random.Random, raw: bytes) -> bytes:
    depth = source.choice((1, 60, 64, 65, 300, 1100, 5000))
    opening, closing = source.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + raw + closing * source.choice((depth, depth, depth - 1))


def _with_header(source: random.Random, data: bytes) -> bytes:
    at = data.find(b"\r\n") + 2
    return data[:at] + source.choice(HEADERS) + data[at:]


def _with_noise(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data) + 1)
    return data[:at] + source.randbytes(source.randint(1, 12)) + data[at:]


def _with_line_end(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data) + 1)
    return (
        data[:at]
        + source.choice((b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\x00", b"\x0b"))
        + data[at:]
    )


def _spliced(source: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: source.randrange(len(data) + 1)] + other[source.randrange(len(other) + 1) :]


BODY_FAULTS: Final[tuple[Fault, ...]] = (
    *(_flipped, _shortened, _cut, _doubled, _sprinkled, _sprinkled, _replaced, _replaced, _nested),
)
REQUEST_FAULTS: Final[tuple[Fault, ...]] = (
    *(_flipped, _shortened, _cut, _doubled, _with_header, _with_noise, _with_line_end),
)

WORDS: Final = (
    *("type", "properties", "items", "required", "enum", "const", "pattern", "format", "$ref"),
    *("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "$defs", "dependentSchemas"),
    *("patternProperties", "additionalProperties", "propertyNames", "minLength", "maxItems"),
    *("multipleOf", "uniqueItems", "contains", "$id", "$anchor", "$schema", "$dynamicRef"),
    *("unevaluatedProperties", "prefixItems", "minimum", "contentEncoding", "a", "", "~1/%25"),
)
LEAVES: Final = (
    *(None, True, False, 0, -1, 1e308, 5e-324, 2**63 - 1, -(2**63), 0.1, "", "string", "object"),
    *(
        "#",
        "#/",
        "#/$defs/a",
        "#/$defs/a/b",
        "#/properties",
        "#a",
        "http://127.0.0.1:1/x",
        "x.json",
    ),
    *(
        "file:///etc/passwd",
        "^(a+)+$",
        "(?=(a*)*)b",
        "[",
        "(?<x>",
        r"\p{L}",
        r"(\w+\s?)*!",
        "a{9999}",
    ),
    *("date-time", "regex", "https://json-schema.org/draft/2020-12/schema", "\u2028", "\ud7ff"),
)
INSTANCES: Final = (
    *({}, [], None, 0, 1e308, "a" * 40 + "!", "aaaa " * 30, {"a": {"a": {"a": [1, "a"]}}}),
    *([[[]]] * 30, {str(number): number for number in range(200)}, [{"a": n} for n in range(100)]),
)


def schema(source: random.Random) -> Json:
    """A JSON schema, or what pretends to be one."""
    made: Json = {}
    for _ in range(source.randint(0, 4)):
        made[source.choice(WORDS)] = _inside(source, source.randint(0, 5))
    if source.random() < 0.1:
        made = _deep(source, made)
    if source.random() < 0.1:
        made = _doubling(source.randint(2, 40))
    return made


def _inside(source: random.Random, depth: int) -> Any:
    kind = source.random() if depth else 1.0
    if kind < 0.4:
        names = source.choices(WORDS, k=source.randint(0, 4))
        return {name: _inside(source, depth - 1) for name in names}
    if kind < 0.6:
        return [_inside(source, depth - 1) for _ in range(source.randint(0, 4))]
    return source.choice(LEAVES)


def _deep(source: random.Random, inner: Json) -> Json:
    for _ in range(source.choice((5, 15, 16, 17, 40, 100))):
        inner = {source.choice(("not", "items", "contains")): inner}
    return inner


def _doubling(times: int) -> Json:
    """Each definition is twice the one before it: 2**times schemas for one value."""
    definitions: Json = {"s0": {"type": "number"}}
    for number in range(times):
        ref = {"$ref": f"#/$defs/s{number}"}
        definitions[f"s{number + 1}"] = {"allOf": [ref, ref]}
    return {"$defs": definitions, "$ref": f"#/$defs/s{times}"}
