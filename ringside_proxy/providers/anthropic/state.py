"""Thinking: what Anthropic wants back, unread and in its place, while a turn goes on. Pure.

OpenAI's messages have no place for it, so it travels beside the message, with the order in which
the answer's blocks stood. A message that has changed since takes its thinking in front.
Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking, read 2026-11-21.
"""

from typing import Any, Final

Block = dict[str, Any]

STATE_CHARS_MAX: Final = 4 * 1024 * 1024
"""Of an answer that thinks more, nothing is kept: the next one begins to think anew."""
BLOCK_CHARS: Final = 32
"""What a block counts for, apart from its text."""
THINKING: Final = ("thinking", "redacted_thinking")


class Layout:
    """The blocks of one answer, in their order: thinking whole, of the rest only what it was."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._chars = 0

    def add(self, kind: str, **fields: Any) -> Block:
        """A new block, which may still grow; text has `chars`."""
        block = {"type": kind, **fields}
        self.grow(BLOCK_CHARS + sum(len(v) for v in fields.values() if isinstance(v, str)))
        if self._chars <= STATE_CHARS_MAX:
            self._blocks.append(block)
        return block

    def grow(self, chars: int) -> bool:
        """Whether there is room for `chars` more."""
        self._chars += chars
        if self._chars > STATE_CHARS_MAX:
            self._blocks.clear()
        return self._chars <= STATE_CHARS_MAX

    def state(self) -> dict[str, Any] | None:
        """As it is kept with the message; None if there is nothing to give back."""
        kept = [block for block in self._blocks if _is_whole(block)]
        if not any(block["type"] in THINKING for block in kept):
            return None
        return {"blocks": kept}


def state_of(message: dict[str, Any]) -> Any:
    """What was kept with an answer, else the thinking that its caller gives back itself.

    `thinking_blocks` is the public field that other gateways and SDKs have for it.
    """
    kept, given = message.get("provider_state"), message.get("thinking_blocks")
    if kept is not None or not isinstance(given, list):
        return kept
    return {"blocks": [thought for block in given for thought in _signed(block)]}


def thinking_blocks(state: Any) -> list[Block]:
    """The thinking that was kept with an answer."""
    return [block for block in _blocks(state) if block["type"] in THINKING]


def replayed(state: Any, said: list[Block], calls: list[Block]) -> list[Block]:
    """An answer's words and calls with its thinking among them, where it stood."""
    layout = _blocks(state)
    whole = "".join(block["text"] for block in said if block["type"] == "text")
    chars = sum(_chars(block) for block in layout if block["type"] == "text")
    count = sum(block["type"] == "tool_use" for block in layout)
    is_marked = any("cache_control" in block for block in said)
    if len(whole) != chars or len(calls) != count or is_marked:
        return [*(b for b in layout if b["type"] in THINKING), *said, *calls]
    told: list[Block] = []
    waiting, at = iter(calls), 0
    for block in layout:
        if block["type"] in THINKING:
            told.append(block)
        elif block["type"] == "tool_use":
            told.append(next(waiting))
        else:
            text, at = whole[at : at + _chars(block)], at + _chars(block)
            told += [{"type": "text", "text": text}] if text.strip() else []
    return told


def _is_whole(block: Block) -> bool:
    """Thinking that nobody signed is refused."""
    return block["type"] != "thinking" or bool(block["signature"])


def _signed(block: Any) -> list[Block]:
    """A block of thinking as Anthropic told it; any other says nothing."""
    match block:
        case {"type": "thinking", "thinking": str() as text, "signature": str() as signature}:
            told = {"type": "thinking", "thinking": text, "signature": signature}
            return [told] if signature else []
        case {"type": "redacted_thinking", "data": str() as data}:
            return [{"type": "redacted_thinking", "data": data}]
        case _:
            return []


def _blocks(state: Any) -> list[Block]:
    blocks = state.get("blocks") if isinstance(state, dict) else None
    if not isinstance(blocks, list):
        return []
    return [block for block in blocks if isinstance(block, dict) and "type" in block]


def _chars(block: Block) -> int:
    chars = block.get("chars")
    return chars if isinstance(chars, int) else 0
