"""A worker over a store of the test's, with a far side of the test's; nothing runs by itself."""

import base64
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ringside_proxy.delivery.secrets import Secrets
from ringside_proxy.delivery.worker import Worker
from ringside_proxy.domain.deliveries import Reply
from ringside_proxy.domain.webhooks import secret_hint
from ringside_proxy.store import events, webhooks
from ringside_proxy.store.db import Database
from ringside_proxy.store.vault import Vault
from ringside_proxy.store.webhooks import WebhookRecord
from ringside_proxy.system import system_ids
from ringside_proxy.telemetry.metrics import Metrics
from tests.fakes import FakeClock

NEXT: Final = "SELECT min(next_ms) FROM deliveries WHERE state = 'pending' AND next_ms > ?"
KEY: Final = b"k" * 32
OK: Final = Reply(status=200)
REFUSED: Final = Reply(status=500, error="answered 500")


@dataclass(frozen=True)
class Sent:
    """What the worker posted."""

    at_ms: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The event's id."""
        return self.headers["webhook-id"]


@dataclass
class Far:
    """The far side without a socket: it keeps what is posted, and answers as `answer` says."""

    clock: FakeClock
    sent: list[Sent] = field(default_factory=list)
    answer: Callable[[Sent], Awaitable[Reply] | Reply] = lambda _: OK

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Takes a request."""
        sent = Sent(self.clock.now_ms(), url, dict(headers), body)
        self.sent.append(sent)
        reply = self.answer(sent)
        return reply if isinstance(reply, Reply) else await reply


class Rig:
    """A worker, its store, and its far side."""

    def __init__(
        self,
        db: Database,
        clock: FakeClock,
        uniform: Callable[[float, float], float] = lambda low, high: 1.0,
    ) -> None:
        self.db = db
        self.clock = clock
        self.far = Far(clock)
        self.metrics = Metrics("test")
        self.secrets = Secrets(Vault([KEY]))
        self._numbers = itertools.count()
        self._uniform = uniform
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        """Another one, as after a restart."""
        return Worker(
            self.db,
            self.far.post,
            self.secrets.of,
            self.clock,
            self._uniform,
            system_ids(),
            self.metrics,
        )

    async def webhook(self, *types: str, url: str = "https://example.com/hook") -> WebhookRecord:
        """A new receiver of everything, or of these types."""
        webhook_id = f"wh_{next(self._numbers):024x}"
        return await self.db.write(
            webhooks.insert,
            webhook_id,
            url,
            list(types or ["*"]),
            self.secrets.seal(webhook_id, secret(webhook_id)),
            secret_hint(secret(webhook_id)),
        )

    async def emit(self, event_type: str = "wallet.low", data: Any = None) -> None:
        """Something happens."""
        await self.db.write(events.emit, event_type, data or {"balance_usd": 1.5})

    async def turn(self) -> None:
        """What is due now, and all that comes of it."""
        await self.worker.turn()
        while self.worker.attempts_at_work:
            await self.worker.settled()
            await self.worker.turn()

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, in which the worker does what is due when it is due."""
        until_ms = self.clock.now_ms() + round(seconds * 1000)
        while True:
            await self.turn()
            due = self.db.get(lambda tx: tx.one(NEXT, tx.now_ms))
            due_ms = until_ms if due is None or due[0] is None else min(due[0], until_ms)
            self.clock.advance((due_ms - self.clock.now_ms()) / 1000)
            if due_ms == until_ms:
                return

    def count(self, outcome: str) -> float:
        """How many attempts came out so."""
        name = f'ringside_webhook_deliveries_total{{outcome="{outcome}"}} '
        lines = self.metrics.render().decode().splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


def secret(webhook_id: str) -> str:
    """The secret of a receiver."""
    return "whsec_" + base64.b64encode(webhook_id.encode().ljust(32)).decode()
