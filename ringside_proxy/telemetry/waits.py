"""How long a request waits for others: what is left of its time is the proxy's own doing."""

from contextvars import ContextVar
from typing import Final


class Wait:
    """The seconds that one request has waited for providers, or for another run to end."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0


WAIT: Final[ContextVar[Wait | None]] = ContextVar("wait", default=None)
"""The request that is being answered here, or by the task that it began; None if nobody waits."""


def waited(seconds: float) -> None:
    """The request that is being answered has waited."""
    wait = WAIT.get()
    if wait is not None:
        wait.seconds += seconds
