"""A model's answer as OpenAI would give it, whatever its provider does by itself.

The one way from a request to deltas, for runs and for chat completions: it plans the request,
sends it, holds the answer to what was asked for, and asks again for what does not pass.
"""

import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

import msgspec

from ringside_proxy.domain.errors import (
    ProviderRejectedError,
    ResponseSchemaValidationFailedError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.tokens import estimate
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.types import (
    CompletionRequest,
    Delta,
    Finish,
    HTTPRequest,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageDelta,
)
from ringside_proxy.services.answer_plan import Plan, again, plan
from ringside_proxy.services.context import estimate_request
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.model_routing import Route

SCHEMA_REJECTED: Final = "schema_not_supported"
STATE_REJECTED: Final = "provider_state_rejected"
"""What adapters call a refusal of the schema itself, and of state that was given back."""

CALL_ID: Final = re.compile(r"call_[A-Za-z0-9_]{1,59}")

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
            answer = self._stream(route, planned.request, request_id, on_request)
            async with aclosing(answer) as batches:
                async for batch in batches:
                    if kept := _first_calls(batch, planned.calls_max):
                        yield kept
            return
        request, used = planned.request, NO_USAGE
        for repairs_left in range(route.repairs_max, -1, -1):
            try:
                whole = await self._whole(route, request, request_id, on_request)
            except ProviderRejectedError as error:
                if error.code != SCHEMA_REJECTED or "response_format" not in request.params:
                    raise
                planned = self._in_words(route, planned)
                request = planned.request
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

    def _in_words(self, route: Route, planned: Plan) -> Plan:
        """The plan for a model that takes schemas, but not this one."""
        able = route.provider.capabilities(planned.request.model)
        unable = msgspec.structs.replace(able, json_schema=False)
        return plan(planned.asked, unable, self._schemas)

    async def _whole(
        self,
        route: Route,
        request: CompletionRequest,
        request_id: str | None,
        on_request: OnRequest,
    ) -> "_Whole":
        deltas: list[Delta] = []
        async with aclosing(self._stream(route, request, request_id, on_request)) as batches:
            async for batch in batches:
                deltas.extend(batch)
        return _Whole(deltas)

    async def _stream(
        self,
        route: Route,
        request: CompletionRequest,
        request_id: str | None,
        on_request: OnRequest,
    ) -> Batches:
        """One answer; if the model will not have its state back, one without it."""
        try:
            async with aclosing(self._asked(route, request, request_id, on_request)) as batches:
                async for batch in batches:
                    yield batch
        except ProviderRejectedError as error:
            stateless = [
                {key: value for key, value in message.items() if key != "provider_state"}
                for message in request.messages
            ]
            if error.code != STATE_REJECTED or stateless == request.messages:
                raise
            request = msgspec.structs.replace(request, messages=stateless)
            async with aclosing(self._asked(route, request, request_id, on_request)) as batches:
                async for batch in batches:
                    yield batch

    async def _asked(
        self,
        route: Route,
        request: CompletionRequest,
        request_id: str | None,
        on_request: OnRequest,
    ) -> Batches:
        """One answer as it comes, with ids of OpenAI's kind and always with its usage."""
        provider = route.provider
        streamed = msgspec.structs.replace(request, is_stream=True, include_usage=True)
        http_request = provider.build_request(streamed, route.credentials)
        on_request(http_request)
        decoder = partial(provider.stream_decoder, streamed, self._new_id)
        has_usage, written = False, list[str]()
        async with self._client.stream(
            route.target, http_request, decoder, request_id=request_id
        ) as batches:
            async for batch in batches:
                yield [self._with_own_id(delta) for delta in batch]
                has_usage = has_usage or any(isinstance(delta, UsageDelta) for delta in batch)
                written.extend(_words(delta) for delta in batch)
        if not has_usage:
            yield [UsageDelta(_estimate(request, "".join(written)))]

    def _with_own_id(self, delta: Delta) -> Delta:
        """Clients may rely on `call_…`; a provider's own kind of id is not shown."""
        if isinstance(delta, ToolCallDelta) and delta.id and not CALL_ID.fullmatch(delta.id):
            return msgspec.structs.replace(delta, id=self._new_id("call"))
        return delta


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


def _words(delta: Delta) -> str:
    match delta:
        case TextDelta(text=text) | RefusalDelta(text=text) | ReasoningDelta(text=text):
            return text
        case ToolCallDelta(arguments=arguments):
            return arguments
        case _:
            return ""


def _estimate(request: CompletionRequest, written: str) -> TokenUsage:
    """What the call consumed, for a provider that does not say."""
    return TokenUsage(
        input_tokens=estimate_request(request.messages, request.params.get("tools", [])),
        output_tokens=estimate(written),
        is_estimated=True,
    )


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
