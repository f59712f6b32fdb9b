"""Places where the proxy can be made to fail, to show what a failure there leaves behind.

    RINGSIDE_FAILPOINT=<name>[:<nth>]:abort|raise|sleep        several with commas between

A name is a step of POINTS with `.before` or `.after`, such as `hold.after`: the money is kept back
and nothing was sent yet. The nth time that the place is reached (the first, if nothing is said),
the process kills itself, or an error is raised, or everything there stands still for a second.

Nothing of this is in the code that it is about: what is to fail is wrapped when it is armed, once,
as the process starts. Without the variable there is nothing, and it costs nothing.
"""

import asyncio
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import count
from typing import Any, Final, NamedTuple

VARIABLE: Final = "RINGSIDE_FAILPOINT"
PACKAGE: Final = "ringside_proxy"
SIDES: Final = ("before", "after")
ACTIONS: Final = ("abort", "raise", "sleep")
SLEEP_S: Final = 1.0

POINTS: Final[dict[str, str]] = {
    # A request that came with a key; the last three inside their transactions.
    "key.begin": "services.idempotency:Idempotency.begin",
    "key.keep": "services.idempotency:Idempotency.keep",
    "key.made": "store.idempotency:made",
    "key.dispatched": "store.idempotency:dispatched",
    "key.answered": "store.idempotency:answered",
    # Money; the last three inside their transactions.
    "hold": "services.metering:Meter._hold_for",
    "settle": "services.metering:Meter.settle",
    "hold.row": "store.ledger:reserve",
    "closing": "store.ledger:close",
    "usage.row": "store.usage:record",
    # The call to a provider: a stream's `send.after` is its first byte.
    "send": "providers.exchange:Exchange.open",
    "send.whole": "providers.client:ProviderClient.send",
    "chunk": "providers.exchange:Exchange.__anext__",
    # A run; those of `run_transactions` and the event inside their transactions.
    "run.create": "services.run_transactions:create",
    "run.launch": "services.live_runs:LiveRuns.launch",
    "run.start": "services.run_transactions:start",
    "run.generate": "services.live_runs:LiveRuns._generate",
    "run.save": "services.run_transactions:save",
    "run.finish": "services.live_runs:LiveRuns._finish",
    "run.end": "services.run_transactions:finish",
    "run.submit": "services.run_transactions:submit",
    "event": "store.events:emit",
    # Every write: `commit.after` is durable, and nobody knows it yet.
    "write": "store.db:Database.write",
    "commit": "store.db:_run_batch",
    # What the client is told.
    "answer.begin": "api.sse:Stream.begin",
    "answer.write": "api.sse:Stream.write",
    # What is told to others; all but the sending inside their transactions.
    "delivery.claim": "store.delivery_claims:claim",
    "delivery.send": "delivery.post:Poster.post",
    "delivery.result": "store.delivery_claims:finish",
    "report.batch": "store.usage_upstream:next_batch",
    "report.told": "store.usage_upstream:acknowledge",
    # The next start.
    "recover.calls": "services.metering:Ledger.recover",
    "recover.runs": "services.runs:Runs.recover",
}
"""Step → what does it."""

NAMES: Final = tuple(f"{step}.{side}" for step in POINTS for side in SIDES)


class FailpointError(Exception):
    """What `raise` raises."""


class Order(NamedTuple):
    """What is to happen, where, and how often it has to be reached for that."""

    step: str
    side: str
    nth: int
    action: str


def parse(text: str) -> list[Order]:
    """The orders in the variable. Raises ValueError, in words for who wrote it."""
    return [_order(part.strip()) for part in text.split(",")]


def _order(text: str) -> Order:
    name, *nth, action = text.split(":") if ":" in text else (text, "")
    step, _, side = name.rpartition(".")
    if name not in NAMES:
        raise ValueError(f"{VARIABLE}: no place is named '{name}'; there are: {', '.join(NAMES)}")
    if action not in ACTIONS or len(nth) > 1 or not all(n.isdecimal() and int(n) for n in nth):
        raise ValueError(
            f"{VARIABLE}: '{text}' is not <name>[:<nth>]:<action>; an action is one of "
            + ", ".join(ACTIONS)
        )
    return Order(step, side, int(nth[0]) if nth else 1, action)


def arm(text: str) -> None:
    """Arm the orders, for the rest of the process. Raises ValueError."""
    for order in parse(text):
        _install(order)


@contextmanager
def armed(text: str) -> Iterator[None]:
    """The orders are armed while the block runs."""
    undo = [_install(order) for order in parse(text)]
    try:
        yield
    finally:
        for each in reversed(undo):
            each()


def _install(order: Order) -> Callable[[], None]:
    """Wrap what the order is about, everywhere it is known; gives what takes the wrap off again."""
    module_name, _, path = POINTS[order.step].partition(":")
    owner: Any = importlib.import_module(f"{PACKAGE}.{module_name}")
    *outer, name = path.split(".")
    for each in outer:
        owner = getattr(owner, each)
    original = getattr(owner, name)
    wrapped = _wrapped(original, order)
    places = [(owner, name)] if outer else [*_named(original)]
    for place, known_as in places:
        setattr(place, known_as, wrapped)

    def undo() -> None:
        for place, known_as in places:
            setattr(place, known_as, original)

    return undo


def _named(function: Any) -> Iterator[tuple[Any, str]]:
    """Every module that knows a function, and by what name."""
    ours = [module for name, module in sys.modules.items() if name.startswith(PACKAGE)]
    for module in ours:
        for name, value in list(vars(module).items()):
            if value is function:
                yield module, name


def _wrapped(original: Any, order: Order) -> Any:
    reached = count(1)

    def is_due() -> bool:
        return next(reached) == order.nth

    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            if order.side == "before" and is_due():
                await _fail_later(order)
            result = await original(*args, **kwargs)
            if order.side == "after" and is_due():
                await _fail_later(order)
            return result

        return awaited

    @wraps(original)
    def called(*args: Any, **kwargs: Any) -> Any:
        if order.side == "before" and is_due():
            _fail(order)
        result = original(*args, **kwargs)
        if order.side == "after" and is_due():
            _fail(order)
        return result

    return called


async def _fail_later(order: Order) -> None:
    if order.action == "sleep":
        await asyncio.sleep(SLEEP_S)
    else:
        _fail(order)


def _fail(order: Order) -> None:
    if order.action == "abort":
        os.kill(os.getpid(), signal.SIGKILL)
    if order.action == "sleep":
        time.sleep(SLEEP_S)
        return
    raise FailpointError(f"{order.step}.{order.side}")
