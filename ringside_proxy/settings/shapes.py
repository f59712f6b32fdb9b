"""The schema's types, reduced to what reading and describing a file need to know."""

from functools import cache
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import inspect

from ringside_proxy.settings.values import (
    Leaf,
    Secret,
    TokenHash,
    choice,
    model_name,
    number,
    secret,
    text_like,
    truth,
)


class Json(msgspec.Struct, frozen=True):
    """Whatever JSON can say; it belongs to someone else."""


class Nullable(msgspec.Struct, frozen=True):
    """A value that may be absent, null or empty."""

    shape: "Shape"


class Items(msgspec.Struct, frozen=True):
    """A list."""

    item: "Shape"


class Entries(msgspec.Struct, frozen=True):
    """A mapping whose keys the file's owner chooses."""

    key: Leaf
    value: "Shape"
    key_examples: list[str]


class Section(msgspec.Struct, frozen=True):
    """A mapping with known keys: a struct of the schema."""

    cls: type[msgspec.Struct]

    @property
    def short_form(self) -> str | None:
        """The key that a value stands for which is given in place of the mapping."""
        return getattr(self.cls, "SHORT_FORM", None)


Shape: TypeAlias = Leaf | Json | Nullable | Items | Entries | Section


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a section."""

    key: str
    attribute: str
    shape: Shape
    is_required: bool
    default: Any
    description: str
    examples: list[Any]


@cache
def fields_of(cls: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The keys of a section, in the schema's order."""
    info = cast("inspect.StructType", inspect.type_info(cls))
    return tuple(_field(field) for field in info.fields)


def _field(field: inspect.Field) -> Field:
    said: dict[str, Any] = {}
    if isinstance(field.type, inspect.Metadata):
        said = field.type.extra_json_schema or {}
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    return Field(
        key=field.encode_name,
        attribute=field.name,
        shape=_shape(field.type, {}),
        is_required=field.required,
        default=None if default is msgspec.NODEFAULT else default,
        description=said.get("description", ""),
        examples=said.get("examples", []),
    )


def _shape(kind: inspect.Type, extra: dict[str, Any]) -> Shape:
    match kind:
        case inspect.Metadata():
            return _shape(kind.type, extra | (kind.extra or {}))
        case inspect.UnionType():
            (inner,) = (each for each in kind.types if not isinstance(each, inspect.NoneType))
            return Nullable(_shape(inner, extra))
        case inspect.StructType():
            return Section(kind.cls)
        case inspect.VarTupleType():
            return Items(_shape(kind.item_type, {}))
        case inspect.DictType():
            return _entries(kind)
        case inspect.AnyType():
            return Json()
        case _:
            return _leaf(kind, extra)


def _entries(kind: inspect.DictType) -> Entries:
    key = cast("Leaf", _shape(kind.key_type, {}))  # keys are text, see document.py
    said = kind.key_type.extra_json_schema if isinstance(kind.key_type, inspect.Metadata) else None
    return Entries(key, _shape(kind.value_type, {}), (said or {}).get("examples", []))


def _number(kind: inspect.IntType | inspect.FloatType, unit: str) -> Leaf:
    if kind.ge is None or kind.le is None:
        raise TypeError("a number of the schema has no bounds")
    is_whole = isinstance(kind, inspect.IntType)
    return number(unit, is_whole=is_whole, least=kind.ge, most=kind.le)


def _leaf(kind: inspect.Type, extra: dict[str, Any]) -> Leaf:
    match kind:
        case inspect.BoolType():
            return truth()
        case inspect.LiteralType():
            return choice(tuple(str(value) for value in kind.values))
        case inspect.IntType() | inspect.FloatType():
            return _number(kind, extra.get("unit", "number"))
        case inspect.StrType():
            if "words" in extra:
                return choice(extra["words"], extra["noun"])
            if "providers" in extra:
                return model_name(extra["providers"])
            return text_like(kind.pattern, extra.get("expects", "text"))
        case inspect.CustomType(cls=cls) if cls is Secret:
            return secret(Secret)
        case inspect.CustomType(cls=cls) if cls is TokenHash:
            return secret(TokenHash.of)
        case _:
            raise TypeError(f"the schema has no way to write {kind}")
