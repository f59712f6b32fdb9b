"""Which models the providers list themselves: asked for in the background, never waited for.

What comes of it is shown by `/v1/models` and decides nothing else: a model that a list does not
name can still be called, and prices stay those of the package and the configuration. A list that
cannot be had leaves the last one in place.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from ringside_proxy.domain.errors import ProviderError
from ringside_proxy.providers.client import ProviderClient, Timeouts
from ringside_proxy.providers.listings import LISTINGS, MODELS_MAX, ListedModel
from ringside_proxy.services.model_routing import ActiveProvider
from ringside_proxy.telemetry.logs import fields
from ringside_proxy.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

FIRST_AFTER_S: Final = (5.0, 15.0)
"""How long after the start, drawn at random: nothing waits for it, and many proxies may start."""
ASK_AGAIN_S: Final = 600.0
"""After which a configuration that had switched this off is looked at again."""
JITTER: Final = (0.9, 1.1)
TIMEOUTS: Final = Timeouts(total_s=60.0)
PAGES_MAX: Final = 20

Uniform = Callable[[float, float], float]
Sleep = Callable[[float], Awaitable[None]]


class LiveModels:
    """The lists as they were last read, by provider; `version` changes when one of them does."""

    def __init__(
        self,
        client: ProviderClient,
        active: Callable[[], Mapping[str, ActiveProvider]],
        refresh_s: Callable[[], float | None],
        uniform: Uniform,
        metrics: Metrics,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.known: Mapping[str, tuple[ListedModel, ...]] = {}
        self.version = 0
        self._client = client
        self._active = active
        self._refresh_s = refresh_s
        self._uniform = uniform
        self._metrics = metrics
        self._sleep = sleep

    async def run(self) -> None:
        """Refresh soon after the start and then every so often, until cancelled."""
        await self._sleep(self._uniform(*FIRST_AFTER_S))
        while True:
            refresh_s = self._refresh_s()
            if refresh_s is not None:
                try:
                    await self.refresh()
                except Exception:
                    logger.exception("models were not listed")
            await self._sleep((refresh_s or ASK_AGAIN_S) * self._uniform(*JITTER))

    async def refresh(self) -> None:
        """Read every list there is, one after the other."""
        every = self._active()
        self._client.keep_only(active.target for active in every.values())
        for provider, active in every.items():
            if provider not in LISTINGS:
                continue
            try:
                models = await self._listed(provider, active)
            except ProviderError as error:
                self._metrics.model_list_read(provider, error.code or "provider_error")
                logger.info("no list of models", extra=fields(provider=provider, code=error.code))
                continue
            self._metrics.model_list_read(provider, "ok")
            if self.known.get(provider) != models:
                self.known = {**self.known, provider: models}
                self.version += 1

    async def _listed(self, provider: str, active: ActiveProvider) -> tuple[ListedModel, ...]:
        listing = LISTINGS[provider]
        target = msgspec.structs.replace(
            active.target, has_breaker=False, timeouts=TIMEOUTS, max_retries=1
        )
        found: dict[str, ListedModel] = {}
        page: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            request = listing.request(active.credentials, page)
            reply = await self._client.send(target, request)
            read = listing.parse(provider, reply.body)
            found |= {model.id: model for model in read.models}
            page = read.next
            if not page or len(found) >= MODELS_MAX:
                break
        return tuple(found.values())[:MODELS_MAX]
