"""Tool and answer schemas, lowered to what a provider on OpenAI's dialect accepts. Pure.

The caller's own schema stays what answers are validated against; this is the copy that goes out.
"""

from collections.abc import Callable
from typing import Any, Final

DEPTH_MAX: Final = 64
"""Deeper schemas go out as they are."""

NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords whose value is schemas by name, so that its keys are no keywords."""
DATA: Final = frozenset({"enum", "const", "default", "examples", "required"})
"""Keywords whose value is data, not schemas."""
NOT_STRICT: Final = frozenset({"allOf", "propertyNames", "patternProperties", "not", "if"})
ADDRESSES: Final = ("$schema", "$id")

Change = Callable[[dict[str, Any]], dict[str, Any]]


def closed(schema: Any) -> Any:
    """Every object forbids further properties, as strict decoders demand."""

    def change(node: dict[str, Any]) -> dict[str, Any]:
        is_object = node.get("type") == "object" or isinstance(node.get("properties"), dict)
        return node | {"additionalProperties": False} if is_object else node

    return _changed(schema, change, DEPTH_MAX)


def without_addresses(schema: Any) -> Any:
    """Without `$schema` and `$id`, which some validators refuse."""
    return _changed(
        schema, lambda node: {k: v for k, v in node.items() if k not in ADDRESSES}, DEPTH_MAX
    )


def is_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode takes it: objects that are closed and whole, no `allOf`.

    Source: https://platform.openai.com/docs/guides/structured-outputs, read 2026-11-21.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return False
    found: list[bool] = []

    def look(node: dict[str, Any]) -> dict[str, Any]:
        found.append(_is_strict(node))
        return node

    _changed(schema, look, DEPTH_MAX)
    return all(found)


def _is_strict(node: dict[str, Any]) -> bool:
    if not NOT_STRICT.isdisjoint(node):
        return False
    names = node.get("properties")
    if node.get("type") != "object" and not isinstance(names, dict):
        return True
    required = node.get("required")
    are_all_required = {*(names or ())} <= {*(required if isinstance(required, list) else ())}
    return node.get("additionalProperties") is False and are_all_required


def _changed(schema: Any, change: Change, depth: int) -> Any:
    if depth == 0:
        return schema
    if isinstance(schema, list):
        return [_changed(item, change, depth - 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner: dict[str, Any] = {}
    for key, value in schema.items():
        if key in NAMED and isinstance(value, dict):
            inner[key] = {name: _changed(item, change, depth - 1) for name, item in value.items()}
        else:
            inner[key] = value if key in DATA else _changed(value, change, depth - 1)
    return change(inner)
