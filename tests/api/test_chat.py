"""/v1/chat/completions and /v1/embeddings: bytes go through, errors become ours, slots apply."""

import asyncio
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from ringside_proxy.settings.schema import ProviderSettings
from tests.api.rig import ECHO, UPSTREAM_KEY, UPSTREAM_MODEL, Caller, serving
from tests.conformance.stream import check_chat_stream
from tests.fakes import (
    Cut,
    FakeUpstream,
    Gate,
    Reset,
    Scripted,
    chunk,
    frame,
    stream_reply,
    text_reply,
    usage,
)

CHAT: Final = "/v1/chat/completions"
MESSAGES: Final = [{"role": "user", "content": "hi"}]
BODY: Final = {"model": UPSTREAM_MODEL, "messages": MESSAGES}
STREAM: Final = {"content-type": "text/event-stream"}
JSON: Final = {"content-type": "application/json"}

ODD_COMPLETION: Final = (
    '{ "id":"chatcmpl-1",\n "object" : "chat.completion", "created":1, "model":"gpt-4o-mini",'
    ' "choices":[{"index":0,"message":{"role":"assistant","content":"\\u00fc \u2028 🥊 1.0e2",'
    '"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],'
    ' "x_unknown": [1.50, {}], "usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}'
).encode()
ODD_CHUNKS: Final = [
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n',
    'data: {"id":"c","object":"chat.completion.chunk", "created":1,"model":"m","choices":[{"index":0,"delta":{"content":"\\u00fc \u2028 🥊"},"logprobs":null,"finish_reason":null}],"x_unknown":1.50}\n\n'.encode(),
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
]
USAGE_CHUNK: Final = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'
)
DONE: Final = b"data: [DONE]\n\n"


async def test_a_completion_goes_through_byte_for_byte(api: Caller, upstream: FakeUpstream) -> None:
    """Whitespace, escapes, number forms and unknown keys of the provider are the caller's too."""
    upstream.enqueue(Scripted([ODD_COMPLETION], headers=JSON))

    answer = await api.post(CHAT, BODY)

    assert (answer.status, answer.body) == (200, ODD_COMPLETION)
    assert answer.headers["x-ringside-model"] == UPSTREAM_MODEL


@pytest.mark.parametrize("asks_for_usage", [True, False])
async def test_a_stream_goes_through_frame_for_frame(
    api: Caller, upstream: FakeUpstream, asks_for_usage: bool
) -> None:
    """Each frame is the provider's; the usage chunk is only shown to who asked for it."""
    upstream.enqueue(Scripted([*ODD_CHUNKS, USAGE_CHUNK, DONE], headers=STREAM))
    options = {"stream_options": {"include_usage": True}} if asks_for_usage else {}

    answer = await api.post(CHAT, BODY | {"stream": True} | options)

    shown = [*ODD_CHUNKS, *([USAGE_CHUNK] if asks_for_usage else []), DONE]
    assert answer.body == b"".join(shown)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert upstream.requests[0].body["stream_options"]["include_usage"] is True


@pytest.mark.parametrize("asks_for_usage", [True, False])
async def test_null_usage_is_shown_only_to_who_asked_for_usage(
    api: Caller, upstream: FakeUpstream, asks_for_usage: bool
) -> None:
    """The proxy always asks the provider; without the caller's asking nothing of it is visible."""
    upstream.enqueue(text_reply("Hello you"))
    options = {"stream_options": {"include_usage": asks_for_usage}}

    answer = await api.post(CHAT, BODY | {"stream": True} | options)

    chunks = check_chat_stream(answer.body)
    assert all(("usage" in each) == asks_for_usage for each in chunks)
    assert b"Hello" in answer.body


async def test_padding_of_a_stream_is_taken_out(api: Caller, upstream: FakeUpstream) -> None:
    """`obfuscation` has no use on loopback; the rest of the chunk stays."""
    padded = chunk({"content": "hi"}, obfuscation="x" * 30)
    upstream.enqueue(stream_reply(padded, chunk({}, "stop"), DONE))

    answer = await api.post(CHAT, BODY | {"stream": True})

    assert b"obfuscation" not in answer.body
    assert orjson.loads(answer.body.split(b"\n\n")[0].removeprefix(b"data: ")) == chunk(
        {"content": "hi"}
    )


async def test_a_request_reaches_the_provider_as_it_is(api: Caller, upstream: FakeUpstream) -> None:
    """Messages and parameters are the caller's, unknown ones stay here; the key is the owner's."""
    messages = [
        {"role": "developer", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "\u2028🥊\u202e"}], "name": "n"},
    ]
    upstream.enqueue(text_reply("ok"))

    await api.post(
        CHAT,
        BODY
        | {"messages": [messages[0] | {"x_unknown": {"a": [1, None]}}, messages[1]]}
        | {"temperature": 0.3, "stop": ["a"], "n": 1, "seed": None},
        headers={"cookie": "a=b", "openai-organization": "org-1", "x-forwarded-for": "10.0.0.1"},
    )

    sent = upstream.requests[0]
    assert sent.body == {
        "model": "gpt-4o-mini",
        "messages": messages,
        "temperature": 0.3,
        "stop": ["a"],
        "n": 1,
    }
    assert sent.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert not {"cookie", "openai-organization", "x-forwarded-for"} & sent.headers.keys()
    assert api.token not in str(sent.headers)


async def test_a_slot_s_parameters_stand_under_the_request_s(
    api: Caller, upstream: FakeUpstream
) -> None:
    """The slot says temperature 0.2 and top_p 0.9; the request says top_p 0.5, and wins."""
    upstream.enqueue(text_reply("ok"), text_reply("ok"))

    plain = await api.post(CHAT, {"model": "slot:warm", "messages": MESSAGES, "top_p": 0.5})
    streamed = await api.post(CHAT, {"model": "slot:warm", "messages": MESSAGES, "stream": True})

    first, second = (request.body for request in upstream.requests)
    assert (first["model"], first["temperature"], first["top_p"]) == ("gpt-4o-mini", 0.2, 0.5)
    assert (second["temperature"], second["top_p"]) == (0.2, 0.9)
    assert plain.headers["x-ringside-model"] == UPSTREAM_MODEL
    assert streamed.headers["x-ringside-model"] == UPSTREAM_MODEL


@pytest.mark.parametrize(
    ("model", "code", "words"),
    [
        ("gpt-4o", "invalid_model", "'fc:openai/gpt-4o'"),
        ("fc:opnai/gpt-4o", "invalid_model", "Did you mean: 'openai'"),
        ("fc:grok/grok-4", "invalid_model", "Did you mean: 'groq'"),
        ("fc:openai", "invalid_model", "fc:<provider>/<model>"),
        ("slot:wrm", "invalid_model", "Did you mean: 'slot:warm'"),
        ("fc:anthropic/claude", "provider_not_configured", "providers.anthropic.api_key"),
        ("fc:sandbox/echo\r\nx-evil: 1", "invalid_model", "fc:<provider>/<model>"),
        ("", "empty_string", ""),
        ("m" * 2049, "string_above_max_length", ""),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_a_model_that_nothing_serves_is_refused_with_the_remedy(
    api: Caller, upstream: FakeUpstream, path: str, model: str, code: str, words: str
) -> None:
    """The answer says what to write instead, and no provider is called."""
    answer = await api.post(path, {"model": model, "messages": MESSAGES, "input": "x"})

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == ("model", code)
    assert words in answer.error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings"])
async def test_a_provider_without_a_key_is_named(tmp_path: Path, path: str) -> None:
    """A known provider that is off is a 400 that names the setting."""
    providers = {"sandbox": ProviderSettings()}
    async with serving(tmp_path, providers=providers) as ringside:
        body = {"model": "fc:openai/gpt-4o", "messages": MESSAGES, "input": "x"}

        answer = await ringside.developer.post(path, body)

    assert (answer.status, answer.error["code"]) == (400, "provider_not_configured")
    assert "providers.openai.api_key" in answer.error["message"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": MESSAGES}, "model", "missing_required_parameter"),
        ({"model": ECHO}, "messages", "missing_required_parameter"),
        ({"model": ECHO, "messages": []}, "messages", "empty_array"),
        ({"model": ECHO, "messages": "hi"}, "messages", "invalid_type"),
        ({"model": ECHO, "messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"model": ECHO, "messages": MESSAGES, "stream": 1}, "stream", "invalid_type"),
        ({"model": ECHO, "messages": MESSAGES, "n": 0}, "n", "integer_below_min_value"),
        ({"model": ECHO, "messages": MESSAGES, "max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ],
)
async def test_a_chat_that_makes_no_sense_is_refused(
    api: Caller, body: dict[str, Any], param: str, code: str
) -> None:
    """What routing and accounting depend on is checked before any call."""
    answer = await api.post(CHAT, body)

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)


BREAKS: Final = {
    "cut": ([Cut()], "provider_bad_response"),
    "reset": ([Reset()], "provider_"),
    "ended": ([], "provider_bad_response"),
    "garbage": ([b"data: {nonsense\n\n"], "provider_bad_response"),
    "error": (
        [frame({"error": {"message": "overloaded", "type": "server_error", "code": None}})],
        "provider_",
    ),
}


@pytest.mark.parametrize(("steps", "code"), BREAKS.values(), ids=BREAKS)
async def test_a_stream_that_breaks_ends_in_an_error_frame(
    api: Caller, upstream: FakeUpstream, steps: list[Any], code: str
) -> None:
    """Once bytes have gone out the error is the last frame, in the envelope, without [DONE]."""
    upstream.enqueue(stream_reply(chunk({"role": "assistant", "content": "Hel"}), *steps))

    answer = await api.post(CHAT, BODY | {"stream": True})

    *_, last, end = answer.body.split(b"\n\n")
    error = orjson.loads(last.removeprefix(b"data: "))["error"]
    assert (answer.status, end) == (200, b"")
    assert b"Hel" in answer.body
    assert list(error) == ["message", "type", "param", "code"]
    assert error["code"].startswith(code)
    assert b"[DONE]" not in answer.body


@pytest.mark.parametrize(("steps", "code"), BREAKS.values(), ids=BREAKS)
async def test_a_stream_that_breaks_before_it_says_anything_has_a_status(
    api: Caller, upstream: FakeUpstream, steps: list[Any], code: str
) -> None:
    """A role alone is nothing said: the error is still a status with OpenAI's body."""
    upstream.enqueue(stream_reply(chunk({"role": "assistant", "content": ""}), *steps))

    answer = await api.post(CHAT, BODY | {"stream": True})

    assert answer.status in (502, 503)
    assert answer.headers["content-type"] == "application/json"
    assert answer.error["code"].startswith(code)


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_client_that_leaves_takes_the_call_with_it(
    api: Caller, upstream: FakeUpstream, is_stream: bool
) -> None:
    """The provider's connection is closed at once, mid-stream or while it still thinks."""
    gate = Gate()
    steps = [chunk({"role": "assistant", "content": "Hel"}), gate] if is_stream else [gate]
    upstream.enqueue(stream_reply(*steps))
    call = asyncio.ensure_future(
        api.session.post(api.url + CHAT, json=BODY | {"stream": is_stream}, headers=api.headers)
    )
    await gate.reached.wait()

    if is_stream:
        (await call).close()
    else:
        call.cancel()

    async with asyncio.timeout(10):
        await upstream.requests[0].gone.wait()
    upstream.enqueue(text_reply("ok"))
    assert (await api.post(CHAT, BODY)).status == 200


async def test_a_stream_flows_while_the_provider_still_speaks(
    api: Caller, upstream: FakeUpstream
) -> None:
    """The first words are there before the provider has said the next ones."""
    gate = Gate()
    upstream.enqueue(
        stream_reply(chunk({"content": "Hel"}), gate, chunk({"content": "lo"}, "stop"), DONE)
    )

    async with api.session.post(
        api.url + CHAT, json=BODY | {"stream": True}, headers=api.headers
    ) as response:
        first = await response.content.readuntil(b"\n\n")
        gate.release()
        rest = await response.read()

    assert b"Hel" in first
    assert rest.endswith(DONE)


@pytest.mark.parametrize(
    "tool",
    [{"type": "custom", "custom": {"name": "x"}}, {"type": "code_interpreter"}],
)
async def test_a_tool_that_is_no_function_is_refused_by_name(
    api: Caller, upstream: FakeUpstream, tool: dict[str, Any]
) -> None:
    """What the caller cannot run is 400 unsupported_tool_type, and no provider is asked."""
    function = {"type": "function", "function": {"name": "f"}}

    answer = await api.post(CHAT, BODY | {"tools": [function, tool]})

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (
        "tools[1].type",
        "unsupported_tool_type",
    )
    assert f"'{tool['type']}'" in answer.error["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("embedding", ["[0.1, 1.5e-3]", '"zczMPQ=="'])
async def test_embeddings_go_through_byte_for_byte(
    api: Caller, upstream: FakeUpstream, embedding: str
) -> None:
    """Floats keep their digits and base64 stays text."""
    raw = (
        '{"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": '
        f'{embedding}}}], "model": "e", "usage": {{"prompt_tokens": 1, "total_tokens": 1}}}}'
    ).encode()
    upstream.enqueue(Scripted([raw], headers=JSON))
    body = {"model": "fc:openai/e", "input": ["ü\u2028"], "encoding_format": "base64"}

    answer = await api.post("/v1/embeddings", body | {"dimensions": 2, "user": "u"})

    assert (answer.status, answer.body) == (200, raw)
    assert answer.headers["x-ringside-model"] == "fc:openai/e"
    assert upstream.requests[0].body == body | {"model": "e", "dimensions": 2}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": [{}]}, "input[0]", "invalid_type"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"input": "x", "dimensions": 0}, "dimensions", "integer_below_min_value"),
    ],
)
async def test_embeddings_that_make_no_sense_are_refused(
    api: Caller, body: dict[str, Any], param: str, code: str
) -> None:
    """What the form of the answer depends on is checked here."""
    answer = await api.post("/v1/embeddings", {"model": "fc:sandbox/embed"} | body)

    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)


@pytest.mark.parametrize("given", ["x", ["x", "y"], [1, 2], [[1, 2], [3]]])
@pytest.mark.parametrize("encoding_format", ["float", "base64"])
async def test_the_sandbox_embeds_every_form_of_input(
    api: Caller, given: Any, encoding_format: str
) -> None:
    """Texts and tokens, one or many, as floats or as base64."""
    body = {"model": "fc:sandbox/embed", "input": given, "encoding_format": encoding_format}

    answer = await api.post("/v1/embeddings", body)

    count = len(given) if isinstance(given, list) and not isinstance(given[0], int) else 1
    kinds = {type(each["embedding"]) for each in answer.json["data"]}
    assert len(answer.json["data"]) == count
    assert kinds == {list if encoding_format == "float" else str}


async def test_usage_of_a_completion_is_counted(ringside: Any, api: Caller) -> None:
    """Tokens that the provider reports show in the metrics, streamed or not, asked for or not."""
    reply = json_completion(usage(100, 20))
    ringside.upstream.enqueue(reply, text_reply("ok"))

    await api.post(CHAT, BODY)
    await api.post(CHAT, BODY | {"stream": True})

    text = (await ringside.admin("/metrics")).body.decode()
    labels = 'model="gpt-4o-mini",provider="openai",type='
    assert f'ringside_gen_ai_client_token_usage_sum{{{labels}"input"}} 109.0' in text
    assert f'ringside_gen_ai_client_token_usage_sum{{{labels}"output"}} 24.0' in text


def json_completion(consumed: dict[str, Any]) -> Scripted:
    """A whole completion with this usage."""
    document = orjson.loads(ODD_COMPLETION) | {"usage": consumed}
    return Scripted([orjson.dumps(document)], headers=JSON)
