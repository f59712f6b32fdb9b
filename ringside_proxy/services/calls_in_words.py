"""Function calls for models that know none: offered in words, and read out of the answer's text. Pure.

A call is a line of JSON, `{"tool": …, "arguments": …}`; what it returned goes back in the same form
with `output`. Whatever cannot be such a call is told as the text that it is, as soon as that is
certain; what can is held back until the answer is over.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Never

from ringside_proxy.domain.ids import NewId
from ringside_proxy.providers.answer_decoder import TOOL_CALLS_MAX
from ringside_proxy.providers.types import Delta, Finish, TextDelta, ToolCallDelta

Message = dict[str, Any]

OFFER: Final = """\
You can call functions. To call one, answer with one line of JSON of this form, without a code fence \
and with nothing after it; to call several, with one such line for each:
{"tool": "<name>", "arguments": {<its arguments>}}
What they return then comes back as lines of that form with "output". If you need no function, answer \
in words. The functions, and the JSON schemas of their arguments:
"""
OPENINGS: Final = ('{"tool":', '[{"tool":')
"""How calls begin, without blanks; some models put several into a list."""
OPENING_CHARS_MAX: Final = 256
"""By then a call has opened, or it is none; so many blanks wait at most for what follows."""
MAY_OPEN: Final = re.compile(r"^[^\S\n]*[\[{`]", re.MULTILINE)
FENCE: Final = re.compile(r"```\w*")
OPENING_FENCE: Final = re.compile(r"\s*(?:```\w*[^\S\n]*\n)?\s*")
BETWEEN: Final = re.compile(r"[\s,;]*")
FENCE_SO_FAR: Final = re.compile(r"`{1,2}|```\w*")
NO_PARAMETERS: Final = {"type": "object", "properties": {}}


def offer(tools: Iterable[dict[str, Any]]) -> str:
    """What a model is told of the functions that it may call."""
    return OFFER + "\n".join(_described(tool["function"]) for tool in tools)


def told(messages: Iterable[Message]) -> list[Message]:
    """A conversation in which calls and what they returned are lines of text."""
    calls: dict[Any, Message] = {}
    said: list[Message] = []
    for message in messages:
        if message.get("role") == "tool":
            said.append({"role": "user", "content": _returned(message, calls)})
            continue
        made = {call["id"]: _call(call) for call in message.get("tool_calls") or ()}
        calls |= made
        said.append(_with_lines(message, made.values()) if made else message)
    return said


class CallsInWords:
    """Reads the calls of one answer out of its text, as its deltas come.

    A line that opens like a call holds back what follows until the answer is over; whatever stands
    behind the calls is no part of the answer. `names` are the functions that were offered.
    """

    def __init__(self, names: Sequence[str], new_id: NewId) -> None:
        self._names = names
        self._new_id = new_id
        self._held = ""
        self._call: list[str] = []
        self._is_midline = False

    def feed(self, batch: list[Delta]) -> list[Delta]:
        """The deltas that may be told now."""
        deltas: list[Delta] = []
        for delta in batch:
            match delta:
                case TextDelta(text=text):
                    deltas += self._text(text)
                case Finish():
                    deltas += self._end(delta)
                case _:
                    deltas.append(delta)
        return deltas

    def _text(self, text: str) -> list[Delta]:
        if self._call:
            self._call.append(text)
            return []
        self._held += text
        end = self._certain_until()
        certain, rest = self._held[:end], self._held[end:]
        if _opens(rest, 0):
            self._held, self._call = "", [rest]
        else:
            self._held = rest
        self._is_midline = self._is_midline or bool(certain)
        return [TextDelta(certain)] if certain else []

    def _certain_until(self) -> int:
        """Where what is held stops to be text for certain; the blanks before a call are not told."""
        at = self._held.find("\n") + 1 or len(self._held) if self._is_midline else 0
        while found := MAY_OPEN.search(self._held, at):
            if _opens(self._held, found.start()) is not False:
                return len(self._held[: found.start()].rstrip())
            at = found.end()
        end = len(self._held.rstrip())
        return end if len(self._held) - end <= OPENING_CHARS_MAX else len(self._held)

    def _end(self, finish: Finish) -> list[Delta]:
        held, self._held, self._call = self._held + "".join(self._call), "", []
        calls = list(self._calls(held))[:TOOL_CALLS_MAX]
        if not calls:
            return [*([TextDelta(held)] if held else []), finish]
        deltas: list[Delta] = []
        for index, (name, arguments) in enumerate(calls):
            deltas.append(ToolCallDelta(index=index, id=self._new_id("call"), name=name))
            deltas.append(ToolCallDelta(index=index, arguments=arguments))
        return [*deltas, Finish("tool_calls") if finish.reason == "stop" else finish]

    def _calls(self, text: str) -> Iterator[tuple[str, str]]:
        """The calls with which `text` begins: names and arguments."""
        at = _end_of(OPENING_FENCE, text)
        while at < len(text):
            try:
                value, at = DECODER.raw_decode(text, at)
            except (ValueError, RecursionError):
                return
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, dict) or each.get("tool") not in self._names:
                    return
                yield each["tool"], _arguments(each.get("arguments"))
            at = _end_of(BETWEEN, text, at)


def _opens(text: str, at: int) -> bool | None:
    """Whether there a text opens like a call; None while it is too short to say."""
    seen = text[at : at + OPENING_CHARS_MAX].lstrip()
    undecided = None if len(text) - at <= OPENING_CHARS_MAX else False
    first, newline, rest = seen.partition("\n")
    if first.startswith("`"):
        if not newline:
            return undecided if FENCE_SO_FAR.fullmatch(first.rstrip()) else False
        seen = rest if FENCE.fullmatch(first.rstrip()) else first
    begun = "".join(seen.split())
    if begun.startswith(OPENINGS):
        return True
    return undecided if any(opening.startswith(begun) for opening in OPENINGS) else False


def _end_of(pattern: re.Pattern[str], text: str, at: int = 0) -> int:
    """Where what matches there ends; `at` if nothing does."""
    found = pattern.match(text, at)
    return found.end() if found else at


def _refused(constant: str) -> Never:
    raise ValueError(f"{constant} is no JSON")


DECODER: Final = json.JSONDecoder(parse_constant=_refused)


def _arguments(given: Any) -> str:
    """Arguments as the text that OpenAI sends."""
    if isinstance(given, str):
        return given or "{}"
    return _line({} if given is None else given)


def _line(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # Half of a pair of surrogates has no bytes: it is told escaped, as it came.
    return text if text.isascii() or _is_sound(text) else json.dumps(value)


def _is_sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _described(function: dict[str, Any]) -> str:
    described = {"description": function["description"]} if function.get("description") else {}
    parameters = function.get("parameters") or NO_PARAMETERS
    return _line({"name": function["name"], **described, "parameters": parameters})


def _call(call: dict[str, Any]) -> Message:
    function = call["function"]
    arguments = function.get("arguments") or "{}"
    try:
        given = json.loads(arguments)
    except (ValueError, RecursionError):
        given = arguments
    return {"tool": function["name"], "arguments": given}


def _returned(message: Message, calls: dict[Any, Message]) -> str:
    text = _words(message.get("content"))
    call = calls.get(message.get("tool_call_id"))
    return text if call is None else _line(call | {"output": text})


def _with_lines(message: Message, calls: Iterable[Message]) -> Message:
    words = _words(message.get("content")) or message.get("refusal") or ""
    lines = [words] if words else []
    return {"role": "assistant", "content": "\n".join([*lines, *map(_line, calls)])}


def _words(content: Any) -> str:
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict))
        return "\n".join(str(part.get("text") or part.get("refusal") or "") for part in parts)
    return content if isinstance(content, str) else ""
