"""Circuit breakers: a model that fails is left alone for a while, so that it and its callers recover.

    closed ─► open ─► half-open ─► closed        the probe was answered
                ▲          └─────► open          it failed: twice as long as before

A breaker is that of one model at one address of one provider. It opens when, of at least 10 calls
in 30 s, half have failed; after 5 s one call is let through as a probe. What a provider refuses is
an answer, not a failure. A 429 is neither: it makes the model cool down for as long as it says.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from math import ceil
from typing import Final, NamedTuple

from ringside_proxy.domain.errors import (
    ProviderAuthenticationError,
    ProviderError,
    ProviderPermissionDeniedError,
    ProviderQuotaExceededError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from ringside_proxy.system import Clock

WINDOW_S: Final = 30.0
CALLS_MIN: Final = 10
FAILURE_SHARE: Final = 0.5
PAUSE_S: Final = 5.0
PAUSE_S_MAX: Final = 60.0
PROBE_RETRY_AFTER_S: Final = 1.0
"""What callers are told to wait while a probe is out."""

COOL_DOWN_S_MAX: Final = 60.0
"""A longer wait is tried earlier: a limit may have been raised meanwhile."""

CALLS_KEPT_MAX: Final = 10_000
"""Of a busier model the newest calls of the window count."""

BREAKERS_MAX: Final = 1_000
EVICTION_SAMPLE: Final = 8

REFUSALS: Final = (
    ProviderAuthenticationError,
    ProviderPermissionDeniedError,
    ProviderRejectedError,
)
"""The provider is well: it understood the call and said no."""

UNCOUNTED: Final = (ProviderRateLimitedError, ProviderQuotaExceededError)


class State(IntEnum):
    """Where a breaker is; the number is its metric's value."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Key(NamedTuple):
    """What a breaker is for."""

    provider: str
    base_url: str
    model: str


OnState = Callable[[str, str, State], None]
"""Told of every change: provider, model, and where its breaker is now."""


class _Record:
    """One outcome in the window."""

    __slots__ = ("at_s", "is_failure")

    def __init__(self, at_s: float, *, is_failure: bool) -> None:
        self.at_s = at_s
        self.is_failure = is_failure


class Call:
    """An attempt that was let through; its methods say how it came out. A stream that was answered
    may still fail.
    """

    def __init__(self, breaker: "Breaker") -> None:
        self._breaker = breaker
        self._record: _Record | None = None

    def answered(self) -> None:
        """The model answers, or has refused."""
        self._record = self._breaker.note(self, is_failure=False)

    def failed(self, error: ProviderError) -> None:
        """It does not, or has stopped in the middle."""
        if isinstance(error, ProviderRateLimitedError):
            self._breaker.cool_down(error.retry_after_s)
        if self._record is not None:
            self._breaker.correct(self._record, error)
        elif isinstance(error, UNCOUNTED):
            self._breaker.end_probe(self, is_well=True)
        else:
            self._record = self._breaker.note(self, is_failure=not isinstance(error, REFUSALS))

    def dropped(self) -> None:
        """Nobody waited for the outcome; without effect once it is known."""
        if self._record is None:
            self._breaker.end_probe(self, is_well=None)


class Breaker:
    """One breaker."""

    def __init__(
        self, key: Key, clock: Clock, on_state: OnState = lambda provider, model, state: None
    ) -> None:
        self._key = key
        self._clock = clock
        self._on_state = on_state
        self._records: deque[_Record] = deque()
        self._failures = 0
        self._pause_s = PAUSE_S
        self._open_until_s = 0.0
        self._cool_until_s = 0.0
        self._probe: Call | None = None
        self.state = State.CLOSED

    def admit(self, *, is_again: bool = False) -> Call:
        """Let an attempt through.

        `is_again`: it is the same call's next one, which has waited as it was told. Raises
        ProviderUnavailableError while the breaker is open, ProviderRateLimitedError while the model
        cools down, which is worth waiting for.
        """
        now_s = self._clock.monotonic_s()
        if now_s < self._cool_until_s and not is_again:
            raise self._cooling(self._cool_until_s - now_s)
        if self.state is State.OPEN and now_s >= self._open_until_s:
            self._move(State.HALF_OPEN)
        if self.state is State.CLOSED:
            return Call(self)
        if self.state is State.OPEN:
            raise self._refusal(self._open_until_s - now_s)
        if self._probe is not None:
            raise self._refusal(PROBE_RETRY_AFTER_S)
        self._probe = Call(self)
        return self._probe

    def note(self, call: Call, *, is_failure: bool) -> _Record:
        """A call has come out."""
        record = _Record(self._clock.monotonic_s(), is_failure=is_failure)
        self.end_probe(call, is_well=not is_failure)
        if self.state is State.CLOSED:
            self._records.append(record)
            self._failures += is_failure
            self._trip()
        return record

    def end_probe(self, call: Call, *, is_well: bool | None) -> None:
        """If the call is the probe, its outcome decides; None: the next one is the probe."""
        if self._probe is not call:
            return
        self._probe = None
        if is_well:
            self._pause_s = PAUSE_S
            self._move(State.CLOSED)
        elif is_well is not None:
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
            self._open()

    def correct(self, record: _Record, error: ProviderError) -> None:
        """A call that was answered has broken off."""
        if record.is_failure or isinstance(error, REFUSALS + UNCOUNTED):
            return
        record.is_failure = True
        if record in self._records:
            self._failures += 1
            self._trip()

    def cool_down(self, retry_after_s: float | None) -> None:
        """The provider wants fewer calls of this model, for so long."""
        pause_s = min(retry_after_s or 0.0, COOL_DOWN_S_MAX)
        self._cool_until_s = max(self._cool_until_s, self._clock.monotonic_s() + pause_s)

    def _trip(self) -> None:
        records, now_s = self._records, self._clock.monotonic_s()
        while records and (records[0].at_s <= now_s - WINDOW_S or len(records) > CALLS_KEPT_MAX):
            self._failures -= records.popleft().is_failure
        if len(records) >= CALLS_MIN and self._failures >= FAILURE_SHARE * len(records):
            records.clear()
            self._failures = 0
            self._open()

    def _open(self) -> None:
        self._open_until_s = self._clock.monotonic_s() + self._pause_s
        self._move(State.OPEN)

    def _move(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self._on_state(self._key.provider, self._key.model, state)

    def _refusal(self, wait_s: float) -> ProviderUnavailableError:
        return ProviderUnavailableError(
            f"{self._key.provider} is not asked for '{self._key.model}' at the moment: too many of its "
            f"last calls have failed. Try again in {ceil(wait_s)} s, or use another model.",
            provider=self._key.provider,
            retry_after_s=wait_s,
            is_retryable=False,
            was_sent=False,
        )

    def _cooling(self, wait_s: float) -> ProviderRateLimitedError:
        return ProviderRateLimitedError(
            f"{self._key.provider} has asked for fewer calls of '{self._key.model}'. Try again in "
            f"{ceil(wait_s)} s, or use another model.",
            provider=self._key.provider,
            retry_after_s=wait_s,
            was_sent=False,
        )


class Breakers:
    """All breakers, made as they are needed. Callers name models freely, so they are bounded: of
    those asked for longest ago, one that is closed goes.
    """

    def __init__(
        self, clock: Clock, on_state: OnState = lambda provider, model, state: None
    ) -> None:
        self._clock = clock
        self._on_state = on_state
        self._breakers: OrderedDict[Key, Breaker] = OrderedDict()

    def __len__(self) -> int:
        return len(self._breakers)

    def of(self, key: Key) -> Breaker:
        """The breaker of a model."""
        breaker = self._breakers.get(key)
        if breaker is not None:
            self._breakers.move_to_end(key)
            return breaker
        breaker = self._breakers[key] = Breaker(key, self._clock, self._on_state)
        if len(self._breakers) > BREAKERS_MAX:
            oldest = [each for each, _ in zip(self._breakers, range(EVICTION_SAMPLE), strict=False)]
            closed = (each for each in oldest if self._breakers[each].state is State.CLOSED)
            del self._breakers[next(closed, oldest[0])]
        return breaker
