"""Schemas of callers: what is taken, what is refused and why, and how faults are told."""

from itertools import pairwise
from typing import Any

import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.services.json_schemas import (
    COMPILED_MAX,
    FAULT_CHARS_MAX,
    FAULTS_SHOWN_MAX,
    PARAM,
    SCHEMA_BYTES_MAX,
    SCHEMA_DEPTH_MAX,
    SCHEMA_NODES_MAX,
    Schemas,
)

Json = dict[str, Any]
NUMBER: Json = {"type": "number"}
NODE_OR_NULL: Json = {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}
LIST: Json = {
    "$defs": {"node": {"type": "object", "properties": {"next": NODE_OR_NULL}}},
    "$ref": "#/$defs/node",
}


def nested(depth: int) -> Json:
    """A schema whose innermost node is `depth` levels below the first."""
    schema: Json = {}
    for _ in range(depth):
        schema = {"not": schema}
    return schema


def doubling(times: int) -> Json:
    """A schema that is applied 2**times times to one value."""
    names = [f"s{number}" for number in range(times + 1)]
    schemas: Json = {names[0]: NUMBER}
    for inner, outer in pairwise(names):
        schemas[outer] = {"allOf": [{"$ref": f"#/$defs/{inner}"}] * 2}
    return {"$defs": schemas, "$ref": f"#/$defs/{names[-1]}"}


def refused(document: Any) -> InvalidRequestError:
    """The error that compiling raises."""
    with pytest.raises(InvalidRequestError) as raised:
        Schemas().compile(document)
    return raised.value


VALID: dict[str, tuple[Json, Any]] = {
    "an object": ({"type": "object", "required": ["a"]}, {"a": None}),
    "a value that is no object": (NUMBER, 1.5),
    "draft 7": ({"$schema": "http://json-schema.org/draft-07/schema#", **NUMBER}, 1),
    "a definition": ({"$defs": {"n": NUMBER}, "$ref": "#/$defs/n"}, 3),
    "a definition in a list": ({"anyOf": [NUMBER, {"$ref": "#/anyOf/0"}]}, 3),
    "a name that has to be escaped": ({"$defs": {"a/b c": NUMBER}, "$ref": "#/$defs/a~1b%20c"}, 3),
    "a recursive list": (LIST, {"next": {"next": {"next": None}}}),
    "a property called $ref": ({"properties": {"$ref": NUMBER}}, {"$ref": 1}),
    "an identified schema": ({"$id": "https://example.com/a", **NUMBER}, 1),
    "words of our own": ({"x-ringside": 1, **NUMBER}, 1),
    "many references": (doubling(8), 1),
    "the deepest": (nested(SCHEMA_DEPTH_MAX), 1),
}


@pytest.mark.parametrize(("document", "value"), VALID.values(), ids=VALID)
def test_value_that_meets_the_schema_has_no_faults(document: Json, value: Any) -> None:
    """What JSON Schema allows is taken, whatever the draft."""
    schema = Schemas().compile(document)

    assert schema.faults(value) == []


INVALID: dict[str, tuple[Json, Any, str]] = {
    "a wrong type": (NUMBER, "1", 'at /: "1" is not of type "number"'),
    "a missing name": ({"required": ["a"]}, {}, 'at /: "a" is a required property'),
    "deep inside": (
        {"properties": {"a": {"items": NUMBER}}},
        {"a": [1, 2, None]},
        'at /a/2: null is not of type "number"',
    ),
    "a name too many": (
        {"properties": {"a": {}}, "additionalProperties": False},
        {"a": 1, "b": 2},
        "at /: Additional properties are not allowed ('b' was unexpected)",
    ),
    "behind a reference": (LIST, {"next": 1}, "at /next"),
    "draft 7": (
        {"$schema": "http://json-schema.org/draft-07/schema#", "const": 1},
        2,
        "at /: 1 was expected",
    ),
    "a pattern that never ends": ({"pattern": r"^(?=(a+)+$)(a|a)*\1$"}, "a" * 60 + "b", "at /"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "value", "fault"), INVALID.values(), ids=INVALID)
def test_fault_names_its_place_and_its_reason(document: Json, value: Any, fault: str) -> None:
    """The model is told where its answer breaks which rule."""
    [found] = Schemas().compile(document).faults(value)

    assert found.startswith(fault)


def test_faults_are_few_and_short() -> None:
    """However wrong the answer is, the complaint about it stays small."""
    schema = Schemas().compile({"items": {"const": "x"}, "minItems": 10_000})

    faults = schema.faults(["y" * 5_000] * 100)

    assert len(faults) == FAULTS_SHOWN_MAX
    assert max(map(len, faults)) == FAULT_CHARS_MAX


REFUSED: dict[str, tuple[Any, str, str]] = {
    "a type that is none": ({"type": "objekt"}, "invalid_json_schema", "objekt"),
    "a broken pattern": ({"pattern": "("}, "invalid_json_schema", "regex"),
    "a list": ([NUMBER], "invalid_json_schema", "object"),
    "nothing there": ({"$ref": "#/$defs/a"}, "invalid_json_schema", "/$defs/a"),
    "nothing there in a list": ({"anyOf": [{}, {"$ref": "#/anyOf/2"}]}, "invalid_json_schema", "2"),
    "a place that is no number": ({"allOf": [{"$ref": f"#/allOf/{'9' * 5_000}"}]}, "invalid_json_schema", "9"),
    "an address": ({"$ref": "http://127.0.0.1:1/a.json"}, "invalid_json_schema", "itself"),
    "a file": ({"items": {"$ref": "file:///etc/hostname"}}, "invalid_json_schema", "itself"),
    "another document": ({"properties": {"a": {"$ref": "a.json#/b"}}}, "invalid_json_schema", "itself"),
    "an anchor": ({"$defs": {"a": {"$anchor": "a"}}, "$ref": "#a"}, "invalid_json_schema", "itself"),
    "a dynamic address": ({"$dynamicRef": "http://127.0.0.1:1/a"}, "invalid_json_schema", "$dynamicRef"),
    "a dynamic anchor": ({"$dynamicRef": "#a", "$dynamicAnchor": "a"}, "invalid_json_schema", "$dynamicRef"),
    "a schema inside with a name of its own": (
        {"$defs": {"a": {"$id": "https://example.com/b"}}}, "invalid_json_schema", "$id",
    ),
    "an unknown kind of schema": ({"$schema": "http://127.0.0.1:1/x"}, "invalid_json_schema", "meta-schema"),
    "a number past 64 bits": ({"maximum": 1 << 70}, "invalid_json_schema", "64-bit"),
    "nested past every limit": (nested(1_000), "invalid_json_schema", "Recursion"),
    "too long": ({"enum": ["x" * SCHEMA_BYTES_MAX]}, "schema_too_complex", f"{SCHEMA_BYTES_MAX}"),
    "too deep": (nested(SCHEMA_DEPTH_MAX + 1), "schema_too_complex", f"{SCHEMA_DEPTH_MAX} levels"),
    "too many nodes": ({"enum": [*range(SCHEMA_NODES_MAX)]}, "schema_too_complex", f"{SCHEMA_NODES_MAX} nodes"),
    "references that double": (doubling(40), "schema_too_complex", "references"),
    "a circle of one": ({"$ref": "#"}, "schema_too_complex", "references"),
    "a circle of two": (
        {"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#/$defs/a"}}}, "schema_too_complex", "references",
    ),
    "a circle under a condition": (
        {"dependentSchemas": {"a": {"$ref": "#"}}}, "schema_too_complex", "references",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("document", "code", "reason"), REFUSED.values(), ids=REFUSED)
def test_schema_that_cannot_be_used_is_refused(document: Any, code: str, reason: str) -> None:
    """It is the caller's mistake, named with its parameter; nothing is fetched to find out."""
    error = refused(document)

    assert (error.code, error.param) == (code, PARAM)
    assert error.message.startswith(f"Invalid schema for '{PARAM}': ")
    assert reason in error.message
    assert len(error.message) < 500


def test_schema_is_compiled_once() -> None:
    """The same document, however it is built, is the same compiled schema."""
    schemas = Schemas()

    first = schemas.compile({"type": "object", "required": ["a"]})

    assert schemas.compile({"type": "object", "required": ["a"]}) is first
    assert schemas.compile({"type": "object", "required": ["b"]}) is not first


def test_least_recently_used_schema_is_forgotten() -> None:
    """The cache keeps what is in use and is never larger than its limit."""
    schemas = Schemas()
    kept, lost = schemas.compile({"const": "kept"}), schemas.compile({"const": "lost"})
    for number in range(COMPILED_MAX - 1):
        schemas.compile({"const": "kept"})
        schemas.compile({"const": number})

    assert schemas.compile({"const": "kept"}) is kept
    assert schemas.compile({"const": "lost"}) is not lost


def test_refused_schema_is_refused_again() -> None:
    """A refusal leaves nothing behind that a second try could find."""
    schemas = Schemas()

    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            schemas.compile({"type": "objekt"})
