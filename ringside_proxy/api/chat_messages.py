"""Messages of a chat, as callers may send them: what has to be right for any provider to read them."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct


class Open(Struct, frozen=True, kw_only=True):
    """A part of a body that goes on to a provider; its other keys are the provider's business."""


class ChatTextPart(Open, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class ChatRefusalPart(Open, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """An earlier refusal."""

    refusal: str


class ChatImageURL(Open, frozen=True, kw_only=True):
    """An image by address, https or data."""

    url: Annotated[str, Meta(min_length=1)]
    detail: str | None = None


class ChatImagePart(Open, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """An image."""

    image_url: ChatImageURL


class ChatAudioPart(Open, frozen=True, kw_only=True, tag_field="type", tag="input_audio"):
    """Sound, for the providers that hear."""

    input_audio: dict[str, Any]


class ChatFilePart(Open, frozen=True, kw_only=True, tag_field="type", tag="file"):
    """A document, for the providers that read it."""

    file: dict[str, Any]


ChatTexts: TypeAlias = str | list[ChatTextPart]


class ChatSystemMessage(Open, frozen=True, kw_only=True, tag_field="role", tag="system"):
    """Instructions."""

    content: ChatTexts


class ChatDeveloperMessage(Open, frozen=True, kw_only=True, tag_field="role", tag="developer"):
    """Instructions, by their newer name."""

    content: ChatTexts


class ChatUserMessage(Open, frozen=True, kw_only=True, tag_field="role", tag="user"):
    """What the user said and showed."""

    content: str | list[ChatTextPart | ChatImagePart | ChatAudioPart | ChatFilePart]


class ChatCalledFunction(Open, frozen=True, kw_only=True):
    """A call, with its arguments as the JSON text that the model wrote."""

    name: str
    arguments: str


class ChatToolCall(Open, frozen=True, kw_only=True):
    """A function call of an earlier answer."""

    id: str
    type: Literal["function"] = "function"
    function: ChatCalledFunction


class ChatAssistantMessage(Open, frozen=True, kw_only=True, tag_field="role", tag="assistant"):
    """What the model said and called."""

    content: str | list[ChatTextPart | ChatRefusalPart] | None = None
    refusal: str | None = None
    tool_calls: list[ChatToolCall] | None = None


class ChatToolMessage(Open, frozen=True, kw_only=True, tag_field="role", tag="tool"):
    """What a called function returned."""

    tool_call_id: str
    content: ChatTexts


ChatMessage: TypeAlias = (
    ChatSystemMessage
    | ChatDeveloperMessage
    | ChatUserMessage
    | ChatAssistantMessage
    | ChatToolMessage
)
