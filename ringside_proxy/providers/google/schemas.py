"""Schemas and function names, lowered to what Gemini accepts. Pure.

The caller's own schema stays what answers are validated against; this is the copy that goes out,
in `parametersJsonSchema` and `responseJsonSchema`, which know `$ref`, `$defs` and `anyOf`.
Source: https://github.com/googleapis/python-genai (FunctionDeclaration and GenerationConfig in
types.py of 3.4.0), and for the keywords litellm and pydantic-ai, read 2026-11-21.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

DEPTH_MAX: Final = 64
"""Deeper schemas go out as they are."""

REFUSED: Final = frozenset(
    {
        "$schema",
        "$id",
        "title",
        "examples",
        "discriminator",
        "exclusiveMinimum",
        "exclusiveMaximum",
    }
)
NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions"})
"""Keywords whose value is schemas by name, so that its keys are no keywords."""
DATA: Final = frozenset({"enum", "default", "required"})
"""Keywords whose value is data, not schemas."""
SAYS_SOMETHING: Final = frozenset({"$ref", "anyOf", "oneOf", "allOf", "additionalProperties"})

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.:-]")
NAME_CHARS_MAX: Final = 128


def lowered(schema: Any, depth: int = DEPTH_MAX) -> Any:
    """Without the keywords that are refused; `const` is an `enum` of one."""
    if depth == 0:
        return schema
    if isinstance(schema, list):
        return [lowered(item, depth - 1) for item in schema]
    if not isinstance(schema, dict):
        return schema
    told: dict[str, Any] = {}
    for key, value in schema.items():
        if key in REFUSED:
            continue
        if key == "const":
            told["enum"] = [value]
        elif key in NAMED and isinstance(value, dict):
            told[key] = {name: lowered(item, depth - 1) for name, item in value.items()}
        elif key != "enum" or "const" not in schema:
            told[key] = value if key in DATA else lowered(value, depth - 1)
    return told


def parameters_of(schema: Any) -> dict[str, Any] | None:
    """A function's parameters; None if it has none, which is said by leaving them out."""
    if not isinstance(schema, dict):
        return None
    says = schema.get("properties") or any(
        schema.get(key) not in (None, False) for key in SAYS_SOMETHING
    )
    parameters: dict[str, Any] = lowered(schema)
    return parameters if says else None


def wire_names(names: Iterable[str]) -> dict[str, str]:
    """Each function name as Gemini takes it: begun with a letter or `_`, and no two alike."""
    wire: dict[str, str] = {}
    taken: set[str] = set()
    ordered = sorted(dict.fromkeys(names), key=lambda name: NAME.fullmatch(name) is None)
    for name in ordered:  # the lawful ones first, so that they stay as they are
        lawful = name if NAME.fullmatch(name) else "_" + NOT_IN_NAMES.sub("_", name)
        told, number = lawful[:NAME_CHARS_MAX], 2
        while told in taken:
            told, number = f"{lawful[: NAME_CHARS_MAX - 8]}_{number}", number + 1
        taken.add(told)
        wire[name] = told
    return wire


def names_of(messages: list[dict[str, Any]], params: dict[str, Any]) -> list[str]:
    """The names of the functions that a request declares, then of those that it tells of."""
    called = [call for message in messages for call in message.get("tool_calls") or ()]
    functions = (item.get("function") for item in [*(params.get("tools") or ()), *called])
    return [
        function["name"]
        for function in functions
        if isinstance(function, dict) and isinstance(function.get("name"), str)
    ]
