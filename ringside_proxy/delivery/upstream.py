"""Usage upstream: records in signed batches, in order, one at a time, until each is acknowledged.

A batch leaves when its oldest record is as old as the flush interval, or when it is full. One that
is not acknowledged is sent again for ever, the same bytes under the same id, at most five minutes
apart; meanwhile the records behind it wait in the store.
"""

import asyncio
import logging
from typing import Final

from ringside_proxy.delivery.signature import signed_headers
from ringside_proxy.delivery.worker import Post, Uniform
from ringside_proxy.domain.deliveries import Reply
from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.settings.outgoing import UpstreamSettings
from ringside_proxy.store import usage_upstream
from ringside_proxy.store.db import Database
from ringside_proxy.store.usage_upstream import RECORDS_MAX, Batch
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 1.0
PAUSE_S_MAX: Final = 300.0
JITTER: Final = (0.5, 1.0)
DOUBLINGS_MAX: Final = 9
IDLE_S_MAX: Final = 30.0


class UsagePusher:
    """Reports usage. `run` it in a task of its own; it may be cancelled at any moment."""

    def __init__(
        self,
        db: Database,
        post: Post,
        clock: Clock,
        uniform: Uniform,
        settings: UpstreamSettings,
    ) -> None:
        self._db = db
        self._post = post
        self._clock = clock
        self._uniform = uniform
        self._settings = settings
        self._failures = 0
        self._paused_until_s = 0.0
        self._is_idle = True
        """All is told: the next record is news. Else a timer says when to look again."""
        self._woken = asyncio.Event()
        db.listen("usage", self._heard)

    def follow(self, settings: UpstreamSettings) -> None:
        """Report as the configuration says now; to another upstream at once."""
        if settings != self._settings:
            self._settings = settings
            self._paused_until_s = 0.0
            self._woken.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            self._woken.clear()
            delay_s = IDLE_S_MAX
            try:
                delay_s = await self.turn()
            except RingsideError as error:
                logger.warning("usage report put off", extra=fields(code=error.code))
            except Exception:
                logger.exception("usage report failed")
            try:
                async with asyncio.timeout(delay_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def turn(self) -> float:
        """Send what is due; seconds until there may be more."""
        if self._settings.url is None:
            return IDLE_S_MAX
        wait_s = max(self._paused_until_s - self._clock.monotonic_s(), self._until_due_s())
        if wait_s > 0:
            return min(wait_s, IDLE_S_MAX)
        batch = await self._db.write(usage_upstream.next_batch)
        if batch is None:
            return IDLE_S_MAX
        reply = await self._send(batch)
        if reply.is_success:
            await self._db.write(usage_upstream.acknowledge, batch.id)
            self._failures = 0
            return 0.0
        return self._pause_s(reply)

    @property
    def oldest_s(self) -> float:
        """The age of the oldest record that is to be reported and is not acknowledged."""
        if self._settings.url is None:
            return 0.0
        oldest_ms = self._db.get(usage_upstream.unreported).oldest_ms
        return 0.0 if oldest_ms is None else max(0.0, (self._clock.now_ms() - oldest_ms) / 1000)

    def _heard(self) -> None:
        if self._is_idle and self._settings.url is not None:
            self._woken.set()

    def _until_due_s(self) -> float:
        waiting = self._db.get(usage_upstream.unreported)
        self._is_idle = waiting.oldest_ms is None
        if waiting.oldest_ms is None:
            return IDLE_S_MAX
        if waiting.count >= RECORDS_MAX or self._failures:
            return 0.0
        age_s = (self._clock.now_ms() - waiting.oldest_ms) / 1000
        return self._settings.flush_interval_s - age_s

    async def _send(self, batch: Batch) -> Reply:
        url, secret = self._settings.url or "", self._settings.secret or ""
        headers = signed_headers(batch.id, batch.body, self._clock.now_ms() // 1000, [secret])
        headers |= {
            "Content-Type": "application/json",
            "Idempotency-Key": batch.id,
            "X-FC-Event-Type": "usage.recorded",
            "X-FC-Attempt": str(self._failures + 1),
        }
        return await self._post(url, headers, batch.body)

    def _pause_s(self, reply: Reply) -> float:
        """How long to wait after a failure: twice as long as the time before, or as was asked for."""
        doubled_s = FIRST_PAUSE_S * (1 << min(self._failures, DOUBLINGS_MAX))
        pause_s = min(doubled_s, PAUSE_S_MAX) * self._uniform(*JITTER)
        if reply.retry_after_ms is not None:
            pause_s = min(max(pause_s, reply.retry_after_ms / 1000), PAUSE_S_MAX)
        self._failures += 1
        self._paused_until_s = self._clock.monotonic_s() + pause_s
        logger.warning(
            "usage report refused",
            extra=fields(status=reply.status or "none", attempt=self._failures),
        )
        return pause_s
