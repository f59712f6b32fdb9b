"""A document and the schema → structs, with every problem on the way noted under its path."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from ringside_proxy.settings.document import Node, Scalar
from ringside_proxy.settings.interpolation import InterpolationError, expand
from ringside_proxy.settings.problems import Problem, join, nearest, shown
from ringside_proxy.settings.shapes import (
    Entries,
    Field,
    Items,
    Json,
    Nullable,
    Section,
    Shape,
    fields_of,
)
from ringside_proxy.settings.values import Leaf, UnknownWordError

T = TypeVar("T", bound=msgspec.Struct)

INVALID: Final = msgspec.UNSET
"""Stands for a value that has been noted as a problem; it ends up nowhere."""

VARIABLE_ALONE: Final = re.compile(r"\$\{\w+\}")
"""What can be shown of a secret: where it comes from."""

JSON_WORDS: Final[dict[str, bool]] = {"true": True, "false": False}
JSON_INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
JSON_NUMBER: Final = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?")


class Decoder:
    """Reads sections. What cannot be read keeps its default and is noted in `problems`."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._env = env

    def section(self, node: Node, cls: type[T], path: str = "") -> T | msgspec.UnsetType:
        """A section; UNSET if it lacks something that has no default."""
        noted_before = len(self.problems)
        entries = self._keyed(node, Section(cls), path)
        if entries is None:
            return INVALID
        fields = fields_of(cls)
        self._note_unknown(entries, [field.key for field in fields], path)
        values = {field.attribute: self._value(entries, field, path) for field in fields}
        if any(field.is_required and values[field.attribute] is INVALID for field in fields):
            return INVALID
        made = cls(**{name: value for name, value in values.items() if value is not INVALID})
        if len(self.problems) == noted_before:
            self._note_faults(made, path)
        return made

    def _keyed(self, node: Node, section: Section, path: str) -> dict[str, Node] | None:
        if isinstance(node, dict):
            return node
        if isinstance(node, Scalar) and node.is_null:
            return {}
        if section.short_form is not None:
            return {section.short_form: node}
        keys = ", ".join(field.key for field in fields_of(section.cls))
        self._note(path, f"{_what(node)} is not allowed", f"write keys under it: {keys}")
        return None

    def _note_unknown(self, entries: dict[str, Node], known: list[str], path: str) -> None:
        for key in entries:
            if key not in known:
                self._note(join(path, key), "unknown key", nearest(key, known))

    def _note_faults(self, made: msgspec.Struct, path: str) -> None:
        for fault in getattr(made, "faults", tuple)():
            self._note(join(path, fault.path), fault.what, fault.remedy)

    def _value(self, entries: dict[str, Node], field: Field, path: str) -> Any:
        here = join(path, field.key)
        if field.key in entries:
            return self._read(entries[field.key], field.shape, here)
        if field.is_required:
            example = f", for example {field.examples[0]}" if field.examples else ""
            self._note(here, "is missing", f"write {_expects(field.shape)}{example}")
        return INVALID

    def _read(self, node: Node, shape: Shape, path: str) -> Any:
        match shape:
            case Section():
                return self.section(node, shape.cls, path)
            case Items():
                return self._items(node, shape, path)
            case Entries():
                return self._entries(node, shape, path)
            case Json():
                return self._json(node, path)
            case Nullable(inner) if isinstance(node, Scalar):
                return self._nullable(node, inner, path)
            case Nullable(inner):
                return self._read(node, inner, path)
            case Leaf():
                return self._leaf(node, shape, path)

    def _nullable(self, node: Scalar, inner: Shape, path: str) -> Any:
        text = self._expanded(node, path)
        if text is None:
            return INVALID
        return None if node.is_null or not text else self._read(node, inner, path)

    def _items(self, node: Node, shape: Items, path: str) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return ()
        if not isinstance(node, list):
            return self._note(path, f"{_what(node)} is not allowed", "write a list: […]")
        values = (
            self._read(item, shape.item, f"{path}[{index}]") for index, item in enumerate(node)
        )
        return tuple(value for value in values if value is not INVALID)

    def _entries(self, node: Node, shape: Entries, path: str) -> Any:
        if isinstance(node, Scalar) and node.is_null:
            return {}
        if not isinstance(node, dict):
            return self._note(path, f"{_what(node)} is not allowed", "write names and values: {…}")
        made = {}
        for key, child in node.items():
            here = join(path, key)
            name = self._value_of(key, shape.key, here, shown(key))
            value = self._read(child, shape.value, here)
            if name is not INVALID and value is not INVALID:
                made[name] = value
        return made

    def _leaf(self, node: Node, leaf: Leaf, path: str) -> Any:
        if not isinstance(node, Scalar) or node.is_null:
            return self._note(path, f"{_what(node)} is not allowed", f"write {leaf.expects}")
        text = self._expanded(node, path)
        if text is None:
            return INVALID
        is_hidden = leaf.is_secret and not VARIABLE_ALONE.fullmatch(node.text)
        written = "the value (not shown)" if is_hidden else shown(node.text)
        return self._value_of(text, leaf, path, written)

    def _value_of(self, text: str, leaf: Leaf, path: str, written: str) -> Any:
        try:
            return leaf.read(text)
        except UnknownWordError as error:
            word = shown(error.word) if written == shown(text) else written
            return self._note(path, f"unknown {error.noun} {word}", error.remedy)
        except ValueError:
            return self._note(path, f"{written} is not allowed", f"write {leaf.expects}")

    def _json(self, node: Node, path: str) -> Any:
        if isinstance(node, dict):
            pairs = {key: self._json(child, join(path, key)) for key, child in node.items()}
            return INVALID if INVALID in pairs.values() else pairs
        if isinstance(node, list):
            items = [self._json(child, f"{path}[{index}]") for index, child in enumerate(node)]
            return INVALID if INVALID in items else items
        text = self._expanded(node, path)
        if text is None:
            return INVALID
        return _json_scalar(text) if node.is_plain else text

    def _expanded(self, node: Scalar, path: str) -> str | None:
        try:
            return expand(node.text, self._env)
        except InterpolationError as error:
            self._note(path, error.what, error.remedy)
            return None

    def _note(self, path: str, what: str, remedy: str) -> msgspec.UnsetType:
        self.problems.append(Problem(path, what, remedy))
        return INVALID


def _what(node: Node) -> str:
    """A node as its owner wrote it: never what a variable or file put there."""
    if isinstance(node, Scalar):
        return "nothing" if node.is_null else shown(node.text)
    return "a list" if isinstance(node, list) else "a mapping"


def _expects(shape: Shape) -> str:
    return shape.expects if isinstance(shape, Leaf) else "it"


def _json_scalar(text: str) -> Any:
    """A plain scalar by YAML 1.2's core rules, so that `no` stays text."""
    if Scalar(text, is_plain=True).is_null:
        return None
    if text in JSON_WORDS:
        return JSON_WORDS[text]
    if JSON_INTEGER.fullmatch(text):
        return int(text)
    return float(text) if JSON_NUMBER.fullmatch(text) else text
