"""Embeddings on Bedrock: each family's words, and each shape of answer."""

from typing import Any

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.types import Embeddings, EmbeddingsRequest, HTTPRequest
from tests.providers.test_bedrock import BEDROCK, CREDENTIALS, HOST


def embeddings(model: str, given: Any, **params: Any) -> list[HTTPRequest]:
    request = EmbeddingsRequest(model=model, input=given, params=params)
    return BEDROCK.build_embeddings_requests(request, CREDENTIALS)


def test_titan_embeds_one_text_a_call():
    """As many calls as texts, in their order."""
    requests = embeddings("amazon.titan-embed-text-v2:0", ["a", "b"], dimensions=256)

    assert [orjson.loads(request.body) for request in requests] == [
        {"inputText": text, "dimensions": 256, "normalize": True} for text in "ab"
    ]
    assert requests[0].url == f"{HOST}/model/amazon.titan-embed-text-v2%3A0/invoke"


def test_cohere_embeds_ninety_six_texts_a_call():
    """Batches, not single texts."""
    requests = embeddings("cohere.embed-v4:0", ["x"] * 100, dimensions=512)

    bodies = [orjson.loads(request.body) for request in requests]
    assert [len(body.pop("texts")) for body in bodies] == [96, 4]
    assert bodies[0] == {
        "input_type": "search_document",
        "embedding_types": ["float"],
        "output_dimension": 512,
    }


def test_nova_embeds_in_its_own_words():
    """One text a call."""
    [request] = embeddings("amazon.nova-2-multimodal-embeddings-v1:0", "a", dimensions=384)

    assert orjson.loads(request.body) == {
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": "GENERIC_INDEX",
            "embeddingDimension": 384,
            "text": {"truncationMode": "NONE", "value": "a"},
        },
    }


def test_size_that_is_fixed_is_not_sent():
    """Older models refuse to be told."""
    [request] = embeddings("cohere.embed-english-v3", "a", dimensions=384)

    assert b"384" not in request.body
    assert request.dropped_params == ("dimensions",)


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]], None, {"a": 1}])
def test_tokens_cannot_be_embedded(given):
    """Only texts can be: AWS has its own tokens."""
    with pytest.raises(InvalidRequestError, match="texts, not tokens"):
        embeddings("amazon.titan-embed-text-v2:0", given)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"embedding": [1, 2], "inputTextTokenCount": 3},
            Embeddings(
                vectors=[[1, 2]],
                usage=TokenUsage(input_tokens=3),
                raw_usage={"inputTextTokenCount": 3},
            ),
        ),
        ({"embedding": [1], "inputTextTokenCount": -3}, Embeddings(vectors=[[1]])),
        ({"embeddings": [[1], [2]]}, Embeddings(vectors=[[1], [2]])),
        ({"embeddings": {"float": [[1], [2]]}}, Embeddings(vectors=[[1], [2]])),
        (
            {"embeddings": [{"embeddingType": "TEXT", "embedding": [1]}]},
            Embeddings(vectors=[[1]]),
        ),
    ],
)
def test_vectors_are_found_in_every_shape(body, expected):
    """Titan's, Cohere's two and Nova's; a count that cannot be true is none."""
    assert BEDROCK.parse_embeddings(orjson.dumps(body)) == expected


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"embedding":"x"}', b'{"embeddings":{"int8":[]}}']
)
def test_other_shapes_are_bad_replies(body):
    """Nothing is made up."""
    with pytest.raises(ProviderBadReplyError, match="not in its documented shape"):
        BEDROCK.parse_embeddings(body)
