"""The worker: takes what is due from the outbox, sends it, notes what came of it.

It wakes after each commit that queued something, when an attempt ends, and when the next retry is
due. Each receiver has few attempts at work, and the claims are made for each of them by itself; so
one that hangs only ever waits for itself.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

from ringside_proxy.delivery.signature import signed_headers
from ringside_proxy.domain.deliveries import JITTER, DeliveryState, Reply
from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.outgoing import event_body
from ringside_proxy.store import delivery_claims
from ringside_proxy.store.db import Database
from ringside_proxy.store.delivery_claims import Claim, Outcome, Target
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

IDLE_S_MAX: Final = 30.0
"""If nothing wakes it, it looks for itself: a lease may have run out."""
LAST_ATTEMPTS_S: Final = 2.0
"""How long what is being sent, and what is due, may still leave when the proxy stops."""

FAILED: Final[dict[DeliveryState, Literal["retry", "dead", "failed"]]] = {
    DeliveryState.PENDING: "retry",
    DeliveryState.DEAD: "dead",
    DeliveryState.DELIVERED: "failed",
}
"""What an attempt that failed is counted as, by where it left the delivery."""

PING: Final = "webhook.ping"

SecretsOf = Callable[[Target], Sequence[str]]
Uniform = Callable[[float, float], float]
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[Reply]]
"""Sends a signed body to a URL, and never raises for the receiver's sake."""


class Worker:
    """Delivers events. `run` it in a task of its own, and `stop` it before the store closes."""

    def __init__(
        self,
        db: Database,
        post: Post,
        secrets_of: SecretsOf,
        clock: Clock,
        uniform: Uniform,
        new_id: NewId,
        metrics: Metrics,
    ) -> None:
        self._db = db
        self._post = post
        self._secrets_of = secrets_of
        self._clock = clock
        self._uniform = uniform
        self._metrics = metrics
        self._lease = new_id("lease")
        self._woken = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._busy: Counter[int] = Counter()
        db.listen("deliveries", self.wake)

    def wake(self) -> None:
        """There may be something due."""
        self._woken.set()

    async def run(self) -> None:
        """Deliver until cancelled. What cannot be claimed now is claimed a little later."""
        while True:
            self._woken.clear()
            delay_s = IDLE_S_MAX
            try:
                delay_s = await self.turn()
            except RingsideError as error:
                logger.warning("deliveries put off", extra=fields(code=error.code))
            except Exception:
                logger.exception("deliveries failed")
            try:
                async with asyncio.timeout(delay_s):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def turn(self) -> float:
        """Begin the attempts that are due; seconds until there may be more."""
        due = await self._db.write(delivery_claims.claim, dict(self._busy), self._lease)
        if due.given_up:
            self._metrics.webhooks_given_up(due.given_up)
        for claimed in due.claims:
            self._begin(claimed)
        if due.next_ms is None:
            return IDLE_S_MAX
        return min(max(0.0, (due.next_ms - self._clock.now_ms()) / 1000), IDLE_S_MAX)

    async def stop(self, seconds: float = LAST_ATTEMPTS_S) -> None:
        """Deliver what is due now, for that long; then cut off what is still being sent.

        What was cut off is due again when the proxy starts.
        """
        try:
            async with asyncio.timeout(seconds):
                await self.turn()
                while self._attempts:
                    await asyncio.wait(self._attempts, return_when=asyncio.FIRST_COMPLETED)
                    await self.turn()
        except TimeoutError:
            pass
        except RingsideError as error:
            logger.warning("deliveries put off", extra=fields(code=error.code))
        for attempt in self._attempts:
            attempt.cancel()
        if self._attempts:
            await asyncio.wait(self._attempts)

    @property
    def attempts_at_work(self) -> int:
        """How many receivers are being asked."""
        return len(self._attempts)

    async def settled(self) -> None:
        """Until none of the attempts that are at work now is."""
        if self._attempts:
            await asyncio.wait(self._attempts)

    def _begin(self, claimed: Claim) -> None:
        self._busy[claimed.webhook] += 1
        attempt = asyncio.create_task(self._attempt(claimed))
        self._attempts.add(attempt)
        attempt.add_done_callback(lambda done: self._end(claimed, done))

    def _end(self, claimed: Claim, attempt: "asyncio.Task[None]") -> None:
        self._attempts.discard(attempt)
        self._busy[claimed.webhook] -= 1
        self.wake()

    async def _attempt(self, claimed: Claim) -> None:
        try:
            reply = await self._send(claimed)
            outcome = await self._db.write(
                delivery_claims.finish, claimed, reply, self._uniform(*JITTER)
            )
        except RingsideError as error:
            # Not stored: its lease runs out, and it is sent again under the same id.
            logger.warning("result of a delivery lost", extra=fields(code=error.code))
        except Exception:
            logger.exception("delivery broke", extra=fields(webhook_id=claimed.target.webhook_id))
        else:
            if outcome is not None:
                self._note(claimed, reply, outcome)

    async def _send(self, claimed: Claim) -> Reply:
        event = claimed.event
        secrets = self._secrets_of(claimed.target)
        if not secrets:
            return Reply(error="it is not configured any more")
        body = event_body(event.id, event.type, event.created_ms, event.seq, event.data)
        headers = signed_headers(event.id, body, self._clock.now_ms() // 1000, secrets)
        headers |= {
            "Content-Type": "application/json",
            "X-FC-Event-Type": event.type,
            "X-FC-Attempt": str(claimed.delivery.attempt),
        }
        return await self._post(claimed.target.url, headers, body)

    def _note(self, claimed: Claim, reply: Reply, outcome: Outcome) -> None:
        webhook_id = claimed.target.webhook_id
        if reply.is_success:
            self._metrics.webhook_attempted("delivered")
            return
        # Nobody is to be woken by a test that somebody makes.
        is_test = claimed.event.type == PING
        self._metrics.webhook_attempted("failed" if is_test else FAILED[outcome.state])
        logger.info(
            "delivery failed",
            extra=fields(
                webhook_id=webhook_id,
                event_id=claimed.event.id,
                attempt=claimed.delivery.attempt,
                status=reply.status or "none",
                outcome=outcome.state.value,
            ),
        )
        if outcome.disabled_reason is not None:
            logger.warning(
                "webhook disabled",
                extra=fields(webhook_id=webhook_id, reason=outcome.disabled_reason),
            )
