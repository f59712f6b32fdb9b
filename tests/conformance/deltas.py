"""Deltas put together the way OpenAI's SDKs do it: strings are joined, so nothing may repeat.

An id or a name that comes twice would read `call_acall_a` in every SDK; an index that leaves a gap
makes them fail. Both accumulators refuse such fragments and keep what a client would have.
"""

from typing import Any

from tests.conformance.faults import require, require_keys

Json = dict[str, Any]


def _check_index(fragment: Json, known: int, at: str) -> int:
    index = fragment["index"]
    require(type(index) is int, f"{at}: index {index!r} is not an integer")
    require(0 <= index <= known, f"{at}: index {index} leaves a gap; {known} are known")
    return int(index)


class MessageParts:
    """The content of a message, from its deltas."""

    def __init__(self) -> None:
        self.parts: list[Json] = []

    def add(self, delta: Json, at: str) -> None:
        """Join one `delta` to what came before. Raises NonConformance."""
        require_keys(delta, ("content",), f"{at}.delta")
        require(bool(delta["content"]), f"{at}.delta.content: empty")
        for fragment in delta["content"]:
            kind = fragment["type"]
            require_keys(fragment, ("index", "type", kind), f"{at}.delta.content")
            index = _check_index(fragment, len(self.parts), f"{at}.delta.content")
            if index == len(self.parts):
                self._begin(kind, fragment[kind], at)
            else:
                self._go_on(self.parts[index], kind, fragment[kind], at)

    def _begin(self, kind: str, value: Any, at: str) -> None:
        if kind == "text":
            require_keys(value, ("value", "annotations"), f"{at}: first fragment of a text")
            require(value["annotations"] == [], f"{at}: annotations are not [] at first")
            value = dict(value)
        self.parts.append({"type": kind, kind: value})

    def _go_on(self, part: Json, kind: str, value: Any, at: str) -> None:
        require(part["type"] == kind, f"{at}: a {part['type']} part goes on as {kind}")
        if kind == "text":
            require_keys(value, ("value",), f"{at}: later fragment of a text")
            part["text"]["value"] += value["value"]
        else:
            require(kind == "refusal", f"{at}: an {kind} part comes whole")
            part["refusal"] += value


class ToolCalls:
    """The function calls of a step, from its deltas, as `required_action` has to repeat them."""

    def __init__(self) -> None:
        self.calls: list[Json] = []

    def add(self, delta: Json, at: str) -> None:
        """Join one `delta` to what came before. Raises NonConformance."""
        require_keys(delta, ("step_details",), f"{at}.delta")
        details = delta["step_details"]
        require_keys(details, ("type", "tool_calls"), f"{at}.delta.step_details")
        require(bool(details["tool_calls"]), f"{at}.delta.step_details.tool_calls: empty")
        for fragment in details["tool_calls"]:
            index = _check_index(fragment, len(self.calls), f"{at}.delta.step_details.tool_calls")
            if index == len(self.calls):
                self._begin(fragment, at)
            else:
                self._go_on(fragment, index, at)

    def _begin(self, fragment: Json, at: str) -> None:
        place = f"{at}: first fragment of a call"
        require_keys(fragment, ("index", "id", "type", "function"), place)
        function = fragment["function"]
        require_keys(function, ("name", "arguments", "output"), f"{place}.function")
        require(function["output"] is None, f"{place}: output is not null")
        known = [call["id"] for call in self.calls]
        require(fragment["id"] not in known, f"{at}: call id {fragment['id']} stands twice")
        call = {"name": function["name"], "arguments": function["arguments"]}
        self.calls.append({"id": fragment["id"], "type": fragment["type"], "function": call})

    def _go_on(self, fragment: Json, index: int, at: str) -> None:
        place = f"{at}: later fragment of a call"
        require(index == len(self.calls) - 1, f"{place}: call {index} goes on after the next began")
        require_keys(fragment, ("index", "type", "function"), place)
        require_keys(fragment["function"], ("arguments",), f"{place}.function")
        self.calls[index]["function"]["arguments"] += fragment["function"]["arguments"]
