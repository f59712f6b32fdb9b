"""Who asks models in the tests of `Answers`."""

from contextlib import aclosing
from typing import Any, Final

import msgspec

from ringside_proxy.domain.model_ref import ModelRef
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.providers.client import ProviderClient, Target, Timeouts
from ringside_proxy.providers.types import (
    CompletionRequest,
    Credentials,
    Delta,
    HTTPRequest,
    Provider,
    UsageDelta,
)
from ringside_proxy.services.answers import Answers
from ringside_proxy.services.calls import call_of
from ringside_proxy.services.images import Images
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.metering import Ledger
from ringside_proxy.services.model_routing import AnswerRules, ModelRouter, Route
from ringside_proxy.services.prices import PriceBook
from ringside_proxy.services.schema_judge import SchemaJudge
from ringside_proxy.services.shield import Shield
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.settings.schema import Settings
from ringside_proxy.store import ledger
from ringside_proxy.store.db import Database
from ringside_proxy.system import SystemClock, system_ids
from ringside_proxy.telemetry.metrics import Metrics
from tests.fakes import FakeUpstream
from tests.services.rig import Json

BOOKED: Final = (
    "SELECT input_tokens, cached_input_tokens, cache_write_input_tokens, output_tokens, "
    "reasoning_tokens, estimated, raw, service_tier FROM usage_records ORDER BY sequence"
)
ROUTER: Final = ModelRouter((), {}, {}, 0)

Told = tuple[TokenUsage, Json | None, str | None]


class Asker:
    """Asks the FakeUpstream as a run or a chat does; `told` is what was booked of each attempt."""

    def __init__(self, upstream: FakeUpstream, client: ProviderClient, db: Database) -> None:
        self.upstream = upstream
        self._db = db
        self._books = Ledger(
            db, system_ids(), SystemClock(), Metrics("test"), Shield(), boot="boot_test"
        )
        self.batches: list[list[Delta]] = []
        self.sent: list[HTTPRequest] = []
        self.timeouts = Timeouts()
        self.messages: list[Json] = [{"role": "user", "content": "Hi"}]
        self._answers = Answers(
            client, lambda prefix: f"{prefix}_1", Schemas(SchemaJudge()), Images(GuardedClient())
        )

    async def ask(
        self,
        provider: Provider,
        *,
        repairs_max: int = 2,
        batches_max: int | None = None,
        **params: Any,
    ) -> list[Delta]:
        """The deltas; `batches` keeps them as they came, also before an error.

        After `batches_max` of them the caller leaves.
        """
        route = Route(
            ref=ModelRef("openai", "m"),
            provider=provider,
            credentials=Credentials(base_url=self.upstream.base_url, api_key="k"),
            target=Target(provider="openai", model="m", timeouts=self.timeouts, max_retries=0),
            rules=AnswerRules(repairs_max=repairs_max),
        )
        request = CompletionRequest(model="m", messages=self.messages, params=params)
        planned = await self._answers.plan(route, request)
        call = call_of("chat.completion", route, "fc:openai/m", "tok_test")
        meter = self._books.meter(Snapshot(Settings(), ROUTER, PriceBook()), route, call)
        answer = self._answers.deltas(route, planned, meter, on_request=self.sent.append)
        try:
            async with aclosing(answer) as batches:
                async for batch in batches:
                    self.batches.append(batch)
                    if len(self.batches) == batches_max:
                        break
        finally:
            await meter.settle()
        return [delta for batch in self.batches for delta in batch]

    @property
    def told(self) -> list[Told]:
        """What each attempt consumed, the provider's own words for it, and its tier."""
        return self._db.get(lambda tx: [_told(row) for row in tx.all(BOOKED)])

    @property
    def held(self) -> int:
        """How many calls are still held."""
        return self._db.get(ledger.live)[0]

    @property
    def used(self) -> TokenUsage | None:
        """The last usage that was told."""
        told = [each.usage for batch in self.batches for each in batch if isinstance(each, UsageDelta)]  # fmt: skip
        return told[-1] if told else None


def _told(row: tuple[Any, ...]) -> Told:
    usage = TokenUsage(
        input_tokens=row[0],
        cached_input_tokens=row[1],
        cache_write_input_tokens=row[2],
        output_tokens=row[3],
        reasoning_tokens=row[4],
        is_estimated=bool(row[5]),
    )
    return usage, None if row[6] is None else msgspec.json.decode(row[6]), row[7]
