"""Gemini's streams, shown on transcripts written after Google's own types."""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import ProviderBadReplyError, ProviderError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.client import ProviderClient, Target, Timeouts
from ringside_proxy.providers.google.adapter import Google
from ringside_proxy.providers.google.stream import (
    FAILURES,
    FINISH_REASONS,
    TOOL_CALLS_MAX,
    gemini_usage,
)
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    Finish,
    StateDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from tests.fakes import FakeClock, FakeUpstream, Scripted

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "google"
STREAMS = sorted(TRANSCRIPTS.glob("*.sse"))
ASKED = CompletionRequest(model="gemini-3.5-flash", messages=[{"role": "user", "content": "Hi."}])
TEXT = {"text": "Hi"}


def case_id(path: Path) -> str:
    return path.stem


def decode(pieces: list[bytes], request: CompletionRequest = ASKED) -> list[Any]:
    """Every delta, then the error if there is one; as the client reads."""
    minted: list[str] = []

    def new_id(prefix: str) -> str:
        minted.append(prefix)
        return f"{prefix}_new{len(minted)}"

    decoder = Google().stream_decoder(request, new_id)
    items: list[Any] = []
    try:
        for piece in pieces:
            items += decoder.feed(piece)
            if decoder.is_done:
                break
        items += decoder.close()
    except ProviderError as error:
        items.append(error)
    return items


def frames(*chunks: Any) -> bytes:
    return b"".join(b"data: " + orjson.dumps(chunk) + b"\r\n\r\n" for chunk in chunks)


def chunk(*parts: Any, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [candidate | ({"finishReason": reason} if reason else {})], **fields}


def calls(items: list[Any]) -> list[tuple[int, str | None, str | None, str]]:
    return [(i.index, i.id, i.name, i.arguments) for i in items if isinstance(i, ToolCallDelta)]


def shown(item: Any) -> dict[str, Any]:
    if isinstance(item, ProviderError):
        return {type(item).__name__: {"code": item.code, "is_retryable": item.is_retryable}}
    return {type(item).__name__: msgspec.to_builtins(item)}


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_gives_its_deltas(path):
    """A transcript gives exactly the deltas that stand beside it."""
    items = decode([path.read_bytes()])

    assert [shown(item) for item in items] == json.loads(path.with_suffix(".json").read_text())


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_stream_cut_anywhere_gives_the_same_deltas(path):
    """Where the network cuts a stream does not matter, at any byte and at all of them."""
    raw = path.read_bytes()
    expected = json.loads(path.with_suffix(".json").read_text())

    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw))]
    for pieces in [*cuts, [raw[i : i + 1] for i in range(len(raw))]]:
        items = [shown(item) for item in decode(pieces)]
        assert items == expected, f"first piece {len(pieces[0])} bytes"


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
@pytest.mark.parametrize("newline", [b"\r\n", b"\r"])
def test_stream_may_use_any_line_ending(path, newline):
    """CRLF, which Google sends, and CR end lines as LF does."""
    raw = path.read_bytes().replace(b"\n", newline)
    expected = json.loads(path.with_suffix(".json").read_text())

    assert [shown(item) for item in decode([raw])] == expected


@pytest.mark.parametrize("path", STREAMS, ids=case_id)
def test_transcript_is_of_googles_own_types(path):
    """Each chunk passes Google's own SDK, where it is installed."""
    types = pytest.importorskip("google.genai.types")
    for line in path.read_text().split("\n"):
        payload = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else None
        if isinstance(payload, dict) and "error" not in payload:
            types.GenerateContentResponse.model_validate(payload)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [*FINISH_REASONS.items(), ("OTHER", "stop"), ("FINISH_REASON_UNSPECIFIED", "stop")],
)
def test_finish_words_have_openais_meaning(reason, expected):
    """Every word ends the answer; what is not known counts as `stop`."""
    assert decode([frames(chunk(TEXT), chunk(reason=reason))])[-1] == Finish(expected)


@pytest.mark.parametrize("reason", FAILURES)
def test_finish_words_of_failure_are_errors(reason):
    """An answer that Google gave up on is no answer; only what may go better is tried again."""
    [error] = decode([frames(chunk(reason=reason))])

    kind, is_retryable = FAILURES[reason]
    assert (type(error), error.is_retryable) == (kind, is_retryable)
    assert reason in error.message
    assert (error.code == "provider_state_rejected") == (reason == "MISSING_THOUGHT_SIGNATURE")


def test_every_finish_word_of_googles_is_known():
    """The SDK's list of words holds none that was not thought about."""
    types = pytest.importorskip("google.genai.types")
    known = {*FINISH_REASONS, *FAILURES, "OTHER", "FINISH_REASON_UNSPECIFIED"}

    assert {reason.value for reason in types.FinishReason} <= known


def test_ids_are_kept_if_they_are_ids():
    """Models before 3 send none, and one that repeats names nothing; both get one of ours."""
    call = {"functionCall": {"name": "f", "args": {"a": 1}}}
    named = {"functionCall": {"name": "f", "id": "fc_1"}}

    items = decode([frames(chunk(call, named, named, reason="STOP"))])

    assert calls(items) == [
        (0, "call_new1", "f", ""),
        (0, None, None, '{"a":1}'),
        (1, "fc_1", "f", ""),
        (1, None, None, "{}"),
        (2, "call_new2", "f", ""),
        (2, None, None, "{}"),
    ]
    assert items[-1] == Finish("tool_calls")


def test_functions_get_their_own_names_back():
    """A name that had to be changed for Google is told as the caller wrote it."""
    tools = [{"type": "function", "function": {"name": name}} for name in ("1st", "_1st")]
    request = msgspec.structs.replace(ASKED, params={"tools": tools})
    called = [{"functionCall": {"name": name, "id": name}} for name in ("_1st_2", "_1st", "else")]

    items = decode([frames(chunk(*called, reason="STOP"))], request)

    assert [name for _, _, name, _ in calls(items) if name] == ["1st", "_1st", "else"]


def test_too_many_calls_are_a_broken_answer():
    """A turn that calls without end is cut off."""
    call = {"functionCall": {"name": "f"}}

    items = decode([frames(chunk(*[call] * (TOOL_CALLS_MAX + 1), reason="STOP"))])

    assert isinstance(items[-1], ProviderBadReplyError)


@pytest.mark.parametrize(
    "payload",
    [
        b"data: {\n\n",
        b"data: 1\n\n",
        b"data: [1, 2]\n\n",
        frames(chunk({"functionCall": {"args": {}}})),
        b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":'
        + b'{"a":' * 300
        + b"1"
        + b"}" * 300
        + b"}}]}}]}\n\n",
        frames(chunk(TEXT)),
        frames({"usageMetadata": {"promptTokenCount": 1}}),
        b"",
        b"<html>",
    ],
)
def test_garbage_is_a_bad_reply(payload):
    """What is not Gemini's stream, or not whole, is not an answer."""
    assert isinstance(decode([payload])[-1], ProviderBadReplyError)


def test_what_is_unknown_is_passed_over():
    """New parts, fields and second candidates change nothing; parts after the reason still count."""
    odd = [None, 1, {"executableCode": {"code": "1"}}, {"inlineData": {}}, {"text": 5}]
    second = chunk(*odd, TEXT, reason="STOP", novelty={"a": 1})
    second["candidates"].append(chunk({"text": "other"}, reason="STOP")["candidates"][0])

    items = decode([b": ping\n\n", frames({}, second, chunk({"text": "!"}))])

    assert items == [TextDelta("Hi"), TextDelta("!"), Finish("stop")]


def test_signature_after_calls_is_kept_at_the_end():
    """Only an empty text has a place after calls; a spoken one has none in OpenAI's message."""
    call = {"functionCall": {"name": "f", "id": "a"}, "thoughtSignature": "c2lnMQ=="}
    spoken = {"text": "after", "thoughtSignature": "bG9zdA=="}
    empty = {"text": "", "thoughtSignature": "c2lnMg=="}

    items = decode([frames(chunk(TEXT, call, spoken, empty, reason="STOP"))])

    [state] = [item.state for item in items if isinstance(item, StateDelta)]
    assert state == {"chars": 2, "calls": [[0, "c2lnMQ=="]], "texts": [], "tail": "c2lnMg=="}
    assert isinstance(items[-2], StateDelta)


def test_nothing_is_said_before_there_is_something_to_say():
    """Usage alone keeps the call open to be sent again."""
    decoder = Google().stream_decoder(ASKED, lambda prefix: prefix)

    first = decoder.feed(frames({"usageMetadata": {"promptTokenCount": 3}}))
    second = decoder.feed(frames(chunk(TEXT)))

    usage = UsageDelta(TokenUsage(input_tokens=3), {"promptTokenCount": 3})
    assert (first, second) == ([], [TextDelta("Hi"), usage])


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        # input, cached, output, reasoning
        ((80, 0, 18, 40, 0, 138), (80, 0, 58, 40)),
        ((80, 60, 18, 0, 0, 98), (80, 60, 18, 0)),
        ((80, 0, 58, 40, 0, 138), (80, 0, 58, 40)),
        ((80, 0, 18, 40, 7, 145), (87, 0, 58, 40)),
        ((80, 0, 0, 40, 0, 80), (80, 0, 40, 40)),
        ((80, 99, 1, 0, 0, 81), (80, 80, 1, 0)),
        ((80, -1, 1, 1.5, "2", None), (80, 0, 1, 0)),
    ],
)
def test_usage_is_canonical(reported, expected):
    """Thoughts are output, once, wherever Google counted them; cached input is part of the input."""
    prompt, cached, candidates, thoughts, tools, total = reported
    usage = gemini_usage(
        {
            "promptTokenCount": prompt,
            "cachedContentTokenCount": cached,
            "candidatesTokenCount": candidates,
            "thoughtsTokenCount": thoughts,
            "toolUsePromptTokenCount": tools,
            "totalTokenCount": total,
        }
    )

    assert usage == TokenUsage(
        input_tokens=expected[0],
        cached_input_tokens=expected[1],
        output_tokens=expected[2],
        reasoning_tokens=expected[3],
    )


@pytest.mark.parametrize(
    "reported",
    [
        None,
        [],
        {},
        {"candidatesTokenCount": 1},
        {"promptTokenCount": -1},
        {"promptTokenCount": True},
        {"promptTokenCount": 1_000_000_001},
        {"promptTokenCount": 1, "candidatesTokenCount": 1.5},
    ],
)
def test_usage_that_cannot_be_true_is_missing(reported):
    """A number that is no count is no usage: it will be estimated."""
    assert gemini_usage(reported) is None


KEYS = st.sampled_from(
    [
        "candidates",
        "content",
        "parts",
        "text",
        "thought",
        "thoughtSignature",
        "functionCall",
        "name",
        "args",
        "id",
        "finishReason",
        "promptFeedback",
        "blockReason",
        "usageMetadata",
        "promptTokenCount",
        "error",
        "code",
        "status",
        "details",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "text": JSON,
        "thought": JSON,
        "thoughtSignature": JSON,
        "functionCall": JSON | st.fixed_dictionaries({"name": JSON, "args": JSON, "id": JSON}),
    },
)
REASONS = st.sampled_from([*FINISH_REASONS, *FAILURES, "", "NEW"])
CHUNKS = st.builds(lambda parts, reason: chunk(*parts, reason=reason), st.lists(PARTS), REASONS)
ERRORS = st.fixed_dictionaries({"error": JSON | st.fixed_dictionaries({"details": JSON})})


@given(st.lists(JSON | CHUNKS | ERRORS, max_size=4))
def test_mutated_events_raise_only_provider_errors(chunks):
    """Whatever JSON comes, the outcome is deltas and one end: a finish or a ProviderError."""
    items = decode([frames(*chunks)])

    ends = [item for item in items if isinstance(item, (Finish, ProviderError))]
    assert ends == [items[-1]]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_random_bytes_raise_only_provider_errors(pieces):
    """Bytes that are no stream are an error of the provider's."""
    items = decode([b'data: {"candidates":', *pieces])

    assert isinstance(items[-1], ProviderError)


def reply(name: str) -> Scripted:
    headers = {"content-type": "text/event-stream"}
    return Scripted([(TRANSCRIPTS / f"{name}.sse").read_bytes()], headers=headers)


async def test_lost_answer_is_asked_for_again():
    """An answer in which the model lost its way before a word was said is sent for once more."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    client = ProviderClient(FakeClock(), lambda low, high: high, sleep=sleep)
    target = Target(provider="google", model=ASKED.model, timeouts=Timeouts(total_s=30))
    async with FakeUpstream(is_strict=False) as upstream:
        upstream.enqueue(reply("malformed_call"), reply("tool_call"))
        credentials = Credentials(base_url=upstream.base_url, api_key="test-key")
        request = Google().build_request(ASKED, credentials)
        async with client.stream(
            target, request, lambda: Google().stream_decoder(ASKED, lambda prefix: prefix)
        ) as batches:
            items = [shown(item) async for batch in batches for item in batch]
        await client.close()

    assert items == json.loads((TRANSCRIPTS / "tool_call.json").read_text())
    assert len(upstream.requests) == 2
    assert upstream.requests[1].path == "/v1/models/gemini-3.5-flash:streamGenerateContent"
    assert upstream.requests[1].headers["x-goog-api-key"] == "test-key"
    assert len(slept) == 1


def halted(*parts: Any) -> Any:
    """What an answer with these parts ends with when Google stops in the middle of it."""
    said = chunk(*parts, reason="CONTINUATION")
    said["candidates"][0]["continuationToken"] = "t1"
    [*_, finish] = decode([frames(said)])
    assert finish.reason == "length"
    return finish.continuation


def test_answer_goes_on_where_it_stopped():
    """The next calls are numbered after those that came, and no id is used twice."""
    call = {"functionCall": {"name": "f", "args": {}, "id": "a"}, "thoughtSignature": "s1"}
    halt = halted(TEXT, call)
    request = msgspec.structs.replace(ASKED, continuation=halt)

    items = decode([frames(chunk(call | {"thoughtSignature": "s2"}, reason="STOP"))], request)

    assert [(index, call_id) for index, call_id, name, _ in calls(items) if name] == [
        (1, "call_new1")
    ]
    [state] = [item.state for item in items if isinstance(item, StateDelta)]
    assert state["calls"] == [[0, "s1"], [1, "s2"]]
    assert state["chars"] == 2
    assert items[-1] == Finish("tool_calls")


def test_request_to_go_on_is_the_same_with_the_token():
    """As Google asks for it."""
    credentials = Credentials(base_url="http://127.0.0.1:1", api_key="k")
    request = msgspec.structs.replace(ASKED, continuation=halted(TEXT))

    first = orjson.loads(Google().build_request(ASKED, credentials).body)
    second = orjson.loads(Google().build_request(request, credentials).body)

    assert second == first | {"continuationToken": "t1"}


@pytest.mark.parametrize("token", [None, 1, {}])
def test_answer_that_stops_without_a_token_ends(token):
    """There is nothing to go on with."""
    said = chunk(TEXT, reason="CONTINUATION")
    said["candidates"][0]["continuationToken"] = token

    assert decode([frames(said)])[-1] == Finish("length")
