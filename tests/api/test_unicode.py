"""Text of any kind comes back as it went in: stored, streamed, in metadata and in arguments."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.rig import ECHO, FUNCTION, UPSTREAM_MODEL, Caller, Ringside, serving
from tests.conformance.stream import check_chat_stream, check_run_stream
from tests.fakes import FakeUpstream, text_reply

TEXTS: Final = {
    "plain": "Hello",
    "emoji": "🥊👩‍👩‍👧‍👦🏴‍☠️🇺🇳",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd\u202c مرحبا",
    "line separators": "a\u2028b\u2029c\u0085d\x0be\x0cf",
    "line ends": "a\r\nb\rc\n\nd",
    "frames": 'data: x\n\nevent: thread.run.failed\ndata: {"a":1}\n\ndata: [DONE]\n\n',
    "json": '{"a": "\\u0041\\\\"}',
    "combining": "e\u0301 é Z\u0351\u036b\u0343\u036a\u0302",
    "not a character": "\ufffe\uffff\ufffd\U0010ffff",
    "byte order mark": "\ufefftext",
    "controls": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "spaces": "  a\u00a0\u3000\u200b\t b  ",
    "null word": "null",
    "digits": "12345678901234567890.5e400",
    "html": "<script>alert('x')</script>&amp;",
}
NO_TEXT: Final = {
    "nul": b"\\u0000",
    "nul in a word": b"a\\u0000b",
    "high half": b"\\ud83e",
    "low half": b"\\udd4a",
    "halves the wrong way": b"\\udd4a\\ud83e",
    "bad utf-8": b"\xff",
    "overlong": b"\xc0\xaf",
    "half as bytes": b"\xed\xa0\xbe",
    "raw control": b"\x01",
}

ROUND_TRIP: Final = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
ANY_TEXT: Final = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=60
)


async def spoken(api: Caller, thread: str, assistant: str) -> tuple[str, str]:
    """What a run says: the deltas of its stream together, and the message that is stored."""
    body = {"assistant_id": assistant, "stream": True}
    answer = await api.post(f"/v1/threads/{thread}/runs", body)
    events: list[tuple[str, Any]] = check_run_stream(answer.body)
    deltas = [
        part["text"].get("value", "")
        for name, data in events
        if name == "thread.message.delta"
        for part in data["delta"]["content"]
    ]
    [message] = (await api.get(f"/v1/threads/{thread}/messages?limit=1")).json["data"]
    return "".join(deltas), message["content"][0]["text"]["value"]


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_text_survives_the_store_and_the_stream(api: Caller, text: str) -> None:
    """A message reads back as it was written, and its echo is streamed and stored the same."""
    thread = await api.thread(text)
    [stored] = (await api.get(f"/v1/threads/{thread}/messages")).json["data"]

    streamed, said = await spoken(api, thread, await api.assistant())

    assert stored["content"][0]["text"]["value"] == text
    assert streamed == text
    assert said == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_text_survives_a_chat(api: Caller, text: str) -> None:
    """Plain and streamed, the sandbox says what it was told."""
    body = {"model": ECHO, "messages": [{"role": "user", "content": text}]}

    plain = await api.post("/v1/chat/completions", body)
    streamed = await api.post("/v1/chat/completions", body | {"stream": True})

    chunks: list[Any] = check_chat_stream(streamed.body)
    deltas = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert plain.json["choices"][0]["message"]["content"] == text
    assert "".join(deltas) == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_text_reaches_the_provider_and_comes_back(
    api: Caller, upstream: FakeUpstream, text: str
) -> None:
    """Instructions, message and answer of a run are exact on the far side of the proxy too."""
    upstream.enqueue(text_reply(text))
    assistant = await api.assistant(model=UPSTREAM_MODEL, instructions=text)
    thread = await api.thread(text)

    streamed, said = await spoken(api, thread, assistant)

    sent = [message["content"] for message in upstream.requests[0].body["messages"]]
    assert sent == [text, text]
    assert (streamed, said) == (text, text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_text_survives_as_metadata_name_and_schema(api: Caller, text: str) -> None:
    """Also as keys, which are the caller's own words as well."""
    metadata = {text[:64]: text}
    schema = {"type": "object", "properties": {text: {"const": text}}}
    function = FUNCTION["function"] | {"description": text, "parameters": schema}

    made = await api.make(
        "/v1/assistants",
        {
            "model": ECHO,
            "name": text,
            "metadata": metadata,
            "tools": [{"type": "function", "function": function}],
        },
    )

    assert (await api.get(f"/v1/assistants/{made['id']}")).json == made
    assert (made["name"], made["metadata"]) == (text, metadata)
    assert made["tools"][0]["function"]["description"] == text
    assert made["tools"][0]["function"]["parameters"] == schema


@pytest.mark.parametrize("raw", NO_TEXT.values(), ids=NO_TEXT)
async def test_what_is_no_text_is_refused(api: Caller, raw: bytes) -> None:
    """NUL, half characters and broken UTF-8 are a 400 wherever they stand, and nothing is stored."""
    thread = await api.thread("hi")
    message = b'{"role":"user","content":"%b"}' % raw
    bodies = {
        f"/v1/threads/{thread}/messages": message,
        "/v1/threads": b'{"messages":[%b]}' % message,
        f"/v1/threads/{thread}": b'{"metadata":{"%b":"x"}}' % raw,
        "/v1/chat/completions": b'{"model":"fc:sandbox/echo","messages":[%b]}' % message,
    }

    answers = [await api.post(path, data=body) for path, body in bodies.items()]

    assert {answer.status for answer in answers} == {400}
    assert all("could not parse the JSON body" in a.error["message"] for a in answers)
    assert len((await api.get(f"/v1/threads/{thread}/messages")).json["data"]) == 1
    assert [t["metadata"] for t in (await api.get("/v1/threads")).json["data"]] == [{}]


async def test_an_escaped_backslash_before_u0000_is_text(api: Caller) -> None:
    r"""`\\u0000` is six characters and no NUL."""
    thread = await api.thread("a\\u0000b")

    [stored] = (await api.get(f"/v1/threads/{thread}/messages")).json["data"]

    assert stored["content"][0]["text"]["value"] == "a\\u0000b"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    """Runs a coroutine that is given a proxy, from a synchronous test."""
    with asyncio.Runner() as runner:
        context = serving(tmp_path)
        ringside = runner.run(context.__aenter__())
        yield lambda use: runner.run(use(ringside))
        runner.run(context.__aexit__(None, None, None))


def test_any_text_survives(run: Any) -> None:
    """Whatever can be written in JSON is stored, said and streamed exactly."""

    async def prepare(ringside: Ringside) -> str:
        return await ringside.developer.assistant()

    assistant = run(prepare)

    @ROUND_TRIP
    @given(ANY_TEXT)
    def round_trip(text: str) -> None:
        async def use(ringside: Ringside) -> tuple[str, str]:
            api = ringside.developer
            return await spoken(api, await api.thread(text), assistant)

        streamed, said = run(use)

        assert (streamed, said) == (text, text)

    round_trip()
