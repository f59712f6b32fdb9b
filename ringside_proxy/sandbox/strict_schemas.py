"""OpenAI's strict subset of JSON Schema: what `strict: true` allows.

Source: error answers of api.openai.com as public issue threads quote them, read 2026-11-21.
"""

from collections.abc import Iterator
from typing import Any, Final

CONTEXT_NAMES_MAX: Final = 100
"""How long a path is followed into a schema."""

Context = tuple[str, ...]


def strict_problem(schema: Any, context: Context = ()) -> str | None:
    """What keeps `schema` out of the strict subset, in OpenAI's words; None if nothing."""
    if not isinstance(schema, dict) or len(context) > CONTEXT_NAMES_MAX:
        return None
    if "allOf" in schema:
        return f"In context={context}, 'allOf' is not permitted."
    if _is_object(schema) and (problem := _object_problem(schema, context)):
        return problem
    problems = (strict_problem(inner, context + at) for at, inner in _inner(schema))
    return next(filter(None, problems), None)


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _object_problem(schema: dict[str, Any], context: Context) -> str | None:
    if schema.get("additionalProperties") is not False:
        return (
            f"In context={context}, 'additionalProperties' is required to be supplied "
            "and to be false."
        )
    properties, required = schema.get("properties"), schema.get("required")
    names = properties if isinstance(properties, dict) else {}
    listed = required if isinstance(required, list) else []
    for name in names:
        if name not in listed:
            return (
                f"In context={context}, 'required' is required to be supplied and to be an array "
                f"including every key in properties. Missing '{name}'."
            )
    return None


def _inner(schema: dict[str, Any]) -> Iterator[tuple[Context, Any]]:
    for key in ("properties", "$defs", "definitions"):
        if isinstance(named := schema.get(key), dict):
            yield from (((key, name), inner) for name, inner in named.items())
    if "items" in schema:
        yield ("items",), schema["items"]
    if isinstance(choices := schema.get("anyOf"), list):
        yield from ((("anyOf", str(i)), inner) for i, inner in enumerate(choices))
