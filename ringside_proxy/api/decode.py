"""Bytes and query strings into the types of requests, or a 400 that says what is wrong.

The order of checks is JSON first, then the body against its type. orjson parses, msgspec holds
the result to the type, and `decode_explain` finds the words when it does not fit. What orjson
lets pass and a store or another JSON reader would not is refused here: deep nesting, integers
that do not fit 64 bits (orjson makes them inexact), NUL characters.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec
import orjson
from msgspec import Struct

from ringside_proxy.api.bodies import Metadata, OpenBody
from ringside_proxy.api.decode_explain import kinds_of, shape_of
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.nesting import is_deeper_than

DEPTH_MAX: Final = 64
"""Levels of arrays and objects; orjson reads 1,024 but writes fewer."""
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
INT64_DIGITS_MAX: Final = 19

DIGITS_AS_ZEROS: Final = bytes(
    ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256)
)
MANY_DIGITS: Final = b"0" * INT64_DIGITS_MAX
"""Found in what `DIGITS_AS_ZEROS` makes of a body: a twentieth of what a pattern's search takes."""
STRING_OR_NUMBER: Final = re.compile(
    rb'"(?:[^"\\]++|\\.)*+"|(?P<integer>-?[0-9]++)(?P<rest>[.eE][0-9.eE+-]*+)?'
)
ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*+\\u0000")
"""A `\\u0000` whose backslash is not itself escaped; the only way JSON can write a NUL."""
QUERY_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")

T = TypeVar("T", bound=Struct)
OpenT = TypeVar("OpenT", bound=OpenBody)


def decode_body(raw: bytes, body_type: type[T]) -> T:
    """A request body; no bytes at all count as `{}`. Raises InvalidRequestError."""
    return _fit(decode_json(raw or b"{}"), body_type)


def decode_open_body(raw: bytes, body_type: type[OpenT]) -> tuple[OpenT, dict[str, Any]]:
    """A body that goes on to a provider, and its parameters, known and unknown, as they came.

    The parameters are without nulls, and without the keys that `body_type.apart` names.
    Raises InvalidRequestError.
    """
    document = decode_json(raw or b"{}")
    body = _fit(document, body_type)
    params = {
        name: value
        for name, value in document.items()
        if value is not None and name not in body_type.apart
    }
    return body, params


def decode_json(raw: bytes) -> Any:
    """Any JSON value that can be stored and sent on. Raises InvalidRequestError.

    Of a key that occurs twice, the last one counts.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _unusable(str(error)) from None
    if raw.count(b"[") + raw.count(b"{") > DEPTH_MAX and is_deeper_than(DEPTH_MAX, value):
        raise _unusable(f"arrays and objects are nested more than {DEPTH_MAX} levels deep")
    if MANY_DIGITS in raw.translate(DIGITS_AS_ZEROS):
        _refuse_inexact_integers(raw)
    if b"\\u0000" in raw and (nul := ESCAPED_NUL.search(raw)):
        raise _unusable(f"strings may not hold the NUL character (byte {nul.end() - 6})")
    return value


def _fit(document: Any, body_type: type[T]) -> T:
    try:
        return msgspec.convert(document, body_type)
    except msgspec.ValidationError as error:
        shape_of(body_type).refuse(document, "")
        raise InvalidRequestError(f"Invalid request: {error}.", code="invalid_value") from error


def _refuse_inexact_integers(raw: bytes) -> None:
    for token in STRING_OR_NUMBER.finditer(raw):
        digits = token["integer"]
        if digits is None or token["rest"] is not None or len(digits) < INT64_DIGITS_MAX:
            continue
        # The length goes first: int() of very many digits is slow, and refused by Python.
        if len(digits) > INT64_DIGITS_MAX + 1 or not INT64_MIN <= int(digits) <= INT64_MAX:
            raise _unusable(f"the integer at byte {token.start()} does not fit 64 bits")


def _unusable(reason: str) -> InvalidRequestError:
    return InvalidRequestError(f"We could not parse the JSON body of your request: {reason}.")


class MessageListQuery(ListQuery, frozen=True, kw_only=True):
    """GET /v1/threads/{thread_id}/messages."""

    run_id: str | None = None


class ThreadListQuery(ListQuery, frozen=True, kw_only=True):
    """GET /v1/threads: `metadata[key]=value`, all of which must hold."""

    metadata: Metadata = msgspec.field(default_factory=dict)


Includable = Literal["step_details.tool_calls[*].file_search.results[*].content"]


class IncludeQuery(Struct, frozen=True, kw_only=True):
    """Creating a run, and reading a run step. Nothing is ever included: file search is not run."""

    include: list[Includable] = msgspec.field(default_factory=list)


class StepListQuery(ListQuery, frozen=True, kw_only=True):
    """GET /v1/threads/{thread_id}/runs/{run_id}/steps."""

    include: list[Includable] = msgspec.field(default_factory=list)


def decode_query(query: Mapping[str, str], query_type: type[T]) -> T:
    """The parameters that `query_type` names; others are ignored. Raises InvalidRequestError.

    Lists come as `name` or `name[]`, once for each item; objects as `name[key]`. An empty value
    counts as not given, and of a parameter that comes twice the last one counts.
    """
    document: dict[str, Any] = {}
    kinds = kinds_of(query_type)
    for parameter, text in query.items():
        name, bracket, key = parameter.partition("[")
        kind = kinds.get(name, frozenset())
        if list in kind:
            document.setdefault(name, []).append(text)
        elif dict in kind:
            if bracket:
                document.setdefault(name, {})[key.removesuffix("]")] = text
        elif kind and not bracket and text:
            is_integer = int in kind and QUERY_INTEGER.fullmatch(text)
            document[name] = int(text) if is_integer else text
    return _fit(document, query_type)
