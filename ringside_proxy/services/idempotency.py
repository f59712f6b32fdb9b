"""Requests that came with an Idempotency-Key: each is carried out once, whoever waits for it.

Such a request is worked on in a task of its own. If its client leaves, the work goes on to its end,
so that the client who comes again finds the answer; of those that nobody waits for, only so many.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from ringside_proxy.domain.errors import UnavailableError
from ringside_proxy.domain.idempotency import Answer, Earlier
from ringside_proxy.services.until_stored import until_stored
from ringside_proxy.store import idempotency
from ringside_proxy.store.db import Database
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

UNHEARD_MAX: Final = 16
"""How many requests may be worked on although their clients have left."""

T = TypeVar("T")


class Idempotency:
    """Owns the work on requests that came with a key. `boot` names this process in the store."""

    def __init__(self, db: Database, boot: str) -> None:
        self._db = db
        self._boot = boot
        self._tasks: set[asyncio.Task[Any]] = set()
        self._unheard = 0
        self._is_closing = False
        self.idle = asyncio.Event()
        self.idle.set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def begin(self, scope: bytes, fingerprint: bytes) -> Earlier | None:
        """None: carry the request out, once. Else what became of an earlier one with its key.

        Raises IdempotencyInProgressError, IdempotencyKeyReusedError.
        """
        return await self._db.write(idempotency.begin, scope, fingerprint, self._boot)

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which goes on if the caller is cancelled meanwhile."""
        task = self._own(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._left_alone(task)
            raise

    async def keep(self, scope: bytes, answer: Answer) -> None:
        """Store the answer, so that it can be given again.

        While the store cannot be written the caller need not wait: it has its answer.
        """
        try:
            await self._db.write(idempotency.answered, scope, answer)
        except UnavailableError:
            self._own(self._keep_later(scope, answer))
        except Exception:
            logger.exception("answer could not be stored at once")
            self._own(self._keep_later(scope, answer))

    async def give_up(self, scope: bytes) -> None:
        """Nobody will answer the request; what it did stands."""
        try:
            await self._db.write(idempotency.lost, scope)
        except UnavailableError as error:  # the next process does it
            logger.warning("request was left unanswered", extra=fields(code=error.code))
        except Exception:
            logger.exception("request was left unanswered")

    async def forget_old(self) -> None:
        """Remove what is older than 24 hours."""
        while await self._db.write(idempotency.forget_old, self._boot):
            pass

    async def close(self) -> None:
        """Cut off what is still worked on."""
        self._is_closing = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    async def _keep_later(self, scope: bytes, answer: Answer) -> None:
        try:
            await until_stored(self._db, idempotency.answered, scope, answer)
        except Exception:
            logger.exception("answer could not be stored")
            await self.give_up(scope)

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self.idle.clear()
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self.idle.set()

    def _left_alone(self, task: asyncio.Task[Any]) -> None:
        """Nobody waits for the task any more."""
        if task.done():
            return
        if self._is_closing or self._unheard >= UNHEARD_MAX:
            task.cancel()
            return
        self._unheard += 1
        task.add_done_callback(self._heard_no_more)

    def _heard_no_more(self, _: asyncio.Task[Any]) -> None:
        self._unheard -= 1
