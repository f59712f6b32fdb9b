"""Answers that are written key by key elsewhere, as types: for the published document alone.

`tests/api/test_openapi.py` holds real answers to them.
"""

from typing import Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """What a deletion answers with; `object` is the kind and `.deleted`."""

    id: str
    object: str
    deleted: Literal[True]


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list that has no pages."""

    object: Literal["list"]
    data: list[T]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process is well, and if not, why."""

    status: Literal["ok", "unhealthy", "unready"]
    reasons: list[str]


class WalletObject(msgspec.Struct, frozen=True, kw_only=True):
    """`wallet`; amounts are USD."""

    object: Literal["wallet"]
    enabled: bool
    balance_usd: float
    reserved_usd: float
    low_balance_usd: float
    markup_percent: float


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the model. `message` is OpenAI's assistant message."""

    index: int
    message: dict[str, Any]
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class ChatCompletionObject(msgspec.Struct, frozen=True, kw_only=True):
    """`chat.completion`; providers on OpenAI's wire may add keys of their own."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]


class EmbeddingObject(msgspec.Struct, frozen=True, kw_only=True):
    """One embedding: numbers, or base64 of 32-bit floats in little-endian order."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingList(msgspec.Struct, frozen=True, kw_only=True):
    """The embeddings in the order of the inputs."""

    object: Literal["list"]
    data: list[EmbeddingObject]
    model: str
    usage: dict[str, Any]
