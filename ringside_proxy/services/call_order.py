"""The pieces of several function calls, one call after the other. Pure.

OpenAI tells a call to its end before the next begins, and clients put calls together in that
faith. Some providers open a second call before the arguments of the first are complete, or say
only at the end that a call has none.
"""

import orjson

from ringside_proxy.providers.types import Delta, Finish, ToolCallDelta

NO_ARGUMENTS = "{}"


class CallOrder:
    """Holds back the pieces of a call until the arguments of the one before are whole JSON.

    A provider that keeps OpenAI's order is passed on piece by piece, and nothing is parsed before
    the next call begins. What comes for a call after that would only break it, and is left out.
    """

    def __init__(self) -> None:
        self._current = -1
        self._arguments = ""
        self._held: list[ToolCallDelta] = []

    def feed(self, batch: list[Delta]) -> list[Delta]:
        """The deltas that may be told now."""
        told: list[Delta] = []
        for delta in batch:
            match delta:
                case ToolCallDelta():
                    self._held.append(delta)
                    self._tell(told)
                case Finish():
                    self._tell_rest(told)
                    told.append(delta)
                case _:
                    told.append(delta)
        return told

    def _tell(self, told: list[Delta]) -> None:
        """Moves on, as far as calls are whole."""
        while True:
            held, self._held = self._held, []
            for delta in held:
                if delta.index > self._current:
                    self._held.append(delta)
                elif delta.index == self._current:
                    self._arguments += delta.arguments
                    told.append(delta)
            is_next_here = any(delta.index == self._current + 1 for delta in self._held)
            if not (is_next_here and (self._current < 0 or self._is_whole())):
                return
            self._current += 1
            self._arguments = ""

    def _tell_rest(self, told: list[Delta]) -> None:
        """The answer is over: a call without arguments has none, and no call waits any longer."""
        while self._current >= 0:
            if not self._arguments:
                told.append(ToolCallDelta(index=self._current, arguments=NO_ARGUMENTS))
            if not self._held:
                return
            self._current += 1
            self._arguments = ""
            for delta in [d for d in self._held if d.index == self._current]:
                self._arguments += delta.arguments
                told.append(delta)
            self._held = [delta for delta in self._held if delta.index > self._current]

    def _is_whole(self) -> bool:
        """One search where an object cannot be over yet, a parse where it may be."""
        if not self._arguments.rstrip().endswith("}"):
            return False
        try:
            orjson.loads(self._arguments)
        except orjson.JSONDecodeError:
            return False
        return True
