"""Providers that do only what a test says they do, on OpenAI's wire so that a FakeUpstream is one."""

from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.chat.adapter import OpenAICompatible
from ringside_proxy.providers.chat.params import ParamRules
from ringside_proxy.providers.types import (
    Capabilities,
    CompletionRequest,
    Credentials,
    Delta,
    Finish,
    HTTPRequest,
    StateDelta,
    StreamDecoder,
    Support,
)

PARAMS: Final = frozenset(
    {"tools", "tool_choice", "parallel_tool_calls", "response_format", "temperature", "n"}
)
NATIVE_CHOICES: Final[dict[str, Any]] = {
    "tool_choice_none": Support.NATIVE,
    "tool_choice_required": Support.NATIVE,
    "tool_choice_named": Support.NATIVE,
    "single_tool_call": Support.NATIVE,
}
NATIVE_FORMATS: Final[dict[str, Any]] = {
    "json_object": True,
    "json_schema": True,
    "json_schema_with_tools": True,
}


def able(**abilities: Any) -> Capabilities:
    """Tools, and nothing else unless it is said."""
    return Capabilities(**{"tools": Support.NATIVE, **abilities})


def row(abilities: Capabilities | None = None) -> OpenAICompatible:
    """A row that is served in OpenAI's place; its answers are never passed on as bytes."""
    return OpenAICompatible(
        name="openai",
        base_url=None,
        docs_url="",
        params=ParamRules(allowed=PARAMS, limit="max_completion_tokens"),
        abilities=abilities or able(),
    )


class Stateful:
    """A provider whose every answer leaves a state, which goes out as it came back."""

    def __init__(self) -> None:
        self._row = row()
        self._answers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)

    def build_request(self, request: CompletionRequest, credentials: Credentials) -> HTTPRequest:
        """The row's request, with the messages just as they are."""
        built = self._row.build_request(request, credentials)
        body = orjson.dumps(orjson.loads(built.body) | {"messages": request.messages})
        return msgspec.structs.replace(built, body=body)

    def stream_decoder(self, request: CompletionRequest, new_id: NewId) -> StreamDecoder[Delta]:
        """The row's decoder, with a state before its last word."""
        self._answers += 1
        return _StatefulDecoder(self._row.stream_decoder(request, new_id), state(self._answers))


def state(number: int) -> dict[str, Any]:
    """What the answer with that number, from 1, leaves."""
    return {"signature": f"ü{number}==", "blocks": [{"thought": None, "depth": [1.5, True]}]}


class _StatefulDecoder:
    def __init__(self, inner: StreamDecoder[Delta], left: dict[str, Any]) -> None:
        self._inner = inner
        self._left = left

    @property
    def is_done(self) -> bool:
        return self._inner.is_done

    def feed(self, data: bytes) -> list[Delta]:
        return self._with_state(self._inner.feed(data))

    def close(self) -> list[Delta]:
        return self._with_state(self._inner.close())

    def _with_state(self, deltas: list[Delta]) -> list[Delta]:
        found: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, Finish):
                found.append(StateDelta(self._left))
            found.append(delta)
        return found
