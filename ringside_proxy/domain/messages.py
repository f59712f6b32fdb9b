"""The message object and its content parts, as the Assistants surface shows them."""

from enum import StrEnum
from typing import Any, Literal

import msgspec


class MessageStatus(StrEnum):
    """Where a message is."""

    IN_PROGRESS = "in_progress"
    INCOMPLETE = "incomplete"
    COMPLETED = "completed"


IncompleteReason = Literal[
    "content_filter", "max_tokens", "run_cancelled", "run_expired", "run_failed"
]


class MessageIncompleteDetails(msgspec.Struct, frozen=True):
    """Why a message ends early."""

    reason: IncompleteReason


class TextValue(msgspec.Struct, frozen=True):
    """Text with its annotations."""

    value: str
    annotations: list[dict[str, Any]] = []


class TextPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """Text in a stored message."""

    text: TextValue


class RefusalPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """The model's refusal."""

    refusal: str


class ImageUrl(msgspec.Struct, frozen=True, kw_only=True):
    """An image by address, https or data."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImageUrlPart(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="image_url"):
    """An image in a stored message."""

    image_url: ImageUrl


ContentPart = TextPart | RefusalPart | ImageUrlPart


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`thread.message`, field for field and in the order of the wire."""

    id: str
    object: Literal["thread.message"] = "thread.message"
    created_at: int
    assistant_id: str | None = None
    thread_id: str
    run_id: str | None = None
    status: MessageStatus = MessageStatus.COMPLETED
    incomplete_details: MessageIncompleteDetails | None = None
    incomplete_at: int | None = None
    completed_at: int | None = None
    role: Literal["user", "assistant"]
    content: list[ContentPart]
    attachments: list[dict[str, Any]] = []
    metadata: dict[str, str] = {}
