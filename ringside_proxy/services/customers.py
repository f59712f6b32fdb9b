"""Customers: what the API changes."""

from collections.abc import Callable
from functools import partial
from typing import Any

from ringside_proxy.domain.customers import Customer
from ringside_proxy.store import accounts, customers, idempotency
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Terms
from ringside_proxy.store.tx import Tx


class Customers:
    """What may be done to customers; `changed` is told of each, once that is durable."""

    def __init__(self, db: Database, changed: Callable[[str], None]) -> None:
        self._db = db
        self._changed = changed

    async def create(
        self,
        customer_id: str,
        changes: dict[str, Any],
        terms: Terms,
        once: bytes | None = None,
    ) -> Customer:
        """A new customer. `once`: see `Caller`. Raises CustomerExistsError."""

        def apply(tx: Tx) -> Customer:
            idempotency.made(tx, once, f"customer_{customer_id}")
            tx.after_commit.append(partial(self._changed, customer_id))
            return accounts.create(tx, customer_id, changes, terms)

        return await self._db.write(apply)

    async def put(
        self,
        customer_id: str,
        changes: dict[str, Any],
        terms: Terms,
        once: bytes | None = None,
    ) -> Customer:
        """The customer with `changes` applied, from the next call on; made if there is none."""

        def apply(tx: Tx) -> Customer:
            idempotency.made(tx, once, f"customer_{customer_id}")
            tx.after_commit.append(partial(self._changed, customer_id))
            return accounts.put(tx, customer_id, changes, terms)

        return await self._db.write(apply)

    async def delete(self, customer_id: str) -> None:
        """Remove the customer; what it used and spent stays. Raises NotFoundError."""

        def apply(tx: Tx) -> None:
            tx.after_commit.append(partial(self._changed, customer_id))
            customers.delete(tx, customer_id)

        await self._db.write(apply)
