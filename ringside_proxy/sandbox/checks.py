"""OpenAI's validation grammar: small checks that are put together into a request's table.

A check takes a value and its path and raises APIError in OpenAI's words, with the path as `param`.
"""

import re
from collections.abc import Callable, Collection
from typing import Any, Final, TypeGuard

from ringside_proxy.sandbox.errors import APIError, invalid, missing

Check = Callable[[Any, str], None]

TYPE_WORDS: Final[dict[type, str]] = {
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def wrong_type(path: str, expected: str, value: Any) -> APIError:
    """A value of another kind than the one expected."""
    return invalid(
        f"Invalid type for '{path}': expected {expected}, "
        f"but got {TYPE_WORDS[type(value)]} instead.",
        path,
        "invalid_type",
    )


def unsupported_value(path: str, value: Any, supported: Collection[str]) -> APIError:
    """A word that is not one of those allowed."""
    *head, last = [f"'{word}'" for word in supported]
    comma = "," if len(head) > 1 else ""
    words = f"{', '.join(head)}{comma} and {last}" if head else last
    return invalid(
        f"Invalid value: '{value}'. Supported values are: {words}.", path, "invalid_value"
    )


def anything(value: Any, path: str) -> None:
    """A parameter that is known, and has no effect here."""


def boolean(value: Any, path: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise wrong_type(path, "a boolean", value)


def integer(least: int | None = None, most: int | None = None) -> Check:
    """A whole number within bounds."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(path, "an integer", value)
        _within(value, path, "integer", least, most)

    return check


def decimal(least: float, most: float) -> Check:
    """A number within bounds."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise wrong_type(path, "a decimal", value)
        _within(value, path, "decimal", least, most)

    return check


def _within(value: float, path: str, noun: str, least: float | None, most: float | None) -> None:
    if least is not None and value < least:
        raise invalid(
            f"Invalid '{path}': {noun} below minimum value. "
            f"Expected a value >= {least}, but got {value} instead.",
            path,
            f"{noun}_below_min_value",
        )
    if most is not None and value > most:
        raise invalid(
            f"Invalid '{path}': {noun} above maximum value. "
            f"Expected a value <= {most}, but got {value} instead.",
            path,
            f"{noun}_above_max_value",
        )


def string(*, is_empty_allowed: bool = True, most: int | None = None, pattern: str = "") -> Check:
    """Text, of at most `most` characters, all of it matching `pattern`."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if not value and not is_empty_allowed:
            raise invalid(
                f"Invalid '{path}': empty string. Expected a string with minimum length 1, "
                "but got an empty string instead.",
                path,
                "empty_string",
            )
        if most is not None and len(value) > most:
            raise invalid(
                f"Invalid '{path}': string too long. Expected a string with maximum length "
                f"{most}, but got a string with length {len(value)} instead.",
                path,
                "string_above_max_length",
            )
        if pattern and not re.fullmatch(pattern, value):
            raise invalid(
                f"Invalid '{path}': string does not match pattern. "
                f"Expected a string that matches the pattern '^{pattern}$'.",
                path,
                "invalid_value",
            )

    return check


def one_of(*words: str) -> Check:
    """One of a few words."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise wrong_type(path, "a string", value)
        if value not in words:
            raise unsupported_value(path, value, words)

    return check


def array(item: Check, *, most: int | None = None) -> Check:
    """A list of at least one and at most `most` items, each passing `item`."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise wrong_type(path, "an array", value)
        if not value:
            raise invalid(
                f"Invalid '{path}': empty array. Expected an array with minimum length 1, "
                "but got an empty array instead.",
                path,
                "empty_array",
            )
        if most is not None and len(value) > most:
            raise invalid(
                f"Invalid '{path}': array too long. Expected an array with maximum length "
                f"{most}, but got an array with length {len(value)} instead.",
                path,
                "array_above_max_length",
            )
        for i, element in enumerate(value):
            item(element, f"{path}[{i}]")

    return check


def mapping(required: dict[str, Check], optional: dict[str, Check] | None = None) -> Check:
    """An object with these keys and no others; an optional key may also be null."""
    known = {**required, **(optional or {})}

    def check(value: Any, path: str) -> None:
        if not is_mapping(value):
            raise wrong_type(path, "an object", value)
        for key in required:
            if key not in value:
                raise missing(f"{path}.{key}")
        for key, element in value.items():
            if key not in known:
                raise invalid(
                    f"Unknown parameter: '{path}.{key}'.", f"{path}.{key}", "unknown_parameter"
                )
            if key in required or element is not None:
                known[key](element, f"{path}.{key}")

    return check


def free_mapping(value: Any, path: str) -> None:
    """An object with any keys."""
    if not is_mapping(value):
        raise wrong_type(path, "an object", value)


def tagged(kinds: dict[str, Check], tag: str = "type") -> Check:
    """An object whose `tag` says which check is for it."""

    def check(value: Any, path: str) -> None:
        if not is_mapping(value):
            raise wrong_type(path, "an object", value)
        if tag not in value:
            raise missing(f"{path}.{tag}")
        one_of(*kinds)(value[tag], f"{path}.{tag}")
        kinds[value[tag]](value, path)

    return check


def is_mapping(value: Any) -> TypeGuard[dict[str, Any]]:
    """True for a JSON object."""
    return isinstance(value, dict)
