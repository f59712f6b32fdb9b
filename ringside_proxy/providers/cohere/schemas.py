"""JSON schemas as Cohere takes them. Pure.

The caller's own schema stays what the answer is validated against; this is the copy that goes
out. Every answer that meets the copy meets what the copy keeps of the original.
Source: https://docs.cohere.com/v2/docs/structured-outputs, read 2026-11-21.
"""

from typing import Any, Final

Schema = dict[str, Any]

DEPTH_MAX: Final = 32
STRICT_FIELDS_MAX: Final = 200
"""Strict tools may have so many parameters together."""

REFUSED: Final = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "$schema",
        "$id",
    }
)
FORMATS: Final = ("date-time", "uuid", "date", "time")
NAMED: Final = frozenset({"properties", "$defs", "definitions"})
"""Keywords whose value is schemas by name, so that its keys are no keywords."""
DATA: Final = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords whose value is data, not schemas."""


class _InexpressibleError(Exception):
    """A schema that Cohere has no words for."""


def lowered(schema: Any) -> Schema | None:
    """The schema without what Cohere refuses; None if it then could not be sent.

    An object must have a required property: where none is, the first one is made so.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return None
    try:
        copy = _lowered(schema, DEPTH_MAX)
    except _InexpressibleError:
        return None
    return copy if isinstance(copy, dict) else None


def are_strict(functions: list[Schema]) -> bool:
    """Whether all functions ask to be called strictly, and can be: it holds for all or none."""
    return all(
        function.get("strict") is True and (function.get("parameters") or {}).get("required")
        for function in functions
    ) and (sum(_fields(function.get("parameters"), DEPTH_MAX) for function in functions)) <= (
        STRICT_FIELDS_MAX
    )


def _lowered(node: Any, depth: int) -> Any:
    if depth == 0:
        raise _InexpressibleError
    if isinstance(node, list):
        return [_lowered(item, depth - 1) for item in node]
    if not isinstance(node, dict):
        return node
    copy: Schema = {}
    for key, value in node.items():
        if key in REFUSED or (key == "format" and value not in FORMATS):
            continue
        if key in NAMED and isinstance(value, dict):
            copy[key] = {name: _lowered(item, depth - 1) for name, item in value.items()}
        else:
            copy[key] = value if key in DATA else _lowered(value, depth - 1)
    if copy.get("type") == "object" and not copy.get("required"):
        copy["required"] = [_first_property(copy)]
    return copy


def _first_property(node: Schema) -> str:
    properties = node.get("properties")
    if not isinstance(properties, dict) or not properties:
        raise _InexpressibleError
    return str(next(iter(properties)))


def _fields(node: Any, depth: int) -> int:
    """How many properties a schema has, at all levels; a deeper one than we look has too many."""
    if depth == 0:
        return STRICT_FIELDS_MAX + 1
    if isinstance(node, list):
        return sum(_fields(item, depth - 1) for item in node)
    if not isinstance(node, dict):
        return 0
    properties = node.get("properties")
    own = len(properties) if isinstance(properties, dict) else 0
    return own + sum(_fields(value, depth - 1) for value in node.values())
