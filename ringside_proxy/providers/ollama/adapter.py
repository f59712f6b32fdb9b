"""Ollama's own chat API, which knows options that its OpenAI route does not.

What a model can do is known to the server that has it, and asked of it alone: it refuses tools
and images itself, in words, where the model has no use for them. Reasoning is another matter: the
knob goes only to models that are known to have it, because `reasoning_effort` is no wish for an
error. `tool_choice` is ignored by the server and made up for around the adapter.

A prompt that does not fit is refused (`truncate: false`) instead of losing its oldest messages
silently. How much fits is the server's own setting, unless `num_ctx` stands in the provider's
options: a default of ours would undo what the operator set there.
Source: https://docs.ollama.com/api/chat, https://docs.ollama.com/capabilities/thinking,
https://docs.ollama.com/context-length and https://github.com/ollama/ollama/issues/17921, read
2026-11-21.
"""

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat.messages import (
    ANSWER_IN_JSON,
    ANSWER_IN_SCHEMA,
    instructed,
    mention_json,
    schema_text,
)
from ringside_proxy.providers.embeddings import answer_as, texts_of
from ringside_proxy.providers.native_request import (
    Message,
    Params,
    Thinking,
    asked,
    dropped,
    function_of,
    json_wanted,
    output_limit,
    post,
    thinking,
    tools_and_choice,
)
from ringside_proxy.providers.ollama.messages import ollama_messages
from ringside_proxy.providers.ollama.stream import OllamaStreamDecoder, token_usage
from ringside_proxy.providers.types import (
    Capabilities,
    CompletionRequest,
    Credentials,
    Delta,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
    StreamDecoder,
    Support,
)

OPTIONS: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "num_ctx",
)
"""Sent in `options` under the name they come with."""
TOP: Final = ("keep_alive", "shift", "truncate")
"""Sent beside `options` if they are given: Ollama's own."""

EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
BUDGETS: Final = ((2048, "low"), (8192, "medium"), (16384, "high"))
"""Up to so many tokens of thinking mean this level; more is `max`."""

THINKS: Final = (
    "qwen3",
    "gpt-oss",
    "deepseek-r1",
    "deepseek-v3.1",
    "deepseek-v3.2",
    "magistral",
    "kimi-k2-thinking",
)
THINKS_NOT: Final = ("coder", "instruct", "embedding", "reranker")
"""Words in names of such a family's models that have no thinking."""

CLOUD: Final = "ollama.com"

LOCAL: Final = Capabilities(
    tools=Support.NATIVE, json_object=True, json_schema=True, image_data=True
)
IN_CLOUD: Final = msgspec.structs.replace(LOCAL, json_object=False, json_schema=False)
"""Answers are held to a format only where the model runs on the server itself."""


class _EmbedAnswer(msgspec.Struct):
    embeddings: list[list[float]]
    prompt_eval_count: Any = None


class Ollama(msgspec.Struct, frozen=True, kw_only=True):
    """Ollama, on the machine or in its cloud; satisfies the `Provider` protocol."""

    name: str = "ollama"
    base_url: str | None = "http://localhost:11434"
    docs_url: str = "https://docs.ollama.com/api/chat"
    speaks_openai: bool = False
    has_embeddings: bool = True

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself, as far as its name tells."""
        able = IN_CLOUD if model.endswith(("-cloud", ":cloud")) else LOCAL
        return msgspec.structs.replace(able, reasoning=_thinks(model))

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`."""
        left = asked(request.params)
        able = self.capabilities(request.model)
        # Nothing but `auto` comes here: the server knows no choice.
        tools, choice = tools_and_choice(left)
        if choice != "auto":
            left["tool_choice"] = choice
        can_format = able.json_schema and not tools and not _is_cloud(credentials)
        messages, form = _format(left, ollama_messages(request.messages), can_format=can_format)
        body: Params = {
            "model": request.model,
            "messages": messages,
            # Left out, it is true; said, so that nobody has to know.
            "stream": True,
            "truncate": False,
            **({"tools": [_tool(tool) for tool in tools]} if tools else {}),
            **form,
            **_reasoning(left, can_reason=able.reasoning),
            **{name: left.pop(name) for name in TOP if name in left},
        }
        if options := _options(left, credentials):
            body["options"] = options
        return post(credentials, "/api/chat", body, dropped(left))

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        return OllamaStreamDecoder(self.name, new_id)

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The call that asks for embeddings. Raises InvalidRequestError for tokens as input.

        Too long a text is refused, as OpenAI does, and not cut, unless `truncate` says so.
        """
        given = {k: v for k, v in request.params.items() if v is not None}
        known = ("dimensions", "truncate", "keep_alive")
        body = {
            "model": request.model,
            "input": texts_of(request.input),
            "truncate": False,
            **{name: given.pop(name) for name in known if name in given},
        }
        # The encoding is made up for around the adapter.
        given.pop("encoding_format", None)
        return [post(credentials, "/api/embed", body, dropped(given))]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in the answer. Raises ProviderBadReplyError."""
        answer = answer_as(_EmbedAnswer, self.name, body)
        counted = {"prompt_eval_count": answer.prompt_eval_count}
        usage = token_usage(counted)
        return Embeddings(
            vectors=answer.embeddings, usage=usage, raw_usage=counted if usage else None
        )


def _thinks(model: str) -> bool:
    family = model.rpartition("/")[2].lower()
    return family.startswith(THINKS) and not any(word in family for word in THINKS_NOT)


def _is_cloud(credentials: Credentials) -> bool:
    host = urlsplit(credentials.base_url).hostname or ""
    return host == CLOUD or host.endswith(f".{CLOUD}")


def _tool(tool: Params) -> Params:
    return {"type": "function", "function": function_of(tool)}


def _format(
    left: Params, messages: list[Message], *, can_format: bool
) -> tuple[list[Message], Params]:
    """What asks for JSON. It would hold calls to the format too: beside tools, words must do."""
    is_json, schema = json_wanted(left)
    if not is_json:
        return messages, {}
    # The server's grammar is not told to the model, which does better if it knows.
    if schema is not None:
        messages = instructed(messages, ANSWER_IN_SCHEMA + schema_text(schema))
    elif not mention_json(messages):
        messages = instructed(messages, ANSWER_IN_JSON)
    if not can_format:
        return messages, {}
    del left["response_format"]
    return messages, {"format": "json" if schema is None else schema}


def _reasoning(left: Params, *, can_reason: bool) -> Params:
    if "think" in left:
        return {"think": left.pop("think")}
    wanted = thinking(left, can_reason=can_reason)
    return {} if wanted is None else {"think": _level(wanted)}


def _level(wanted: Thinking) -> bool | str:
    if not wanted.is_on:
        return False
    if wanted.budget is not None:
        return next((level for most, level in BUDGETS if wanted.budget <= most), "max")
    return EFFORTS.get(wanted.effort or "", True)


def _options(left: Params, credentials: Credentials) -> Params:
    own = left.pop("options", {})
    options: Params = dict(own) if isinstance(own, dict) else {}
    if "num_ctx" in credentials.options:
        options.setdefault("num_ctx", credentials.options["num_ctx"])
    options |= {name: left.pop(name) for name in OPTIONS if name in left}
    if (limit := output_limit(left)) is not None:
        options["num_predict"] = limit
    if "stop" in left:
        stop = left.pop("stop")
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return options
