"""The whole schedule in virtual time: a thousand events, receivers that come and go, no waiting.

An attempt takes as long here as it would there (a receiver that hangs takes fifteen seconds), so
that backlogs build up as they would. A run that fails prints its seed.
"""

import asyncio
import heapq
import os
import random
from collections import defaultdict
from itertools import count
from typing import Final

import pytest

from ringside_proxy.domain.deliveries import (
    ATTEMPTS_MAX,
    FIRST_DELAY_MS,
    JITTER,
    LAST_DUE_MS,
    WINDOW_MS,
    Reply,
)
from ringside_proxy.domain.durations import HOUR_MS
from tests.delivery.rig import OK, Rig, Sent
from tests.fakes import FakeClock

SEED: Final = "RINGSIDE_DELIVERY_SEED"
EVENTS: Final = 1_000
BUSY_HOURS: Final = 30
TYPES: Final = (
    "run.completed",
    "run.failed",
    "run.cancelled",
    "customer.created",
    "wallet.low",
)
"""One receiver for each."""
ATTEMPT_S_MAX: Final = 15.0
DUE: Final = "SELECT min(next_ms) FROM deliveries WHERE state = 'pending' AND next_ms > ?"
LEFT: Final = "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'in_flight')"
ENDS: Final = "SELECT e.id, d.state, d.begun_ms FROM deliveries d JOIN events e ON e.seq = d.event"


def pause_ms(tries: int) -> float:
    """The longest pause after so many: twice the schedule's, for a receiver that asks for it."""
    return 2 * JITTER[1] * FIRST_DELAY_MS * 2 ** (tries - 1)


class Timeline(FakeClock):
    """A clock on which attempts take time: it knows who waits for what moment."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count()

    async def sleep(self, seconds: float) -> None:
        """Until the clock has been moved so far."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        until_ms = self.now_ms() + round(seconds * 1000)
        heapq.heappush(self._sleepers, (until_ms, next(self._numbers), future))
        await future

    @property
    def sleepers(self) -> int:
        """How many wait."""
        return len(self._sleepers)

    @property
    def next_ms(self) -> int | None:
        """When the first of them has waited long enough."""
        return self._sleepers[0][0] if self._sleepers else None

    def go_to(self, moment_ms: int) -> None:
        """Move on, and wake who waited for that."""
        self.advance((moment_ms - self.now_ms()) / 1000)
        while self._sleepers and self._sleepers[0][0] <= moment_ms:
            heapq.heappop(self._sleepers)[2].set_result(None)


class Outages:
    """When a receiver is away, and what it does then."""

    KINDS: Final = ("refuses", "answers 500", "asks for patience", "hangs")

    def __init__(self, begin_ms: int, source: random.Random) -> None:
        self._source = source
        self._spans: list[tuple[int, int, str]] = []
        at_ms = begin_ms
        while at_ms < begin_ms + (BUSY_HOURS + 24) * HOUR_MS:
            at_ms += round(source.uniform(0.2, 5) * HOUR_MS)
            until_ms = at_ms + round(source.choice((0.1, 1, 6, 20)) * source.random() * HOUR_MS)
            self._spans.append((at_ms, until_ms, source.choice(self.KINDS)))
            at_ms = until_ms

    def at(self, moment_ms: int) -> str | None:
        """What it does at that moment; None: it accepts."""
        return next((kind for begin, end, kind in self._spans if begin <= moment_ms < end), None)

    async def answer(self, clock: Timeline) -> Reply:
        """What an attempt gets, when it gets it."""
        kind = self.at(clock.now_ms())
        if kind == "hangs":
            await clock.sleep(ATTEMPT_S_MAX)
            return Reply(is_timeout=True, duration_ms=15_000)
        await clock.sleep(self._source.uniform(0.01, 0.5))
        if kind is None:
            return OK
        if kind == "asks for patience":
            return Reply(status=429, retry_after_ms=self._source.randrange(7_200_000))
        return Reply(status=500 if kind == "answers 500" else None)


class Day:
    """A worker, its receivers, and what each of them was sent."""

    def __init__(self, rig: Rig, clock: Timeline, source: random.Random) -> None:
        self.rig = rig
        self.clock = clock
        self.outages = {kind: Outages(clock.now_ms(), source) for kind in TYPES}
        self.tries: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        rig.far.answer = self._answer

    async def settle(self) -> None:
        """Until whatever can go on without time has gone on."""
        while True:
            await self.rig.worker.turn()
            await self.rig.db.write(lambda tx: None)  # behind the results that are being stored
            await asyncio.sleep(0)
            all_wait = self.rig.worker.attempts_at_work == self.clock.sleepers
            if all_wait and await self._is_quiet():
                return

    async def go_to(self, moment_ms: int) -> None:
        """Let time go by, in which everything happens when it is due."""
        while True:
            await self.settle()
            due = self.rig.db.get(lambda tx: tx.one(DUE, tx.now_ms))
            moments = [moment_ms, self.clock.next_ms, due[0] if due else None]
            next_ms = min(moment for moment in moments if moment is not None)
            self.clock.go_to(next_ms)
            if next_ms == moment_ms:
                return

    async def _is_quiet(self) -> bool:
        """Whether another look finds nothing more to begin."""
        before = len(self.rig.far.sent)
        await self.rig.worker.turn()
        await asyncio.sleep(0)
        return len(self.rig.far.sent) == before

    async def _answer(self, sent: Sent) -> Reply:
        kind = sent.headers["X-FC-Event-Type"]
        reply = await self.outages[kind].answer(self.clock)
        self.tries[sent.id].append((sent.at_ms, reply.is_success))
        self.bodies[sent.id].add(sent.body)
        return reply


@pytest.fixture
def clock() -> Timeline:
    """The store's clock, and the worker's."""
    return Timeline()


@pytest.fixture
def source() -> random.Random:
    """Where chance comes from: another one at each run, and the same again with its seed."""
    seed = os.environ.get(SEED) or os.urandom(4).hex()
    print(f"{SEED}={seed}")
    return random.Random(seed)


async def test_a_day_of_outages_loses_nothing(db, clock, source):
    """Every event is delivered, or was tried as often and as long as the schedule says."""
    rig = Rig(db, clock, uniform=source.uniform)
    for kind in TYPES:
        await rig.webhook(kind)
    day = Day(rig, clock, source)
    begin_ms = clock.now_ms()
    moments = sorted(source.uniform(0, BUSY_HOURS) * HOUR_MS for _ in range(EVENTS))

    for moment in moments:
        await day.go_to(begin_ms + round(moment))
        await rig.emit(source.choice(TYPES))
    await day.go_to(begin_ms + (BUSY_HOURS + 48) * HOUR_MS)

    ends = await db.read(lambda tx: tx.all(ENDS))
    assert len(ends) == len(day.tries) == EVENTS
    assert {state for _, state, _ in ends} <= {"delivered", "dead"}
    for event_id, state, begun_ms in ends:
        tries = day.tries[event_id]
        offsets_ms = [at_ms - begun_ms for at_ms, _ in tries]
        assert max(offsets_ms) <= WINDOW_MS
        assert len(tries) <= ATTEMPTS_MAX
        assert len(day.bodies[event_id]) == 1
        assert (state == "delivered") == tries[-1][1]
        assert not any(is_success for _, is_success in tries[:-1])
        if state == "dead":
            assert len(tries) == ATTEMPTS_MAX or offsets_ms[-1] + pause_ms(len(tries)) > LAST_DUE_MS
    delivered = sum(state == "delivered" for _, state, _ in ends)
    attempts = sum(map(len, day.tries.values()))
    late = max(at for tries in day.tries.values() for at in [tries[-1][0] - tries[0][0]])
    print(
        f"{delivered} of {EVENTS} delivered by {attempts} attempts, the last {late / HOUR_MS:.1f} h"
    )
    assert delivered > EVENTS / 2
