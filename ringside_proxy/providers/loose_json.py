"""A provider's JSON, read as what it should be: what is of another kind counts as missing. Pure."""

from typing import Any

import orjson

from ringside_proxy.domain.errors import ProviderBadReplyError


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
    return value


def object_of(value: Any) -> dict[str, Any]:
    """The object that `value` is, or an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The objects in the list that `value` is."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(fields: dict[str, Any], key: str) -> str:
    """The text that stands under `key`, or none."""
    value = fields.get(key)
    return value if isinstance(value, str) else ""
