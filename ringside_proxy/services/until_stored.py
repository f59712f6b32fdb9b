"""Writes that may not be given up: what they store is in memory only, and paid for."""

import asyncio
import logging
from collections.abc import Callable
from typing import Concatenate, Final, ParamSpec, TypeVar

from ringside_proxy.domain.errors import UnavailableError
from ringside_proxy.store.db import Database
from ringside_proxy.store.tx import Tx
from ringside_proxy.telemetry.logs import fields

logger = logging.getLogger(__name__)

STORE_RETRY_S: Final = 1.0

P = ParamSpec("P")
T = TypeVar("T")


async def until_stored(
    db: Database, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """What `db.write` gives, once a full disk is cleared or a full queue is worked off."""
    while True:
        try:
            return await db.write(fn, *args, **kwargs)
        except UnavailableError as error:
            logger.warning("an end waits for the store", extra=fields(code=error.code))
            await asyncio.sleep(STORE_RETRY_S)
