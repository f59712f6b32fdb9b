"""A call as a vendor receives it, and its refusal before the vendor's own words are put to it."""

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple


class Kind(StrEnum):
    """Why a vendor refuses a call; each has its own status and envelope at each vendor."""

    AUTH = "auth"
    PERMISSION = "permission"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    CONTEXT = "context"
    POLICY = "policy"
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    OVERLOADED = "overloaded"
    TIMEOUT = "timeout"


class Asked(NamedTuple):
    """`path` is what follows the vendor's base URL, as it was sent; header names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Any


class Refused(Exception):  # noqa: N818 - it is what the vendor did, not what went wrong here
    """A vendor would not take the call."""

    def __init__(self, message: str, kind: Kind = Kind.BAD_REQUEST, param: str | None = None):
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.param = param


Judge = Callable[[Asked], None]
"""Raises Refused for what the vendor would refuse."""


def require(holds: object, message: str, kind: Kind = Kind.BAD_REQUEST) -> None:
    """Refuses the call unless something holds."""
    if not holds:
        raise Refused(message, kind)


def require_known(problems: list[str]) -> None:
    """Refuses a body in which a type found `problems`."""
    require(not problems, "; ".join(problems))


def require_key(asked: Asked, header: str, key: str) -> None:
    """Refuses a call without the vendor's key, or with one where it does not belong."""
    sent = asked.headers.get(header, "")
    bearer = "Bearer " if header == "authorization" else ""
    require(sent == bearer + key, "Invalid API key.", Kind.AUTH)
    others = {"authorization", "x-api-key", "api-key", "x-goog-api-key"} - {header}
    require(not others & asked.headers.keys(), "More than one kind of credential.", Kind.AUTH)


def strings(value: Any) -> Iterator[str]:
    """Every string inside JSON."""
    if isinstance(value, str):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from strings(item)


def keys(value: Any) -> Iterator[str]:
    """Every key inside JSON."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield from value if isinstance(value, dict) else ()
    for item in inner:
        yield from keys(item)


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object schema inside a schema; names of properties are no keywords."""
    if isinstance(schema, list):
        for item in schema:
            yield from objects(item)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" or isinstance(schema.get("properties"), dict):
        yield schema
    for key, value in schema.items():
        is_named = key in ("properties", "$defs", "definitions") and isinstance(value, dict)
        yield from objects([*value.values()] if is_named else value)


def mentions(body: Any, word: str) -> bool:
    """Whether any text of a request holds a word, in any case."""
    return any(word in text.lower() for text in strings(body))
