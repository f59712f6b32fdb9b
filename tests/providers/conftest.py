from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from ringside_proxy.providers.chat.relay import Relay
from ringside_proxy.providers.client import ProviderClient, Target, Timeouts
from ringside_proxy.providers.registry import PROVIDERS
from ringside_proxy.providers.types import CompletionRequest, Credentials, Delta, HTTPRequest
from tests.fakes import FakeClock, FakeUpstream

ANY_REQUEST = CompletionRequest(model="m", messages=[{"role": "user", "content": "Hi."}])
API_KEY = "a2c4e6g8-not-recognisable"
"""Nothing about it says that it is a key."""


class Caller:
    """A client and a provider that it calls; what it waited for and what it reported."""

    def __init__(self, upstream: FakeUpstream) -> None:
        self.upstream = upstream
        self.clock = FakeClock()
        self.slept_s: list[float] = []
        self.observed: list[tuple[str, str, str]] = []
        self.client = ProviderClient(
            self.clock, lambda low, high: high, sleep=self._sleep, observe=self._observe
        )
        self.base_url = upstream.base_url
        self.target = Target(provider="openai", model="gpt-4o", timeouts=Timeouts(total_s=30))

    def set(self, *, max_retries: int = 2, **timeouts: float) -> None:
        """Replaces the patience of the calls that follow."""
        self.target = Target(
            provider="openai",
            model="gpt-4o",
            timeouts=msgspec.structs.replace(self.target.timeouts, **timeouts),
            max_retries=max_retries,
        )

    def request(self, *, is_stream: bool, text: str = "Hi") -> HTTPRequest:
        """A call as the row writes it."""
        return PROVIDERS["openai"].build_request(
            CompletionRequest(
                model="gpt-4o",
                messages=[{"role": "user", "content": text}],
                is_stream=is_stream,
            ),
            Credentials(base_url=self.base_url, api_key=API_KEY),
        )

    def stream(self, **options: Any) -> Any:
        """A streamed call, decoded to deltas."""

        def new_id(prefix: str) -> str:
            return f"{prefix}_new"

        return self.client.stream(
            self.target,
            self.request(is_stream=True),
            lambda: PROVIDERS["openai"].stream_decoder(ANY_REQUEST, new_id),
            **options,
        )

    async def deltas(self) -> list[Delta]:
        """Everything that a streamed call gives."""
        async with self.stream() as batches:
            return [delta async for batch in batches for delta in batch]

    async def relayed(self) -> bytes:
        """Everything that a call that is passed on gives."""
        request = self.request(is_stream=True)
        async with self.client.stream(
            self.target, request, lambda: Relay("openai", include_usage=True)
        ) as batches:
            return b"".join([frame async for batch in batches for frame in batch])

    async def send(self) -> bytes:
        """The body of a call that does not stream."""
        return (await self.client.send(self.target, self.request(is_stream=False))).body

    @property
    def outcomes(self) -> list[str]:
        """How each attempt came out."""
        return [outcome for _, _, outcome in self.observed]

    async def _sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def _observe(
        self, provider: str, model: str, outcome: str, ttfb_s: float | None, duration_s: float
    ) -> None:
        self.observed.append((provider, model, outcome))


@pytest.fixture
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
async def caller(upstream: FakeUpstream) -> AsyncIterator[Caller]:
    caller = Caller(upstream)
    yield caller
    await caller.client.close()
