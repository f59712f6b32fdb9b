"""HuggingFace: OpenAI's wire for chats, and a pipeline of its own for embeddings. Pure.

The router has no `/embeddings`: vectors come from a model's feature-extraction pipeline, beside
the base URL, and say nothing of tokens. A dedicated endpoint has OpenAI's path.
Source: https://huggingface.co/docs/inference-providers/tasks/feature-extraction, read 2026-11-21.
"""

from typing import Final
from urllib.parse import quote, urlsplit

from ringside_proxy.providers.chat.adapter import OpenAICompatible
from ringside_proxy.providers.embeddings import answer_as, in_parts, texts_of
from ringside_proxy.providers.types import (
    Credentials,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
)

DEDICATED: Final = ".endpoints.huggingface.cloud"
PIPELINE: Final = "/hf-inference/models/{model}/pipeline/feature-extraction"
TEXTS_PER_CALL_MAX: Final = 32
"""What the servers behind the pipeline take at once unless they are told otherwise."""


class HuggingFace(OpenAICompatible, frozen=True, kw_only=True):
    """The router, or a dedicated endpoint; satisfies the `Provider` protocol."""

    embeddings_path: str | None = "/embeddings"

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The calls that ask for embeddings. Raises InvalidRequestError for tokens."""
        host = urlsplit(credentials.base_url).hostname or ""
        if host.endswith(DEDICATED):
            return super().build_embeddings_requests(request, credentials)
        model = quote(request.model.partition(":")[0])  # the pipeline is one partner's
        root = credentials.base_url.rstrip("/").removesuffix("/v1")
        dropped = tuple(name for name in ("dimensions",) if request.params.get(name) is not None)
        return [
            self._post_to(
                root + PIPELINE.format(model=model),
                {"inputs": texts},
                credentials,
                dropped,
            )
            for texts in in_parts(texts_of(request.input), TEXTS_PER_CALL_MAX)
        ]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors: a list of them, or OpenAI's shape. Raises ProviderBadReplyError."""
        if not body.startswith(b"["):
            return super().parse_embeddings(body)
        return Embeddings(vectors=answer_as(list[list[float]], self.name, body))
