"""Cohere's own chat API, v2: it forces and forbids calls, tells what it bills, and thinks to order.

Left out of what OpenAI knows: logprobs (another shape), `parallel_tool_calls` and every other
parameter that is not in the tables below; they are named as dropped.
Source: https://docs.cohere.com/v2/reference/chat, https://docs.cohere.com/v2/docs/reasoning and
https://docs.cohere.com/v2/reference/embed, read 2026-11-21.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat.messages import (
    ANSWER_IN_JSON,
    ANSWER_IN_SCHEMA,
    instructed,
    mention_json,
    schema_text,
)
from ringside_proxy.providers.cohere.messages import Names, cohere_messages, cohere_names
from ringside_proxy.providers.cohere.schemas import are_strict, lowered
from ringside_proxy.providers.cohere.stream import CohereStreamDecoder
from ringside_proxy.providers.embeddings import answer_as, in_parts, texts_of
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
from ringside_proxy.providers.native_stream import count_at
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

TEXTS_PER_CALL_MAX: Final = 96
STOPS_MAX: Final = 5
ANSWER_TOKENS_MIN: Final = 1000
"""What Cohere advises to leave for the answer when the model thinks first."""


SAME: Final = (
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "documents",
    "citation_options",
    "safety_mode",
    "priority",
)
"""Sent under the name they come with."""
RENAMED: Final = {"temperature": "temperature", "top_p": "p", "top_k": "k"}
RANGES: Final = {
    "temperature": (0.0, 1.0),
    "top_p": (0.01, 0.99),
    "top_k": (0, 500),
    "frequency_penalty": (0.0, 1.0),
    "presence_penalty": (0.0, 1.0),
}
"""What lies beyond is sent as the nearest that is taken, except for negative penalties."""
CHOICES: Final = {"required": "REQUIRED", "none": "NONE"}

THINKING_BUDGETS: Final = {"minimal": 1024, "low": 2048}
"""Tokens for the lower efforts; the higher ones have no limit but the answer's."""

CHAT: Final = Capabilities(
    tools=Support.NATIVE,
    tool_choice_none=Support.NATIVE,
    tool_choice_required=Support.NATIVE,
    tool_choice_named=Support.NATIVE,
    json_object=True,
    json_schema=True,
)
BEFORE_CHOICE: Final = Capabilities(tools=Support.NATIVE, json_object=True, json_schema=True)
REASONS: Final = msgspec.structs.replace(CHAT, reasoning=True)
REASONS_AND_SEES: Final = msgspec.structs.replace(REASONS, image_urls=True, image_data=True)
IN_WORDS: Final = Capabilities(tools=Support.EMULATED)
"""Older and special models know no tools."""
ONLY_SEES: Final = msgspec.structs.replace(IN_WORDS, image_urls=True, image_data=True)

MODELS: Final[tuple[tuple[str, Capabilities], ...]] = (
    ("command-a-plus", REASONS_AND_SEES),
    ("command-a-reasoning", REASONS),
    ("command-a-vision", ONLY_SEES),
    ("command-a-translate", IN_WORDS),
    ("command-r7b", CHAT),
    ("command-r-", BEFORE_CHOICE),
    ("command-light", IN_WORDS),
    ("command-nightly", IN_WORDS),
    ("c4ai-aya-vision", ONLY_SEES),
    ("c4ai-aya", IN_WORDS),
    ("tiny-aya", IN_WORDS),
)
"""By the beginning of the name, first one wins; the rest does what Command A does."""


class _EmbedVectors(msgspec.Struct):
    float: list[list[float]]


class _EmbedAnswer(msgspec.Struct):
    embeddings: _EmbedVectors
    meta: Any = None


class Cohere(msgspec.Struct, frozen=True, kw_only=True):
    """Cohere; satisfies the `Provider` protocol."""

    name: str = "cohere"
    base_url: str | None = "https://api.cohere.com"
    docs_url: str = "https://docs.cohere.com/v2/reference/chat"
    speaks_openai: bool = False
    has_embeddings: bool = True

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""
        if model in ("command", "command-r"):
            return IN_WORDS if model == "command" else BEFORE_CHOICE
        return next((able for prefix, able in MODELS if model.startswith(prefix)), CHAT)

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`, with nothing in it that Cohere refuses."""
        left = asked(request.params)
        names = cohere_names(request)
        limit = output_limit(left)
        limited = {} if limit is None else {"max_tokens": limit}
        tools = _tools(left, names)
        messages = cohere_messages(request.messages, names)
        # Beside tools or documents, Cohere refuses a format and a mode of safety.
        is_grounded = "tools" in tools or "documents" in left
        messages, format_params = _format(left, messages, is_grounded=is_grounded)
        reasoning = _reasoning(left, limit, can_reason=self.capabilities(request.model).reasoning)
        body = {
            "model": request.model,
            "messages": messages,
            "stream": True,
            **limited,
            **tools,
            **format_params,
            **reasoning,
            **_sampling(left, is_grounded=is_grounded),
        }
        return post(credentials, "/v2/chat", body, dropped(left))

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        return CohereStreamDecoder(self.name, new_id, cohere_names(request))

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The calls that ask for embeddings. Raises InvalidRequestError for tokens as input.

        Too long a text is refused, as OpenAI does, and not cut, unless `truncate` says so.
        """
        left = {k: v for k, v in request.params.items() if v is not None}
        # The encoding is made up for around the adapter.
        left.pop("encoding_format", None)
        body: Params = {
            "model": request.model,
            "input_type": left.pop("input_type", "search_document"),
            "embedding_types": ["float"],
            "truncate": left.pop("truncate", "NONE"),
        }
        if "dimensions" in left and request.model.startswith("embed-v4"):
            body["output_dimension"] = left.pop("dimensions")
        return [
            post(credentials, "/v2/embed", body | {"texts": texts}, dropped(left))
            for texts in in_parts(texts_of(request.input), TEXTS_PER_CALL_MAX)
        ]

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in the answer. Raises ProviderBadReplyError."""
        answer = answer_as(_EmbedAnswer, self.name, body)
        count = count_at(answer.meta, "billed_units", "input_tokens")
        return Embeddings(
            vectors=answer.embeddings.float,
            usage=None if count is None else TokenUsage(input_tokens=count),
            raw_usage=None if count is None else answer.meta,
        )


def _tools(left: Params, names: Names) -> Params:
    tools, choice = tools_and_choice(left)
    if not tools:
        # Without functions a choice is refused. One that asks for a call stays, for Cohere to
        # refuse: dropping it would change what the caller asked for.
        return {"tool_choice": "REQUIRED"} if choice == "required" else {}
    functions = [function_of(tool) for tool in tools]
    fields: Params = {
        "tools": [
            {"type": "function", "function": function | {"name": names[function["name"]]}}
            for function in functions
        ]
    }
    if isinstance(choice, str) and choice in CHOICES:
        fields["tool_choice"] = CHOICES[choice]
    elif choice != "auto":
        left["tool_choice"] = choice
    if are_strict([tool["function"] for tool in tools]):
        fields["strict_tools"] = True
    return fields


def _format(
    left: Params, messages: list[Message], *, is_grounded: bool
) -> tuple[list[Message], Params]:
    """What asks for JSON. It may be refused, and it asks for an object only: otherwise
    words alone must do.
    """
    is_json, schema = json_wanted(left)
    if not is_json:
        return messages, {}
    json: Params = {"type": "json_object"}
    copy = None if is_grounded else lowered(schema)
    if copy is not None:
        json["json_schema"] = copy
    elif schema is not None:
        messages = instructed(messages, ANSWER_IN_SCHEMA + schema_text(schema))
    # Unless it is told of JSON, the model may write blanks until its limit.
    if not mention_json(messages):
        messages = instructed(messages, ANSWER_IN_JSON)
    is_object = schema is None or (isinstance(schema, dict) and schema.get("type") == "object")
    if is_grounded or not is_object:
        return messages, {}
    del left["response_format"]
    return messages, {"response_format": json}


def _reasoning(left: Params, limit: int | None, *, can_reason: bool) -> Params:
    wanted = thinking(left, can_reason=can_reason)
    if wanted is None:
        return {}
    if not wanted.is_on:
        return {"thinking": {"type": "disabled"}}
    budget = _budget(wanted, limit)
    return {"thinking": {"type": "enabled", **({"token_budget": budget} if budget else {})}}


def _budget(wanted: Thinking, limit: int | None) -> int | None:
    """The tokens to think with, so that some of the limit are left for the answer."""
    budget = wanted.budget or THINKING_BUDGETS.get(wanted.effort or "")
    if budget is None or limit is None:
        return budget
    return min(budget, max(limit - ANSWER_TOKENS_MIN, limit // 2, 1))


def _sampling(left: Params, *, is_grounded: bool) -> Params:
    fields: Params = {}
    for name in (*RENAMED, *SAME):
        if name not in left or (name == "safety_mode" and is_grounded):
            continue
        value = left[name]
        if name in RANGES:
            low, high = RANGES[name]
            if name.endswith("_penalty") and value < 0:
                continue
            value = min(max(value, low), high)
        fields[RENAMED.get(name, name)] = value
        del left[name]
    if "stop" in left:
        stop = left["stop"]
        stops = [stop] if isinstance(stop, str) else stop
        if len(stops) <= STOPS_MAX:
            del left["stop"]
        fields["stop_sequences"] = stops[:STOPS_MAX]
    return fields
