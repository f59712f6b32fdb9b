"""Housekeeping: what is old goes, what cannot be sent is given up, what waits is measured."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.store import deliveries, events, ledger_clock, runs, webhooks
from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

MEASURED_EVERY_S: Final = 5.0
TIDIED_EVERY_S: Final = 900.0

PORTIONS: Final[tuple[Callable[[Tx], bool], ...]] = (
    webhooks.purge,
    deliveries.forget,
    events.forget,
)
"""Each removes at most 500 rows, and says whether there may be more."""


class Housekeeping:
    """Ticks every 5 s, and when a webhook was disabled or deleted or the configuration changed."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        metrics: Metrics,
        catch_up: Callable[[], Awaitable[None]],
        usage_oldest_s: Callable[[], float],
    ) -> None:
        self._db = db
        self._clock = clock
        self._metrics = metrics
        self._catch_up = catch_up
        self._usage_oldest_s = usage_oldest_s
        self._tidied_s = float("-inf")
        self._woken = asyncio.Event()
        db.listen("webhooks", self.wake)

    def wake(self) -> None:
        """There is something to be done."""
        self._woken.set()

    async def run(self) -> None:
        """Keep house until cancelled. What fails is logged and done again."""
        while True:
            try:
                await self.turn()
            except RingsideError as error:
                logger.warning("housekeeping put off", extra=fields(code=error.code))
            except Exception:
                logger.exception("housekeeping failed")
            try:
                async with asyncio.timeout(MEASURED_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def turn(self) -> None:
        """Follow the configuration; tidy up if it is time, or if there is reason to; measure."""
        is_woken = self._woken.is_set()
        self._woken.clear()
        await self._catch_up()
        now_s = self._clock.monotonic_s()
        if is_woken or now_s - self._tidied_s >= TIDIED_EVERY_S:
            self._tidied_s = now_s
            await self.tidy()
        await self.measure()

    async def tidy(self) -> None:
        """Do all that is to be done. By a clock that is not believed nothing is old."""
        await self._db.keep_room()
        if not self._db.get(ledger_clock.is_believed):
            return
        while abandoned := await self._db.write(deliveries.abandon):
            self._metrics.webhooks_abandoned(abandoned)
        for portion in PORTIONS:
            while await self._db.write(portion):
                pass
        await self._db.write(webhooks.forget_old_secrets)

    async def measure(self) -> None:
        """What waits, since when, which receivers were given up, which runs are not over."""
        waiting = await self._db.read(deliveries.waiting)
        receivers = await self._db.read(webhooks.every)
        age_s = 0.0
        if waiting.oldest_ms is not None:
            age_s = max(0.0, (self._clock.now_ms() - waiting.oldest_ms) / 1000)
        self._metrics.webhook_backlog.set(waiting.count)
        self._metrics.webhook_oldest_seconds.set(age_s)
        self._metrics.webhooks_disabled.set(
            sum(receiver.disabled_reason in ("gone", "failing") for receiver in receivers)
        )
        self._metrics.usage_push_oldest_seconds.set(self._usage_oldest_s())
        self._metrics.runs_counted(await self._db.read(runs.count_active))
