"""What a conversation holds: messages, function calls and their outputs.

An item's body has the shape of a Responses item, so that the Assistants surface and, later,
Conversations and Responses are written from the same rows. This module is the projection onto
messages and back.
"""

from typing import Any, Final, Literal

import msgspec

from ringside_proxy.domain.messages import (
    ContentPart,
    ImageUrl,
    ImageUrlPart,
    IncompleteReason,
    Message,
    MessageIncompleteDetails,
    MessageStatus,
    RefusalPart,
    TextPart,
    TextValue,
)


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """What a user said."""

    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """What a model said; `annotations` point into the plain text."""

    text: str
    annotations: list[dict[str, Any]] = []


class InputImage(msgspec.Struct, frozen=True, tag_field="type", tag="input_image"):
    """An image by address."""

    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


class Refusal(msgspec.Struct, frozen=True, tag_field="type", tag="refusal"):
    """The model's refusal."""

    refusal: str


ItemPart = InputText | OutputText | InputImage | Refusal


class MessageBody(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    """The content of a message."""

    content: list[ItemPart]


class FunctionCallBody(msgspec.Struct, frozen=True, tag_field="type", tag="function_call"):
    """A call; `arguments` is the JSON text as the model wrote it."""

    name: str
    arguments: str


class FunctionCallOutputBody(
    msgspec.Struct, frozen=True, tag_field="type", tag="function_call_output"
):
    """What the caller's function returned."""

    output: str


ItemBody = MessageBody | FunctionCallBody | FunctionCallOutputBody

BODY_DECODER: Final = msgspec.json.Decoder(ItemBody)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a conversation. Times are milliseconds.

    `call_id` names the call on a function call and on its output. `run_id`, `assistant_id`,
    `step_id` and `step_index` are null on what callers wrote.
    """

    id: str
    role: Literal["user", "assistant"] | None = None
    status: MessageStatus = MessageStatus.COMPLETED
    incomplete_reason: IncompleteReason | None = None
    call_id: str | None = None
    run_id: str | None = None
    assistant_id: str | None = None
    step_id: str | None = None
    step_index: int | None = None
    created_ms: int
    ended_ms: int | None = None
    body: ItemBody
    metadata: dict[str, str] = {}


def parts_of(role: Literal["user", "assistant"], content: list[ContentPart]) -> list[ItemPart]:
    """A caller's message parts, as items keep them."""
    return [_item_part(role, part) for part in content]


def _item_part(role: str, part: ContentPart) -> ItemPart:
    match part:
        case TextPart(text=text):
            if role == "user":
                return InputText(text.value)
            return OutputText(text.value, text.annotations)
        case ImageUrlPart(image_url=image):
            return InputImage(image.url, image.detail)
        case RefusalPart(refusal=refusal):
            return Refusal(refusal)


def message_object(item: Item, thread_id: str) -> Message:
    """The message that an item of type `message` is on the Assistants surface."""
    if not isinstance(item.body, MessageBody) or item.role is None:
        raise TypeError(f"{item.id} is not a message")
    ended_at = None if item.ended_ms is None else item.ended_ms // 1000
    is_completed = item.status is MessageStatus.COMPLETED
    return Message(
        id=item.id,
        created_at=item.created_ms // 1000,
        assistant_id=item.assistant_id,
        thread_id=thread_id,
        run_id=item.run_id,
        status=item.status,
        incomplete_details=MessageIncompleteDetails(item.incomplete_reason)
        if item.incomplete_reason is not None
        else None,
        incomplete_at=None if is_completed else ended_at,
        completed_at=ended_at if is_completed else None,
        role=item.role,
        content=[_content_part(part) for part in item.body.content],
        metadata=item.metadata,
    )


def _content_part(part: ItemPart) -> ContentPart:
    match part:
        case InputText(text=text):
            return TextPart(text=TextValue(text))
        case OutputText(text=text, annotations=annotations):
            return TextPart(text=TextValue(text, annotations))
        case InputImage(image_url=url, detail=detail):
            return ImageUrlPart(image_url=ImageUrl(url=url, detail=detail))
        case Refusal(refusal=refusal):
            return RefusalPart(refusal=refusal)
