"""The providers that speak OpenAI's chat completions: a row of data each, and the code they share.

A request carries only what its row allows: unknown fields are fatal at some providers, and
`user` is the proxy's own attribution, never a provider's business.
Source of the tables: the vendors' API references and SDK types, read 2026-11-21.
"""

from typing import Any, Final, Literal

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat_stream import ChatStreamDecoder
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    Delta,
    EmbeddingsRequest,
    HTTPRequest,
    StreamDecoder,
)

OPTION_HEADERS: Final = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}

SAMPLING_PARAMS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    }
)


class ReasoningModels(msgspec.Struct, frozen=True, kw_only=True):
    """Models that think before they answer, and what they then refuse.

    The longest prefix that fits a model's name decides.
    """

    prefixes: tuple[str, ...]
    default_effort: str
    can_turn_off: bool = False
    """`reasoning_effort: none` is accepted."""
    tools_need_off: bool = False
    """Function tools are refused on chat completions while the model reasons."""
    refused_params: frozenset[str] = SAMPLING_PARAMS | {"stop"}


class OpenAICompatible(msgspec.Struct, frozen=True, kw_only=True):
    """One provider; satisfies the `Provider` protocol."""

    name: str
    base_url: str | None
    """None: known only when it runs."""
    docs_url: str
    verified_on: str | None
    """The day someone ran it against the living service; None if nobody has yet."""
    key_variables: tuple[str, ...] = ()
    speaks_openai: bool = True
    chat_path: str = "/chat/completions"
    embeddings_path: str | None = "/embeddings"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"]
    allowed_params: frozenset[str]
    allowed_embeddings_params: frozenset[str] = frozenset({"dimensions", "encoding_format"})
    pads_streams: bool = False
    """Sends `obfuscation` in its chunks unless it is told not to."""
    reasoning_models: tuple[ReasoningModels, ...] = ()

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`, with nothing in it that this provider refuses."""
        body: dict[str, Any] = {
            "model": request.model,
            "messages": [_clean(message) for message in request.messages],
            **self._params(request),
        }
        if request.is_stream:
            # Usage is always asked for: accounting needs it whether or not the client does.
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            if self.pads_streams:
                body["stream_options"]["include_obfuscation"] = False
        return self._post(self.chat_path, body, credentials)

    def build_embeddings_request(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> HTTPRequest:
        """The call that asks for embeddings. Raises InvalidRequestError if it offers none."""
        if self.embeddings_path is None:
            raise InvalidRequestError(
                f"{self.name} offers no embeddings: use another provider's embedding model, "
                "for example 'fc:openai/text-embedding-3-small'.",
                param="model",
            )
        params = _given(request.params, self.allowed_embeddings_params)
        body = {"model": request.model, "input": request.input, **params}
        return self._post(self.embeddings_path, body, credentials)

    def stream_decoder(self, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for one streamed answer."""
        return ChatStreamDecoder(self.name, new_id)

    def _params(self, request: CompletionRequest) -> dict[str, Any]:
        params = _given(request.params, self.allowed_params)
        limits = (request.params.get(key) for key in ("max_completion_tokens", "max_tokens"))
        if (limit := next((n for n in limits if n is not None), None)) is not None:
            params[self.max_tokens_field] = limit
        if "tools" not in params:
            # Without tools these two are refused. A choice that asks for a tool stays, for the
            # provider to refuse: dropping it would change what the caller asked for.
            params.pop("parallel_tool_calls", None)
            if params.get("tool_choice") in ("auto", "none"):
                del params["tool_choice"]
        return self._without_refused(request.model, params)

    def _without_refused(self, model: str, params: dict[str, Any]) -> dict[str, Any]:
        """Drops what a reasoning model refuses; the alternative is a 400 for the default values."""
        models = self._reasoning(model)
        if models is None:
            return params
        if models.tools_need_off and models.can_turn_off and "tools" in params:
            params["reasoning_effort"] = "none"
        if params.get("reasoning_effort", models.default_effort) == "none":
            return params
        return {key: value for key, value in params.items() if key not in models.refused_params}

    def _reasoning(self, model: str) -> ReasoningModels | None:
        fitting = (
            (len(prefix), models)
            for models in self.reasoning_models
            for prefix in models.prefixes
            if model.startswith(prefix)
        )
        return max(fitting, key=lambda pair: pair[0], default=(0, None))[1]

    def _post(self, path: str, body: dict[str, Any], credentials: Credentials) -> HTTPRequest:
        headers = {"content-type": "application/json"}
        if credentials.api_key:
            headers["authorization"] = f"Bearer {credentials.api_key}"
        for option, header in OPTION_HEADERS.items():
            if value := credentials.options.get(option):
                headers[header] = str(value)
        return HTTPRequest(
            url=credentials.base_url.rstrip("/") + path, headers=headers, body=orjson.dumps(body)
        )


def _given(params: dict[str, Any], allowed: frozenset[str]) -> dict[str, Any]:
    """The allowed parameters that say something: nulls and empty lists are refused or void."""
    return {k: v for k, v in params.items() if k in allowed and v is not None and v != []}


def _clean(message: dict[str, Any]) -> dict[str, Any]:
    """A message without nulls and empty lists; only a missing `content` means something."""
    return {k: v for k, v in message.items() if k == "content" or (v is not None and v != [])}
