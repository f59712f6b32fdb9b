"""The schema, told to editors and to people: both files are derived, and tests hold them equal.

`python -m ringside_proxy.settings.reference` rewrites them in `config/`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import Any, Final

import msgspec

from ringside_proxy.settings.schema import ConfigFile
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
from ringside_proxy.settings.values import Leaf

SCHEMA_FILE: Final = "ringside.schema.json"
REFERENCE_FILE: Final = "ringside.reference.yaml"
HEADER: Final = """\
# yaml-language-server: $schema=./ringside.schema.json
#
# Every key, with its default. Keys without one stand behind a # with an example.
# This file is written by `python -m ringside_proxy.settings.reference`.
#
# In any value: ${NAME} and ${NAME:-default} take environment variables ($${ is a plain ${), and
# file:/path reads a mounted secret. Put them in quotes. Durations: 500ms 30s 10m 24h. Sizes: 32MiB.
#
# RINGSIDE_HOST, RINGSIDE_PORT, RINGSIDE_ADMIN_HOST, RINGSIDE_ADMIN_PORT, RINGSIDE_STORE_URL and
# RINGSIDE_LOG_LEVEL win over the file, and the command line wins over them. RINGSIDE_MASTER_KEYS
# (32 bytes in base64 each, the newest first, with commas between them) seals the webhooks' secrets
# in the store; without it a key of the store's own lies beside it.
"""
UNQUOTED: Final = re.compile(
    r"[A-Za-z][A-Za-z0-9:/._-]*[A-Za-z0-9]|\d+(\.\d+){3}|\d+(ms|s|m|h|B|KiB|MiB)"
)
LINE_CHARS: Final = 100


def json_schema() -> dict[str, Any]:
    """The JSON schema of the file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ringside Proxy configuration",
        **_schema(Section(ConfigFile)),
    }


def reference_yaml() -> str:
    """A file that names every key, with its default and its explanation."""
    lines = [HEADER]
    for field in fields_of(ConfigFile):
        lines += [*_key_lines(field, field.default, "", is_sample=False), ""]
    return "\n".join(lines)


def _schema(shape: Shape) -> dict[str, Any]:
    match shape:
        case Leaf():
            return shape.editor_schema
        case Nullable(inner):
            return {"anyOf": [_schema(inner), {"type": "null"}]}
        case Items(item):
            return {"type": ["array", "null"], "items": _schema(item)}
        case Entries(key=key, value=value):
            names = {} if key.schema == {"type": "string"} else {"propertyNames": key.schema}
            return {"type": ["object", "null"], **names, "additionalProperties": _schema(value)}
        case Section():
            return _section_schema(shape)
        case Json():
            return {}


def _section_schema(section: Section) -> dict[str, Any]:
    fields = fields_of(section.cls)
    required = [field.key for field in fields if field.is_required]
    long: dict[str, Any] = {
        "type": "object" if required else ["object", "null"],
        "properties": {field.key: _field_schema(field) for field in fields},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }
    if section.short_form is None:
        return long
    (short,) = (field.shape for field in fields if field.key == section.short_form)
    return {"anyOf": [long, _schema(short.shape if isinstance(short, Nullable) else short)]}


def _field_schema(field: Field) -> dict[str, Any]:
    schema = {"description": field.description, **_schema(field.shape)}
    if not isinstance(field.shape, Section) and not field.is_required:
        schema["default"] = _written(field.default, field.shape)
    return schema | ({"examples": field.examples} if field.examples else {})


def _written(value: Any, shape: Shape) -> Any:
    """A held value as the file writes it."""
    match shape:
        case Leaf():
            return shape.write(value)
        case Nullable(inner):
            return None if value is None else _written(value, inner)
        case Items(item):
            return [_written(each, item) for each in value]
        case _:
            return value


def _key_lines(field: Field, default: Any, indent: str, *, is_sample: bool) -> Iterator[str]:
    """A key with its explanation and what is under it. In a sample every key is behind a #."""
    yield from wrap(
        field.description,
        LINE_CHARS,
        initial_indent=f"{indent}# ",
        subsequent_indent=f"{indent}# ",
    )
    inner = field.shape.shape if isinstance(field.shape, Nullable) else field.shape
    has_default = default is not None and not field.is_required
    mark = indent + ("" if has_default and not is_sample else "#")
    below = _lines_below(inner, default, indent + "  ", is_sample=is_sample)
    if below is not None:
        yield f"{mark}{field.key}:"
        yield from below
    elif has_default and not (is_sample and field.examples):
        yield f"{mark}{field.key}: {_yaml(_written(default, inner))}"
    else:
        yield f"{mark}{field.key}: {_yaml(field.examples[0])}"


def _lines_below(
    shape: Shape, default: Any, indent: str, *, is_sample: bool
) -> Iterator[str] | None:
    """The lines of a section, or of a sample entry where its owner adds some; None for a value."""
    match shape:
        case Section(cls):
            return _section_lines(cls, default, indent, is_sample=is_sample)
        case Entries(value=Section(cls)):
            return _sample_lines(f"{_yaml(shape.key_examples[0])}:", cls, indent)
        case Items(Section(cls)):
            return _sample_lines("-", cls, indent)
        case _:
            return None


def _section_lines(
    cls: type[msgspec.Struct], held: Any, indent: str, *, is_sample: bool
) -> Iterator[str]:
    for field in fields_of(cls):
        default = field.default if held is None else getattr(held, field.attribute)
        yield from _key_lines(field, default, indent, is_sample=is_sample)


def _sample_lines(head: str, cls: type[msgspec.Struct], indent: str) -> Iterator[str]:
    yield f"{indent}#{head}"
    yield from _section_lines(cls, None, indent + "  ", is_sample=True)


def _yaml(value: Any) -> str:
    """A value on one line. JSON is YAML; simple words need no quotes."""
    if isinstance(value, str) and UNQUOTED.fullmatch(value):
        return value
    return json.dumps(value)


def main() -> None:
    """Rewrite the derived files in `config/`."""
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    Path("config", SCHEMA_FILE).write_text(f"{schema}\n", encoding="utf-8")
    Path("config", REFERENCE_FILE).write_text(reference_yaml(), encoding="utf-8")


if __name__ == "__main__":
    main()
