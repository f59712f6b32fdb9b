"""A value that meets a JSON Schema, made up and not searched for.

`pattern`, `not`, `if`, `uniqueItems` and `patternProperties` are not looked at. A schema that is
none (a minimum that is a text) is read as if its odd keyword were not there.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

DEPTH_MAX: Final = 8
"""Levels down to which optional properties and items are filled in; required ones go twice as deep."""

VALUES_MAX: Final = 10_000
"""Values in one instance; what would come after them is null."""

ITEMS_MAX: Final = 100
LENGTH_CHARACTERS_MAX: Final = 10_000
NUMBER_MAX: Final = 10**15
STEP_MIN: Final = 1e-6

FORMATS: Final = {
    "date-time": "2026-01-31T12:00:00Z",
    "date": "2026-01-31",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}

Schema = dict[str, Any]


def instance(schema: Any, words: Iterator[str]) -> Any:
    """A value that meets `schema`, its texts taken from the endless `words`."""
    return _Author(schema, words).value(schema, 0)


class _Author:
    def __init__(self, root: Any, words: Iterator[str]) -> None:
        self._root = root
        self._words = words
        self._values_left = VALUES_MAX
        self._makers: dict[str, Callable[[Schema, int], Any]] = {
            "string": self._string,
            "integer": self._number,
            "number": self._number,
            "boolean": lambda _schema, _depth: True,
            "null": lambda _schema, _depth: None,
            "array": self._array,
            "object": self._object,
        }

    def value(self, schema: Any, depth: int) -> Any:
        self._values_left -= 1
        if self._values_left < 0 or depth > 2 * DEPTH_MAX:
            return None
        if not isinstance(schema, dict):
            return next(self._words)
        if "const" in schema:
            return schema["const"]
        if choices := _list(schema, "enum"):
            return choices[0]
        if "$ref" in schema:
            return self.value(self._resolved(schema), depth + 1)
        if choices := _list(schema, "anyOf") or _list(schema, "oneOf"):
            return self.value(_choice(choices, depth), depth + 1)
        if parts := _list(schema, "allOf"):
            return self.value(self._merged(schema, parts), depth + 1)
        return self._makers[_kind(schema, depth)](schema, depth)

    def _resolved(self, schema: Any) -> Schema:
        if not isinstance(schema, dict) or "$ref" not in schema:
            return schema if isinstance(schema, dict) else {}
        found = self._root
        for name in str(schema["$ref"]).removeprefix("#").split("/")[1:]:
            key = name.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _merged(self, schema: Schema, parts: list[Any]) -> Schema:
        merged = {key: value for key, value in schema.items() if key != "allOf"}
        for part in map(self._resolved, parts):
            for key, value in part.items():
                before = merged.get(key)
                if isinstance(value, dict) and isinstance(before, dict):
                    merged[key] = {**before, **value}
                elif isinstance(value, list) and isinstance(before, list):
                    merged[key] = before + value
                else:
                    merged[key] = value
        return merged

    def _string(self, schema: Schema, _depth: int) -> str:
        text = FORMATS.get(str(schema.get("format"))) or next(self._words)
        least = int(_number(schema, "minLength", 0))
        most = int(_number(schema, "maxLength", LENGTH_CHARACTERS_MAX))
        return text.ljust(min(least, LENGTH_CHARACTERS_MAX), "x")[: max(most, 0)]

    def _number(self, schema: Schema, _depth: int) -> float:
        step = max(_number(schema, "multipleOf", 1), STEP_MIN)
        least = _number(schema, "minimum", _number(schema, "exclusiveMinimum", -NUMBER_MAX))
        most = _number(schema, "maximum", _number(schema, "exclusiveMaximum", NUMBER_MAX))
        candidates = [step, 0, -step, *_near(least, step), *_near(most, step), (least + most) / 2]
        number = next((n for n in candidates if _fits(n, schema, step)), least)
        return int(number) if number == int(number) else number

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        least = min(int(_number(schema, "minItems", 0)), ITEMS_MAX)
        most = int(_number(schema, "maxItems", ITEMS_MAX))
        size = least if depth >= DEPTH_MAX else min(max(least, 1), most)
        return [self.value(schema.get("items"), depth + 1) for _ in range(size)]

    def _object(self, schema: Schema, depth: int) -> Schema:
        properties, required = schema.get("properties"), _list(schema, "required")
        if not isinstance(properties, dict):
            return {}
        return {
            name: self.value(inner, depth + 1)
            for name, inner in properties.items()
            if depth < DEPTH_MAX or name in required
        }


def _list(schema: Schema, key: str) -> list[Any]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _number(schema: Schema, key: str, default: float) -> float:
    value = schema.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return default
    return value if abs(value) <= NUMBER_MAX else default


def _kind(schema: Schema, depth: int) -> str:
    kinds = _list(schema, "type") or [schema.get("type")]
    if depth >= DEPTH_MAX and "null" in kinds:
        return "null"
    guess = "object" if "properties" in schema else "array" if "items" in schema else "string"
    known = ("string", "integer", "number", "boolean", "array", "object", "null")
    return next((str(kind) for kind in kinds if kind in known), guess)


def _choice(choices: list[Any], depth: int) -> Any:
    """The first one; deep down the one that ends a recursion, if there is one."""
    nothing = {"type": "null"}
    return nothing if depth >= DEPTH_MAX and nothing in choices else choices[0]


def _near(bound: float, step: float) -> list[float]:
    multiple = bound // step * step
    return [multiple - step, multiple, multiple + step]


def _fits(number: float, schema: Schema, step: float) -> bool:
    is_whole = schema.get("type") != "integer" or number == int(number)
    is_multiple = "multipleOf" not in schema or number == number // step * step
    return (
        is_whole
        and is_multiple
        and number >= _number(schema, "minimum", -NUMBER_MAX)
        and number <= _number(schema, "maximum", NUMBER_MAX)
        and number > _number(schema, "exclusiveMinimum", -NUMBER_MAX - 1)
        and number < _number(schema, "exclusiveMaximum", NUMBER_MAX + 1)
    )
