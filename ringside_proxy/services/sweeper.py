"""What happens on its own: runs expire, deleted threads' rows go, what is old is forgotten."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.services.idempotency import Idempotency
from ringside_proxy.services.runs import SWEPT_EVERY_S, Runs
from ringside_proxy.store import paging, provider_states, threads
from ringside_proxy.store.db import Database
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

TICK_S: Final = SWEPT_EVERY_S
TOMBSTONES_KEPT_MS: Final = 24 * 3600 * 1000


class Sweeper:
    """Ticks every 5 s, at the moment the next run expires, and when `woken` is set."""

    def __init__(
        self,
        db: Database,
        runs: Runs,
        idempotency: Idempotency,
        clock: Clock,
        woken: asyncio.Event,
        sweep_books: Callable[[], Awaitable[None]],
    ) -> None:
        self._idempotency = idempotency
        self._sweep_books = sweep_books
        self._db = db
        self._runs = runs
        self._clock = clock
        self._woken = woken

    async def run(self) -> None:
        """Sweep until cancelled. A sweep that fails is logged and done again."""
        while True:
            self._woken.clear()
            delay_s = TICK_S
            try:
                delay_s = await self.sweep()
            except RingsideError as error:
                logger.warning("sweep put off", extra=fields(code=error.code))
            except Exception:
                logger.exception("sweep failed")
            try:
                async with asyncio.timeout(delay_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> float:
        """Do what is due; seconds until there may be more."""
        until_next_s = await self._runs.expire_due()
        await self._sweep_books()
        while await self._db.write(threads.purge):
            pass
        await self._db.write(provider_states.forget_expired)
        await self._idempotency.forget_old()
        await self._db.write(paging.clear_tombstones, self._clock.now_ms() - TOMBSTONES_KEPT_MS)
        return TICK_S if until_next_s is None else min(until_next_s, TICK_S)
