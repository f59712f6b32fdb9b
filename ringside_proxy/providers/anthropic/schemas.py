"""Schemas lowered to the part of JSON Schema that Anthropic's strict decoder takes. Pure.

The caller's own schema stays what answers are validated against; this is the copy that goes out.
What it cannot say goes into descriptions, for the model to read. A schema that has no closed form
(open maps, recursion) has no copy: it has to be said in words.
Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs and
lib/_parse/_transform.py of anthropic 2.11.0, read 2026-11-21.
"""

from typing import Any, Final

import orjson

Schema = dict[str, Any]

DEPTH_MAX: Final = 64
OPTIONALS_MAX: Final = 24
"""Optional parameters in one request, over all its schemas."""
UNIONS_MAX: Final = 16
STRICT_TOOLS_MAX: Final = 20

FORMATS: Final = frozenset(
    {
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    }
)
ADDRESSES: Final = frozenset({"$schema", "$id", "$comment", "$anchor"})
TYPES: Final = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
ALTERNATIVES: Final = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
DEFINITIONS: Final = "#/$defs/"
OLD_DEFINITIONS: Final = "#/definitions/"


class NotClosedError(Exception):
    """The schema has no closed form."""


class Lowering:
    """Lowers the schemas of one request, which share its limits."""

    def __init__(self) -> None:
        self._optionals_left = OPTIONALS_MAX
        self._unions_left = UNIONS_MAX

    def lowered(self, schema: Any) -> Schema | None:
        """The copy that goes out; None if there is none, or no room for it."""
        pass_ = _Pass()
        try:
            told = pass_.schema(schema, DEPTH_MAX)
            pass_.check_references(told.get("$defs", {}))
        except NotClosedError:
            return None
        if pass_.optionals > self._optionals_left or pass_.unions > self._unions_left:
            return None
        self._optionals_left -= pass_.optionals
        self._unions_left -= pass_.unions
        return told


class _Pass:
    """One schema on its way; counts what is limited."""

    def __init__(self) -> None:
        self.optionals = 0
        self.unions = 0
        self._references: dict[str, set[str]] = {"": set()}
        """The definitions that each definition, or the schema itself, refers to."""
        self._inside = ""

    def schema(self, given: Any, depth: int) -> Schema:
        if not isinstance(given, dict) or depth == 0:
            raise NotClosedError
        left = {key: value for key, value in given.items() if key not in ADDRESSES}
        told: Schema = {}
        definitions = _schemas(left, "definitions") | _schemas(left, "$defs")
        if definitions:
            told["$defs"] = self._definitions(definitions, depth)
        if "$ref" in left:
            return told | {"$ref": self._reference(left["$ref"])}
        kind = _kind(left)
        if isinstance(kind, list) and "enum" not in left and "const" not in left:
            words = _popped(left, "title", "description")
            variants = [
                {"type": each} if each == "null" else left | {"type": each} for each in kind
            ]
            left, kind = {"anyOf": variants} | words, None
        told |= self._body(left, kind, depth)
        told |= _popped(left, "title")
        if (text := _description(left)) is not None:
            told["description"] = text
        return told

    def _definitions(self, definitions: Schema, depth: int) -> Schema:
        told, outside = {}, self._inside
        for name, definition in definitions.items():
            self._inside = name
            self._references.setdefault(name, set())
            told[name] = self.schema(definition, depth - 1)
        self._inside = outside
        return told

    def _reference(self, address: Any) -> str:
        text = address if isinstance(address, str) else ""
        name = text.removeprefix(DEFINITIONS).removeprefix(OLD_DEFINITIONS)
        if not name or name == text or "/" in name:
            raise NotClosedError
        self._references[self._inside].add(name)
        return DEFINITIONS + name

    def check_references(self, definitions: Schema) -> None:
        """Raises NotClosedError for definitions that lead nowhere, or back to themselves."""
        done: set[str] = set()
        while waiting := [n for n in self._references if n not in done]:
            ready = [n for n in waiting if self._references[n] <= done]
            if not ready:
                raise NotClosedError
            done |= {*ready}
        if not done - {""} <= definitions.keys():
            raise NotClosedError

    def _body(self, left: Schema, kind: Any, depth: int) -> Schema:
        """What is left of `left` after this is for the description."""
        literals = _literals(left)
        if literals:
            left.pop("type", None)
            return literals
        for word, told_word in ALTERNATIVES.items():
            if isinstance(variants := left.pop(word, None), list) and variants:
                self.unions += told_word == "anyOf"
                left.pop("type", None)
                return {told_word: [self.schema(variant, depth - 1) for variant in variants]}
        left.pop("type", None)
        if not isinstance(kind, str) or kind not in TYPES:
            raise NotClosedError
        return {"type": kind} | self._typed(left, kind, depth)

    def _typed(self, left: Schema, kind: str, depth: int) -> Schema:
        match kind:
            case "object":
                return self._object(left, depth)
            case "array":
                return self._array(left, depth)
            case "string" if str(left.get("format")) in FORMATS:
                return _popped(left, "format")
        return {}

    def _object(self, left: Schema, depth: int) -> Schema:
        properties = _schemas(left, "properties")
        is_open = left.pop("additionalProperties", True) is not False
        if (is_open and not properties) or "patternProperties" in left:
            raise NotClosedError
        told = {name: self.schema(each, depth - 1) for name, each in properties.items()}
        given = left.pop("required", None)
        required = [name for name in told if isinstance(given, list) and name in given]
        self.optionals += len(told) - len(required)
        return {"properties": told, "additionalProperties": False, "required": required}

    def _array(self, left: Schema, depth: int) -> Schema:
        if "items" not in left:
            raise NotClosedError
        told: Schema = {"items": self.schema(left.pop("items"), depth - 1)}
        if left.get("minItems") in (0, 1):
            told |= _popped(left, "minItems")
        return told


def _schemas(left: Schema, key: str) -> Schema:
    """Schemas by name; raises NotClosedError for what is no such thing."""
    named = left.pop(key, None)
    if named is not None and not isinstance(named, dict):
        raise NotClosedError
    return named or {}


def _kind(schema: Schema) -> Any:
    """The type, or the types; one that goes without saying is read off the other keywords."""
    kind = schema.get("type")
    if isinstance(kind, list):
        return kind[0] if len(kind) == 1 else kind
    if kind is None and "properties" in schema:
        return "object"
    return "array" if kind is None and "items" in schema else kind


def _literals(left: Schema) -> Schema:
    told: Schema = {}
    for word in ("enum", "const"):
        if word not in left:
            continue
        value = left.pop(word)
        each = value if word == "enum" else [value]
        if not isinstance(each, list) or not each or any(isinstance(v, dict | list) for v in each):
            raise NotClosedError
        told[word] = value
    return told


def _description(left: Schema) -> str | None:
    """The description, and what the decoder does not take."""
    given = left.pop("description", None)
    text = given if isinstance(given, str) else None
    if not left:
        return text
    rest = ", ".join(f"{key}: {orjson.dumps(value).decode()}" for key, value in left.items())
    return f"{text}\n\n{{{rest}}}" if text else f"{{{rest}}}"


def _popped(schema: Schema, *keys: str) -> Schema:
    return {key: schema.pop(key) for key in keys if key in schema}
