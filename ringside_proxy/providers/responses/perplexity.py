"""Perplexity: the Agent API, which is Responses-shaped and refuses every field that it does not know.

Its models are its own (`perplexity/sonar`, and the presets `fast` to `xhigh`) and other vendors'
(`openai/…`). The retired sonar names are answered by what Perplexity says replaces them.
Source: https://docs.perplexity.ai/api-reference/agent-post,
https://docs.perplexity.ai/docs/agent-api/tools,
https://docs.perplexity.ai/api-reference/embeddings-post and the migration notes in
perplexityai/api-platform-developers (migrate-sonar-to-agent-api), read 2026-11-21.
"""

from base64 import b64decode
from typing import Any, Final

import msgspec

from ringside_proxy.providers.chat.openai_models import OPENAI_ABILITIES
from ringside_proxy.providers.chat.params import ModelRules, ParamRules
from ringside_proxy.providers.embeddings import answer_as, in_parts, texts_of, unreadable
from ringside_proxy.providers.responses.adapter import Responses, reasoning
from ringside_proxy.providers.responses.input import InputForm
from ringside_proxy.providers.types import (
    Credentials,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
)
from ringside_proxy.providers.usage import token_usage

EMBEDDINGS_TEXTS_MAX: Final = 512
"""Texts in one embeddings call."""

ANTHROPIC_OUTPUT_TOKENS: Final = 8192
"""Models of Anthropic's demand a limit; this one is that of the call that names none."""

SENT_AS: Final = {
    "sonar": {"model": "perplexity/sonar"},
    "sonar-pro": {"preset": "low"},
    "sonar-reasoning": {"preset": "low"},
    "sonar-reasoning-pro": {"preset": "low"},
    "sonar-deep-research": {"preset": "medium"},
    **{preset: {"preset": preset} for preset in ("fast", "low", "medium", "high", "xhigh")},
}

EFFORTS: Final = reasoning("minimal", "low", "medium", "high", "xhigh")

MODELS: Final = (
    ModelRules(prefixes=("",), default_effort="medium", efforts=EFFORTS),
    ModelRules(
        prefixes=("anthropic/",),
        default_effort="medium",
        efforts=EFFORTS,
        extra={"max_completion_tokens": ANTHROPIC_OUTPUT_TOKENS},
    ),
)


class _Row(msgspec.Struct):
    embedding: str
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Row]
    usage: Any = None


class Perplexity(Responses, frozen=True, kw_only=True):
    """The Agent API, and embeddings of signed bytes."""

    embeddings_path: str = "/embeddings"

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The calls that ask for embeddings. Raises InvalidRequestError for anything but text."""
        body = {"model": request.model, "encoding_format": "base64_int8"}
        if (dimensions := request.params.get("dimensions")) is not None:
            body["dimensions"] = dimensions
        return [
            self._post(
                self.embeddings_path,
                body | {"input": texts},
                credentials,
                dropped=(),
            )
            for texts in in_parts(texts_of(request.input), EMBEDDINGS_TEXTS_MAX)
        ]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors, whose values are whole numbers from -128 to 127. Raises ProviderBadReplyError."""
        answer = answer_as(_Answer, self.name, body)
        rows = sorted(answer.data, key=lambda row: row.index)
        try:
            vectors = [_signed_bytes(row.embedding) for row in rows]
        except ValueError as error:
            raise unreadable(self.name) from error
        usage = token_usage(answer.usage)
        return Embeddings(vectors=vectors, usage=usage, raw_usage=answer.usage if usage else None)


def _signed_bytes(encoded: str) -> list[float]:
    return [float(value) for value in memoryview(b64decode(encoded, validate=True)).cast("b")]


PERPLEXITY: Final = Perplexity(
    name="perplexity",
    base_url="https://api.perplexity.ai/v1",
    docs_url="https://docs.perplexity.ai/api-reference/agent-post",
    has_embeddings=True,
    path="/agent",
    params=ParamRules(
        allowed=frozenset(
            {"temperature", "top_p", "response_format"}
            | {"tools", "tool_choice", "parallel_tool_calls"}
        ),
        limit="max_completion_tokens",
        has_strict_mode=True,
    ),
    fixed={"store": False},
    input_form=InputForm(has_image_detail=False, names_outputs=True),
    format_at="top",
    has_typed_choice=False,
    output_tokens_min=16,
    sent_as=SENT_AS,
    # Searching is what it is for, and it does not search unless it is given the tool.
    hosted_tools={"perplexity/sonar": ("web_search",)},
    abilities=msgspec.structs.replace(OPENAI_ABILITIES, json_object=False),
    models=MODELS,
)
