"""Thought signatures: what Gemini wants back in the very part in which it sent it. Pure.

They stand on the first call of an answer, on a piece of its text, or on an empty text at its end.
OpenAI's messages have no place for them, so they travel beside the message, by position. An answer
that was not Gemini's, or whose signature is lost, takes Google's own word for that.
Source: https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-21.
"""

from typing import Any, Final

import msgspec

NO_SIGNATURE: Final = "skip_thought_signature_validator"
"""Google's documented last resort for a call that has no signature."""


class Signatures(msgspec.Struct, kw_only=True):
    """The signatures of one answer, by where they stood.

    `calls`: index of the call and its signature. `texts`: start, end and signature of a piece of
    the text before the calls, which has `chars` characters. `tail`: of an empty text at the end.
    """

    chars: int = 0
    calls: list[tuple[int, str]] = []
    texts: list[tuple[int, int, str]] = []
    tail: str | None = None

    def add_text(self, text: str, signature: str, *, is_after_calls: bool) -> None:
        """Counts a piece of text, and keeps its signature if it has one."""
        if is_after_calls:
            # The wire knows no text after calls, so only an empty one finds its place again.
            if signature and not text:
                self.tail = signature
            return
        if signature:
            self.texts.append((self.chars, self.chars + len(text), signature))
        self.chars += len(text)

    def state(self) -> dict[str, Any] | None:
        """As it is kept with the message; None if nothing was signed."""
        if not (self.calls or self.texts or self.tail):
            return None
        return {
            "chars": self.chars,
            "calls": [list(call) for call in self.calls],
            "texts": [list(text) for text in self.texts],
            "tail": self.tail,
        }

    def text_parts(self, text: str) -> list[dict[str, Any]]:
        """The text cut where it was signed; a text that has changed goes unsigned."""
        parts: list[dict[str, Any]] = []
        at = 0
        for start, end, signature in self.texts if len(text) == self.chars else ():
            if not at <= start <= end <= len(text):
                continue
            if start > at:
                parts.append({"text": text[at:start]})
            parts.append({"text": text[start:end], "thoughtSignature": signature})
            at = end
        if text[at:]:
            parts.append({"text": text[at:]})
        return parts


class Halt(msgspec.Struct, frozen=True, kw_only=True):
    """Where an answer stopped that Google goes on with in a further request, and what it had then.

    Source: https://ai.google.dev/gemini-api/docs/generate-content/long-decode, read 2026-11-21.
    """

    token: str = ""
    call_ids: list[str] = []
    signatures: Signatures = msgspec.field(default_factory=Signatures)

    @classmethod
    def of(cls, continuation: Any) -> "Halt":
        """As it was told at the end of the answer so far; the beginning if nothing was."""
        return msgspec.convert(continuation or {}, cls)


def signatures_of(message: dict[str, Any]) -> Signatures:
    """What was kept with an answer, else what its calls carry in Google's own public field."""
    try:
        kept = msgspec.convert(message.get("provider_state"), Signatures)
    except msgspec.ValidationError:
        kept = Signatures()
    if kept.state() is not None:
        return kept
    carried = ((i, _carried(call)) for i, call in enumerate(message.get("tool_calls") or ()))
    return Signatures(calls=[(index, signature) for index, signature in carried if signature])


def _carried(call: Any) -> str | None:
    """`extra_content.google.thought_signature`, as Google's OpenAI-compatible endpoint writes it."""
    value: Any = call
    for key in ("extra_content", "google", "thought_signature"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value else None
