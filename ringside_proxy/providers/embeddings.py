"""What adapters do alike with embeddings. Pure."""

from typing import Any, TypeVar

import msgspec

from ringside_proxy.domain.errors import InvalidRequestError, ProviderBadReplyError

T = TypeVar("T")


def texts_of(given: Any) -> list[str]:
    """The texts to embed. Raises InvalidRequestError for tokens: each provider has its own."""
    texts = [given] if isinstance(given, str) else given
    are_texts = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    if not are_texts or not texts:
        raise InvalidRequestError(
            "This model embeds texts, not tokens: send 'input' as a string or a list of strings.",
            param="input",
            code="unsupported_parameter",
        )
    return texts


def in_parts(texts: list[str], texts_max: int) -> list[list[str]]:
    """The texts of each call, for a provider that takes no more at once."""
    return [texts[start : start + texts_max] for start in range(0, len(texts), texts_max)]


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
