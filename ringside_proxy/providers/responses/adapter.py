"""The providers that speak the Responses dialect: a row of data each, and the code they share.

Nothing is stored at the provider: the conversation goes out whole every time, with the reasoning
that only the provider can read (`input.py`).
Source: https://platform.openai.com/docs/api-reference/responses/create,
https://docs.x.ai/docs/api-reference#create-new-response and
https://docs.perplexity.ai/api-reference/agent-post, read 2026-11-21.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat.messages import ANSWER_IN_JSON, instructed, mention_json
from ringside_proxy.providers.chat.params import (
    EFFORTS,
    Efforts,
    ModelRules,
    ParamRules,
    build,
    levels,
)
from ringside_proxy.providers.responses.input import InputForm, input_items
from ringside_proxy.providers.responses.stream import ResponsesStreamDecoder
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

Params = dict[str, Any]

NO_PARAMETERS: Final = {"type": "object", "properties": {}}


def reasoning(*accepted: str) -> Efforts:
    """Every effort as the nearest of the `accepted` words, in this dialect's place."""
    return levels(*accepted, field="effort", inside="reasoning")


ANY_MODEL: Final = ModelRules(prefixes=("",), default_effort="medium", efforts=reasoning(*EFFORTS))
"""Of a model that is not known yet, everything is left to the provider."""


class Responses(msgspec.Struct, frozen=True, kw_only=True):
    """One provider; satisfies the `Provider` protocol."""

    name: str
    base_url: str | None
    docs_url: str
    speaks_openai: bool = False
    has_embeddings: bool = False
    path: str = "/responses"
    option_headers: Mapping[str, str] = {}
    """Credentials' options that go out as headers."""
    params: ParamRules
    """By the names of chat completions; they are put into this dialect's words afterwards."""
    fixed: Params = {}
    """Sent with every request."""
    input_form: InputForm = InputForm()
    has_strict_tools: bool = True
    format_at: Literal["text", "top"] = "text"
    has_typed_choice: bool = True
    """`type` stands beside the name of the function that must be called."""
    output_tokens_min: int = 1
    sent_as: Mapping[str, Mapping[str, str]] = {}
    """Models that are named in another way than by `model` and their name."""
    hosted_tools: Mapping[str, tuple[str, ...]] = {}
    """The provider's own tools that belong to a model."""
    abilities: Capabilities
    models: tuple[ModelRules, ...] = ()

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""
        return self.rules(model).abilities or self.abilities

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`, with nothing in it that this provider refuses."""
        built = build(request.params, self.params, self.rules(request.model))
        params = dict(built.params)
        named = self.sent_as.get(request.model, {"model": request.model})
        hosted = self.hosted_tools.get(named.get("model", ""), ())
        body = {
            **named,
            "input": input_items(_told_of_json(request), self.input_form),
            "stream": True,
            **self.fixed,
            **self._output_limit(params),
            **self._text(params),
            **self._tools(params, hosted),
            **params,
        }
        return self._post(self.path, body, credentials, built.dropped)

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        return ResponsesStreamDecoder(self.name, new_id)

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """Raises InvalidRequestError: this dialect has no embeddings."""
        raise InvalidRequestError(
            f"{self.name} offers no embeddings: use another provider's embedding model, "
            "for example 'fc:openai/text-embedding-3-small'.",
            param="model",
        )

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """Raises ProviderBadReplyError: nothing was asked."""
        raise ProviderBadReplyError(f"{self.name} offers no embeddings.", provider=self.name)

    def rules(self, model: str) -> ModelRules:
        """What is known about a model."""
        name = model.lower()
        fitting = (
            (len(prefix), position)
            for position, rules in enumerate(self.models)
            for prefix in rules.prefixes
            if name.startswith(prefix)
        )
        found = max(fitting, default=None)
        return self.models[found[1]] if found else ANY_MODEL

    def _output_limit(self, params: Params) -> Params:
        limit = params.pop(self.params.limit, None)
        return {} if limit is None else {"max_output_tokens": max(limit, self.output_tokens_min)}

    def _text(self, params: Params) -> Params:
        """The form of the answer: `text`, or `response_format` where that is at the top."""
        wanted = params.pop("response_format", {"type": "text"})
        text: Params = {}
        if "verbosity" in params:
            text["verbosity"] = params.pop("verbosity")
        if wanted["type"] == "json_schema":
            named = {k: v for k, v in (wanted.get("json_schema") or {}).items() if v is not None}
            if self.format_at == "top":
                return {"response_format": {"type": "json_schema", "json_schema": named}}
            text["format"] = {"type": "json_schema", **named}
        elif wanted["type"] != "text" and self.format_at == "text":
            text["format"] = wanted
        return {"text": text} if text else {}

    def _tools(self, params: Params, hosted: tuple[str, ...]) -> Params:
        given, choice = params.pop("tools", []), params.pop("tool_choice", "auto")
        if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
            given, choice = _only_allowed(given, choice["allowed_tools"])
        tools = [self._tool(tool) for tool in given]
        if choice == "auto":
            tools += [{"type": kind} for kind in hosted]
        fields: Params = {"tools": tools} if tools else {}
        return fields if choice == "auto" else fields | {"tool_choice": self._choice(choice)}

    def _tool(self, tool: Params) -> Params:
        function = tool["function"]
        described = {"description": function["description"]} if function.get("description") else {}
        # Without a word, OpenAI is strict here, and is not in chat completions.
        strict = {"strict": function.get("strict") or False} if self.has_strict_tools else {}
        return {
            "type": "function",
            "name": function["name"],
            **described,
            "parameters": function.get("parameters") or NO_PARAMETERS,
            **strict,
        }

    def _choice(self, choice: Any) -> Any:
        if isinstance(choice, dict) and "function" in choice:
            kind = {"type": "function"} if self.has_typed_choice else {}
            return {**kind, "name": choice["function"]["name"]}
        return choice

    def _post(
        self, path: str, body: dict[str, Any], credentials: Credentials, dropped: tuple[str, ...]
    ) -> HTTPRequest:
        headers = {"content-type": "application/json"}
        if credentials.api_key:
            headers["authorization"] = f"Bearer {credentials.api_key}"
        for option, header in self.option_headers.items():
            if value := credentials.options.get(option):
                headers[header] = str(value)
        return HTTPRequest(
            url=credentials.base_url.rstrip("/") + path,
            headers=headers,
            body=orjson.dumps(body),
            dropped_params=dropped,
        )


def _told_of_json(request: CompletionRequest) -> list[dict[str, Any]]:
    """The messages, which have to say JSON where a JSON object is to come back."""
    wanted = request.params.get("response_format")
    asks = isinstance(wanted, dict) and wanted.get("type") == "json_object"
    if not asks or mention_json(request.messages):
        return request.messages
    return instructed(request.messages, ANSWER_IN_JSON)


def _only_allowed(
    tools: list[dict[str, Any]], allowed: dict[str, Any]
) -> tuple[list[dict[str, Any]], str]:
    """The tools that may be called, and how they may be: `allowed_tools` in other words."""
    names = {tool.get("function", {}).get("name") for tool in allowed["tools"]}
    may_call = [tool for tool in tools if tool.get("function", {}).get("name") in names]
    return may_call, allowed.get("mode", "auto")
