"""The canonical form of a model call, and what an adapter is.

The inside form is OpenAI's chat-completions request and its stream deltas. An adapter translates
and routes; it does no I/O, no retry, no logging and no money: those are done once, around all of
them, in `client.py`.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage

LIMIT_PARAMS: Final = ("max_completion_tokens", "max_tokens")
"""OpenAI's names for the limit on an answer's tokens; the newer one wins."""
NOT_FOR_PROVIDERS: Final = frozenset({"user", "metadata", "store"})
"""The proxy's own attribution, and what would leave the owner's data at the provider: it is not
sent, and nobody expects it to be."""

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call.

    `model` is the provider's own name for it. `messages` are OpenAI chat messages. `params` holds
    every other chat-completions parameter that was given, by OpenAI's name (`tools`,
    `tool_choice`, `temperature`, `max_completion_tokens`, …), never null, without `stream` and
    `stream_options`. `continuation` is what the answer so far ended with, if its provider is to go
    on where it stopped.
    """

    model: str
    messages: list[dict[str, Any]]
    params: dict[str, Any] = {}
    is_stream: bool = False
    include_usage: bool = False
    continuation: Any = None


class EmbeddingsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One embeddings call; `params` by OpenAI's names (`dimensions`, `encoding_format`)."""

    model: str
    input: Any
    params: dict[str, Any] = {}


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider is reached with. Never logged: its repr shows no secret."""

    base_url: str
    api_key: str | None = None
    options: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"Credentials(base_url={self.base_url!r}, api_key={'***' if self.api_key else None})"


class HTTPRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request ready to be sent upstream.

    `dropped_params` names, as OpenAI does, what the caller gave and this model does not take.
    `sign` gives the request as it goes out at a time (ms), for signatures that hold a time.
    `follow` makes the request that gets the answer out of the first answer's body, for providers
    that answer where to listen. `abandon` tells a provider to stop that would go on working when
    nobody listens any more. `epilogue` asks for what the answer's stream does not say.
    """

    method: Literal["GET", "POST"] = "POST"
    url: str
    headers: dict[str, str]
    body: bytes = b""
    dropped_params: tuple[str, ...] = ()
    sign: Callable[["HTTPRequest", int], "HTTPRequest"] | None = None
    follow: Callable[[bytes], "HTTPRequest"] | None = None
    abandon: "HTTPRequest | None" = None
    epilogue: "Epilogue | None" = None


class Epilogue(msgspec.Struct, frozen=True):
    """A request that is sent when an answer has ended well.

    `read` is given its body and the last items of the answer, and gives those that take their
    place. The answer is whole without it: whatever goes wrong with it is passed over.
    """

    request: HTTPRequest
    read: Callable[[bytes, list[Any]], list[Any]]


class Support(StrEnum):
    """How a feature of OpenAI's is had at a provider."""

    NATIVE = "native"
    EMULATED = "emulated"
    UNSUPPORTED = "unsupported"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model does by itself; what it does not is made up for around the adapter.

    Flags default to no: each one that is set was found in the provider's documentation.
    `json_schema_with_tools`: a schema and tools may be sent together. `image_urls`: images are
    taken by address; `image_data`: as data URIs (a model with neither cannot see). Where `tools`
    are emulated they are offered in words; a model that has none at all does not chat.
    """

    tools: Support = Support.UNSUPPORTED
    tool_choice_none: Support = Support.EMULATED
    tool_choice_required: Support = Support.EMULATED
    tool_choice_named: Support = Support.EMULATED
    single_tool_call: Support = Support.EMULATED
    json_object: bool = False
    json_schema: bool = False
    json_schema_with_tools: bool = False
    image_urls: bool = False
    image_data: bool = False
    reasoning: bool = False
    prompt_caching: bool = False


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors in the order of the inputs; `usage` is None if the provider does not say.

    `raw_usage` is the provider's own count, as it said it.
    """

    vectors: list[list[float]]
    usage: TokenUsage | None = None
    raw_usage: dict[str, Any] | None = None


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of the answer's text."""

    text: str


class RefusalDelta(msgspec.Struct, frozen=True):
    """A piece of a refusal."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True):
    """A piece of the model's reasoning; never part of the message."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a function call.

    `index` is dense from 0. The first delta of an index, and only that one, carries `id` and
    `name`; `arguments` is an increment.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class StateDelta(msgspec.Struct, frozen=True):
    """What the provider wants back, unread, with this answer in the next request: JSON.

    It comes back as `provider_state` on the assistant message, only for the same provider and
    model.
    """

    state: Any


class UsageDelta(msgspec.Struct, frozen=True):
    """What the call consumed; the last one of a stream counts.

    `raw` is the provider's own count, as it said it. `service_tier` is the tier that it says it
    served the call at.
    """

    usage: TokenUsage
    raw: dict[str, Any] | None = None
    service_tier: str | None = None


class Finish(msgspec.Struct, frozen=True, omit_defaults=True):
    """The model is done; exactly one in a stream that is whole.

    With a `continuation` it is not: asked again with it, the provider goes on where it stopped.
    """

    reason: FinishReason
    continuation: Any = None


Delta = TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | StateDelta | UsageDelta | Finish

T = TypeVar("T")


class StreamDecoder(Protocol[T]):
    """Bytes in, whatever is whole out. Pure: no I/O.

    The first non-empty list ends the time in which the call may be sent again, so what says
    nothing yet (a role, a comment) waits for what follows.
    """

    @property
    def is_done(self) -> bool:
        """The provider has said its last word: nothing more is read."""

    def feed(self, data: bytes) -> list[T]:
        """What `data` completes. Raises ProviderError for an error event in the stream."""

    def close(self) -> list[T]:
        """What the end of the body completes. Raises ProviderBadReplyError if it broke off."""


class Provider(Protocol):
    """One provider: facts, pure translation and a route."""

    @property
    def name(self) -> str:
        """What callers write after `fc:`."""

    @property
    def base_url(self) -> str | None:
        """Where it is reached unless the configuration says otherwise; None: only that says."""

    @property
    def docs_url(self) -> str:
        """Where its wire is documented."""

    @property
    def speaks_openai(self) -> bool:
        """Its answers are OpenAI's own bytes and may be passed on as they are."""

    @property
    def has_embeddings(self) -> bool:
        """Whether it has embedding models."""

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`, with nothing in it that the model refuses.

        Raises InvalidRequestError for what can neither be sent nor dropped (`n` above 1, audio).
        """

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """The calls that ask for embeddings, together in the order of the inputs.

        Raises InvalidRequestError if the provider offers none.
        """

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """The vectors in the answer to one of those calls. Raises ProviderBadReplyError."""

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`.

        `new_id` names calls that come without an id.
        """
