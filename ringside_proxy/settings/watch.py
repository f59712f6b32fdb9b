"""Notices within a moment that a configuration has changed on disk.

Events of the file system only wake the watcher; what counts is the files' signature, which it also
looks at every second by itself. So nothing is missed where events do not arrive (network file
systems, some containers) or arrive while nobody listens. A change is reported once the files have
stayed as they are for QUIET_S: an editor has then written all of it, and a ConfigMap's symlinks
have been turned.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from watchfiles import awatch

from ringside_proxy.settings.source import ConfigSource, Signature

logger = logging.getLogger(__name__)

QUIET_S: Final = 0.25
LOOKS_MAX: Final = 8
"""For how many QUIET_S a file that goes on changing is waited for."""
TICK_MS: Final = 1_000
LOOKED_MS: Final = 50
GROUPED_MS: Final = 250
"""watchfiles' own grouping of events: one is told of at the next look, many (a store that is
written beside its configuration) so rarely. The waiting for quiet is done here."""

Sleep = Callable[[float], Awaitable[None]]


async def changes(source: ConfigSource, sleep: Sleep = asyncio.sleep) -> AsyncIterator[None]:
    """An item for each change of the files since the source was made, for ever."""
    seen = source.signature_at_start
    while True:
        folders = source.folders()
        async with aclosing(_ticks(source, sleep)) as ticks:
            async for _ in ticks:
                if source.signature() != seen:
                    seen = await _settled(source, sleep)
                    yield
                if source.folders() != folders:
                    break


async def _settled(source: ConfigSource, sleep: Sleep) -> Signature:
    """The files' signature, once it has not changed for QUIET_S."""
    seen = source.signature()
    for _ in range(LOOKS_MAX):
        await sleep(QUIET_S)
        now = source.signature()
        if now == seen:
            break
        seen = now
    return seen


async def _ticks(source: ConfigSource, sleep: Sleep) -> AsyncGenerator[None, None]:
    """An item at once, after each event in the files' folders, and each second."""
    yield
    folders = sorted(source.folders())
    try:
        events = awatch(
            *folders,
            watch_filter=None,
            recursive=False,
            debounce=GROUPED_MS,
            step=LOOKED_MS,
            rust_timeout=TICK_MS,
            yield_on_timeout=True,
        )
        async with aclosing(events):
            async for _ in events:
                yield
    except (OSError, RuntimeError) as error:
        # No folder, no more watches to be had: the look by itself goes on.
        logger.debug("file events are not to be had: %s", type(error).__name__)
    await sleep(TICK_MS / 1000)
