from typing import Any

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.cohere.adapter import Cohere
from ringside_proxy.providers.types import (
    Credentials,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
)

COHERE = Cohere()
CREDENTIALS = Credentials(base_url="http://127.0.0.1:1/", api_key="co-test-key")


def embedding(given_input: Any, model: str = "embed-v4.0", **params: Any) -> list[HTTPRequest]:
    request = EmbeddingsRequest(model=model, input=given_input, params=params)
    return COHERE.build_embeddings_requests(request, CREDENTIALS)


def test_embeddings_ask_for_floats():
    """With the kind of input that Cohere demands."""
    (request,) = embedding("x", dimensions=256, user="u", encoding_format="base64")

    assert request.url == "http://127.0.0.1:1/v2/embed"
    assert orjson.loads(request.body) == {
        "model": "embed-v4.0",
        "texts": ["x"],
        "input_type": "search_document",
        "embedding_types": ["float"],
        "truncate": "NONE",
        "output_dimension": 256,
    }
    assert request.dropped_params == ()
    query = orjson.loads(embedding(["x"], input_type="search_query", truncate="END")[0].body)
    assert (query["input_type"], query["truncate"]) == ("search_query", "END")
    old = embedding("x", model="embed-english-v3.0", dimensions=256)[0]
    assert "output_dimension" not in orjson.loads(old.body)
    assert old.dropped_params == ("dimensions",)


def test_embeddings_go_out_in_calls_of_96():
    """In the order of the inputs."""
    texts = [str(n) for n in range(200)]

    calls = [orjson.loads(request.body)["texts"] for request in embedding(texts)]

    assert [len(call) for call in calls] == [96, 96, 8]
    assert [text for call in calls for text in call] == texts


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2]], None])
def test_tokens_are_no_input(tokens):
    """Cohere embeds text alone."""
    with pytest.raises(InvalidRequestError) as caught:
        embedding(tokens)

    assert caught.value.param == "input"


def test_embeddings_come_back_in_order():
    """The vectors, and what was billed."""
    billed = {"billed_units": {"input_tokens": 3}}
    body = orjson.dumps({"id": "e", "embeddings": {"float": [[1, 0.5], [2, 0.5]]}, "meta": billed})

    assert COHERE.parse_embeddings(body) == Embeddings(
        vectors=[[1, 0.5], [2, 0.5]], usage=TokenUsage(input_tokens=3), raw_usage=billed
    )
    assert COHERE.parse_embeddings(b'{"embeddings":{"float":[[1]]}}').usage is None
    for bad in (b"{}", b"[", b'{"embeddings":{"float":[["a"]]}}', b"\xff"):
        with pytest.raises(ProviderBadReplyError):
            COHERE.parse_embeddings(bad)
