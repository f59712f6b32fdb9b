"""Delivery, from the start of the proxy to its stop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec

from ringside_proxy.delivery.endpoints import Webhooks
from ringside_proxy.delivery.housekeeping import Housekeeping
from ringside_proxy.delivery.post import Poster
from ringside_proxy.delivery.secrets import Secrets
from ringside_proxy.delivery.upstream import UsagePusher
from ringside_proxy.delivery.worker import Uniform, Worker
from ringside_proxy.domain.deliveries import ATTEMPTS_AT_ONCE_MAX, Reply
from ringside_proxy.domain.ids import NewId
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.settings.outgoing import UPSTREAM_RULES
from ringside_proxy.settings.schema import Settings
from ringside_proxy.store.db import Database
from ringside_proxy.store.vault import Vault
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.metrics import Metrics


class Delivery(msgspec.Struct, frozen=True):
    """What the rest of the proxy has of delivery: its receivers, and whom to tell of new settings."""

    webhooks: Webhooks
    follow: Callable[[Settings], None]


@asynccontextmanager
async def delivering(
    db: Database,
    settings: Settings,
    clock: Clock,
    uniform: Uniform,
    new_id: NewId,
    metrics: Metrics,
) -> AsyncIterator[Delivery]:
    """Deliver while the block runs; at its end, what is due has a moment to leave.

    Raises StoreError if a secret in the store cannot be opened.
    """
    secrets = Secrets(Vault.of(settings.master_keys, settings.store.path))
    async with AsyncExitStack() as stack:
        client = GuardedClient(lookups_at_once_max=ATTEMPTS_AT_ONCE_MAX)
        stack.push_async_callback(client.close)
        webhooks = Webhooks(db, secrets, new_id, client.check)
        await webhooks.start(settings.webhooks)
        poster = Poster(client, clock)

        async def post(url: str, headers: Mapping[str, str], body: bytes) -> Reply:
            return await poster.post(webhooks.rules, url, headers, body)

        worker = Worker(db, post, secrets.of, clock, uniform, new_id, metrics)
        stack.push_async_callback(worker.stop)
        report = partial(poster.post, UPSTREAM_RULES, may_be_plain=True)
        pusher = UsagePusher(db, report, clock, uniform, settings.upstream)
        keeper = Housekeeping(db, clock, metrics, webhooks.catch_up, lambda: pusher.oldest_s)
        for work in (worker.run(), pusher.run(), keeper.run()):
            stack.push_async_callback(_cancel, asyncio.create_task(work))

        def follow(settings: Settings) -> None:
            webhooks.follow(settings.webhooks)
            pusher.follow(settings.upstream)
            keeper.wake()

        yield Delivery(webhooks, follow)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})
