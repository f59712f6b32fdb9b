"""Why a JSON value is not what a type asks for, in OpenAI's own words.

msgspec decides, in one fast call, whether a body is valid. Only when it is not, the same type is
read a second time here, as a `Shape`: a table from the kind of a JSON value to the check of it.
The first problem is raised: in an object first what is missing, then what is unknown, then the
fields in their order.

Source: error bodies of api.openai.com quoted in public code, read 2026-11-21.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NoReturn, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, UnsetType

from ringside_proxy.domain.errors import InvalidRequestError

Check = Callable[[Any, str], None]
"""Takes a value of the right kind and the path to it; raises InvalidRequestError."""

Reading = tuple[dict[type, Check], str]
"""Checks of one alternative of a type, and its name in messages (null has none)."""

SHOWN_LENGTH_MAX: Final = 64
"""Characters of the caller's own words that a message repeats; longer ones are abbreviated."""

GOT: Final[dict[type, str]] = {
    str: "a string",
    int: "an integer",
    float: "a decimal number",
    bool: "a boolean",
    dict: "an object",
    list: "an array",
    NoneType: "null",
}
"""Every kind of value that orjson makes, and OpenAI's name for it."""


class Shape(msgspec.Struct, frozen=True):
    """What a type accepts, kind by kind, and the words for all of it."""

    checks: dict[type, Check]
    expected: str

    def refuse(self, value: Any, path: str) -> None:
        """Raise InvalidRequestError for the first thing wrong with `value`; return if it fits."""
        check = self.checks.get(type(value))
        if check is None:
            where = f"'{path}'" if path else "the request body"
            _fail(
                "invalid_type",
                f"Invalid type for {where}: expected {self.expected}, "
                f"but got {GOT[type(value)]} instead.",
                path or None,
            )
        check(value, path)


@cache
def shape_of(body_type: type[Struct]) -> Shape:
    """The shape of a body; worked out once for each type."""
    return _shape(body_type)


@cache
def kinds_of(body_type: type[Struct]) -> dict[str, frozenset[type]]:
    """The kinds of JSON value that each field accepts."""
    return {
        field.encode_name: frozenset(_shape(field.type).checks)
        for field in msgspec.structs.fields(body_type)
    }


def _shape(annotation: Any) -> Shape:
    checks: dict[type, Check] = {}
    nouns: list[str] = []
    structs: list[type[Struct]] = []
    for option, meta in _options(annotation, Meta()):
        if isinstance(option, type) and issubclass(option, Struct):
            structs.append(option)
            continue
        kinds, noun = READERS[get_origin(option) or option](meta, get_args(option))
        checks |= kinds
        nouns += [noun] if noun else []
    if structs:
        checks[dict] = _object(structs)
        nouns.append("an object")
    return Shape(checks, _one_of(nouns))


def _options(annotation: Any, meta: Meta) -> Iterator[tuple[Any, Meta]]:
    """The alternatives of a union, each with its limits; any other type is its own only one."""
    if get_origin(annotation) is Annotated:
        annotation, meta = get_args(annotation)
    if get_origin(annotation) in (Union, UnionType):
        for option in get_args(annotation):
            yield from _options(option, meta)
    elif annotation is not UnsetType:
        yield annotation, meta


def _object(structs: Sequence[type[Struct]]) -> Check:
    """The check of a struct, or of several that are told apart by their tag."""
    tag_field = structs[0].__struct_config__.tag_field
    if tag_field is None:
        return _struct(structs[0])
    checks = {str(struct.__struct_config__.tag): _struct(struct) for struct in structs}
    tag = Shape({str: _supported(tuple(checks))}, "a string")

    def check(value: dict[str, Any], path: str) -> None:
        if tag_field not in value:
            _fail_missing(_at(path, tag_field))
        tag.refuse(value[tag_field], _at(path, tag_field))
        checks[value[tag_field]](value, path)

    return check


def _struct(struct: type[Struct]) -> Check:
    config = struct.__struct_config__
    fields = msgspec.structs.fields(struct)
    required = [field.encode_name for field in fields if field.required]
    shapes = {field.encode_name: _shape(field.type) for field in fields}

    def check(value: dict[str, Any], path: str) -> None:
        for name in required:
            if name not in value:
                _fail_missing(_at(path, name))
        for name in value if config.forbid_unknown_fields else ():
            if name not in shapes and name != config.tag_field:
                unknown = _at(path, _shown(name))
                _fail("unknown_parameter", f"Unknown parameter: '{unknown}'.", unknown)
        for name, shape in shapes.items():
            if name in value:
                shape.refuse(value[name], _at(path, name))

    return check


def _literal(_: Meta, values: tuple[Any, ...]) -> Reading:
    return {str: _supported(values)}, _one_of([f"'{value}'" for value in values])


def _supported(values: tuple[str, ...]) -> Check:
    supported = _list([f"'{value}'" for value in values], "and")

    def check(value: str, path: str) -> None:
        if value not in values:
            _fail(
                "invalid_value",
                f"Invalid value: '{_shown(value)}'. Supported values are: {supported}.",
                path,
            )

    return check


def _string(meta: Meta, _: tuple[Any, ...]) -> Reading:
    pattern = re.compile(meta.pattern or "")

    def check(value: str, path: str) -> None:
        if meta.min_length and not value:
            _fail(
                "empty_string",
                f"Invalid '{path}': empty string. Expected a string with minimum length "
                f"{meta.min_length}, but got an empty string instead.",
                path,
            )
        if meta.max_length is not None and len(value) > meta.max_length:
            _fail(
                "string_above_max_length",
                f"Invalid '{path}': string too long. Expected a string with maximum length "
                f"{meta.max_length}, but got a string with length {len(value)} instead.",
                path,
            )
        if not pattern.search(value):
            # OpenAI writes the end of the text as `$`; in Python that lets a line end pass.
            shown = pattern.pattern.replace(r"\Z", "$")
            _fail(
                "invalid_value",
                f"Invalid '{path}': string does not match pattern. "
                f"Expected a string that matches the pattern '{shown}'.",
                path,
            )

    return {str: check}, "a string"


def _integer(meta: Meta, _: tuple[Any, ...]) -> Reading:
    return {int: _range(meta, "integer")}, "an integer"


def _decimal(meta: Meta, _: tuple[Any, ...]) -> Reading:
    check = _range(meta, "decimal")
    return {int: check, float: check}, "a decimal"


def _range(meta: Meta, noun: Literal["integer", "decimal"]) -> Check:
    def check(value: float, path: str) -> None:
        if meta.le is not None and value > meta.le:
            side, word, bound = "above", "maximum", f"<= {meta.le}"
        elif meta.ge is not None and value < meta.ge:
            side, word, bound = "below", "minimum", f">= {meta.ge}"
        else:
            return
        _fail(
            f"{noun}_{side}_{word[:3]}_value",
            f"Invalid '{path}': {noun} {side} {word} value. "
            f"Expected a value {bound}, but got {value} instead.",
            path,
        )

    return check


def _array(meta: Meta, arguments: tuple[Any, ...]) -> Reading:
    items = _shape(arguments[0])

    def check(value: list[Any], path: str) -> None:
        if meta.min_length and not value:
            _fail(
                "empty_array",
                f"Invalid '{path}': empty array. Expected an array with minimum length "
                f"{meta.min_length}, but got an empty array instead.",
                path,
            )
        if meta.max_length is not None and len(value) > meta.max_length:
            _fail(
                "array_above_max_length",
                f"Invalid '{path}': array too long. Expected an array with maximum length "
                f"{meta.max_length}, but got an array with length {len(value)} instead.",
                path,
            )
        for index, item in enumerate(value):
            items.refuse(item, f"{path}[{index}]")

    of = {"an object": " of objects", "a string": " of strings"}.get(items.expected, "")
    return {list: check}, f"an array{of}"


def _mapping(meta: Meta, arguments: tuple[Any, ...]) -> Reading:
    [(_, name_meta)] = _options(arguments[0], Meta())
    values = _shape(arguments[1])

    def check(value: dict[str, Any], path: str) -> None:
        if meta.max_length is not None and len(value) > meta.max_length:
            _fail(
                "object_above_max_properties",
                f"Invalid '{path}': too many properties. Expected an object with at most "
                f"{meta.max_length} properties, but got an object with {len(value)} properties "
                "instead.",
                path,
            )
        for name in value:
            if name_meta.max_length is not None and len(name) > name_meta.max_length:
                _fail(
                    "property_name_above_max_length",
                    f"Invalid property name in '{path}': '{_shown(name)}' is too long. "
                    f"Expected a string with maximum length {name_meta.max_length}, "
                    f"but got a string with length {len(name)} instead.",
                    path,
                )
        for name, item in value.items():
            values.refuse(item, _at(path, name))

    return {dict: check}, "an object"


def _boolean(_: Meta, __: tuple[Any, ...]) -> Reading:
    return {bool: _accept}, "a boolean"


def _null(_: Meta, __: tuple[Any, ...]) -> Reading:
    return {NoneType: _accept}, ""


def _anything(_: Meta, __: tuple[Any, ...]) -> Reading:
    return dict.fromkeys(GOT, _accept), "a value"


def _accept(_: Any, __: str) -> None:
    pass


READERS: Final[dict[Any, Callable[[Meta, tuple[Any, ...]], Reading]]] = {
    Literal: _literal,
    str: _string,
    int: _integer,
    float: _decimal,
    bool: _boolean,
    list: _array,
    dict: _mapping,
    NoneType: _null,
    Any: _anything,
}
"""How each form of type that bodies use is read."""


def _at(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _shown(words: str) -> str:
    return words if len(words) <= SHOWN_LENGTH_MAX else f"{words[:3]}...{words[-3:]}"


def _one_of(nouns: Sequence[str]) -> str:
    """`a string`, or `one of a string or array of objects`: only the first keeps its article."""
    if len(nouns) == 1:
        return nouns[0]
    bare = [noun.removeprefix("an ").removeprefix("a ") for noun in nouns[1:]]
    return f"one of {_list([nouns[0], *bare], 'or')}"


def _list(words: Sequence[str], conjunction: Literal["and", "or"]) -> str:
    if len(words) <= 2:
        return f" {conjunction} ".join(words)
    return f"{', '.join(words[:-1])}, {conjunction} {words[-1]}"


def _fail_missing(path: str) -> NoReturn:
    _fail("missing_required_parameter", f"Missing required parameter: '{path}'.", path)


def _fail(code: str, message: str, param: str | None) -> NoReturn:
    raise InvalidRequestError(message, param=param, code=code)
