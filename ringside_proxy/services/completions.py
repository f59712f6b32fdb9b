"""Stateless calls: chat completions and embeddings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.relay import Relay
from ringside_proxy.providers.types import CompletionRequest, EmbeddingsRequest
from ringside_proxy.services.model_routing import Route
from ringside_proxy.telemetry import Metrics


class Completions:
    """Passes calls on to providers that speak OpenAI's dialect, answers as the bytes they are."""

    def __init__(self, client: ProviderClient, metrics: Metrics) -> None:
        self._client = client
        self._metrics = metrics

    async def chat(
        self,
        route: Route,
        messages: list[dict[str, Any]],
        params: dict[str, Any],
        request_id: str | None,
    ) -> bytes:
        """A whole completion. Raises ProviderError."""
        request = CompletionRequest(
            model=route.ref.model, messages=messages, params=route.params | params
        )
        http_request = route.provider.build_request(request, route.credentials)
        reply = await self._client.send(route.target, http_request, request_id=request_id)
        self._count(route, reply.usage)
        return reply.body

    @asynccontextmanager
    async def chat_stream(
        self,
        route: Route,
        messages: list[dict[str, Any]],
        params: dict[str, Any],
        request_id: str | None,
        *,
        include_usage: bool,
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        """A streamed completion, as lists of frames that came together. Raises ProviderError.

        The provider is always asked for the usage; the client is told only if it asked.
        """
        request = CompletionRequest(
            model=route.ref.model,
            messages=messages,
            params=route.params | params,
            is_stream=True,
            include_usage=True,
        )
        relays: list[Relay] = []

        def new_relay() -> Relay:
            relays.append(
                Relay(
                    route.ref.provider,
                    include_usage=include_usage,
                    choices=int(request.params.get("n", 1)),
                )
            )
            return relays[-1]

        http_request = route.provider.build_request(request, route.credentials)
        async with self._client.stream(
            route.target, http_request, new_relay, request_id=request_id
        ) as frames:
            try:
                yield frames
            finally:
                self._count(route, relays[-1].usage)

    async def embeddings(
        self, route: Route, given: Any, params: dict[str, Any], request_id: str | None
    ) -> bytes:
        """Embeddings, as the provider encodes them. Raises ProviderError."""
        request = EmbeddingsRequest(
            model=route.ref.model, input=given, params=route.params | params
        )
        http_request = route.provider.build_embeddings_request(request, route.credentials)
        reply = await self._client.send(route.target, http_request, request_id=request_id)
        self._count(route, reply.usage)
        return reply.body

    def _count(self, route: Route, usage: TokenUsage | None) -> None:
        if usage is not None:
            self._metrics.tokens_used(route.ref.provider, route.ref.model, usage)
