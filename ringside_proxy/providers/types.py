"""The canonical form of a model call, and what an adapter is.

The inside form is OpenAI's chat-completions request and its stream deltas. An adapter translates
and routes; it does no I/O, no retry, no logging and no money: those are done once, around all of
them, in `client.py`.
"""

from typing import Any, Literal, Protocol, TypeVar

import msgspec

from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import TokenUsage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One model call.

    `model` is the provider's own name for it. `messages` are OpenAI chat messages. `params` holds
    every other chat-completions parameter that was given, by OpenAI's name (`tools`,
    `tool_choice`, `temperature`, `max_completion_tokens`, …), never null, without `stream` and
    `stream_options`.
    """

    model: str
    messages: list[dict[str, Any]]
    params: dict[str, Any] = {}
    is_stream: bool = False
    include_usage: bool = False


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
    """A request ready to be sent upstream."""

    method: Literal["GET", "POST"] = "POST"
    url: str
    headers: dict[str, str]
    body: bytes = b""


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


class UsageDelta(msgspec.Struct, frozen=True):
    """What the call consumed; the last one of a stream counts."""

    usage: TokenUsage


class Finish(msgspec.Struct, frozen=True):
    """The model is done; exactly one in a stream that is whole."""

    reason: FinishReason


Delta = TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta | UsageDelta | Finish

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
    """One provider: pure translation and a route."""

    @property
    def name(self) -> str:
        """What callers write after `fc:`."""

    @property
    def speaks_openai(self) -> bool:
        """Its answers are OpenAI's own bytes and may be passed on as they are."""

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`."""

    def build_embeddings_request(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> HTTPRequest:
        """The call that asks for embeddings. Raises InvalidRequestError if it offers none."""

    def stream_decoder(self, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for one streamed answer; `new_id` names calls that come without an id."""
