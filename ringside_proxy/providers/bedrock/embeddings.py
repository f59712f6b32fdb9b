"""Embeddings on Bedrock's InvokeModel: each family in its own words, most one text a call. Pure.

Source: the libraries that call Bedrock, read 2026-11-21. From memory, and not checked against
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html: how many texts
Cohere takes, what it calls their size, and which models have one size only.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.bedrock.models import family_name
from ringside_proxy.providers.embeddings import answer_as, in_parts, texts_of, unreadable
from ringside_proxy.providers.types import Embeddings, EmbeddingsRequest
from ringside_proxy.providers.usage import TOKENS_MAX

COHERE_TEXTS_MAX: Final = 96
FIXED_SIZE: Final = (
    "amazon.titan-embed-text-v1",
    "amazon.titan-embed-g1",
    "cohere.embed-english",
    "cohere.embed-multilingual",
)
"""Models that have one size of vector and refuse to be told another."""


class _ByType(msgspec.Struct):
    float: list[list[float]]


class _Nova(msgspec.Struct):
    embedding: list[float]


class _Answer(msgspec.Struct):
    embedding: list[float] | None = None
    embeddings: list[list[float] | _Nova] | _ByType | None = None
    inputTextTokenCount: int | None = None  # noqa: N815 - AWS's own name


def embeddings_bodies(request: EmbeddingsRequest) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The bodies to send, and which parameters are not in them. Raises InvalidRequestError."""
    texts, name = texts_of(request.input), family_name(request.model)
    size = request.params.get("dimensions")
    if name.startswith(FIXED_SIZE):
        size = None
    dropped = ("dimensions",) if request.params.get("dimensions") and not size else ()
    if name.startswith("cohere."):
        return [_cohere(part, size) for part in in_parts(texts, COHERE_TEXTS_MAX)], dropped
    if name.startswith("amazon.nova"):
        return [_nova(text, size) for text in texts], dropped
    return [_titan(text, size) for text in texts], dropped


def parsed(provider: str, body: bytes) -> Embeddings:
    """The vectors in an answer, in order. Raises ProviderBadReplyError.

    Only Titan counts in the body.
    """
    answer = answer_as(_Answer, provider, body)
    count = answer.inputTextTokenCount
    is_counted = count is not None and 0 <= count <= TOKENS_MAX
    return Embeddings(
        vectors=_vectors(provider, answer),
        usage=TokenUsage(input_tokens=count or 0) if is_counted else None,
        raw_usage={"inputTextTokenCount": count} if is_counted else None,
    )


def _titan(text: str, size: int | None) -> dict[str, Any]:
    return {"inputText": text} | ({"dimensions": size, "normalize": True} if size else {})


def _cohere(texts: list[str], size: int | None) -> dict[str, Any]:
    body = {"texts": texts, "input_type": "search_document", "embedding_types": ["float"]}
    return body | ({"output_dimension": size} if size else {})


def _nova(text: str, size: int | None) -> dict[str, Any]:
    params: dict[str, Any] = {
        "embeddingPurpose": "GENERIC_INDEX",
        "text": {"truncationMode": "NONE", "value": text},
    }
    if size:
        params["embeddingDimension"] = size
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params}


def _vectors(provider: str, answer: _Answer) -> list[list[float]]:
    rows = answer.embeddings
    if isinstance(rows, _ByType):
        return rows.float
    if rows is not None:
        return [row.embedding if isinstance(row, _Nova) else row for row in rows]
    if answer.embedding is None:
        raise unreadable(provider)
    return [answer.embedding]
