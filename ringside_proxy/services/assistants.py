"""Assistants: what changes them."""

from typing import Any

from ringside_proxy.domain.assistants import Assistant
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.ids import NewId
from ringside_proxy.services.model_routing import ModelRouter
from ringside_proxy.store import assistants, idempotency
from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx


class Assistants:
    """What may be done to assistants."""

    def __init__(self, db: Database, new_id: NewId) -> None:
        self._db = db
        self._new_id = new_id

    async def create(
        self, caller: Caller, router: ModelRouter, values: dict[str, Any]
    ) -> Assistant:
        """A new assistant. Raises InvalidModelError for a name that nothing here serves."""
        router.check(values["model"])

        def apply(tx: Tx) -> Assistant:
            assistant = Assistant(id=self._new_id("asst"), created_at=tx.now_ms // 1000, **values)
            assistants.insert(tx, assistant, caller.owner)
            idempotency.made(tx, caller.once, assistant.id)
            return assistant

        return await self._db.write(apply)

    async def update(
        self, caller: Caller, router: ModelRouter, assistant_id: str, changes: dict[str, Any]
    ) -> Assistant:
        """The assistant with `changes` applied. Raises NotFoundError, InvalidModelError."""
        if "model" in changes:
            router.check(changes["model"])

        def apply(tx: Tx) -> Assistant:
            idempotency.made(tx, caller.once, assistant_id)
            return assistants.update(tx, assistant_id, caller, changes)

        return await self._db.write(apply)

    async def delete(self, caller: Caller, assistant_id: str) -> None:
        """Remove the assistant; its runs keep their snapshots. Raises NotFoundError."""
        await self._db.write(assistants.delete, assistant_id, caller)
