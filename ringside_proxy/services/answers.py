"""A model's answer as OpenAI would give it, whatever its provider does by itself.

The one way from a request to deltas, for runs and for chat completions: it plans the request,
sends it, holds the answer to what was asked for, and asks again for what does not pass.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from ringside_proxy.domain.errors import ResponseSchemaValidationFailedError
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.types import (
    CompletionRequest,
    Delta,
    Finish,
    HTTPRequest,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.services.answer_plan import Plan, again, plan
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.model_routing import Route

Batches = AsyncGenerator[list[Delta], None]
OnRequest = Callable[[HTTPRequest], None]


class Answers:
    """Asks models."""

    def __init__(self, client: ProviderClient, new_id: NewId, schemas: Schemas) -> None:
        self._client = client
        self._new_id = new_id
        self._schemas = schemas

    def plan(self, route: Route, request: CompletionRequest) -> Plan:
        """How the request is put to the route's model. Raises InvalidRequestError."""
        return plan(request, route.provider.capabilities(request.model), self._schemas)

    async def deltas(
        self,
        route: Route,
        planned: Plan,
        *,
        request_id: str | None = None,
        on_request: OnRequest = lambda http_request: None,
    ) -> Batches:
        """The answer, batch by batch; usage is the sum over everything that was asked.

        An answer with checks comes in one batch, once it has passed; one that does not is asked
        for again, as often as the route says. Raises ProviderError, and
        ResponseSchemaValidationFailedError if it never did, after the usage has been told.
        `on_request` is shown every request as it goes out.
        """
        if not planned.has_checks:
            async with self._stream(route, planned.request, request_id, on_request) as batches:
                async for batch in batches:
                    if kept := _first_calls(batch, planned.calls_max):
                        yield kept
            return
        request, used = planned.request, NO_USAGE
        for repairs_left in range(route.repairs_max, -1, -1):
            whole = await self._whole(route, request, request_id, on_request)
            used = used + whole.usage
            faults = [] if whole.is_cut else planned.faults(whole.text, whole.has_calls)
            if not faults:
                yield [*_first_calls(whole.deltas, planned.calls_max), UsageDelta(used)]
                return
            yield [UsageDelta(used)]
            if repairs_left == 0:
                raise _hopeless(planned, whole.text, faults)
            request = again(planned, whole.text, faults)

    async def _whole(
        self,
        route: Route,
        request: CompletionRequest,
        request_id: str | None,
        on_request: OnRequest,
    ) -> "_Whole":
        deltas: list[Delta] = []
        async with self._stream(route, request, request_id, on_request) as batches:
            async for batch in batches:
                deltas.extend(batch)
        return _Whole(deltas)

    @asynccontextmanager
    async def _stream(
        self,
        route: Route,
        request: CompletionRequest,
        request_id: str | None,
        on_request: OnRequest,
    ) -> AsyncIterator[AsyncIterator[list[Delta]]]:
        provider = route.provider
        streamed = msgspec.structs.replace(request, is_stream=True, include_usage=True)
        http_request = provider.build_request(streamed, route.credentials)
        on_request(http_request)
        decoder = partial(provider.stream_decoder, streamed, self._new_id)
        async with self._client.stream(
            route.target, http_request, decoder, request_id=request_id
        ) as batches:
            yield batches


class _Whole:
    """An answer that has come to its end; `is_cut`: not to the one that was asked for."""

    def __init__(self, deltas: list[Delta]) -> None:
        self.usage = TokenUsage()
        self.deltas: list[Delta] = []
        self.is_cut = False
        for delta in deltas:
            if isinstance(delta, UsageDelta):
                self.usage = delta.usage
                continue
            self.deltas.append(delta)
            if isinstance(delta, Finish):
                self.is_cut = self.is_cut or delta.reason in ("length", "content_filter")
            if isinstance(delta, RefusalDelta):
                self.is_cut = True
        self.text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
        self.has_calls = any(isinstance(delta, ToolCallDelta) for delta in deltas)


def _first_calls(batch: list[Delta], calls_max: int | None) -> list[Delta]:
    if calls_max is None:
        return batch
    return [
        delta for delta in batch if not isinstance(delta, ToolCallDelta) or delta.index < calls_max
    ]


def _hopeless(planned: Plan, text: str, faults: list[str]) -> ResponseSchemaValidationFailedError:
    wanted = "call a tool, as tool_choice asks" if planned.must_call else "meet response_format"
    return ResponseSchemaValidationFailedError(
        f"The model's answer does not {wanted}, also after it was asked again: "
        + "; ".join(faults),
        content=text,
    )
