"""Google's Gemini API in its own form: `streamGenerateContent` and `batchEmbedContents`.

Google's endpoint in OpenAI's dialect would be nearer, but hides what must be known: thought
signatures, and whether thoughts are inside the output that is counted.
Source: https://github.com/googleapis/python-genai (types.py and models.py of 3.4.0), read 2026-11-21.
"""

from math import sqrt
from typing import Any, Final
from urllib.parse import quote

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.embeddings import answer_as, in_parts, texts_of
from ringside_proxy.providers.google.errors import restated
from ringside_proxy.providers.google.messages import conversation
from ringside_proxy.providers.google.models import family_of
from ringside_proxy.providers.google.params import build
from ringside_proxy.providers.google.schemas import names_of, wire_names
from ringside_proxy.providers.google.shapes import check_shape
from ringside_proxy.providers.google.state import Halt
from ringside_proxy.providers.google.stream import GeminiStreamDecoder, gemini_usage
from ringside_proxy.providers.types import (
    Capabilities,
    CompletionRequest,
    Credentials,
    Delta,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
    StreamDecoder,
)

EMBEDDINGS_PER_CALL_MAX: Final = 100
UNIT_TOLERANCE: Final = 1e-3


class _Vector(msgspec.Struct):
    values: list[float]


class _EmbeddingsAnswer(msgspec.Struct):
    embeddings: list[_Vector]
    usage: Any = msgspec.field(name="usageMetadata", default=None)


class Google(msgspec.Struct, frozen=True, kw_only=True):
    """The Gemini API; satisfies the `Provider` protocol."""

    name: str = "google"
    base_url: str | None = "https://generativelanguage.googleapis.com/v1beta"
    docs_url: str = "https://ai.google.dev/api/generate-content"
    key_variables: tuple[str, ...] = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    speaks_openai: bool = False
    has_embeddings: bool = True

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""
        return family_of(model).abilities

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`, always streamed.

        Raises InvalidRequestError for what can neither be sent nor dropped.
        """
        check_shape(request)
        family = family_of(request.model)
        names = _wire_names(request)
        told = conversation(request.messages, family, names)
        built = build(request.params, family, names)
        body: dict[str, Any] = {"contents": told.contents, **built.fields}
        if told.system:
            body["systemInstruction"] = {"parts": told.system}
        if request.continuation is not None:
            body["continuationToken"] = Halt.of(request.continuation).token
        call = _post(request.model, "streamGenerateContent?alt=sse", body, credentials)
        return msgspec.structs.replace(call, dropped_params=built.dropped)

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The calls that ask for embeddings, a hundred inputs each.

        Raises InvalidRequestError for inputs that are not text.
        """
        options: dict[str, Any] = {"model": _resource(request.model)}
        if (dimensions := request.params.get("dimensions")) is not None:
            options["outputDimensionality"] = dimensions
        return [
            _post(
                request.model,
                "batchEmbedContents",
                {
                    "requests": [
                        {**options, "content": {"parts": [{"text": text}]}} for text in part
                    ]
                },
                credentials,
            )
            for part in in_parts(texts_of(request.input), EMBEDDINGS_PER_CALL_MAX)
        ]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in the answer. Raises ProviderBadReplyError."""
        answer = answer_as(_EmbeddingsAnswer, self.name, body)
        usage = gemini_usage(answer.usage)
        return Embeddings(
            vectors=[_unit(row.values) for row in answer.embeddings],
            usage=usage,
            raw_usage=answer.usage if usage else None,
        )

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        names = {wire: name for name, wire in _wire_names(request).items()}
        return GeminiStreamDecoder(self.name, new_id, names, Halt.of(request.continuation))

    restate = staticmethod(restated)
    """How its refusals are put so that `errors.py` reads them; for `Target.restate`."""


def _wire_names(request: CompletionRequest) -> dict[str, str]:
    return wire_names(names_of(request.messages, request.params))


def _resource(model: str) -> str:
    """The resource name; tuned models have a collection of their own."""
    return model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"


def _post(model: str, method: str, body: dict[str, Any], credentials: Credentials) -> HTTPRequest:
    collection, _, name = _resource(model).partition("/")
    headers = {"content-type": "application/json"}
    if credentials.api_key:
        headers["x-goog-api-key"] = credentials.api_key
    try:
        payload = orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError(
            "The request holds JSON that is nested too deeply, or a number past 64 bits, which "
            "cannot be sent on: make its tool schemas or tool arguments flatter."
        ) from error
    base_url = credentials.base_url.rstrip("/")
    return HTTPRequest(
        url=f"{base_url}/{collection}/{quote(name, safe='')}:{method}",
        headers=headers,
        body=payload,
    )


def _unit(vector: list[float]) -> list[float]:
    """A vector of length 1, as OpenAI's are; Gemini's may not be where `dimensions` cut them."""
    length = sqrt(sum(value * value for value in vector))
    if length == 0 or abs(length - 1) <= UNIT_TOLERANCE:
        return vector
    return [value / length for value in vector]
