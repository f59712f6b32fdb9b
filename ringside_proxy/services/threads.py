"""Threads and their messages: what changes them."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from ringside_proxy.domain.callers import CUSTOMER_ID, Caller
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.items import Item, MessageBody, message_object, parts_of
from ringside_proxy.domain.messages import ContentPart, Message, MessageStatus
from ringside_proxy.domain.threads import Thread
from ringside_proxy.services.live_runs import LiveRuns, StopReason
from ringside_proxy.services.run_transactions import CANCELLED, finish
from ringside_proxy.services.shield import Shield
from ringside_proxy.store import idempotency, items, runs, threads, waiting_runs
from ringside_proxy.store.db import Database
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Tx


class NewMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as the caller gave it."""

    role: Literal["user", "assistant"]
    content: list[ContentPart]
    metadata: dict[str, str] = {}


class NewThread(msgspec.Struct, frozen=True, kw_only=True):
    """A thread as the caller gave it."""

    messages: list[NewMessage] = []
    metadata: dict[str, str] = {}
    customer: str | None = None


def message_items(tx: Tx, new_id: NewId, messages: list[NewMessage]) -> list[Item]:
    """Callers' messages as items; complete from the start."""
    return [
        Item(
            id=new_id("msg"),
            role=message.role,
            status=MessageStatus.COMPLETED,
            created_ms=tx.now_ms,
            ended_ms=tx.now_ms,
            body=MessageBody(parts_of(message.role, message.content)),
            metadata=message.metadata,
        )
        for message in messages
    ]


def insert(
    tx: Tx, new_id: NewId, caller: Caller, new: NewThread, messages_max: int
) -> tuple[ThreadRecord, list[Item]]:
    """Add a thread with its messages, in the transaction of whoever asks."""
    customer = default_customer(caller, new)
    count = len(new.messages)
    record = threads.insert(tx, new_id("conv"), caller, customer, new.metadata, count)
    if count > messages_max:
        empty = msgspec.structs.replace(record, message_count=0)
        threads.require_room(empty, count, messages_max)
    messages = message_items(tx, new_id, new.messages)
    items.place(tx, record.seq, 1, messages)
    return record, messages


def default_customer(caller: Caller, new: NewThread) -> str | None:
    """Whom runs on the new thread are attributed to if nobody else is named."""
    return caller.customer or new.customer or _customer_of(new.metadata)


def _customer_of(metadata: dict[str, str]) -> str | None:
    """`metadata.user`, if it can be a customer's id; applications use the key for other things too."""
    user = metadata.get("user", "")
    return user if CUSTOMER_ID.fullmatch(user) else None


class Threads:
    """What may be done to threads and messages."""

    def __init__(
        self,
        db: Database,
        live_runs: LiveRuns,
        new_id: NewId,
        shield: Shield,
        on_deleted: Callable[[], None],
    ) -> None:
        self._shield = shield
        self._db = db
        self._live_runs = live_runs
        self._new_id = new_id
        self._on_deleted = on_deleted

    async def create(self, caller: Caller, new: NewThread, messages_max: int) -> Thread:
        """A new thread. Raises ConversationFullError."""

        def apply(tx: Tx) -> Thread:
            record, _ = insert(tx, self._new_id, caller, new, messages_max)
            idempotency.made(tx, caller.once, record.thread.id)
            return record.thread

        return await self._db.write(apply)

    async def update(self, caller: Caller, thread_id: str, changes: dict[str, Any]) -> Thread:
        """The thread with `changes` applied. Raises NotFoundError."""

        def apply(tx: Tx) -> Thread:
            idempotency.made(tx, caller.once, thread_id)
            return threads.update(tx, threads.get(tx, thread_id, caller), changes)

        return await self._db.write(apply)

    async def delete(self, caller: Caller, thread_id: str) -> None:
        """Remove the thread and everything below it; an active run is cancelled first.

        It cannot be found any more once this returns; its rows go in the background.
        """

        async def delete() -> None:
            for run_id in self._db.get(_unfinished, caller, thread_id):
                await self._live_runs.stop_and_wait(run_id, StopReason.THREAD_DELETED)
            for begun_meanwhile in await self._db.write(apply):
                await self._live_runs.stop_and_wait(begun_meanwhile, StopReason.THREAD_DELETED)
            self._on_deleted()

        def apply(tx: Tx) -> list[str]:
            thread = threads.get(tx, thread_id, caller)
            unfinished = _unfinished(tx, caller, thread_id)
            for run_id in unfinished:
                finish(tx, run_id, None, CANCELLED, gives_turn=False)
            threads.delete(tx, thread)
            return unfinished

        await self._shield.finish(delete())

    async def add_message(
        self, caller: Caller, thread_id: str, new: NewMessage, messages_max: int
    ) -> Message:
        """A message at the end of the thread.

        Raises NotFoundError, ThreadBusyError, ConversationFullError.
        """

        def apply(tx: Tx) -> Message:
            thread = threads.get(tx, thread_id, caller)
            runs.require_idle(tx, thread)
            threads.require_room(thread, 1, messages_max)
            [item] = message_items(tx, self._new_id, [new])
            items.append(tx, thread.seq, [item])
            idempotency.made(tx, caller.once, item.id)
            return message_object(item, thread_id)

        return await self._db.write(apply)

    async def update_message(
        self, caller: Caller, thread_id: str, message_id: str, metadata: dict[str, str] | None
    ) -> Message:
        """The message, with its metadata replaced if given. Raises NotFoundError."""

        def apply(tx: Tx) -> Message:
            thread = threads.get(tx, thread_id, caller)
            idempotency.made(tx, caller.once, message_id)
            item = (
                items.get_message(tx, thread, message_id)
                if metadata is None
                else items.set_message_metadata(tx, thread, message_id, metadata)
            )
            return message_object(item, thread_id)

        return await self._db.write(apply)

    async def delete_message(self, caller: Caller, thread_id: str, message_id: str) -> None:
        """Remove a message, for the model too. Raises NotFoundError."""

        def apply(tx: Tx) -> None:
            items.delete_message(tx, threads.get(tx, thread_id, caller), message_id)

        await self._db.write(apply)


def _unfinished(tx: Tx, caller: Caller, thread_id: str) -> list[str]:
    """The thread's runs in the order in which they are best ended: nobody gets a turn by it."""
    thread = threads.get(tx, thread_id, caller)
    active = runs.active_run_id(tx, thread)
    waiting = waiting_runs.every(tx, thread.seq)[::-1]
    return waiting if active is None else [*waiting, active]
