"""Images in, vectors out: the same at all that can see, and at all that embed."""

import base64
import json
import math
import struct
from typing import Any, Final

import pytest

from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.services.compatibility import TYPICAL_MODELS
from tests.e2e.nineteen import CHAT, Proxy, last_run
from tests.vendors.asked import strings
from tests.vendors.far_end import PIXEL_URI, Answer
from tests.vendors.speech import WORDS
from tests.vendors.wires import says

ENCODED: Final = PIXEL_URI.rpartition(",")[2]
ADDRESS: Final = "https://example.com/red.png"
SEEING: Final = {
    "openai": "gpt-4.1",
    "azure": "gpt-4.1",
    "anthropic": "claude-sonnet-4-5",
    "google": "gemini-3.5-flash",
    "mistral": "mistral-large-latest",
    "cohere": "command-a-vision-07-2025",
    "groq": "meta-llama/llama-4-maverick-17b-128e-instruct",
    "together": "Qwen/Qwen3-VL-235B-A22B",
    "fireworks": "accounts/fireworks/models/qwen3-vl-235b",
    "perplexity": "sonar",
    "deepseek": "deepseek-flash",
    "xai": "grok-4.3",
    "sambanova": "Llama-4-Maverick-17B-128E-Instruct",
    "openrouter": "openai/gpt-4.1",
    "ollama": "llava",
    "bedrock": "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "huggingface": "meta-llama/Llama-4-Scout-17B-16E-Instruct",
    "replicate": "openai/gpt-4o",
}
BLIND: Final = {"cerebras": "gpt-oss-120b", "groq": "openai/gpt-oss-120b"}


def seen(url: str) -> list[dict[str, Any]]:
    """A question about an image."""
    parts = [{"type": "text", "text": "Which colour?"}]
    return [{"role": "user", "content": [*parts, {"type": "image_url", "image_url": {"url": url}}]}]


@pytest.mark.parametrize("provider", SEEING)
async def test_an_image_in_the_request_reaches_the_model(provider: str, proxy: Proxy) -> None:
    """Its bytes stand in the vendor's own place for images, in a chat and in a run."""
    proxy.answers(provider, says(provider, WORDS))
    model = f"fc:{provider}/{SEEING[provider]}"

    await proxy.call(CHAT, {"model": model, "messages": seen(PIXEL_URI)})

    [sent] = proxy.sent(provider)
    assert any(text.endswith(ENCODED) for text in strings(sent))


@pytest.mark.parametrize(
    "provider", [n for n in SEEING if PROVIDERS[n].capabilities(SEEING[n]).image_urls]
)
async def test_an_image_by_address_is_left_to_the_vendor(provider: str, proxy: Proxy) -> None:
    """The address goes on as it is; a run takes it from the thread's message."""
    proxy.answers(provider, says(provider, WORDS))
    model = f"fc:{provider}/{SEEING[provider]}"

    await proxy.call(CHAT, {"model": model, "messages": seen(ADDRESS)})
    run = last_run(await proxy.run(provider, model=model, thread={"messages": seen(ADDRESS)}))

    assert run["status"] == "completed", run["last_error"]
    assert len(proxy.sent(provider)) == 2
    assert all(ADDRESS in strings(sent) for sent in proxy.sent(provider))


@pytest.mark.parametrize(
    "provider", [n for n in SEEING if not PROVIDERS[n].capabilities(SEEING[n]).image_urls]
)
async def test_an_image_by_address_is_fetched_for_the_vendor(provider: str, proxy: Proxy) -> None:
    """Its bytes go on where only bytes are taken, from where the owner allows it."""
    proxy.answers(provider, says(provider, WORDS))
    model, address = f"fc:{provider}/{SEEING[provider]}", f"{proxy.far.url}/red.png"

    await proxy.call(CHAT, {"model": model, "messages": seen(address)})
    run = last_run(await proxy.run(provider, model=model, thread={"messages": seen(address)}))

    assert run["status"] == "completed", run["last_error"]
    for sent in proxy.sent(provider):
        assert any(text.endswith(ENCODED) for text in strings(sent))
        assert not any(address in text for text in strings(sent))
    assert proxy.far.images_served == len(proxy.sent(provider)) == 2


@pytest.mark.parametrize("provider", BLIND)
async def test_a_blind_model_is_not_shown_an_image(provider: str, proxy: Proxy) -> None:
    """It is refused by us, with a word on what to do, before the vendor is asked."""
    body = {"model": f"fc:{provider}/{BLIND[provider]}", "messages": seen(PIXEL_URI)}

    refused = await proxy.call(CHAT, body, status=400)

    assert refused["error"]["code"] == "unsupported_parameter"
    assert not proxy.sent(provider)


VECTORS: Final = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
EMBEDDING_MODELS: Final = {
    "bedrock": "amazon.titan-embed-text-v2:0",
    "cohere": "embed-v4.0",
    "google": "gemini-embedding-001",
    "huggingface": "BAAI/bge-m3",
    "ollama": "nomic-embed-text",
    "perplexity": "pplx-embed-v1-4b",
    "mistral": "codestral-embed",
    "fireworks": "nomic-ai/nomic-embed-text-v1.5",
}
SILENT: Final = ("google", "huggingface")
"""Whose answers do not say what they consumed: it is estimated."""
FIXED: Final = ("together", "sambanova", "huggingface")
"""Their vectors have the length that they have."""
PATH: Final = "/v1/embeddings"


def embedded(provider: str) -> list[Answer]:
    """Two vectors on the provider's wire, as its documentation shows them."""
    encoded = [base64.b64encode(struct.pack("3b", *map(int, v))).decode() for v in VECTORS]
    own: dict[str, list[Any]] = {
        "cohere": [
            {"embeddings": {"float": VECTORS}, "meta": {"billed_units": {"input_tokens": 7}}}
        ],
        "google": [{"embeddings": [{"values": vector} for vector in VECTORS]}],
        "huggingface": [VECTORS],
        "ollama": [{"embeddings": VECTORS, "prompt_eval_count": 7}],
        "bedrock": [
            {"embedding": vector, "inputTextTokenCount": count}
            for vector, count in zip(VECTORS, (3, 4), strict=True)
        ],
    }
    rows = encoded if provider == "perplexity" else VECTORS
    openais = {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(rows)],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
    bodies = own.get(provider, [openais])
    return [(json.dumps(body).encode(), "application/json") for body in bodies]


def floats(vector: Any) -> list[float]:
    """A vector in either encoding."""
    if isinstance(vector, str):
        raw = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return [float(value) for value in vector]


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("provider", [n for n in TYPICAL_MODELS if PROVIDERS[n].has_embeddings])
async def test_embeddings_are_openais_whoever_makes_them(
    provider: str, encoding: str, proxy: Proxy
) -> None:
    """The vectors come in the order of the inputs, in the encoding asked for, with the usage."""
    proxy.answers(provider, *embedded(provider))
    model = EMBEDDING_MODELS.get(provider, "text-embedding-3-small")
    body = {"model": f"fc:{provider}/{model}", "input": ["a", "b"], "encoding_format": encoding}

    answer = await proxy.call(PATH, body)

    rows = answer["data"]
    assert [row["index"] for row in rows] == [0, 1]
    assert [floats(row["embedding"]) for row in rows] == VECTORS
    if not PROVIDERS[provider].speaks_openai:
        assert isinstance(rows[0]["embedding"], str) is (encoding == "base64")
    count = answer["usage"]["prompt_tokens"]
    assert count > 0 if provider in SILENT else count == 7
    assert all(math.isfinite(value) for row in rows for value in floats(row["embedding"]))


LENGTHS: Final = ("dimensions", "output_dimension", "outputDimensionality")


@pytest.mark.parametrize("provider", [n for n in TYPICAL_MODELS if PROVIDERS[n].has_embeddings])
async def test_a_wish_for_shorter_vectors_is_heeded_or_named(provider: str, proxy: Proxy) -> None:
    """`dimensions` goes out under the vendor's own name; where there is none, it is called dropped."""
    proxy.answers(provider, *embedded(provider))
    model = EMBEDDING_MODELS.get(provider, "text-embedding-3-small")

    await proxy.call(
        PATH, {"model": f"fc:{provider}/{model}", "input": ["a", "b"], "dimensions": 3}
    )

    for sent in proxy.sent(provider):
        asked = sent["requests"][0] if provider == "google" else sent
        assert [asked[name] for name in LENGTHS if name in asked] == [3] * (provider not in FIXED)
    dropped = proxy.headers.get("x-ringside-dropped-params")
    assert dropped == ("dimensions" if provider in FIXED else None)


@pytest.mark.parametrize("provider", [n for n in TYPICAL_MODELS if not PROVIDERS[n].has_embeddings])
async def test_who_offers_no_embeddings_says_so(provider: str, proxy: Proxy) -> None:
    """By us, with the name of one that does, before the vendor is asked."""
    refused = await proxy.call(PATH, {"model": f"fc:{provider}/m", "input": "a"}, status=400)

    assert "offers no embeddings" in refused["error"]["message"]
    assert not proxy.sent(provider)
