"""Replicate: what is asked, where its answer is listened to, and what its events mean."""

import json
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.domain.errors import (
    InvalidRequestError,
    ProviderBadReplyError,
    ProviderError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import UNCOUNTED, TokenUsage
from ringside_proxy.providers.errors import error_from_reply
from ringside_proxy.providers.replicate.adapter import Replicate
from ringside_proxy.providers.replicate.stream import prediction_usage
from ringside_proxy.providers.types import (
    Capabilities,
    CompletionRequest,
    Credentials,
    EmbeddingsRequest,
    Finish,
    HTTPRequest,
    Support,
    UsageDelta,
)
from tests.fakes import json_reply, stream_reply

TRANSCRIPTS = Path(__file__).parent / "transcripts" / "replicate"
STREAMS = sorted(TRANSCRIPTS.glob("*.sse"))
REQUESTS = sorted(TRANSCRIPTS.glob("*.request.json"))
REPLICATE = Replicate()
CREDENTIALS = Credentials(base_url="https://api.replicate.com/v1", api_key="r8_test_key_12345")
HI = [{"role": "user", "content": "Hi"}]
LLAMA = "meta/meta-llama-3-70b-instruct"
STREAM_URL = "https://stream.replicate.com/v1/files/p1abc"
IN_WORDS = Capabilities(tools=Support.EMULATED)
SEES = msgspec.structs.replace(IN_WORDS, image_urls=True, image_data=True)
LIMIT = 18
"""What the transcripts' calls were limited to; one of them was cut off by it."""


def built(model: str = LLAMA, messages: Any = HI, **params: Any) -> HTTPRequest:
    request = CompletionRequest(model=model, messages=messages, params=params)
    return REPLICATE.build_request(request, CREDENTIALS)


def inputs(model: str = LLAMA, messages: Any = HI, **params: Any) -> dict[str, Any]:
    return orjson.loads(built(model, messages, **params).body)["input"]


def listen(prediction: Any, credentials: Credentials = CREDENTIALS) -> HTTPRequest:
    """The request that follows the creation of `prediction`."""
    request = REPLICATE.build_request(CompletionRequest(model=LLAMA, messages=HI), credentials)
    assert request.follow is not None
    body = prediction if isinstance(prediction, bytes) else orjson.dumps(prediction)
    return request.follow(body)


def drain(pieces: list[bytes]) -> list[Any]:
    """Every item, then the error if there is one; as the client reads."""
    request = CompletionRequest(model=LLAMA, messages=HI, params={"max_tokens": LIMIT})
    stream, items = REPLICATE.stream_decoder(request, lambda prefix: prefix), []
    try:
        for piece in pieces:
            items += stream.feed(piece)
            if stream.is_done:
                break
        items += stream.close()
    except ProviderError as error:
        items.append(error)
    return items


def shown(item: Any) -> dict[str, Any]:
    if isinstance(item, ProviderError):
        return {type(item).__name__: {"code": item.code, "is_retryable": item.is_retryable}}
    return {type(item).__name__: msgspec.to_builtins(item)}


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_stream_gives_its_deltas(path, newline):
    """A transcript gives exactly the deltas that stand beside it, wherever the network cuts it."""
    raw = path.read_bytes().replace(b"\n", newline)
    expected = json.loads(path.with_suffix(".json").read_text())

    cuts = [[raw[:i], raw[i:]] for i in range(1, len(raw) + 1)]
    for pieces in [*cuts, [raw[i : i + 1] for i in range(len(raw))]]:
        assert [shown(item) for item in drain(pieces)] == expected, len(pieces[0])


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.name)
def test_request_is_what_replicate_takes(path):
    """The body that goes out equals the recorded one, key for key."""
    recorded = json.loads(path.read_text())
    request = REPLICATE.build_request(
        msgspec.convert(recorded["asked"], CompletionRequest), CREDENTIALS
    )

    assert orjson.loads(request.body) == recorded["sent"]
    assert list(request.dropped_params) == recorded["dropped"]
    assert request.url == CREDENTIALS.base_url + recorded["path"]
    assert request.headers["authorization"] == "Bearer r8_test_key_12345"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (HI, {"prompt": "Hi"}),
        (
            [{"role": "system", "content": "Be brief."}, *HI],
            {"prompt": "Hi", "system_prompt": "Be brief."},
        ),
        (
            [*HI, {"role": "assistant", "content": None, "refusal": "No."}, *HI],
            {"prompt": "User: Hi\n\nAssistant: No.\n\nUser: Hi\n\nAssistant:"},
        ),
        (
            [*HI, {"role": "assistant", "content": None}, {"role": "tool", "content": "4C"}],
            {"prompt": "User: Hi\n\nUser: 4C\n\nAssistant:"},
        ),
        (
            [{"role": "user", "content": ["a", {"type": "text", "text": "b"}]}],
            {"prompt": "a\nb"},
        ),
    ],
)
def test_conversation_becomes_a_text(messages, expected):
    """One turn stands for itself; more are a dialogue that the model goes on with."""
    assert inputs(messages=messages) == expected


def test_newer_name_of_the_limit_wins():
    """Both are understood."""
    assert inputs(max_tokens=5, max_completion_tokens=6)["max_tokens"] == 6
    assert inputs("openai/gpt-4o", max_tokens=5)["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("effort", "expected"), [("none", "minimal"), ("low", "low"), ("max", "high")]
)
def test_effort_is_in_the_models_words(effort, expected):
    """The nearest that there is."""
    assert inputs("openai/gpt-5-mini", reasoning_effort=effort)["reasoning_effort"] == expected


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "low"),
        ({"thinking": {"type": "disabled"}}, "minimal"),
        ({"thinking_budget": 30_000}, "high"),
    ],
)
def test_budget_of_thinking_becomes_an_effort(wish, expected):
    """The model knows words for it alone; what became one is not called dropped."""
    request = CompletionRequest(model="openai/gpt-5-mini", messages=HI, params=wish)
    built = REPLICATE.build_request(request, CREDENTIALS)

    assert orjson.loads(built.body)["input"]["reasoning_effort"] == expected
    assert built.dropped_params == ()


def test_what_is_not_sent_is_named():
    """By OpenAI's names; the caller's end-customer is nobody's business."""
    request = built(
        "someone/model",
        user="customer_42",
        metadata={"a": "customer_42"},
        n=1,
        seed=3,
        response_format="auto",
    )

    assert request.dropped_params == ("seed",)
    assert b"customer_42" not in request.body


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"n": 2}, "n"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
    ],
)
def test_what_cannot_be_dropped_is_refused(params, param):
    """Another answer than was asked for is no answer."""
    with pytest.raises(InvalidRequestError) as caught:
        built(**params)

    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


def test_other_parts_are_refused():
    """Leaving them out would answer another question."""
    with pytest.raises(InvalidRequestError, match="input_audio"):
        built(messages=[{"role": "user", "content": [{"type": "input_audio"}]}])


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (LLAMA, IN_WORDS),
        ("someone/model", IN_WORDS),
        ("anthropic/claude-4.5-sonnet", SEES),
        ("openai/gpt-4o", SEES),
        ("openai/gpt-5", msgspec.structs.replace(SEES, reasoning=True)),
    ],
)
def test_capabilities_follow_the_inputs(model, expected):
    """Tools in words and no schemas anywhere; images where there is an input for them."""
    assert REPLICATE.capabilities(model) == expected


def test_there_are_no_embeddings():
    """Its embedding models have nothing in common."""
    with pytest.raises(InvalidRequestError, match="replicate offers no embeddings"):
        REPLICATE.build_embeddings_requests(EmbeddingsRequest(model="m", input="x"), CREDENTIALS)
    with pytest.raises(ProviderBadReplyError):
        REPLICATE.parse_embeddings(b"{}")


# ---- what follows the creation


@pytest.mark.parametrize("status", ["starting", "processing", "succeeded"])
def test_stream_is_listened_to_where_the_prediction_says(status):
    """With the key, and as events."""
    request = listen({"status": status, "urls": {"get": "x", "stream": STREAM_URL}, "new": 1})

    assert (request.method, request.url, request.body) == ("GET", STREAM_URL, b"")
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["authorization"] == "Bearer r8_test_key_12345"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1",
        "http://stream.replicate.com/x",
        "https://replicate.com.evil.example/",
        "https://evilreplicate.com/",
        "file:///etc/passwd",
        "https://[::1/",
        "",
    ],
)
def test_key_goes_nowhere_else(url):
    """An address that is not Replicate's own is not called."""
    with pytest.raises(ProviderBadReplyError, match="not its own"):
        listen({"status": "starting", "urls": {"stream": url}})


def test_gateway_streams_from_itself_alone():
    """A gateway's key is not given to Replicate."""
    gateway = msgspec.structs.replace(CREDENTIALS, base_url="http://127.0.0.1:8080/v1")

    own = listen({"urls": {"stream": "http://127.0.0.1:8080/s"}}, gateway)
    assert own.url == "http://127.0.0.1:8080/s"
    with pytest.raises(ProviderBadReplyError, match="not its own"):
        listen({"urls": {"stream": STREAM_URL}}, gateway)


@pytest.mark.parametrize(
    ("prediction", "error", "words"),
    [
        ({"status": "starting", "urls": {"get": "x"}}, ProviderRejectedError, "cannot stream"),
        ({"status": "starting"}, ProviderRejectedError, "cannot stream"),
        ({"status": "failed", "error": "Out of memory"}, ProviderUnavailableError, "Out of memory"),
        ({"status": "failed", "error": "flagged (E005)"}, ProviderRejectedError, "E005"),
        ({"status": "failed"}, ProviderUnavailableError, "failed"),
        ({"status": "aborted"}, ProviderUnavailableError, "aborted"),
        ({"status": "canceled"}, ProviderUnavailableError, "canceled"),
        (b"<html>", ProviderBadReplyError, "no prediction"),
        (b"[]", ProviderBadReplyError, "no prediction"),
    ],
)
def test_prediction_that_cannot_be_listened_to_is_an_error(prediction, error, words):
    """Each in its class, in its own words."""
    with pytest.raises(error, match=words):
        listen(prediction)


# ---- errors and usage


@pytest.mark.parametrize(
    ("status", "detail", "error", "wait_s"),
    [
        (
            429,
            "Request was throttled. Your rate limit resets in ~30s.",
            ProviderRateLimitedError,
            30,
        ),
        (429, "Request was throttled.", ProviderRateLimitedError, None),
        (402, "You have insufficient credit.", ProviderQuotaExceededError, None),
        (422, "- input.prompt: required", ProviderRejectedError, None),
        (404, "The requested model could not be found.", ProviderRejectedError, None),
        (500, "resets in ~30s", ProviderUnavailableError, None),
    ],
)
def test_refusals_mean_what_replicate_says(status, detail, error, wait_s):
    """How long to wait stands in the words."""
    body = orjson.dumps({"title": "x", "detail": detail, "status": status})

    refusal = error_from_reply("replicate", *REPLICATE.restate(status, {}, body), now_ms=0)

    assert type(refusal) is error
    assert refusal.retry_after_s == wait_s
    assert detail in refusal.message


def test_header_says_it_better():
    """A wait in a header is kept."""
    headers = {"retry-after": "5"}

    assert REPLICATE.restate(429, headers, b"resets in ~30s")[1] is headers


GET_URL = "https://api.replicate.com/v1/predictions/p1abc"


def test_counts_are_got_from_the_prediction():
    """Its stream does not tell them."""
    metrics = {"input_token_count": 120, "output_token_count": 18}
    usage = UsageDelta(TokenUsage(input_tokens=120, output_tokens=18), metrics)
    request = listen({"urls": {"stream": STREAM_URL, "get": GET_URL}})

    assert request.epilogue is not None
    assert (request.epilogue.request.method, request.epilogue.request.url) == ("GET", GET_URL)
    assert request.epilogue.request.headers["authorization"] == "Bearer r8_test_key_12345"
    told = request.epilogue.read(orjson.dumps({"metrics": metrics}), [Finish("stop")])
    assert told == [Finish("stop"), usage]


def test_prediction_that_counts_seconds_alone_says_so():
    """Its tokens are estimated; what its machine took may have a price."""
    epilogue = listen({"urls": {"stream": STREAM_URL, "get": GET_URL}}).epilogue

    assert epilogue is not None
    told = epilogue.read(b'{"metrics":{"predict_time":1.5}}', [Finish("stop")])
    assert told == [Finish("stop"), UsageDelta(UNCOUNTED, {"predict_time": 1.5})]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"metrics":{"total_time":1}}'])
def test_prediction_that_does_not_count_tells_nothing(body):
    """Its tokens are estimated."""
    epilogue = listen({"urls": {"stream": STREAM_URL, "get": GET_URL}}).epilogue

    assert epilogue is not None
    assert epilogue.read(body, [Finish("stop")]) == [Finish("stop")]


def test_key_goes_to_no_other_place_to_count():
    """A prediction that names a stranger is not asked."""
    urls = {"stream": STREAM_URL, "get": "https://example.com/p1abc"}

    assert listen({"urls": urls}).epilogue is None


CANCEL_URL = "https://api.replicate.com/v1/predictions/p1abc/cancel"


def test_prediction_that_nobody_reads_is_cancelled():
    """At the address that it names itself, with the owner's key."""
    request = listen({"urls": {"stream": STREAM_URL, "cancel": CANCEL_URL}})

    assert request.abandon is not None
    assert (request.abandon.method, request.abandon.url) == ("POST", CANCEL_URL)
    assert request.abandon.headers["authorization"] == "Bearer r8_test_key_12345"


@pytest.mark.parametrize("cancel", [None, 1, "https://example.com/cancel", "http://[::1"])
def test_key_goes_to_no_other_place_to_cancel(cancel):
    """A prediction that cannot be cancelled safely runs on."""
    assert listen({"urls": {"stream": STREAM_URL, "cancel": cancel}}).abandon is None


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (
            {"input_token_count": 120, "output_token_count": 18, "predict_time": 0.9},
            TokenUsage(input_tokens=120, output_tokens=18),
        ),
        ({"predict_time": 0.9}, None),
        ({"input_token_count": 120}, None),
        ({"input_token_count": True, "output_token_count": 1}, None),
        ({"input_token_count": -1, "output_token_count": 1}, None),
        ({"input_token_count": 10**10, "output_token_count": 1}, None),
        (None, None),
    ],
)
def test_usage_is_what_official_models_count(metrics, expected):
    """Others count seconds alone; what cannot be true is no count."""
    assert prediction_usage(metrics) == expected


def test_text_that_is_not_utf8_is_a_bad_reply():
    """Nothing is guessed."""
    [refusal] = drain([b"event: output\ndata: \xff\n\n"])

    assert isinstance(refusal, ProviderBadReplyError)


lines = st.sampled_from(
    [b"event: output", b"event: done", b"event: error", b"data: {}", b"data: x", b"", b"id: 1"]
)


@given(st.lists(lines | st.binary(max_size=20), max_size=12))
def test_mutated_events_raise_nothing_else(parts):
    """Whatever comes, it is deltas or a ProviderError, with one end at most."""
    items = drain([part + b"\n" for part in parts])

    assert sum(isinstance(item, Finish) for item in items) <= 1
    assert isinstance(items[-1], ProviderError | Finish)


async def answered(caller, question, credentials):
    """The deltas of an answer, whatever requests it takes."""
    async with caller.client.stream(
        caller.target,
        REPLICATE.build_request(question, credentials),
        lambda: REPLICATE.stream_decoder(question, lambda prefix: prefix),
    ) as batches:
        return [delta async for batch in batches for delta in batch]


async def test_prediction_is_created_and_listened_to(caller, upstream):
    """Through the client: one call for the caller, two on the wire."""
    credentials = Credentials(base_url=upstream.base_url, api_key="r8_test_key_12345")
    question = CompletionRequest(model=LLAMA, messages=HI)
    stream = f"{upstream.base_url}/files/1"
    upstream.enqueue(
        json_reply({"status": "starting", "urls": {"stream": stream}}, 201),
        stream_reply((TRANSCRIPTS / "json_text.sse").read_bytes()),
    )

    deltas = await answered(caller, question, credentials)

    assert deltas[-1] == Finish("stop")
    assert [(request.method, request.path) for request in upstream.requests] == [
        ("POST", f"/v1/models/{LLAMA}/predictions"),
        ("GET", "/v1/files/1"),
    ]


async def test_answer_that_its_limit_cut_off_says_so(caller, upstream):
    """Only the prediction tells how many tokens were written, after its stream is over."""
    credentials = Credentials(base_url=upstream.base_url, api_key="r8_test_key_12345")
    question = CompletionRequest(model=LLAMA, messages=HI, params={"max_tokens": LIMIT})
    urls = {"stream": f"{upstream.base_url}/files/1", "get": f"{upstream.base_url}/predictions/1"}
    metrics = {"input_token_count": 120, "output_token_count": LIMIT}
    upstream.enqueue(
        json_reply({"status": "starting", "urls": urls}, 201),
        stream_reply((TRANSCRIPTS / "plain.sse").read_bytes()),
        json_reply({"status": "succeeded", "metrics": metrics}),
    )

    deltas = await answered(caller, question, credentials)

    used = UsageDelta(TokenUsage(input_tokens=120, output_tokens=LIMIT), metrics)
    assert deltas[-2:] == [Finish("length"), used]
