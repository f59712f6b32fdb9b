"""A prediction's events as canonical deltas. Pure.

Source: https://replicate.com/docs/topics/predictions/streaming, read 2026-11-21.
"""

import re
from typing import Any, Final

import orjson

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.chat_stream import broke_off
from ringside_proxy.providers.errors import MESSAGE_CHARS_MAX, redact
from ringside_proxy.providers.sse import Event, SSEDecoder
from ringside_proxy.providers.types import Delta, Finish, TextDelta, UsageDelta
from ringside_proxy.providers.usage import TOKENS_MAX

FLAGGED: Final = re.compile(
    r"\(E005\)|flagged as sensitive|content (policy|moderation)", re.IGNORECASE
)


class PredictionDecoder:
    """One streamed answer. What came before an error is handed out before the error is raised.

    `limit` is the most tokens that were asked for: who wrote as many was cut off.
    """

    def __init__(self, provider: str, limit: int | None) -> None:
        self._provider = provider
        self._limit = limit
        self._sse = SSEDecoder(provider)
        self._is_done = False
        self._failure: ProviderError | None = None

    @property
    def is_done(self) -> bool:
        """`done` or an error has come."""
        return self._is_done

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas that `data` completes. Raises ProviderError for an error in the stream."""
        return self._read(self._sse.feed(data))

    def close(self) -> list[Delta]:
        """What the end of the body completes. Raises ProviderError if the answer is not whole."""
        deltas = self._read(self._sse.close())
        if self._failure:
            raise self._failure
        if not self._is_done:
            raise broke_off(self._provider)
        return deltas

    def _read(self, events: list[Event]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for event in events:
                if self._is_done:
                    break
                self._event(event, deltas)
        except ProviderError as error:
            self._is_done = True
            self._failure = error
            if not deltas:
                raise
        return deltas

    def _event(self, event: Event, deltas: list[Delta]) -> None:
        match event.name:
            case b"output":
                if event.data:
                    deltas.append(TextDelta(self._text(event.data)))
            case b"error":
                raise failure(self._provider, event.data.decode("utf-8", "replace"))
            case b"done":
                self._done(event.data, deltas)
            case _:
                pass  # logs, and what is yet to be invented

    def _done(self, data: bytes, deltas: list[Delta]) -> None:
        said = _json(data)
        said = said if isinstance(said, dict) else {}
        if (reason := said.get("reason")) in ("canceled", "error"):
            raise ProviderUnavailableError(
                f"{self._provider} ended the prediction ('{reason}').", provider=self._provider
            )
        usage = prediction_usage(said.get("metrics"))
        is_cut = (
            usage is not None and self._limit is not None and usage.output_tokens >= self._limit
        )
        self._is_done = True
        deltas.append(Finish("length" if is_cut else "stop"))
        if usage is not None:
            deltas.append(UsageDelta(usage))

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ProviderBadReplyError(
                f"{self._provider} sent a piece of text that is not UTF-8.", provider=self._provider
            ) from error


def prediction_usage(metrics: Any) -> TokenUsage | None:
    """A prediction's counts; only official language models have them."""
    if not isinstance(metrics, dict):
        return None
    counts = [metrics.get(name) for name in ("input_token_count", "output_token_count")]
    known = [n for n in counts if type(n) is int and 0 <= n <= TOKENS_MAX]
    return TokenUsage(input_tokens=known[0], output_tokens=known[1]) if len(known) == 2 else None


def failure(provider: str, said: Any) -> ProviderError:
    """The error of a model that failed, from its text or the JSON around it."""
    payload = _json(said) if isinstance(said, str) else said
    if isinstance(payload, dict):
        said = payload.get("detail") or payload.get("error") or payload.get("message")
    text = " ".join(redact(str(said or ""))[:MESSAGE_CHARS_MAX].split())
    if FLAGGED.search(text):
        return ProviderRejectedError(
            f"{provider} rejected the request: {text}",
            provider=provider,
            code="content_policy_violation",
        )
    detail = f": {text}" if text else "."
    return ProviderUnavailableError(f"{provider}'s model failed{detail}", provider=provider)


def _json(data: bytes | str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
