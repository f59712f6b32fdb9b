"""Who asks models in the tests of `Answers`."""

from contextlib import aclosing
from typing import Any

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
from ringside_proxy.services.images import Images
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.model_routing import AnswerRules, Route
from tests.fakes import FakeUpstream
from tests.services.rig import Json

Told = tuple[TokenUsage, Json | None, str | None]


class Asker:
    """Asks the FakeUpstream as a run or a chat does; `told` is what each attempt consumed."""

    def __init__(self, upstream: FakeUpstream, client: ProviderClient) -> None:
        self.upstream = upstream
        self.batches: list[list[Delta]] = []
        self.sent: list[HTTPRequest] = []
        self.told: list[Told] = []
        self.timeouts = Timeouts()
        self.messages: list[Json] = [{"role": "user", "content": "Hi"}]
        self._answers = Answers(
            client, lambda prefix: f"{prefix}_1", Schemas(), Images(GuardedClient())
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
        answer = self._answers.deltas(
            route,
            planned,
            on_request=self.sent.append,
            on_usage=lambda *told: self.told.append(told),
        )
        async with aclosing(answer) as batches:
            async for batch in batches:
                self.batches.append(batch)
                if len(self.batches) == batches_max:
                    break
        return [delta for batch in self.batches for delta in batch]

    @property
    def used(self) -> TokenUsage | None:
        """The last usage that was told."""
        told = [each.usage for batch in self.batches for each in batch if isinstance(each, UsageDelta)]  # fmt: skip
        return told[-1] if told else None
