from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringside_proxy.providers.chat.schemas import DEPTH_MAX, closed, is_strict, without_addresses

OPEN = {"type": "object"}
CLOSED = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (OPEN, CLOSED),
        ({"type": "object", "additionalProperties": True}, CLOSED),
        ({"type": "string"}, {"type": "string"}),
        ({"items": OPEN}, {"items": CLOSED}),
        ({"anyOf": [OPEN, {"type": "null"}]}, {"anyOf": [CLOSED, {"type": "null"}]}),
        ({"$defs": {"a": OPEN}}, {"$defs": {"a": CLOSED}}),
        (
            {"properties": {"properties": OPEN, "type": {"const": {"type": "object"}}}},
            {
                "properties": {"properties": CLOSED, "type": {"const": {"type": "object"}}},
                "additionalProperties": False,
            },
        ),
        ({"enum": [OPEN]}, {"enum": [OPEN]}),
        (True, True),
    ],
)
def test_every_object_is_closed(schema, expected):
    """Keywords are told from names and from data, and the caller's schema is not touched."""
    before = repr(schema)

    assert closed(schema) == expected
    assert repr(schema) == before


def test_addresses_are_taken_out_everywhere():
    """A property may well be called `$id`."""
    inner = {"$id": "x", "type": "object", "properties": {"$id": {"type": "string"}}}

    assert without_addresses({"$schema": "s", "items": inner}) == {
        "items": {"type": "object", "properties": {"$id": {"type": "string"}}}
    }


def test_depth_is_bounded():
    """What lies deeper goes out as it is."""
    schema: Any = OPEN
    for _ in range(10 * DEPTH_MAX):
        schema = {"items": schema}

    assert closed(schema) == schema


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["properties", "type", "items", "$defs", "a"]), inner)
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_schema_can_surprise(schema):
    """Whatever a caller calls a schema, lowering it twice changes nothing more."""
    once = closed(without_addresses(schema))

    assert closed(without_addresses(once)) == once


WHOLE: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"anyOf": [CLOSED, {"type": "null"}]}},
    "required": ["a", "b"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (WHOLE, True),
        (CLOSED, True),
        (OPEN, False),
        (WHOLE | {"required": ["a"]}, False),
        (WHOLE | {"properties": {"a": OPEN}}, False),
        (WHOLE | {"$defs": {"x": {"allOf": []}}}, False),
        (WHOLE | {"properties": {"allOf": {"type": "string"}}, "required": ["allOf"]}, True),
        ({"type": "string"}, False),
        (True, False),
    ],
)
def test_strict_mode_takes_closed_and_whole_objects_alone(schema, expected):
    """Everywhere in the schema; names of properties are no keywords."""
    assert is_strict(schema) is expected
