"""Each of the nineteen vendors' judges: which calls it takes, and on which path."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.vendors import (
    anthropic,
    bedrock,
    chat,
    cohere,
    embeddings,
    google,
    ollama,
    replicate,
    responses,
)
from tests.vendors.asked import Asked
from tests.vendors.chat_rules import RULES

Judge = Callable[[Asked, str], None]
"""Raises Refused; the second argument is the key that it gave to its customer."""


def _by_path(paths: dict[str, Judge], other: Judge, asked: Asked, key: str) -> None:
    paths.get(asked.path, other)(asked, key)


def _chat(vendor: str) -> Judge:
    paths: dict[str, Judge] = {"/embeddings": partial(embeddings.judge, vendor)}
    if vendor == "openai":
        paths["/responses"] = partial(responses.judge, vendor)
    return partial(_by_path, paths, partial(chat.judge, vendor))


def _responses(vendor: str) -> Judge:
    paths: dict[str, Judge] = {"/embeddings": partial(embeddings.judge, vendor)}
    return partial(_by_path, paths, partial(responses.judge, vendor))


def _google(asked: Asked, key: str) -> None:
    embeds = asked.path.endswith(":batchEmbedContents")
    (google.judge_embeddings if embeds else google.judge)(asked, key)


def _huggingface(asked: Asked, key: str) -> None:
    embeds = asked.path.endswith("/feature-extraction")
    (embeddings.judge_features if embeds else _chat("huggingface"))(asked, key)


JUDGES: Final[dict[str, Judge]] = {
    **{vendor: _chat(vendor) for vendor in RULES if vendor != "huggingface"},
    "huggingface": _huggingface,
    "xai": _responses("xai"),
    "perplexity": _responses("perplexity"),
    "anthropic": anthropic.judge,
    "google": _google,
    "cohere": partial(_by_path, {"/v2/embed": cohere.judge_embeddings}, cohere.judge),
    "bedrock": bedrock.judge,
    "ollama": partial(_by_path, {"/api/embed": ollama.judge_embeddings}, ollama.judge),
    "replicate": replicate.judge,
}
