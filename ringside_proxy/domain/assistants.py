"""The assistant object."""

from typing import Any, Literal

import msgspec

from ringside_proxy.domain.tools import Tool


class Assistant(msgspec.Struct, frozen=True, kw_only=True):
    """`assistant`, field for field and in the order of the wire."""

    id: str
    object: Literal["assistant"] = "assistant"
    created_at: int
    name: str | None = None
    description: str | None = None
    model: str
    instructions: str | None = None
    tools: list[Tool] = []
    top_p: float | None = 1.0
    temperature: float | None = 1.0
    reasoning_effort: str | None = None
    tool_resources: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    response_format: Any = "auto"
