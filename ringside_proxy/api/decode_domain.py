"""Parts of a valid body in the domain's forms, with OpenAI's defaults filled in.

What OpenAI hosted and this proxy does not (code interpreter, file search, files) is refused here,
with the remedy. Clients also send it empty, as a habit of their libraries: that passes.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ringside_proxy.api import bodies
from ringside_proxy.domain import messages, runs, tools
from ringside_proxy.domain.errors import InvalidRequestError, UnsupportedToolTypeError

SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def function_tools(given: Sequence[bodies.Tool], path: str = "tools") -> list[tools.Tool]:
    """`given` with OpenAI's defaults filled in. Raises UnsupportedToolTypeError."""
    return [_function_tool(tool, f"{path}[{index}]") for index, tool in enumerate(given)]


def _function_tool(tool: bodies.Tool, path: str) -> tools.Tool:
    if not isinstance(tool, bodies.FunctionTool):
        raise _unsupported_tool(tool, path)
    spec = tool.function
    return tools.Tool(
        function=tools.FunctionDefinition(
            name=spec.name,
            description=UNSET if spec.description is None else spec.description,
            parameters={"type": "object", "properties": {}}
            if spec.parameters is None
            else spec.parameters,
            strict=bool(spec.strict),
        )
    )


def refuse_chat_tools(given: bodies.ChatTools | None) -> None:
    """Raise UnsupportedToolTypeError if any tool of a chat is not a function."""
    for index, tool in enumerate(given or ()):
        if not isinstance(tool, bodies.ChatTool):
            raise _unsupported_tool(tool, f"tools[{index}]")


def _unsupported_tool(
    tool: bodies.CodeInterpreterTool | bodies.FileSearchTool | bodies.ChatCustomTool, path: str
) -> UnsupportedToolTypeError:
    return UnsupportedToolTypeError(
        f"Tool type '{tool.__struct_config__.tag}' is not supported: this proxy serves tools of "
        "type 'function'. Remove it, or offer a function that does the same.",
        param=f"{path}.type",
    )


def refuse_tool_resources(given: bodies.ToolResources | None, path: str = "tool_resources") -> None:
    """Raise UnsupportedToolTypeError if any file or vector store is named; empty ones pass."""
    for tool, kinds in msgspec.to_builtins(given or bodies.ToolResources()).items():
        for kind, resources in (kinds or {}).items():
            if resources:
                raise UnsupportedToolTypeError(
                    f"Tool type '{tool}' is not supported, so '{path}.{tool}.{kind}' has to be "
                    "empty. Put what the model should know into instructions or messages.",
                    param=f"{path}.{tool}.{kind}",
                )


def content_parts(message: bodies.CreateMessage, prefix: str = "") -> list[messages.ContentPart]:
    """The message's content as it is stored. `prefix` leads to it, such as `messages[0].`.

    Raises UnsupportedToolTypeError for an attachment to a hosted tool, InvalidRequestError for
    any other file.
    """
    for index, attachment in enumerate(message.attachments or []):
        _refuse_attachment(attachment, f"{prefix}attachments[{index}]")
    if isinstance(message.content, str):
        return [messages.TextPart(text=messages.TextValue(message.content))]
    return [
        _content_part(part, f"{prefix}content[{index}]")
        for index, part in enumerate(message.content)
    ]


def _refuse_attachment(attachment: bodies.Attachment, path: str) -> None:
    if attachment.tools:
        raise _unsupported_tool(attachment.tools[0], f"{path}.tools[0]")
    raise _no_files(f"{path}.file_id", "put its text into the message")


def _content_part(
    part: bodies.TextInput | bodies.ImageUrlInput | bodies.ImageFileInput, path: str
) -> messages.ContentPart:
    match part:
        case bodies.TextInput(text=text):
            return messages.TextPart(text=messages.TextValue(text))
        case bodies.ImageUrlInput(image_url=image):
            return messages.ImageUrlPart(
                image_url=messages.ImageUrl(url=image.url, detail=image.detail or "auto")
            )
        case bodies.ImageFileInput():
            raise _no_files(
                f"{path}.image_file.file_id",
                "send the image as an 'image_url' part, with an https or data URL",
            )


def _no_files(param: str, remedy: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"Invalid '{param}': files are not served by this proxy; {remedy}.",
        param=param,
        code="invalid_value",
    )


def truncation_strategy(given: bodies.TruncationStrategy | None) -> runs.TruncationStrategy:
    """The strategy as a run keeps it. Raises InvalidRequestError if the number is missing."""
    if given is None:
        return runs.TruncationStrategy()
    if given.type == "last_messages" and given.last_messages is None:
        param = "truncation_strategy.last_messages"
        raise InvalidRequestError(
            f"Missing required parameter: '{param}'.",
            param=param,
            code="missing_required_parameter",
        )
    return runs.TruncationStrategy(given.type, given.last_messages)


def tool_choice(given: bodies.ToolChoice | None) -> str | dict[str, Any]:
    """The choice as it is echoed. Raises UnsupportedToolTypeError for a hosted tool."""
    if isinstance(given, bodies.CodeInterpreterTool | bodies.FileSearchTool):
        raise _unsupported_tool(given, "tool_choice")
    return _echo(given)


def response_format(given: bodies.ResponseFormat | None) -> str | dict[str, Any]:
    """The format as it is echoed: as it was given, but for nulls that OpenAI's schema forbids."""
    echo = _echo(given)
    if isinstance(echo, dict) and "json_schema" in echo:
        spec = echo["json_schema"].items()
        kept = {name: value for name, value in spec if value is not None or name == "strict"}
        return echo | {"json_schema": kept}
    return echo


def _echo(given: bodies.ToolChoice | bodies.ResponseFormat | None) -> str | dict[str, Any]:
    echo: str | dict[str, Any] = msgspec.to_builtins(given) or "auto"
    return echo


def expires_after_s(given: bodies.ExpiresAfter | None) -> int | None:
    """The caller's expiry in seconds. Raises InvalidRequestError if it is too far away."""
    if not isinstance(given, str):
        return given
    seconds = int(given[:-1]) * SECONDS[given[-1]]
    if seconds > bodies.EXPIRES_AFTER_S_MAX:
        raise InvalidRequestError(
            f"Invalid 'expires_after': duration too long. Expected at most "
            f"{bodies.EXPIRES_AFTER_S_MAX} seconds, but got '{given}' instead.",
            param="expires_after",
            code="integer_above_max_value",
        )
    return seconds
