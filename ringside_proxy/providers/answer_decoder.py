"""What every decoder of a streamed answer does alike. Pure.

Frames are cut out of bytes, and each says its part. An error ends the answer, but what came before
it is handed out first: so the error is kept, and raised when there is nothing else to give.
"""

from abc import ABC, abstractmethod
from typing import Final, Generic, Protocol, TypeVar

from ringside_proxy.domain.errors import ProviderBadReplyError, ProviderError

TOOL_CALLS_MAX: Final = 128
"""OpenAI's own limit on tools; a turn that calls more is a model gone wrong."""

F = TypeVar("F")
T = TypeVar("T")


class Frames(Protocol[F]):
    """Cuts bytes into frames."""

    def feed(self, data: bytes) -> list[F]:
        """The frames that `data` completes. Raises ProviderBadReplyError for an endless one."""

    def close(self) -> list[F]:
        """What the end of the body completes."""


class AnswerDecoder(ABC, Generic[F, T]):
    """One streamed answer, as frames of `F` that tell items of `T`.

    `_frame` says by `_is_finished` that the answer is whole, and by `_is_done` that nothing more
    is worth reading; where nothing follows the end, both are said together, by `_mark_whole`.
    """

    def __init__(self, provider: str, frames: Frames[F]) -> None:
        self._provider = provider
        self._frames = frames
        self._is_finished = False
        self._is_done = False
        self._failure: ProviderError | None = None

    @property
    def is_done(self) -> bool:
        """The last frame of the answer, or an error, has come."""
        return self._is_done

    def feed(self, data: bytes) -> list[T]:
        """What `data` completes. Raises ProviderError for an error in the stream."""
        return self._read(self._frames.feed(data))

    def close(self) -> list[T]:
        """What the end of the body completes. Raises ProviderError if the answer is not whole."""
        told = self._read(self._frames.close())
        if self._failure:
            raise self._failure
        if not self._is_finished:
            raise broke_off(self._provider)
        return told

    @abstractmethod
    def _frame(self, frame: F, told: list[T]) -> None:
        """Adds what `frame` says to `told`. Raises ProviderError."""

    def _mark_whole(self) -> None:
        """The answer is whole, and nothing follows it."""
        self._is_finished = self._is_done = True

    def _read(self, frames: list[F]) -> list[T]:
        told: list[T] = []
        try:
            for frame in frames:
                if self._is_done:
                    break
                self._frame(frame, told)
        except ProviderError as error:
            self._is_done = True
            self._failure = error
            if not told:
                raise
        return told


def broke_off(provider: str) -> ProviderBadReplyError:
    """The error for a stream that ends without having said that it is complete."""
    return ProviderBadReplyError(
        f"{provider} broke off its answer before it was complete.",
        provider=provider,
        is_retryable=True,
    )
