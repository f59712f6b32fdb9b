"""What the fakes answer is what the vendors answer: it parses in the vendors' own types."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import CompletionRequest, Finish
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.vendors.asked import Asked
from tests.vendors.judges import JUDGES
from tests.vendors.speech import WORDS, Call, Count, Say
from tests.vendors.typed import loaded, problems
from tests.vendors.wires import ENCODERS, says

CALLS = (
    Call("call_a1", "get_weather", '{"city": "Bern"}'),
    Call("call_b2", "get_time", '{"zone": "CET"}'),
)
ANSWERS = {
    "words": WORDS,
    "calls": Say("Let me look.", CALLS),
    "reasoning": WORDS._replace(reasoning="It is June.", count=Count(50, 30, reasoned=9)),
    "cached": WORDS._replace(count=Count(3000, 20, cached=2048, kept=100)),
    "too long": WORDS._replace(end="length"),
    "filtered": WORDS._replace(end="content_filter"),
}
TYPES = {
    "openai": "openai.types.chat:ChatCompletionChunk",
    "azure": "openai.types.chat:ChatCompletionChunk",
    "deepseek": "openai.types.chat:ChatCompletionChunk",
    "huggingface": "openai.types.chat:ChatCompletionChunk",
    "fireworks": "fireworks.types.chat:ChatCompletionChunk",
    "groq": "groq.types.chat:ChatCompletionChunk",
    "together": "together.types.chat:ChatCompletionChunk",
    "cerebras": "cerebras.cloud.sdk.types.chat.chat_completion:ChatChunkResponse",
    "sambanova": "sambanova.types.chat:ChatCompletionStreamResponse",
    "openrouter": "openrouter.components:ChatStreamChunk",
    "mistral": "mistralai.client.models:CompletionChunk",
    "xai": "openai.types.responses:ResponseStreamEvent",
    "perplexity": "perplexity.types.response_stream_chunk:ResponseStreamChunk",
    "anthropic": "anthropic.types:RawMessageStreamEvent",
    "google": "google.genai.types:GenerateContentResponse",
    "cohere": "cohere:V2ChatStreamResponse",
    "ollama": "ollama:ChatResponse",
}
OWN = {
    "openai": {"obfuscation"},
    "azure": {"prompt_filter_results"},
    "deepseek": {"reasoning_content", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens"},
    "huggingface": {"reasoning_content"},
    "mistral": {"num_cached_tokens", "completion_tokens_details"},
    "fireworks": {"index"},
    "cohere": {"content", "tool_plan", "tool_calls", "citations"},
    "together": {"cached_tokens"},
    "perplexity": {"output_tokens_details"},
    "ollama": {"prompt_eval_cached_count", "id", "index"},
}
"""What the vendor sends, by its pages, although its types (or OpenAI's in their place) lack it."""
UNTYPED = {
    ("fireworks", "filtered"),
    ("together", "filtered"),
    ("sambanova", "filtered"),
    ("perplexity", "filtered"),
    ("perplexity", "too long"),
}
"""Ends for which their types have no word."""


def payloads(vendor: str, body: bytes) -> Iterator[Any]:
    """The JSON objects of an answer."""
    if vendor == "ollama":
        yield from (json.loads(line) for line in body.splitlines())
        return
    for line in body.split(b"\n"):
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            yield json.loads(line[6:])


@pytest.mark.parametrize(
    ("vendor", "case"),
    [(v, c) for v in TYPES for c in ANSWERS if (v, c) not in UNTYPED],
)
def test_an_answer_parses_in_the_vendors_types(vendor: str, case: str) -> None:
    """Every piece of it, and with no field that the types do not know."""
    encode, _ = ENCODERS[vendor]
    known = OWN.get(vendor, set())

    for payload in payloads(vendor, encode(ANSWERS[case], "m")):
        if payload.get("type") == "ping" or (vendor == "azure" and not payload["object"]):
            continue  # the first has no type, the second fails OpenAI's
        found = problems(payload, TYPES[vendor])
        lost = [
            text
            for text in found
            if text.removesuffix(": unknown field").rpartition(".")[2] not in known
        ]
        assert not lost, payload


@pytest.mark.parametrize("case", ANSWERS)
def test_frames_parse_in_botocore(case: str) -> None:
    """Bedrock's events, by AWS' own parser and its model of the service."""
    from botocore.eventstream import EventStreamBuffer
    from botocore.parsers import EventStreamJSONParser
    from botocore.session import Session

    operation = Session().get_service_model("bedrock-runtime").operation_model("ConverseStream")
    shape = operation.output_shape.members["stream"]
    encode, _ = ENCODERS["bedrock"]
    buffer = EventStreamBuffer()
    buffer.add_data(encode(ANSWERS[case], "m"))

    read = [EventStreamJSONParser().parse(event.to_response_dict(), shape) for event in buffer]

    names = [next(iter(event)) for event in read]
    assert names[0] == "messageStart"
    assert names[-2:] == ["messageStop", "metadata"]
    assert all(event[next(iter(event))] for event in read)


def test_a_whole_answer_parses_in_openais_types() -> None:
    """The one that OpenAI gives without streaming."""
    asked = Asked("POST", "/chat/completions", "", {}, {"model": "m"})

    for say in ANSWERS.values():
        body, content_type = says("openai", say)(asked)
        assert content_type == "application/json"
        assert not problems(json.loads(body), "openai.types.chat:ChatCompletion")


def test_a_piece_of_another_vendor_does_not_parse() -> None:
    """The types tell the wires apart: this would fail if they took anything."""
    encode, _ = ENCODERS["ollama"]
    stranger = next(payloads("ollama", encode(WORDS, "m")))

    for vendor, kind in TYPES.items():
        assert vendor == "ollama" or problems(stranger, kind), vendor


def test_every_vendor_can_speak() -> None:
    """There is an encoder for each, and a judge."""
    assert ENCODERS.keys() == JUDGES.keys()
    assert all(loaded(kind) for kind in TYPES.values())


@pytest.mark.parametrize("case", ["calls", "reasoning"])
@pytest.mark.parametrize("vendor", ENCODERS)
def test_an_answer_cut_anywhere_means_the_same(vendor: str, case: str) -> None:
    """At every byte of it, and at all of them: the deltas are those of the whole."""
    encode, _ = ENCODERS[vendor]
    raw = encode(ANSWERS[case], "m")

    def deltas(*pieces: bytes) -> list[Any]:
        ids = itertools.count()
        asked = CompletionRequest(model=TYPICAL_MODELS[vendor], messages=[])
        decoder = PROVIDERS[vendor].stream_decoder(asked, lambda prefix: f"{prefix}_{next(ids)}")
        return [delta for piece in pieces for delta in decoder.feed(piece)] + decoder.close()

    expected = deltas(raw)
    assert any(isinstance(delta, Finish) for delta in expected)
    assert all(deltas(raw[:at], raw[at:]) == expected for at in range(1, len(raw)))
    assert deltas(*(raw[i : i + 1] for i in range(len(raw)))) == expected
