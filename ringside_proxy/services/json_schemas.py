"""JSON schemas of callers: bounded, compiled once, never fetching anything.

A schema comes from outside, and so does what it is applied to: sizes are checked before anything
is walked, patterns may only backtrack so far, `$ref` may only point into the schema itself, and
all references together may only lead so far: each may double the work of the one before it.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote

import jsonschema_rs
import orjson

from ringside_proxy.domain.errors import InvalidRequestError

SCHEMA_BYTES_MAX: Final = 32 * 1024
SCHEMA_DEPTH_MAX: Final = 16
SCHEMA_NODES_MAX: Final = 2_000
FOLLOWED_MAX: Final = 10_000
"""Schemas that hold for one value because a `$ref` led to them."""
COMPILED_MAX: Final = 256
BACKTRACKS_MAX: Final = 100_000
FAULTS_SHOWN_MAX: Final = 5
FAULT_CHARS_MAX: Final = 300

PARAM: Final = "response_format.json_schema.schema"
IN_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
"""Keywords whose schemas hold for the same value, beside `dependentSchemas`."""
POINTER: Final = re.compile("#(/|$)")
PLACE_DIGITS_MAX: Final = 5
MOVING_REFS: Final = frozenset({"$dynamicRef", "$recursiveRef"})
"""References whose target is found by validating."""


class Schema:
    """A compiled schema."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validator = _compiled(document)

    def faults(self, value: Any) -> list[str]:
        """What is wrong with `value`, in words for the model that wrote it; empty if nothing."""
        return [
            f"at /{'/'.join(map(str, error.instance_path))}: {error.message}"[:FAULT_CHARS_MAX]
            for error in islice(self._validator.iter_errors(value), FAULTS_SHOWN_MAX)
        ]


class Schemas:
    """The schemas that are in use, compiled; the least recently used ones are forgotten."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, Schema] = OrderedDict()

    def compile(self, document: dict[str, Any]) -> Schema:
        """The schema. Raises InvalidRequestError for one that is no schema, or too large."""
        try:
            raw = orjson.dumps(document)
        except orjson.JSONEncodeError as error:  # nested too deeply, or a number past 64 bits
            raise _refused(str(error)) from None
        if len(raw) > SCHEMA_BYTES_MAX:
            raise _too_complex(f"it is {len(raw)} bytes, at most {SCHEMA_BYTES_MAX} are allowed")
        key = hashlib.sha256(raw).digest()
        schema = self._compiled.pop(key, None)
        if schema is None:
            _check_shape(document)
            schema = Schema(document)
        self._compiled[key] = schema
        if len(self._compiled) > COMPILED_MAX:
            self._compiled.popitem(last=False)
        return schema


def _check_shape(document: dict[str, Any]) -> None:
    for count, (depth, key, value) in enumerate(_walk(document), start=1):
        if count > SCHEMA_NODES_MAX:
            raise _too_complex(f"it has more than {SCHEMA_NODES_MAX} nodes")
        if depth > SCHEMA_DEPTH_MAX:
            raise _too_complex(f"it is nested deeper than {SCHEMA_DEPTH_MAX} levels")
        if key == "$ref" and isinstance(value, str) and not POINTER.match(value):
            raise _refused("'$ref' may only point into the schema itself, as in '#/$defs/x'")
        if isinstance(value, str) and (key in MOVING_REFS or (key == "$id" and depth > 1)):
            raise _refused(f"'{key}' is not supported here: use '$ref', as in '#/$defs/x'")
    _check_references(document)


def _check_references(document: dict[str, Any]) -> None:
    """Follow all references as far as they hold for one value; a circle never ends."""
    waiting = [value for _, _, value in _walk(document) if _points(value)]
    count = 0
    while waiting:
        count += 1
        if count > FOLLOWED_MAX:
            raise _too_complex(f"its references lead to more than {FOLLOWED_MAX} schemas")
        schema = waiting.pop()
        found = [_target(document, schema["$ref"])] if _points(schema) else []
        for name in IN_PLACE:
            inside = schema.get(name)
            found.extend(inside if isinstance(inside, list) else [inside])
        if isinstance(by_property := schema.get("dependentSchemas"), dict):
            found.extend(by_property.values())
        waiting.extend(each for each in found if isinstance(each, dict))


def _points(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("$ref"), str)


def _target(document: Any, pointer: str) -> Any:
    """What a pointer leads to; null if nowhere, which the compiler refuses."""
    found = document
    for part in unquote(pointer).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list):
            place = int(name) if name.isdecimal() and len(name) <= PLACE_DIGITS_MAX else len(found)
            found = found[place] if place < len(found) else None
        else:
            found = found.get(name) if isinstance(found, dict) else None
    return found


def _walk(document: dict[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """Every node with its depth and key, without recursion."""
    waiting: list[tuple[int, str, Any]] = [(0, "", document)]
    while waiting:
        depth, key, value = waiting.pop()
        yield depth, key, value
        if isinstance(value, dict):
            waiting.extend((depth + 1, name, item) for name, item in value.items())
        elif isinstance(value, list):
            waiting.extend((depth + 1, "", item) for item in value)


def _compiled(document: dict[str, Any]) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(
            document,
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=BACKTRACKS_MAX),
        )
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise _refused(str(error).partition("\n")[0][:FAULT_CHARS_MAX]) from None


def _too_complex(reason: str) -> InvalidRequestError:
    return _refused(reason, code="schema_too_complex")


def _refused(reason: str, code: str = "invalid_json_schema") -> InvalidRequestError:
    return InvalidRequestError(f"Invalid schema for '{PARAM}': {reason}.", param=PARAM, code=code)
