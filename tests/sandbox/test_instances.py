import itertools
import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringside_proxy.sandbox.instances import VALUES_MAX, instance

RECURSIVE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "next", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS = [
    True,
    {},
    {"type": "string", "minLength": 9, "maxLength": 10},
    {"type": "string", "maxLength": 1},
    {"type": "string", "enum": ["b", "a"]},
    {"type": ["null", "string"]},
    {"const": {"a": 1}},
    {"type": "integer"},
    {"type": "integer", "minimum": 7},
    {"type": "integer", "maximum": -7},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
    {"type": "integer", "multipleOf": 5, "minimum": 12},
    {"type": "integer", "minimum": 1.5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "multipleOf": 0.25, "minimum": 0.3},
    {"type": "number", "minimum": -2, "maximum": -1},
    {"type": "boolean"},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3},
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"type": "object"},
    {"properties": {"a": {"type": "object", "properties": {"b": {"type": "null"}}}}},
    {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a"]}], "type": "object"},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {"type": "object", "properties": {"a/b": {"$ref": "#/properties/c~1d"}, "c/d": {"const": 1}}},
    RECURSIVE,
    *({"type": "string", "format": name} for name in ("date-time", "date", "email", "uri", "uuid")),
]


def words() -> Any:
    return itertools.cycle(["Paris", "in"])


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_an_instance_meets_its_schema(schema: Any) -> None:
    """By the word of an independent validator."""
    jsonschema_rs.validate(schema, instance(schema, words()), validate_formats=True)


def test_texts_come_from_the_words_in_turn() -> None:
    """One word for each text; the first value of an enum."""
    schema = {"properties": {"a": {"type": "string"}, "b": {"enum": [3]}, "c": {"type": "string"}}}

    assert instance(schema, words()) == {"a": "Paris", "b": 3, "c": "in"}


@pytest.mark.parametrize("is_required", [True, False])
def test_a_schema_that_never_ends_gives_a_bounded_instance(is_required: bool) -> None:
    """Endless breadth and depth stop at the bound on values."""
    names = [f"p{i}" for i in range(10)]
    schema = {"type": "object", "properties": {name: {"$ref": "#"} for name in names}}
    if is_required:
        schema["required"] = names

    text = json.dumps(instance(schema, words()))

    assert text.count("p") <= 10 * VALUES_MAX


KEYWORDS = st.sampled_from(
    [
        *("type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf", "format", "multipleOf"),
        *("properties", "required", "items", "minItems", "maxItems", "minLength", "maxLength"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    ]
)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(["#", "#/a", "string", "object"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=12,
)
KINDS = st.sampled_from(["string", "integer", "number", "array", "object", 5])


@settings(deadline=None)  # other work may hold the machine
@given(st.dictionaries(st.just("type"), KINDS), JSON_VALUES)
def test_a_schema_that_is_none_still_gives_json(kind: dict[str, Any], schema: Any) -> None:
    """Keywords of the wrong kind are read as if they were not there."""
    merged = {**schema, **kind} if isinstance(schema, dict) else schema

    assert json.dumps(instance(merged, words()), allow_nan=False)
