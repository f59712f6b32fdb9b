"""JSON that models and their providers wrote, read as what it should be: the rest is missing. Pure.

orjson reads deeper than it writes, so that what is read here, and may have to be written again,
is bounded.
"""

from typing import Any, Final

import orjson

from ringside_proxy.domain.errors import ProviderBadReplyError
from ringside_proxy.domain.nesting import is_deeper_than

DEPTH_MAX: Final = 128
"""Half of what is written, so that there is room for what it is put in."""


def json_object(provider: str, data: bytes) -> dict[str, Any]:
    """The object in a frame of a stream. Raises ProviderBadReplyError if it is none."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise ProviderBadReplyError(
            f"{provider} sent something in its stream that is not a JSON object.", provider=provider
        )
    # Each level takes a bracket at either end.
    if len(data) > 2 * DEPTH_MAX and data.count(b"{") + data.count(b"[") > DEPTH_MAX:
        _refuse_deep(provider, value)
    return value


def object_in(text: Any) -> dict[str, Any] | None:
    """The object that a text is; None if it is none, or too deep to be sent on."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) and not is_deeper_than(DEPTH_MAX, value) else None


def call_arguments(text: Any) -> dict[str, Any]:
    """A call's arguments as an object; what is none goes along as it was written."""
    if not text:
        return {}
    value = object_in(text)
    return {"_raw": str(text)} if value is None else value


def object_of(value: Any) -> dict[str, Any]:
    """The object that `value` is, or an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The objects in the list that `value` is."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_in(fields: dict[str, Any], key: str) -> str:
    """The text that stands under `key`, or none."""
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def _refuse_deep(provider: str, value: dict[str, Any]) -> None:
    if is_deeper_than(DEPTH_MAX, value):
        raise ProviderBadReplyError(
            f"{provider} sent JSON in its stream that is nested too deeply.", provider=provider
        )
