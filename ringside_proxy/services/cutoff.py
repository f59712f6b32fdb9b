"""Work that a stop of the proxy ends: whoever waits for it is told, instead of just being left."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ringside_proxy.domain.errors import ShuttingDownError

SHUTTING_DOWN_RETRY_AFTER_S: Final = 5.0


class Cutoff:
    """Holds on to what is at work, until it is pulled."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._is_pulled = False

    @asynccontextmanager
    async def around(self) -> AsyncIterator[None]:
        """For work that ends, once the proxy stops, as if its caller had cancelled it.

        Raises ShuttingDownError then.
        """
        if self._is_pulled:
            raise _shutting_down()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._open.add(limit)
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            raise _shutting_down() from None
        finally:
            self._open.discard(limit)

    def pull(self) -> None:
        """End all of it, and begin nothing more; once."""
        self._is_pulled = True
        now_s = asyncio.get_running_loop().time()
        for limit in self._open:
            limit.reschedule(now_s)


def _shutting_down() -> ShuttingDownError:
    return ShuttingDownError(
        "The proxy is shutting down. Try again in a few seconds.",
        retry_after_s=SHUTTING_DOWN_RETRY_AFTER_S,
    )
