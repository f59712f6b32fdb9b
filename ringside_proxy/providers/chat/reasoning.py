"""What a streamed answer says beside its text: reasoning in tags, and state that goes back. Pure.

Source: https://openrouter.ai/docs/use-cases/reasoning-tokens,
https://docs.mistral.ai/capabilities/reasoning and
https://api-docs.deepseek.com/guides/thinking_mode, read 2026-11-21.
"""

import re
from typing import Any, Final

from ringside_proxy.providers.chat.messages import ReplayField
from ringside_proxy.providers.loose_json import text_in
from ringside_proxy.providers.types import Delta, ReasoningDelta, StateDelta, TextDelta

OPENING: Final = "<think>"
CLOSING: Final = "</think>"


OPENED_BY_TEMPLATE: Final = re.compile(r"deepseek-r1|\bqwq\b|-thinking\b")
"""Names of models whose prompt ends with the opening tag, so that their answer may begin without."""


class ThinkTags:
    """Parts `<think>…</think>` at the start of the text from the answer, wherever it is cut.

    A model that may begin in the middle of its thoughts is not told before it is known whether it
    has: by the tag that closes them, by thoughts in a field of their own (`is_told_apart`), or by
    its end.
    """

    def __init__(self, model: str = "") -> None:
        self._may_be_open = OPENED_BY_TEMPLATE.search(model.lower()) is not None
        self._held = ""
        self._tag = OPENING
        self._is_over = False

    def feed(self, text: str) -> list[Delta]:
        """What `text` makes certain."""
        if self._is_over:
            return [TextDelta(text)]
        self._held += text
        if self._tag == OPENING:
            start = self._held.lstrip()
            if len(start) < len(OPENING) and OPENING.startswith(start):
                return []
            if not start.startswith(OPENING):
                return self._untagged(len(text))
            self._held, self._tag = start.removeprefix(OPENING), CLOSING
        if self._tag == CLOSING:
            thought, tag, rest = self._held.partition(CLOSING)
            if not tag:
                return self._thought(len(self._held) - _overlap(self._held, CLOSING))
            self._held, self._tag = rest, ""
            thoughts: list[Delta] = [ReasoningDelta(thought)] if thought else []
            return thoughts + self._answer()
        return self._answer()

    def is_told_apart(self) -> None:
        """Thoughts came in their own field: what comes as text is the answer, or has its tag."""
        self._may_be_open = False

    def close(self) -> list[Delta]:
        """What is left when no more text comes."""
        text, self._held, self._is_over = self._held, "", True
        if not text:
            return []
        return [ReasoningDelta(text)] if self._tag == CLOSING else [TextDelta(text)]

    def _untagged(self, new_chars: int) -> list[Delta]:
        """A text without the opening tag: the answer, or thoughts up to the tag that closes them."""
        if not self._may_be_open:
            return self.close()
        at = self._held.find(CLOSING, max(len(self._held) - new_chars - len(CLOSING), 0))
        if at < 0:
            return []
        thought, self._held, self._tag = self._held[:at], self._held[at + len(CLOSING) :], ""
        thoughts: list[Delta] = [ReasoningDelta(thought)] if thought else []
        return thoughts + self._answer()

    def _thought(self, size: int) -> list[Delta]:
        thought, self._held = self._held[:size], self._held[size:]
        return [ReasoningDelta(thought)] if thought else []

    def _answer(self) -> list[Delta]:
        """The text after the tag, without the blank lines that part them."""
        self._held = self._held.lstrip("\n")
        return self.close() if self._held else []


class Replay:
    """Collects what has to go back with this answer, in the shape it has to have there."""

    def __init__(self, field: ReplayField | None) -> None:
        self._field = field
        self._text: list[str] = []
        self._items: list[dict[str, Any]] = []

    def text(self, text: str) -> None:
        """Reasoning as plain text."""
        if self._field in ("reasoning", "reasoning_content"):
            self._text.append(text)

    def details(self, details: list[dict[str, Any]]) -> None:
        """OpenRouter's `reasoning_details`: pieces of one text are joined, the rest is kept."""
        if self._field != "reasoning_details":
            return
        for detail in details:
            last = self._items[-1] if self._items else {}
            if detail.get("type") != "reasoning.text" or not _continues(last, detail):
                self._items.append(dict(detail))
                continue
            text = text_in(last, "text") + text_in(detail, "text")
            last.update({k: v for k, v in detail.items() if v is not None} | {"text": text})

    def thinking(self, chunk: dict[str, Any], text: str) -> None:
        """Mistral's chunk of content: all of them make one."""
        if self._field != "thinking":
            return
        self._text.append(text)
        said = {k: v for k, v in chunk.items() if k != "thinking" and v is not None}
        self._items = [{**(self._items[0] if self._items else {}), **said}]

    def close(self) -> list[Delta]:
        """The state, if there is any."""
        if self._field is None or not (self._text or self._items):
            return []
        text = "".join(self._text)
        if self._field == "reasoning_details":
            return [StateDelta({self._field: self._items})]
        if self._field == "thinking":
            said = {"thinking": [{"type": "text", "text": text}]}
            return [StateDelta({"thinking": [self._items[0] | said]})]
        return [StateDelta({self._field: text})]


def _continues(last: dict[str, Any], detail: dict[str, Any]) -> bool:
    return (
        last.get("type") == detail.get("type")
        and last.get("index") == detail.get("index")
        and not last.get("signature")
    )


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the start of `tag`."""
    longest = min(len(text), len(tag) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(tag[:n])), 0)
