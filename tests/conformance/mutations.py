"""Single faults, put into correct JSON values and streams. Every function leaves its input alone."""

import copy
from collections.abc import Callable
from typing import Any

from tests.conformance.scenarios import Events

Path = tuple[str | int, ...]
EventsFault = Callable[[Events], Events]


def patched(value: Any, path: Path, new: Any) -> Any:
    """`value` with `new` at `path`."""
    copied = copy.deepcopy(value)
    _parent(copied, path)[path[-1]] = new
    return copied


def without(value: Any, path: Path) -> Any:
    """`value` without what is at `path`."""
    copied = copy.deepcopy(value)
    del _parent(copied, path)[path[-1]]
    return copied


def reversed_keys(value: Any, path: Path = ()) -> Any:
    """`value` with the keys of the object at `path` in the opposite order."""
    if not path:
        return dict(reversed(value.items()))
    return patched(value, path, reversed_keys(_at(value, path)))


def _at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def _parent(value: Any, path: Path) -> Any:
    return _at(value, path[:-1])


def _find(events: Events, event: str, nth: int) -> int:
    return [index for index, (name, _) in enumerate(events) if name == event][nth]


def dropping(event: str, nth: int = 0) -> EventsFault:
    """Leaves the nth `event` out."""

    def fault(events: Events) -> Events:
        index = _find(events, event, nth)
        return [*events[:index], *events[index + 1 :]]

    return fault


def doubling(event: str, nth: int = 0) -> EventsFault:
    """Sends the nth `event` twice."""

    def fault(events: Events) -> Events:
        index = _find(events, event, nth)
        return [*events[: index + 1], *events[index:]]

    return fault


def swapping(event: str, nth: int = 0) -> EventsFault:
    """Sends the nth `event` after the one that follows it."""

    def fault(events: Events) -> Events:
        index = _find(events, event, nth)
        first, second = events[index : index + 2]
        return [*events[:index], second, first, *events[index + 2 :]]

    return fault


def inserting(event: str, payload: Any, before: str, nth: int = 0) -> EventsFault:
    """Sends one event more, before the nth `before`."""

    def fault(events: Events) -> Events:
        index = _find(events, before, nth)
        return [*events[:index], (event, payload), *events[index:]]

    return fault


def renaming(event: str, new: str) -> EventsFault:
    """Sends the first `event` under another name."""

    def fault(events: Events) -> Events:
        index = _find(events, event, 0)
        return [*events[:index], (new, events[index][1]), *events[index + 1 :]]

    return fault


def patching(event: str, path: Path, new: Any, nth: int = 0) -> EventsFault:
    """Puts `new` at `path` into the nth `event`."""
    return _changing(event, nth, lambda payload: patched(payload, path, new))


def removing(event: str, path: Path, nth: int = 0) -> EventsFault:
    """Takes what is at `path` out of the nth `event`."""
    return _changing(event, nth, lambda payload: without(payload, path))


def reordering(event: str, nth: int = 0) -> EventsFault:
    """Turns the order of the nth `event`'s keys round."""
    return _changing(event, nth, reversed_keys)


def _changing(event: str, nth: int, change: Callable[[Any], Any]) -> EventsFault:
    def fault(events: Events) -> Events:
        index = _find(events, event, nth)
        return [*events[:index], (event, change(events[index][1])), *events[index + 1 :]]

    return fault
