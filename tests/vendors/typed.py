"""Requests and answers, judged by the types that the vendors publish in their own SDKs."""

import importlib
import json
import warnings
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError


def problems(value: Any, kind: str) -> list[str]:
    """What `value` has that the type does not know, and where it is of another type than that.

    `kind` is `module:name`. The words are pydantic's, each with its place.
    """
    adapter = _adapter(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a dump that meets a union's other member
        try:
            read = adapter.validate_python(value)
            told = json.loads(adapter.dump_json(read, by_alias=True, exclude_unset=True))
        except ValidationError as error:
            return [f"{_place(found['loc'])}: {found['msg']}" for found in error.errors()]
        except PydanticSerializationError as error:  # of what is only read as it is written again
            return [str(error)]
    return [*_unknown(value, told, "$"), *(f"{name}: unknown field" for name in _extras(read))]


def loaded(kind: str) -> Any:
    """The type that `module:name` stands for."""
    module, _, name = kind.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(loaded(kind))


def _unknown(given: Any, read: Any, path: str) -> list[str]:
    """The keys that were lost in reading, which is what pydantic does to those it does not know."""
    if isinstance(given, dict) and isinstance(read, dict):
        found = [f"{path}.{key}: unknown field" for key in given if key not in read]
        for key in given.keys() & read.keys():
            found += _unknown(given[key], read[key], f"{path}.{key}")
        return found
    if isinstance(given, list) and isinstance(read, list):
        pairs = enumerate(zip(given, read, strict=False))
        return [p for i, (one, other) in pairs for p in _unknown(one, other, f"{path}[{i}]")]
    return []


def _extras(read: Any) -> list[str]:
    """The fields that models keep without knowing them."""
    if isinstance(read, list):
        return [name for item in read for name in _extras(item)]
    if not hasattr(read, "model_fields_set"):
        return []
    return [*(read.model_extra or ()), *_extras(list(vars(read).values()))]


def _place(steps: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in steps)
