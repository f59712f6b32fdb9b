"""Webhooks: who is told what happens, by the API and by the configuration.

A receiver of the configuration belongs to the file: the API shows it, tests it and sends it things
again, and changes nothing about it.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from ringside_proxy.delivery.secrets import Secrets, reseal
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.deliveries import DeliveryState
from ringside_proxy.domain.errors import (
    AddressRefusedError,
    InvalidRequestError,
    ManagedByConfigError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.outgoing import PingData
from ringside_proxy.domain.webhooks import (
    configured_id,
    is_well_formed,
    new_secret,
    secret_hint,
)
from ringside_proxy.settings.outgoing import WebhookSettings
from ringside_proxy.store import deliveries, delivery_claims, events, idempotency, webhooks
from ringside_proxy.store.db import Database
from ringside_proxy.store.deliveries import Delivery
from ringside_proxy.store.tx import Tx
from ringside_proxy.store.webhooks import ConfiguredWebhook, WebhookRecord

ALLOW_PRIVATE: Final = "webhooks.allow_private"
BEFORE_ALL: Final = -1
"""No event has this `seq`."""
SECRET_OF: Final = "secret_"  # noqa: S105 - the beginning of a resource
REPLAY_TO: Final = "replay_"
"""What a request with an Idempotency-Key was about whose answer cannot be made once more."""


Check = Callable[[AddressRules, str], Awaitable[None]]
"""Raises AddressRefusedError for a URL that the rules do not let through."""


class WithSecret(msgspec.Struct, frozen=True):
    """A receiver and its new secret, which is shown this once."""

    record: WebhookRecord
    secret: str


class Webhooks:
    """The receivers of events."""

    def __init__(
        self,
        db: Database,
        secrets: Secrets,
        new_id: NewId,
        check: Check,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._new_id = new_id
        self._check_url = check
        self._random_bytes = random_bytes
        self.rules = AddressRules(ALLOW_PRIVATE)
        """Where events may go."""
        self._followed: WebhookSettings | None = None
        self._wanted: WebhookSettings | None = None

    async def start(self, settings: WebhookSettings) -> None:
        """Take in the configuration, and give back what a process that is gone had begun.

        Raises StoreError if a secret cannot be opened.
        """
        await self._db.write(reseal, self._secrets.vault)
        await self._db.write(partial(delivery_claims.release, every=True))
        while await self._db.write(deliveries.grant_one_more):
            pass
        self._followed = settings
        await self.configure(settings)

    def follow(self, settings: WebhookSettings) -> None:
        """Have `catch_up` make the configuration's receivers those that it names now."""
        if settings != self._followed:
            self._wanted = self._followed = settings

    async def catch_up(self) -> None:
        """Put into effect what `follow` was told, if that was not done yet."""
        while (settings := self._wanted) is not None:
            await self.configure(settings)
            if self._wanted is settings:
                self._wanted = None

    async def configure(self, settings: WebhookSettings) -> None:
        """Make the configuration's receivers those that it names."""
        named = {configured_id(endpoint.url): endpoint for endpoint in settings.endpoints}
        secrets = {name: endpoint.secret for name, endpoint in named.items()}
        wanted = [
            ConfiguredWebhook(
                id=name,
                url=endpoint.url,
                events=list(endpoint.events),
                secret_hint=secret_hint(endpoint.secret),
            )
            for name, endpoint in named.items()
        ]
        self.rules = rules_of(settings)
        # What still waits for one that goes can be signed until it is gone.
        self._secrets.configure(self._secrets.configured | secrets)
        await self._db.write(webhooks.configure, wanted)
        self._secrets.configure(secrets)

    async def create(
        self,
        url: str,
        event_types: Sequence[str],
        *,
        description: str | None = None,
        metadata: dict[str, str] | None = None,
        secret: str | None = None,
        once: bytes | None = None,
    ) -> WithSecret:
        """A new receiver. `once`: see `Caller`.

        Raises InvalidRequestError for a URL or a secret that cannot be used.
        """
        await self._check(url)
        if secret is not None and not is_well_formed(secret):
            raise InvalidRequestError(
                "Invalid 'secret': expected 'whsec_' and 24 to 64 random bytes in base64. Leave it "
                "out, and one is made.",
                param="secret",
                code="invalid_value",
            )
        webhook_id = self._new_id("wh")
        secret = secret or new_secret(self._random_bytes)
        sealed = self._secrets.seal(webhook_id, secret)

        def insert(tx: Tx) -> WebhookRecord:
            idempotency.made(tx, once, f"{SECRET_OF}{webhook_id}")
            return webhooks.insert(
                tx,
                webhook_id,
                url,
                event_types,
                sealed,
                secret_hint(secret),
                description=description,
                metadata=metadata,
            )

        return WithSecret(await self._db.write(insert), secret)

    async def update(
        self,
        webhook_id: str,
        changes: dict[str, Any],
        *,
        is_enabled: bool | None = None,
        once: bytes | None = None,
    ) -> WebhookRecord:
        """The receiver with other values; enabling it gives it a clean record.

        Raises NotFoundError, ManagedByConfigError, InvalidRequestError.
        """
        if "url" in changes:
            await self._check(changes["url"])
        return await self._db.write(_update, webhook_id, changes, is_enabled, once)

    async def delete(self, webhook_id: str) -> None:
        """Remove a receiver. Raises NotFoundError, ManagedByConfigError."""
        await self._db.write(_delete, webhook_id)

    async def rotate(
        self, webhook_id: str, overlap_s: float, once: bytes | None = None
    ) -> WithSecret:
        """A new secret for the receiver; the one before it signs too, for `overlap_s`.

        Raises NotFoundError, ManagedByConfigError.
        """
        secret = new_secret(self._random_bytes)
        sealed = self._secrets.seal(webhook_id, secret)
        record = await self._db.write(
            self._rotate, webhook_id, sealed, secret_hint(secret), round(overlap_s * 1000), once
        )
        return WithSecret(record, secret)

    async def test(self, webhook_id: str, once: bytes | None = None) -> Delivery:
        """A `webhook.ping` on its way to the receiver; it is tried once.

        Raises NotFoundError, InvalidRequestError.
        """
        return await self._db.write(_ping, webhook_id, once)

    async def redeliver(
        self, webhook_id: str, delivery_id: str, once: bytes | None = None
    ) -> Delivery:
        """The delivery, due now. Raises NotFoundError, InvalidRequestError."""
        return await self._db.write(_redeliver, webhook_id, delivery_id, once)

    async def replay(
        self, webhook_id: str, from_ms: int, to_ms: int, once: bytes | None = None
    ) -> int:
        """Send the receiver the events of a time again; how many there are.

        Raises NotFoundError, InvalidRequestError.
        """
        queued = 0
        after: tuple[int, int] | None = (from_ms, BEFORE_ALL)
        while after is not None:
            more, after = await self._db.write(_replay, webhook_id, after, to_ms, once)
            queued += more
        return queued

    async def _check(self, url: str) -> None:
        """Raise AddressRefusedError for a URL that nothing would be sent to."""
        try:
            await self._check_url(self.rules, url)
        except AddressRefusedError as error:
            raise AddressRefusedError(f"Invalid 'url': {error.message}", param="url") from None

    def _rotate(
        self,
        tx: Tx,
        webhook_id: str,
        sealed: bytes,
        hint: str,
        overlap_ms: int,
        once: bytes | None,
    ) -> WebhookRecord:
        record = _own(tx, webhook_id)
        idempotency.made(tx, once, f"{SECRET_OF}{webhook_id}")
        old = self._secrets.as_old(record)
        return webhooks.rotate(tx, record, sealed, hint, old, overlap_ms)


def rules_of(settings: WebhookSettings) -> AddressRules:
    """Where events may go: the public internet, and what the configuration lists."""
    return AddressRules.of(ALLOW_PRIVATE, settings.allow_private)


def _update(
    tx: Tx,
    webhook_id: str,
    changes: dict[str, Any],
    is_enabled: bool | None,
    once: bytes | None,
) -> WebhookRecord:
    idempotency.made(tx, once, webhook_id)
    record = webhooks.change(tx, _own(tx, webhook_id), **changes)
    return record if is_enabled is None else webhooks.switch(tx, record, is_enabled=is_enabled)


def _delete(tx: Tx, webhook_id: str) -> None:
    webhooks.delete(tx, _own(tx, webhook_id))


def _ping(tx: Tx, webhook_id: str, once: bytes | None) -> Delivery:
    webhook = _enabled(tx, webhook_id)
    event = events.note(tx, "webhook.ping", PingData(webhook_id=webhook_id))
    if event is None:  # pragma: no cover - it has no key that could have been used
        raise AssertionError("a ping was not noted")
    seq = deliveries.enqueue(tx, event, webhook.seq, DeliveryState.DEAD)
    made = deliveries.by_seq(tx, seq)
    if made is None:  # pragma: no cover - it was made in this transaction
        raise LookupError(seq)
    idempotency.made(tx, once, made.id)
    return deliveries.wire_object(tx, made)


def _redeliver(tx: Tx, webhook_id: str, delivery_id: str, once: bytes | None) -> Delivery:
    found = deliveries.get(tx, webhooks.get(tx, webhook_id), delivery_id)
    _enabled(tx, webhook_id)
    idempotency.made(tx, once, delivery_id)
    return deliveries.wire_object(tx, deliveries.redeliver(tx, found))


def _replay(
    tx: Tx, webhook_id: str, after: tuple[int, int], to_ms: int, once: bytes | None
) -> tuple[int, tuple[int, int] | None]:
    webhook = _enabled(tx, webhook_id)
    idempotency.made(tx, once, f"{REPLAY_TO}{webhook_id}")
    return deliveries.replay(tx, webhook, after, to_ms)


def _own(tx: Tx, webhook_id: str) -> WebhookRecord:
    """A receiver that the API may change. Raises NotFoundError, ManagedByConfigError."""
    record = webhooks.get(tx, webhook_id)
    if record.source == "config":
        raise ManagedByConfigError(
            f"Webhook '{webhook_id}' is one of webhooks.endpoints in the configuration; change it "
            "there. A change of that section, or a restart, enables it if it was disabled."
        )
    return record


def _enabled(tx: Tx, webhook_id: str) -> WebhookRecord:
    """A receiver to which things are sent. Raises NotFoundError, InvalidRequestError."""
    record = webhooks.get(tx, webhook_id)
    if not record.is_enabled:
        is_own = record.source == "api"
        remedy = 'PATCH it with {"enabled": true}' if is_own else "restart the proxy"
        raise InvalidRequestError(
            f"Webhook '{webhook_id}' is disabled ({record.disabled_reason}). To enable it, {remedy}."
        )
    return record
