"""A delivery: one event on its way to one receiver. One table says how its state moves.

    pending ─► in_flight ─┬─► delivered ─┐
      ▲ ▲          │      └─► dead ──────┤
      │ └──────────┘                     │   (it failed, or its attempt was cut off)
      └──────────────────────────────────┘   (somebody asked for it again)

A delivery is tried fourteen times within 24 hours of its event: after 10 s, 20 s, 40 s … 11.4 h,
each delay up to 20 % shorter or 5 % longer, so that the last attempt comes between 18 and 24 hours
after the first. What was asked for again by itself is tried once, and stays what it was if that
fails.
"""

from enum import StrEnum
from typing import Final

import msgspec

from ringside_proxy.domain.durations import HOUR_MS, MINUTE_MS

ATTEMPTS_MAX: Final = 14
FIRST_DELAY_MS: Final = 10_000
JITTER: Final = (0.80, 1.05)
"""What a delay is multiplied with: drawn evenly from here."""
WINDOW_MS: Final = 24 * HOUR_MS
"""After its event a delivery is tried for so long."""
LAST_DUE_MS: Final = WINDOW_MS - 6 * MINUTE_MS
"""The latest moment a try is put off to: what comes due later than the window is not tried."""
SLOW_RECEIVER_DELAY_MS_MIN: Final = MINUTE_MS
"""For a receiver that asks for fewer requests, or that does not answer in time."""

ATTEMPTS_AT_ONCE_MAX: Final = 32
PER_RECEIVER_MAX: Final = 4
PER_FAILING_RECEIVER_MAX: Final = 1
FAILING_AFTER_ATTEMPTS: Final = 5
OF_FAILING_RECEIVERS_MAX: Final = 16
"""However many receivers hang, half of the attempts at once are left for the others."""

DISABLED_AFTER_MS: Final = 120 * HOUR_MS
DISABLED_AFTER_ATTEMPTS: Final = 20

TOO_MANY_REQUESTS: Final = 429
GONE: Final = 410


class DeliveryState(StrEnum):
    """Where a delivery is; the words of the wire."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryEvent(StrEnum):
    """What can happen to a delivery."""

    CLAIM = "claim"
    SUCCEED = "succeed"
    RETRY = "retry"
    GIVE_UP = "give_up"
    GO_BACK = "go_back"
    """A repeated delivery failed; it had been delivered before."""
    RELEASE = "release"
    """Its attempt was cut off, by a crash or a stop, and does not count."""
    ABANDON = "abandon"
    """Its receiver was disabled, or its time is over."""
    ASK_AGAIN = "ask_again"


S, E = DeliveryState, DeliveryEvent

DELIVERY_TRANSITIONS: Final[dict[DeliveryState, dict[DeliveryEvent, DeliveryState]]] = {
    S.PENDING: {E.CLAIM: S.IN_FLIGHT, E.ABANDON: S.DEAD, E.ASK_AGAIN: S.PENDING},
    S.IN_FLIGHT: {
        E.SUCCEED: S.DELIVERED,
        E.RETRY: S.PENDING,
        E.GIVE_UP: S.DEAD,
        E.GO_BACK: S.DELIVERED,
        E.RELEASE: S.PENDING,
    },
    S.DELIVERED: {E.ASK_AGAIN: S.PENDING},
    S.DEAD: {E.ASK_AGAIN: S.PENDING},
}
ENDED: Final = frozenset({S.DELIVERED, S.DEAD})


def next_state(state: DeliveryState, event: DeliveryEvent) -> DeliveryState:
    """Where `event` leads from `state`. Raises ValueError for what the table refuses."""
    target = DELIVERY_TRANSITIONS[state].get(event)
    if target is None:
        raise ValueError(f"a delivery that is {state.value} cannot {event.value}")
    return target


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt: a status, or the reason why there is none.

    `error` says what was wrong, for people; it may hold the beginning of what a receiver wrote.
    """

    status: int | None = None
    error: str | None = None
    retry_after_ms: int | None = None
    is_timeout: bool = False
    duration_ms: int = 0

    @property
    def is_success(self) -> bool:
        """Whether the receiver has it: only 2xx says so, a redirect does not."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """Whether the receiver never wants to hear again."""
        return self.status == GONE


def retry_at_ms(
    reply: Reply, *, attempts: int, begun_ms: int, now_ms: int, jitter: float
) -> int | None:
    """When to try again after `attempts` failed ones; None: never.

    A receiver may ask for up to twice the delay of the schedule, within the window.
    """
    last_ms = begun_ms + LAST_DUE_MS
    if attempts >= ATTEMPTS_MAX or now_ms >= last_ms:
        return None
    delay_ms = round((FIRST_DELAY_MS << (attempts - 1)) * jitter)
    if reply.retry_after_ms is not None:
        delay_ms = min(max(reply.retry_after_ms, delay_ms), 2 * delay_ms)
    if reply.is_timeout or reply.status == TOO_MANY_REQUESTS:
        delay_ms = max(delay_ms, SLOW_RECEIVER_DELAY_MS_MIN)
    return min(now_ms + delay_ms, last_ms)


def attempts_at_once(consecutive_failures: int) -> int:
    """How many attempts a receiver may keep busy."""
    return PER_FAILING_RECEIVER_MAX if is_failing(consecutive_failures) else PER_RECEIVER_MAX


def is_failing(consecutive_failures: int) -> bool:
    """Whether a receiver is expected to fail the next time too."""
    return consecutive_failures >= FAILING_AFTER_ATTEMPTS


def is_given_up(consecutive_failures: int, failing_since_ms: int, now_ms: int) -> bool:
    """Whether a receiver has failed so long and so often that it is disabled."""
    return (
        consecutive_failures >= DISABLED_AFTER_ATTEMPTS
        and now_ms - failing_since_ms >= DISABLED_AFTER_MS
    )
