"""Customers: what the API changes."""

from typing import Any

from ringside_proxy.domain.customers import Customer
from ringside_proxy.store import accounts, customers
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Terms


class Customers:
    """What may be done to customers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, customer_id: str, changes: dict[str, Any], terms: Terms) -> Customer:
        """A new customer. Raises CustomerExistsError."""
        return await self._db.write(accounts.create, customer_id, changes, terms)

    async def put(self, customer_id: str, changes: dict[str, Any], terms: Terms) -> Customer:
        """The customer with `changes` applied, from the next call on; made if there is none."""
        return await self._db.write(accounts.put, customer_id, changes, terms)

    async def delete(self, customer_id: str) -> None:
        """Remove the customer; what it used and spent stays. Raises NotFoundError."""
        await self._db.write(customers.delete, customer_id)
