"""Tools as the Assistants surface shows them. Only functions are served."""

from typing import Any, Literal

import msgspec


class FunctionDefinition(msgspec.Struct, frozen=True, omit_defaults=False, kw_only=True):
    """A function that the model may call."""

    name: str
    description: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any]
    strict: bool = False


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of an assistant or run."""

    type: Literal["function"] = "function"
    function: FunctionDefinition
