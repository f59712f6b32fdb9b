"""JSON schemas of callers: bounded, compiled once, never fetching anything.

A schema comes from outside, and so does what it is applied to: sizes are checked before anything
is walked, patterns may only backtrack so far, `$ref` may only point into the schema itself, and
all references together may only lead so far: each may double the work of the one before it.

What a schema and an answer cost together is told by their sizes for most, and such are applied at
once. Those that may cost more, and those with patterns or circles of which nobody can tell, are
applied by the judge, who stops in time.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

import orjson

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.services.schema_judge import SchemaJudge, TooComplexError
from ringside_proxy.services.schema_rules import compiled, faults

SCHEMA_BYTES_MAX: Final = 32 * 1024
SCHEMA_DEPTH_MAX: Final = 16
SCHEMA_NODES_MAX: Final = 2_000
FOLLOWED_MAX: Final = 10_000
"""Schemas that hold for one value because a `$ref` led to them."""
COMPILED_MAX: Final = 256
PLAIN_NODES_MAX: Final = 2_000
"""Nodes of a schema with all references written out, up to which its size tells its cost."""
INLINE_WORK_MAX: Final = 1_000_000
"""Nodes of the schema times bytes of the answer. Measured: less than 85 ns for a node of the schema at
a node of the answer, which is two bytes or more; that makes 45 ms at the very most."""

PARAM: Final = "response_format.json_schema.schema"
IN_PLACE: Final = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
"""Keywords whose schemas hold for the same value, beside `dependentSchemas`."""
POINTER: Final = re.compile("#(/|$)")
PLACE_DIGITS_MAX: Final = 5
MOVING_REFS: Final = frozenset({"$dynamicRef", "$recursiveRef"})
"""References whose target is found by validating."""


COSTLY: Final = frozenset(
    {"pattern", "patternProperties", "multipleOf", "contentEncoding", "contentMediaType"}
    | {"unevaluatedProperties", "unevaluatedItems"}
)
"""Keywords whose cost their size does not tell."""


class Schema:
    """A schema of a permitted shape."""

    def __init__(self, document: dict[str, Any], raw: bytes, judge: SchemaJudge) -> None:
        self.document = document
        self._raw = raw
        self._judge = judge
        self._nodes = _written_out(document)
        self._is_checked = self._nodes is not None
        self._validator = None
        if self._nodes is not None:
            try:
                self._validator = compiled(document)
            except ValueError as error:
                raise _refused(str(error)) from None

    async def check(self) -> None:
        """Raises InvalidRequestError if it is no schema, or too much of one."""
        if not self._is_checked:
            await self._judged(b"null")
            self._is_checked = True

    async def faults(self, value: Any, text: str) -> list[str]:
        """What is wrong with `value`, in words for the model that wrote it as `text`.

        Empty if nothing is. Raises InvalidRequestError if that cannot be told in time.
        """
        work = None if self._nodes is None else self._nodes * len(text)
        if self._validator is None or work is None or work > INLINE_WORK_MAX:
            return await self._judged(text.encode())
        return faults(self._validator, value)

    async def _judged(self, answer: bytes) -> list[str]:
        try:
            return await self._judge.faults(self._raw, answer)
        except ValueError as error:
            raise _refused(str(error)) from None
        except TooComplexError:
            raise _too_complex("applying it takes too long") from None


class Schemas:
    """The schemas that are in use, compiled; the least recently used ones are forgotten."""

    def __init__(self, judge: SchemaJudge) -> None:
        self._judge = judge
        self._compiled: OrderedDict[bytes, Schema] = OrderedDict()

    def compile(self, document: dict[str, Any]) -> Schema:
        """The schema, still to be checked (`Schema.check`) if its cost cannot be told.

        Raises InvalidRequestError for one that is no schema, or too large.
        """
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
            schema = Schema(document, raw, self._judge)
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


def _written_out(document: dict[str, Any]) -> int | None:
    """How many nodes it has with every reference written out; null if that does not tell its cost."""
    waiting: list[Any] = [document]
    count = 0
    while waiting:
        count += 1
        if count > PLAIN_NODES_MAX:
            return None
        found = waiting.pop()
        if isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, dict):
            if not COSTLY.isdisjoint(found) or found.get("format") == "regex":
                return None
            waiting.extend(found.values())
            if _points(found):
                waiting.append(_target(document, found["$ref"]))
    return count


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


def _too_complex(reason: str) -> InvalidRequestError:
    return _refused(reason, code="schema_too_complex")


def _refused(reason: str, code: str = "invalid_json_schema") -> InvalidRequestError:
    return InvalidRequestError(f"Invalid schema for '{PARAM}': {reason}.", param=PARAM, code=code)
