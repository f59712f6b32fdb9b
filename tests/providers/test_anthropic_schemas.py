"""Schemas as Anthropic's strict decoder takes them."""

from typing import Any

import orjson
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from ringside_proxy.providers.anthropic.schemas import OPTIONALS_MAX, UNIONS_MAX, Lowering
from tests.providers.streams import ANY_JSON

TEXT = {"type": "string"}
WORDS = ["type", "properties", "items", "$ref", "$defs", "anyOf", "enum", "required", "minimum"]


def lowered(schema: Any) -> Any:
    return Lowering().lowered(schema)


def closed(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": list(properties) if required is None else required,
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (TEXT, TEXT),
        ({"properties": {"a": TEXT}}, closed({"a": TEXT}, [])),
        (
            {"type": "object", "properties": {"a": TEXT}, "required": ["a", "b"]},
            closed({"a": TEXT}),
        ),
        (
            {"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT},
            closed({"a": TEXT}, []),
        ),
        ({"type": "object", "additionalProperties": False}, closed({})),
        ({"$schema": "x", "$id": "y", "type": "null"}, {"type": "null"}),
        ({"type": ["string"]}, TEXT),
        (
            {"type": ["string", "null"], "description": "D", "maxLength": 3},
            {
                "anyOf": [{**TEXT, "description": "{maxLength: 3}"}, {"type": "null"}],
                "description": "D",
            },
        ),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"enum": ["a", None]}),
        ({"const": 1, "title": "T"}, {"const": 1, "title": "T"}),
        ({"oneOf": [TEXT]}, {"anyOf": [TEXT]}),
        ({"allOf": [TEXT]}, {"allOf": [TEXT]}),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        (
            {"type": "string", "format": "color", "pattern": "^#"},
            {"type": "string", "description": '{format: "color", pattern: "^#"}'},
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 10, "description": "A number"},
            {"type": "integer", "description": "A number\n\n{minimum: 1, maximum: 10}"},
        ),
        (
            {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 3},
            {"type": "array", "items": TEXT, "minItems": 1, "description": "{maxItems: 3}"},
        ),
        (
            {"items": TEXT, "minItems": 2},
            {"type": "array", "items": TEXT, "description": "{minItems: 2}"},
        ),
        (
            {"definitions": {"A": TEXT}, "$ref": "#/definitions/A"},
            {"$defs": {"A": TEXT}, "$ref": "#/$defs/A"},
        ),
        (
            {"$defs": {"A": TEXT, "B": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/B"},
            {"$defs": {"A": TEXT, "B": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/B"},
        ),
    ],
)
def test_schema_is_lowered(given, told):
    """Objects are closed, and what the decoder does not take stands in the description."""
    assert lowered(given) == told


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        {"type": "object", "properties": {"a": TEXT}, "patternProperties": {"^x": TEXT}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "array"},
        {"type": "date"},
        {"type": {}},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": TEXT}, "$defs": 1},
        {"enum": [{"a": 1}]},
        {"enum": []},
        {"const": []},
        {"$ref": "#"},
        {"$ref": "https://example.com/a"},
        {"$ref": "#/$defs/Missing"},
        {"$defs": {"A": {"type": "array", "items": {"$ref": "#/$defs/A"}}}, "$ref": "#/$defs/A"},
        {
            "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}},
            "$ref": "#/$defs/A",
        },
    ],
)
def test_schema_without_a_closed_form_has_no_copy(schema):
    """Open maps, anything-goes, recursion and references that lead nowhere."""
    assert lowered(schema) is None


def test_schema_that_is_too_deep_has_no_copy():
    """Depth is bounded."""
    schema: dict[str, Any] = TEXT
    for _ in range(70):
        schema = {"type": "array", "items": schema}

    assert lowered(schema) is None


def test_limits_are_those_of_the_whole_request():
    """Optional parameters and unions of all schemas in a request count together."""
    optional = {"type": "object", "properties": {str(i): TEXT for i in range(OPTIONALS_MAX)}}
    union = closed({str(i): {"type": ["string", "null"]} for i in range(UNIONS_MAX)})
    one_more = {"type": "object", "properties": {"a": TEXT}}
    lowering = Lowering()

    assert lowering.lowered(optional) is not None
    assert lowering.lowered(one_more) is None
    assert lowering.lowered(union) is not None
    assert lowering.lowered({"type": ["string", "null"]}) is None
    assert lowering.lowered(TEXT) == TEXT


def test_callers_schema_stays_as_it_is():
    """The copy is a copy: answers are validated against what the caller gave."""
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}

    lowered(schema)

    assert schema == {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}


@given(st.dictionaries(st.sampled_from(WORDS), ANY_JSON, max_size=4))
def test_no_schema_breaks_the_lowering(schema):
    """Whatever a caller calls a schema has a copy or has none."""
    try:
        schema = orjson.loads(orjson.dumps(schema))
    except TypeError:
        reject()  # no such number comes in

    told = lowered(schema)

    assert told is None or isinstance(told, dict)
