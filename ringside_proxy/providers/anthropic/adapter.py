"""Anthropic's own wire, `POST /v1/messages`: the endpoint in OpenAI's dialect is for trials only.

The version is pinned to 2023-06-01, because the one of 2026-10-21 refuses sampling parameters at
all models, where this one only does at the newer, which are known by name.
Source: https://platform.claude.com/docs/en/api/messages,
https://platform.claude.com/docs/en/api/versioning and the types of anthropic 2.11.0, read
2026-11-21.
"""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.anthropic.errors import restated
from ringside_proxy.providers.anthropic.messages import (
    MARK,
    Block,
    has_all_thinking,
    system_and_turns,
    text_blocks,
)
from ringside_proxy.providers.anthropic.models import family_of
from ringside_proxy.providers.anthropic.params import (
    answer_format,
    sampling,
    service_tier,
    stop_sequences,
    thinking_of,
    tool_blocks,
    tools_of,
)
from ringside_proxy.providers.anthropic.schemas import Lowering
from ringside_proxy.providers.anthropic.stream import MessageStreamDecoder
from ringside_proxy.providers.native_request import asked, dropped, output_limit
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

VERSION: Final = "2023-06-01"
CACHE_MARKS_MAX: Final = 4


class Anthropic(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfies the `Provider` protocol."""

    name: str = "anthropic"
    base_url: str | None = "https://api.anthropic.com"
    docs_url: str = "https://platform.claude.com/docs/en/api/messages"
    key_variables: tuple[str, ...] = ("ANTHROPIC_API_KEY",)
    version: str = VERSION
    speaks_openai: bool = False
    has_embeddings: bool = False

    def capabilities(self, model: str) -> Capabilities:
        """What a model of it does by itself."""
        return family_of(model).abilities

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The call that asks for `request`. Raises InvalidRequestError for what cannot be sent."""
        family, left = family_of(request.model), asked(request.params)
        lowering = Lowering()
        output_format, format_words = answer_format(left, family, lowering)
        tools = tools_of(left, request.messages, family)
        thinking = thinking_of(
            left,
            family,
            output_limit(left),
            may_think=not tools.is_forced and has_all_thinking(request.messages),
        )
        system, turns = system_and_turns(request.messages, family)
        system += text_blocks(format_words)
        config = {"effort": thinking.effort, "format": output_format}
        fields = {
            "system": system,
            "tools": tool_blocks(tools.tools, family, lowering),
            "tool_choice": tools.choice(),
            "thinking": thinking.config,
            "output_config": {name: value for name, value in config.items() if value},
            **sampling(left, family, is_thinking=thinking.is_on),
            **stop_sequences(left),
            **service_tier(left),
            MARK: left.pop(MARK, None),
        }
        body = {
            "model": request.model,
            "max_tokens": thinking.output_tokens,
            "messages": turns,
            # Zero is a temperature; nothing else here means anything when it is empty.
            **{name: value for name, value in fields.items() if value not in (None, [], {})},
            "stream": True,
        }
        _bound_marks(body)
        return self._post(body, credentials, dropped(left))

    def build_embeddings_requests(
        self, request: EmbeddingsRequest, credentials: Credentials
    ) -> list[HTTPRequest]:
        """Raises InvalidRequestError: it offers none."""
        raise InvalidRequestError(
            "anthropic offers no embeddings: use another provider's embedding model, "
            "for example 'fc:openai/text-embedding-3-small'.",
            param="model",
            code="unsupported_endpoint",
        )

    def parse_embeddings(self, body: bytes) -> Embeddings:
        """Raises ProviderBadReplyError: none were asked for."""
        raise ProviderBadReplyError("anthropic offers no embeddings.", provider=self.name)

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """A fresh decoder for the streamed answer to `request`."""
        return MessageStreamDecoder(self.name, new_id)

    restate = staticmethod(restated)
    """How its refusals are put so that `errors.py` reads them; for `Target.restate`."""

    def _post(
        self, body: dict[str, Any], credentials: Credentials, dropped: tuple[str, ...]
    ) -> HTTPRequest:
        key = {"x-api-key": credentials.api_key} if credentials.api_key else {}
        # Gateways are configured with or without the version of the path.
        base_url = credentials.base_url.rstrip("/").removesuffix("/v1")
        return HTTPRequest(
            url=f"{base_url}/v1/messages",
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream",
                "anthropic-version": self.version,
                **key,
            },
            body=orjson.dumps(body),
            dropped_params=dropped,
        )


def _bound_marks(body: dict[str, Any]) -> None:
    """Keeps as many marks for the cache as may be sent: the last ones, which cover the most."""
    blocks: list[Block] = [*body.get("tools", []), *body.get("system", [])]
    for turn in body["messages"]:
        blocks += turn["content"]
    marked = [block for block in blocks if MARK in block]
    surplus = len(marked) + (MARK in body) - CACHE_MARKS_MAX
    for block in marked[: max(surplus, 0)]:
        del block[MARK]
