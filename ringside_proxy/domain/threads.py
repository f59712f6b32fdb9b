"""The thread object."""

from typing import Any, Literal

import msgspec


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """`thread`, field for field and in the order of the wire."""

    id: str
    object: Literal["thread"] = "thread"
    created_at: int
    metadata: dict[str, str] = {}
    tool_resources: dict[str, Any] = {}
