"""A streamed chat completion that may be asked for again: its many chunks as few. Pure.

For each choice one chunk with the role, one with everything it said, one with its end; then the
usage if it was told, and `[DONE]`. Texts are put together, tool calls by their index; of what is
unknown here, lists grow and the last word stands.
"""

from typing import Any, Final

import orjson

DATA: Final = b"data: "
FRAME_END: Final = b"\n\n"
DONE: Final = b"[DONE]"

JSON = dict[str, Any]


class ChatReplay:
    """Takes in the frames of one stream; gives the few that say the same."""

    def __init__(self) -> None:
        self._head: JSON = {}
        self._tail: JSON = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: JSON | None = None
        self._end = b""

    def feed(self, frames: bytes) -> None:
        """Whole frames, as they went to the client."""
        for frame in frames.split(FRAME_END):
            data = frame.removeprefix(DATA)
            if data == DONE:
                self._end = frame + FRAME_END
            elif len(data) < len(frame):
                self._take(orjson.loads(data))

    def fail(self, frame: bytes) -> None:
        """The frame that told the error which ended the stream."""
        self._end = frame

    def frames(self) -> bytes:
        """The stream, in short."""
        choices = self._choices.values()
        chunks = [self._head | {"choices": [told]} for each in choices for told in each.said()]
        chunks += [self._tail | {"choices": [told]} for each in choices for told in each.ended()]
        if self._usage is not None:
            chunks.append(self._usage)
        return b"".join(DATA + orjson.dumps(chunk) + FRAME_END for chunk in chunks) + self._end

    def _take(self, chunk: JSON) -> None:
        choices = chunk.get("choices")
        if not choices:
            self._usage = chunk
            return
        self._head = self._head or chunk
        self._tail |= {
            name: value if value is not None else self._tail.get(name)
            for name, value in chunk.items()
        }
        for choice in choices:
            index = choice.get("index", 0)
            if index not in self._choices:
                self._choices[index] = _Choice(choice)
            self._choices[index].take(choice)


class _Choice:
    """One choice: what its chunks said."""

    def __init__(self, first: JSON) -> None:
        self._plain = first | {"logprobs": None, "finish_reason": None}
        delta: JSON = first.get("delta") or {}
        self._opening = {
            name: "" if name != "role" and isinstance(value, str) else value
            for name, value in delta.items()
            if value is None or isinstance(value, str)
        }
        self._pieces = _Pieces()
        self._logprobs: dict[str, list[Any]] = {}
        self._finish_reason: str | None = None

    def take(self, choice: JSON) -> None:
        for name, value in (choice.get("delta") or {}).items():
            if name != "role":
                self._pieces.add(name, value)
        for name, entries in (choice.get("logprobs") or {}).items():
            self._logprobs.setdefault(name, []).extend(entries or ())
        self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def said(self) -> list[JSON]:
        """The role, and everything that was said if anything was."""
        opening = self._plain | {"delta": self._opening}
        whole = self._pieces.whole()
        if not any(whole.values()):
            return [opening]
        return [opening, self._plain | {"delta": whole, "logprobs": self._logprobs or None}]

    def ended(self) -> list[JSON]:
        """The end, if it came to one."""
        if self._finish_reason is None:
            return []
        return [self._plain | {"delta": {}, "finish_reason": self._finish_reason}]


class _Pieces:
    """The fields of a delta, or of a tool call or its function, piece by piece."""

    def __init__(self, once: frozenset[str] = frozenset()) -> None:
        self._once = once
        """Texts that are told whole; some providers repeat them."""
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, _Pieces] = {}
        self._function: _Pieces | None = None
        self._rest: JSON = {}

    def add(self, name: str, value: Any) -> None:
        match name, value:
            case ("tool_calls", list()):
                for position, piece in enumerate(value):
                    self._call(piece.get("index", position)).add_all(piece)
            case ("function", dict()):
                self._function = self._function or _Pieces(frozenset({"name"}))
                self._function.add_all(value)
            case (_, str()) if name not in self._once:
                self._texts.setdefault(name, []).append(value)
            case (_, str()):
                self._rest.setdefault(name, value)
            case (_, list()):
                self._rest[name] = [*(self._rest.get(name) or ()), *value]
            case _:
                self._rest[name] = value if value is not None else self._rest.get(name)

    def add_all(self, fields: JSON) -> None:
        for name, value in fields.items():
            self.add(name, value)

    def whole(self) -> JSON:
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        whole = self._rest | texts
        if self._function is not None:
            whole["function"] = self._function.whole()
        if self._calls:
            whole["tool_calls"] = [call.whole() for call in self._calls.values()]
        return whole

    def _call(self, index: int) -> "_Pieces":
        if index not in self._calls:
            self._calls[index] = _Pieces(frozenset({"id", "type"}))
        return self._calls[index]
