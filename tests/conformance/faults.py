"""How a checker says that an answer is not OpenAI's wire."""

import json
from typing import Any


class NonConformance(AssertionError):  # noqa: N818 - the word for it; an assertion, not an error of ours
    """An answer differs from OpenAI's wire; the text says where and how."""


def require(holds: bool, fault: str) -> None:
    """Raise NonConformance with `fault` unless it holds."""
    if not holds:
        raise NonConformance(fault)


def require_keys(value: Any, keys: tuple[str, ...], at: str) -> None:
    """Raise NonConformance unless `value` is an object with these keys alone, in this order."""
    require(isinstance(value, dict), f"{at}: {value!r} is not an object")
    missing = [key for key in keys if key not in value]
    require(not missing, f"{at}: missing key {', '.join(missing)}")
    surplus = [key for key in value if key not in keys]
    require(not surplus, f"{at}: unexpected key {', '.join(surplus)}")
    require(tuple(value) == keys, f"{at}: key order is {', '.join(value)}; wire: {', '.join(keys)}")


def parse_json(text: bytes | str, at: str) -> Any:
    """The one JSON value in `text`, read as strictly as the strictest client does."""
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(decoded, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except ValueError as error:
        raise NonConformance(f"{at}: not JSON: {error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError(f"a key stands twice among {', '.join(key for key, _ in pairs)}")
    return value
