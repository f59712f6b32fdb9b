"""Schemas of callers: what is taken, what is refused and why, and how faults are told."""

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest

from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.services.json_schemas import (
    COMPILED_MAX,
    PARAM,
    SCHEMA_BYTES_MAX,
    SCHEMA_DEPTH_MAX,
    SCHEMA_NODES_MAX,
    Schemas,
)
from ringside_proxy.services.schema_judge import SchemaJudge
from ringside_proxy.services.schema_rules import FAULT_CHARS_MAX, FAULTS_SHOWN_MAX

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


@pytest.fixture
async def schemas() -> AsyncIterator[Schemas]:
    """An empty cache, and its judge."""
    judge = SchemaJudge()
    yield Schemas(judge)
    await judge.close()


async def refused(schemas: Schemas, document: Any) -> InvalidRequestError:
    """The error that compiling or checking raises."""
    with pytest.raises(InvalidRequestError) as raised:
        await schemas.compile(document).check()
    return raised.value


async def faults(schemas: Schemas, document: Json, value: Any) -> list[str]:
    """What is wrong with the value."""
    return await schemas.compile(document).faults(value, orjson.dumps(value).decode())


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
async def test_value_that_meets_the_schema_has_no_faults(
    schemas: Schemas, document: Json, value: Any
) -> None:
    """What JSON Schema allows is taken, whatever the draft."""
    await schemas.compile(document).check()

    assert await faults(schemas, document, value) == []


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
async def test_fault_names_its_place_and_its_reason(
    schemas: Schemas, document: Json, value: Any, fault: str
) -> None:
    """The model is told where its answer breaks which rule."""
    [found] = await faults(schemas, document, value)

    assert found.startswith(fault)


async def test_faults_are_few_and_short(schemas: Schemas) -> None:
    """However wrong the answer is, the complaint about it stays small."""
    document = {"items": {"const": "x"}, "minItems": 10_000}

    found = await faults(schemas, document, ["y" * 5_000] * 100)

    assert len(found) == FAULTS_SHOWN_MAX
    assert max(map(len, found)) == FAULT_CHARS_MAX


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
async def test_schema_that_cannot_be_used_is_refused(
    schemas: Schemas, document: Any, code: str, reason: str
) -> None:
    """It is the caller's mistake, named with its parameter; nothing is fetched to find out."""
    error = await refused(schemas, document)

    assert (error.code, error.param) == (code, PARAM)
    assert error.message.startswith(f"Invalid schema for '{PARAM}': ")
    assert reason in error.message
    assert len(error.message) < 500


async def test_schema_is_compiled_once(schemas: Schemas) -> None:
    """The same document, however it is built, is the same compiled schema."""
    first = schemas.compile({"type": "object", "required": ["a"]})

    assert schemas.compile({"type": "object", "required": ["a"]}) is first
    assert schemas.compile({"type": "object", "required": ["b"]}) is not first


async def test_least_recently_used_schema_is_forgotten(schemas: Schemas) -> None:
    """The cache keeps what is in use and is never larger than its limit."""
    kept, lost = schemas.compile({"const": "kept"}), schemas.compile({"const": "lost"})
    for number in range(COMPILED_MAX - 1):
        schemas.compile({"const": "kept"})
        schemas.compile({"const": number})

    assert schemas.compile({"const": "kept"}) is kept
    assert schemas.compile({"const": "lost"}) is not lost


@pytest.mark.parametrize("document", [{"type": "objekt"}, {"pattern": "("}])
async def test_refused_schema_is_refused_again(schemas: Schemas, document: Json) -> None:
    """A refusal leaves nothing behind that a second try could find."""
    for _ in range(2):
        with pytest.raises(InvalidRequestError):
            await schemas.compile(document).check()
