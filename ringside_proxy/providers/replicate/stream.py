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
from ringside_proxy.domain.usage import UNCOUNTED, TokenUsage
from ringside_proxy.providers.answer_decoder import AnswerDecoder
from ringside_proxy.providers.errors import MESSAGE_CHARS_MAX, redact
from ringside_proxy.providers.reported_costs import PREDICT_TIME
from ringside_proxy.providers.sse import Event, SSEDecoder
from ringside_proxy.providers.types import Delta, Finish, TextDelta, UsageDelta
from ringside_proxy.providers.usage import TOKENS_MAX

FLAGGED: Final = re.compile(
    r"\(E005\)|flagged as sensitive|content (policy|moderation)", re.IGNORECASE
)


class PredictionDecoder(AnswerDecoder[Event, Delta]):
    """One streamed answer. What came before an error is handed out before the error is raised.

    Its end is told when its body is over, because only the prediction itself says why it ended.
    `limit` is the most tokens that were asked for: who wrote as many was cut off.
    """

    def __init__(self, provider: str, limit: int | None) -> None:
        super().__init__(provider, SSEDecoder(provider))
        self._limit = limit
        self._end: list[Delta] = []

    def close(self) -> list[Delta]:
        """What the end of the body completes. Raises ProviderError if the answer is not whole."""
        return super().close() + self._end

    def _frame(self, frame: Event, told: list[Delta]) -> None:
        match frame.name:
            case b"output":
                if frame.data:
                    told.append(TextDelta(self._text(frame.data)))
            case b"error":
                raise failure(self._provider, frame.data.decode("utf-8", "replace"))
            case b"done":
                self._done(frame.data)
            case _:
                pass  # logs, and what is yet to be invented

    def _done(self, data: bytes) -> None:
        said = _json(data)
        said = said if isinstance(said, dict) else {}
        if (reason := said.get("reason")) in ("canceled", "error"):
            raise ProviderUnavailableError(
                f"{self._provider} ended the prediction ('{reason}').", provider=self._provider
            )
        self._mark_whole()
        self._end = counted([Finish("stop")], said.get("metrics"), self._limit)

    def _text(self, data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise ProviderBadReplyError(
                f"{self._provider} sent a piece of text that is not UTF-8.", provider=self._provider
            ) from error


def counted(end: list[Delta], metrics: Any, limit: int | None) -> list[Delta]:
    """The end of an answer with what its prediction counts, if it does: a text as long as the
    limit was cut off by it.
    """
    usage = prediction_usage(metrics)
    if usage is None:
        has_taken = isinstance(metrics, dict) and PREDICT_TIME in metrics
        return [*end, UsageDelta(UNCOUNTED, metrics)] if has_taken else end
    is_cut = limit is not None and usage.output_tokens >= limit
    told = [Finish("length") if is_cut and isinstance(d, Finish) else d for d in end]
    return [*told, UsageDelta(usage, metrics)]


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
