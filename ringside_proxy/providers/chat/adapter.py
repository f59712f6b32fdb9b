"""The providers that speak OpenAI's chat completions: a row of data each, and the code they share.

A request carries only what its row allows: unknown fields are fatal at some providers, and
`user` is the proxy's own attribution, never a provider's business.
Source of the tables: the vendors' API references and SDK types, read 2026-11-21.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import orjson
from msgspec import structs

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat.messages import (
    ANSWER_IN_JSON,
    ANSWER_IN_SCHEMA,
    Message,
    MessageRules,
    adapted,
    instructed,
    mention_json,
    schema_text,
)
from ringside_proxy.providers.chat.params import SAMPLING_PARAMS, ModelRules, ParamRules, build
from ringside_proxy.providers.chat.reasoning import ThinkTags
from ringside_proxy.providers.chat.stream import ChatStreamDecoder
from ringside_proxy.providers.embeddings import answer_as
from ringside_proxy.providers.memo import Memo
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
from ringside_proxy.providers.usage import token_usage

__all__ = ["OPTION_HEADERS", "SAMPLING_PARAMS", "OpenAICompatible", "azure_base_url"]

OPTION_HEADERS: Final = {"organization": "OpenAI-Organization", "project": "OpenAI-Project"}
NO_RULES: Final = ModelRules(prefixes=("",))


class _EmbeddingsRow(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _EmbeddingsAnswer(msgspec.Struct):
    data: list[_EmbeddingsRow]
    usage: Any = None


class OpenAICompatible(msgspec.Struct, frozen=True, kw_only=True):
    """One provider; satisfies the `Provider` protocol."""

    name: str
    base_url: str | None
    """None: known only when it runs."""
    docs_url: str
    key_variables: tuple[str, ...] = ()
    """The environment variables that may hold its key."""
    speaks_openai: bool = False
    chat_path: str = "/chat/completions"
    embeddings_path: str | None = None
    embeddings_params: Mapping[str, str] = {}
    """What an embeddings call takes: OpenAI's name → the provider's."""
    key_header: str = "authorization"
    option_headers: Mapping[str, str] = {}
    """Credentials' options that go out as headers."""
    params: ParamRules
    messages: MessageRules = MessageRules()
    models: tuple[ModelRules, ...] = ()
    abilities: Capabilities = Capabilities()
    partner_abilities: Mapping[str, Capabilities] = {}
    """By the suffix that pins a router's model to a partner: `model:partner`."""
    model_prefix: str = ""
    """Goes before a model's name that holds no `/`."""
    base_models: Mapping[str, str] = {}
    """Deployment → OpenAI's name of the model behind it."""
    asks_for_usage: bool = True
    """Usage comes only with `stream_options`; otherwise it comes anyway, and they are refused."""
    pads_streams: bool = False
    """Sends `obfuscation` in its chunks unless it is told not to."""
    needs_json_word: bool = False
    """JSON mode is refused, or never ends, unless the prompt says JSON."""
    needs_schema_words: bool = False
    """A schema has to stand in the prompt too, or the model writes blanks until its limit."""
    think_tags: bool = False
    """Some models reason in `<think>…</think>` before the answer."""
    memo: Memo[ModelRules] | None = None
    """Which rules hold for its models; None where nothing is remembered."""

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`, with nothing in it that this provider refuses."""
        rules = self._rules(request.model)
        built = build(request.params, self.params, rules)
        messages = adapted(
            request.messages,
            self.messages if rules.has_replay else structs.replace(self.messages, replay=None),
            request.model.lower(),
            # Calls in the history count, also where nothing may be called any more.
            reasons_with_tools=built.is_reasoning
            and ("tools" in built.params or any(m["role"] == "tool" for m in request.messages)),
        )
        body: dict[str, Any] = {
            "model": self._full_name(request.model),
            "messages": self._told_the_format(messages, request.params.get("response_format")),
            **built.params,
        }
        if request.is_stream:
            body["stream"] = True
            # Usage is always asked for: accounting needs it whether or not the client does.
            if self.asks_for_usage:
                body["stream_options"] = {"include_usage": True}
            if self.pads_streams:
                body["stream_options"]["include_obfuscation"] = False
        return self._post(self.chat_path, body, credentials, built.dropped)

    @property
    def has_embeddings(self) -> bool:
        """Whether it has embedding models."""
        return self.embeddings_path is not None

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""
        partner, rules = model.rpartition(":")[2], self._rules(model)
        if able := self.partner_abilities.get(partner) or rules.abilities:
            return able
        # Without a word for how much, nobody can ask it to reason.
        return structs.replace(
            self.abilities, reasoning=self.abilities.reasoning and bool(rules.efforts)
        )

    def with_deployments(self, base_models: Mapping[str, str]) -> "OpenAICompatible":
        """The same provider, knowing which model stands behind each of its deployments."""
        return structs.replace(self, base_models=base_models)

    def remembering(self) -> "OpenAICompatible":
        """The same provider, which finds out once which rules hold for a model."""
        return structs.replace(self, memo=Memo())

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The call that asks for embeddings. Raises InvalidRequestError if it offers none."""
        if self.embeddings_path is None:
            raise InvalidRequestError(
                f"{self.name} offers no embeddings: use another provider's embedding model, "
                "for example 'fc:openai/text-embedding-3-small'.",
                param="model",
            )
        given = {k: v for k, v in request.params.items() if v is not None}
        known = self.embeddings_params
        params = {known[name]: value for name, value in given.items() if name in known}
        # The encoding is made up for around the adapter, and `user` is nobody's business.
        dropped = tuple(name for name in given if name == "dimensions" and name not in known)
        body = {"model": self._full_name(request.model), "input": request.input, **params}
        return [self._post(self.embeddings_path, body, credentials, dropped)]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in an answer in OpenAI's shape. Raises ProviderBadReplyError."""
        answer = answer_as(_EmbeddingsAnswer, self.name, body)
        usage = token_usage(answer.usage)
        return Embeddings(
            vectors=[row.embedding for row in _in_order(answer.data)],
            usage=usage,
            raw_usage=answer.usage if usage else None,
        )

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        tags = ThinkTags(request.model) if self.think_tags else None
        return ChatStreamDecoder(self.name, new_id, replay=self.messages.replay, think_tags=tags)

    def _rules(self, model: str) -> ModelRules:
        found = self._found_rules
        return found(model) if self.memo is None else self.memo.of(model, found)

    def _found_rules(self, model: str) -> ModelRules:
        name = self._full_name(self.base_models.get(model, model)).lower()
        fitting = (
            (len(prefix), index, rules)
            for index, rules in enumerate(self.models)
            for prefix in rules.prefixes
            if name.startswith(prefix)
        )
        return max(fitting, key=lambda found: found[:2], default=(0, 0, NO_RULES))[2]

    def _full_name(self, model: str) -> str:
        return model if "/" in model else self.model_prefix + model

    def _told_the_format(self, messages: list[Message], wanted: Any) -> list[Message]:
        """The messages with what has to be said of the format beside `response_format`."""
        kind = wanted.get("type") if isinstance(wanted, dict) else None
        if kind == "json_schema" and self.needs_schema_words:
            schema = (wanted.get("json_schema") or {}).get("schema")
            return instructed(messages, ANSWER_IN_SCHEMA + schema_text(schema))
        if kind == "json_object" and self.needs_json_word and not mention_json(messages):
            return instructed(messages, ANSWER_IN_JSON)
        return messages

    def _post(
        self, path: str, body: dict[str, Any], credentials: Credentials, dropped: tuple[str, ...]
    ) -> HTTPRequest:
        return self._post_to(credentials.base_url.rstrip("/") + path, body, credentials, dropped)

    def _post_to(
        self, url: str, body: dict[str, Any], credentials: Credentials, dropped: tuple[str, ...]
    ) -> HTTPRequest:
        headers = {"content-type": "application/json"}
        if credentials.api_key:
            is_bearer = self.key_header == "authorization"
            headers[self.key_header] = ("Bearer " if is_bearer else "") + credentials.api_key
        for option, header in self.option_headers.items():
            if value := credentials.options.get(option):
                headers[header] = str(value)
        return HTTPRequest(
            url=url,
            headers=headers,
            body=orjson.dumps(body),
            dropped_params=dropped,
        )


def azure_base_url(endpoint: str) -> str:
    """Where a resource serves OpenAI's wire; an endpoint may already name it.

    Source: https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle, read
    2026-11-21.
    """
    path = urlsplit(endpoint).path.rstrip("/")
    return endpoint.rstrip("/") + ("" if path.endswith("/v1") else "/openai/v1")


def _in_order(rows: list[_EmbeddingsRow]) -> list[_EmbeddingsRow]:
    return sorted(rows, key=lambda row: row.index or 0)
