"""HuggingFace's embeddings: a pipeline beside the router, or OpenAI's path at one's own endpoint."""

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.rows import HUGGINGFACE
from ringside_proxy.providers.types import Credentials, Embeddings, EmbeddingsRequest, HTTPRequest

ROUTER = Credentials(base_url="https://router.huggingface.co/v1", api_key="hf_key")
OWN = Credentials(base_url="https://a.eu-west-1.aws.endpoints.huggingface.cloud/v1", api_key="k")


def asked(given: object, credentials: Credentials = ROUTER, **params: object) -> list[HTTPRequest]:
    request = EmbeddingsRequest(model="BAAI/bge-m3:hf-inference", input=given, params=params)
    return HUGGINGFACE.build_embeddings_requests(request, credentials)


def test_router_has_a_pipeline_for_each_model():
    """Its address stands beside the base URL; the partner's name is no part of the model's."""
    [request] = asked("a", encoding_format="base64", user="ann")

    assert request.url == (
        "https://router.huggingface.co/hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction"
    )
    assert orjson.loads(request.body) == {"inputs": ["a"]}
    assert request.headers["authorization"] == "Bearer hf_key"
    assert request.dropped_params == ()


def test_many_texts_go_out_in_parts():
    """A server takes 32 at once."""
    sizes = [len(orjson.loads(r.body)["inputs"]) for r in asked([str(n) for n in range(70)])]

    assert sizes == [32, 32, 6]


def test_dimensions_are_named_as_dropped():
    """The pipeline has no such parameter."""
    assert asked("a", dimensions=3)[0].dropped_params == ("dimensions",)


@pytest.mark.parametrize("given", [[1, 2], [[1, 2]], None])
def test_tokens_are_no_input(given):
    """The pipeline reads texts."""
    with pytest.raises(InvalidRequestError, match="texts, not tokens"):
        asked(given)


def test_own_endpoint_has_openais_path():
    """What runs there speaks OpenAI's wire."""
    [request] = asked(["a"], OWN)

    assert request.url == f"{OWN.base_url}/embeddings"
    assert orjson.loads(request.body)["input"] == ["a"]


def test_vectors_come_in_either_shape():
    """A list of vectors says nothing of tokens; OpenAI's shape does."""
    openai = {"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 2, "total_tokens": 2}}

    assert HUGGINGFACE.parse_embeddings(b"[[1,2],[3,4]]") == Embeddings(vectors=[[1, 2], [3, 4]])
    assert HUGGINGFACE.parse_embeddings(orjson.dumps(openai)) == Embeddings(
        vectors=[[1.0]], usage=TokenUsage(input_tokens=2), raw_usage=openai["usage"]
    )


@pytest.mark.parametrize("body", [b"[[[1,2]]]", b'[["a"]]', b"{}", b"", b"[1,2]"])
def test_other_shapes_are_bad_replies(body):
    """A vector for each token is no vector of the text."""
    with pytest.raises(ProviderBadReplyError):
        HUGGINGFACE.parse_embeddings(body)
