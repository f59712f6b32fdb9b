"""Which secrets sign for a receiver, and how they are kept."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ringside_proxy.store import webhooks
from ringside_proxy.store.delivery_claims import Target
from ringside_proxy.store.files import StoreError
from ringside_proxy.store.tx import Tx
from ringside_proxy.store.vault import Vault
from ringside_proxy.store.webhooks import SecretColumn, WebhookRecord, place_of

COLUMNS: Final[tuple[SecretColumn, ...]] = ("secret", "old_secret")


class Secrets:
    """The secrets of the API's receivers are in the store, sealed; the configuration has its own."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.configured: dict[str, str] = {}
        """Those of the configuration, by receiver."""

    def configure(self, secrets: Mapping[str, str]) -> None:
        """Take those of the configuration, by receiver."""
        self.configured = dict(secrets)

    def of(self, target: Target) -> Sequence[str]:
        """The secrets that are live, the newest first; none of a receiver that is gone meanwhile."""
        if target.secret is None:
            configured = self.configured.get(target.webhook_id)
            return [] if configured is None else [configured]
        sealed = {"secret": target.secret, "old_secret": target.old_secret}
        return [
            self.vault.open(value, place_of(target.webhook_id, column))
            for column in COLUMNS
            if (value := sealed[column]) is not None
        ]

    def seal(self, webhook_id: str, secret: str) -> bytes:
        """A new secret as the store keeps it."""
        return self.vault.seal(secret, place_of(webhook_id, "secret"))

    def as_old(self, record: WebhookRecord) -> bytes | None:
        """A receiver's present secret as the store keeps it once it is the old one."""
        if record.secret is None:
            return None
        secret = self.vault.open(record.secret, place_of(record.id, "secret"))
        return self.vault.seal(secret, place_of(record.id, "old_secret"))


def reseal(tx: Tx, vault: Vault) -> int:
    """Seal every secret with the vault's first key; how many were sealed with another.

    Raises StoreError if one cannot be opened: better than to find out when an event has to leave.
    """
    count = 0
    for record in webhooks.every(tx):
        anew = {}
        for column, sealed, place in _sealed(record):
            vault.open(sealed, place)
            renewed = vault.reseal(sealed, place)
            if renewed is not None:
                anew[column] = renewed
        if anew:
            webhooks.change(tx, record, **anew)
            count += len(anew)
    return count


def count_readable(tx: Tx, vault: Vault) -> int:
    """How many secrets the store keeps. Raises StoreError if one of them cannot be opened."""
    sealed = [each for record in webhooks.every(tx) for each in _sealed(record)]
    for _, secret, place in sealed:
        vault.open(secret, place)
    return len(sealed)


def drop_unreadable(tx: Tx, vault: Vault) -> int:
    """Delete the webhooks whose secrets no key opens any more; how many there were."""
    lost = [record for record in webhooks.every(tx) if not _is_readable(record, vault)]
    for record in lost:
        webhooks.delete(tx, record)
    return len(lost)


def _is_readable(record: WebhookRecord, vault: Vault) -> bool:
    try:
        for _, sealed, place in _sealed(record):
            vault.open(sealed, place)
    except StoreError:
        return False
    return True


def _sealed(record: WebhookRecord) -> Iterator[tuple[SecretColumn, bytes, str]]:
    """The secrets that a receiver has in the store: column, what is in it, its place."""
    for column in COLUMNS:
        sealed: bytes | None = getattr(record, column)
        if sealed is not None:
            yield column, sealed, place_of(record.id, column)
