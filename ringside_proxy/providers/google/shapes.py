"""The shape that a chat request needs for its translation; what is only passed on may be anything."""

import re
from typing import Any, Final

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.providers.types import CompletionRequest

PARAM: Final = re.compile(r"`\$\.([\w.\[\]]+)`")


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _CalledFunction(msgspec.Struct):
    name: str
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _CalledFunction
    id: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None


class _Function(msgspec.Struct):
    name: str
    description: str | None = None


class _Tool(msgspec.Struct):
    type: str
    function: _Function | None = None


class _Schema(msgspec.Struct):
    schema: Any = None


class _Format(msgspec.Struct):
    type: str
    json_schema: _Schema | None = None


class _Request(msgspec.Struct):
    messages: list[_Message]
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: _Format | None = None
    service_tier: str | None = None
    stop: str | list[str] | None = None


def check_shape(request: CompletionRequest) -> None:
    """Raises InvalidRequestError, with the place, for what no chat request may look like."""
    try:
        msgspec.convert({**request.params, "messages": request.messages}, _Request)
    except msgspec.ValidationError as error:
        place = PARAM.search(str(error))
        raise InvalidRequestError(
            f"Invalid request: {error}.", param=place[1] if place else None, code="invalid_type"
        ) from error
