"""What the readers of embeddings have in common. Pure."""

from typing import TypeVar

import msgspec

from ringside_proxy.domain.errors import ProviderBadReplyError

T = TypeVar("T")


def answer_as(shape: type[T], provider: str, body: bytes) -> T:
    """An answer in its provider's own shape. Raises ProviderBadReplyError if it is not."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise unreadable(provider) from error


def unreadable(provider: str) -> ProviderBadReplyError:
    """The error for embeddings that cannot be read."""
    return ProviderBadReplyError(
        f"{provider} sent embeddings that are not in its documented shape.", provider=provider
    )
