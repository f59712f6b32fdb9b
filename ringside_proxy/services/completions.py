"""Stateless calls: chat completions and embeddings."""

import asyncio
import base64
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import msgspec
import orjson

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderTimeoutError,
    RingsideError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.ledger import bytes_as_tokens
from ringside_proxy.domain.tokens import estimate
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage
from ringside_proxy.providers.chat.messages import PROVIDER_STATE
from ringside_proxy.providers.chat.relay import Relay
from ringside_proxy.providers.client import ProviderClient, Reply
from ringside_proxy.providers.registry import relays
from ringside_proxy.providers.types import (
    CompletionRequest,
    Embeddings,
    EmbeddingsRequest,
    HTTPRequest,
)
from ringside_proxy.services.answer_plan import Plan
from ringside_proxy.services.answers import Answers, estimated_usage
from ringside_proxy.services.chat_encoder import ChatChunks, ChatCompletion
from ringside_proxy.services.cutoff import Cutoff
from ringside_proxy.services.fallbacks import following
from ringside_proxy.services.metering import Meter
from ringside_proxy.services.model_routing import Route
from ringside_proxy.store import provider_states
from ringside_proxy.store.db import Database
from ringside_proxy.system import Clock

STATE_KEPT_MS: Final = 24 * 3600 * 1000
"""How long a chat's tool loop may take and still give the provider its state back."""


class ChatCall(msgspec.Struct, kw_only=True):
    """A chat completion as the caller asked for it.

    `meter` counts what it costs; `owner` is whose tool loops are remembered. `dropped_params` is
    filled as the call goes out, and `route` moves on if a slot's model fails.
    """

    route: Route
    meter: Meter
    messages: list[dict[str, Any]]
    params: dict[str, Any]
    request_id: str
    owner: str
    include_usage: bool = False
    dropped_params: tuple[str, ...] = ()


class EmbeddingsCall(msgspec.Struct, kw_only=True):
    """A request for embeddings; `route` and `dropped_params` as in `ChatCall`."""

    route: Route
    meter: Meter
    input: Any
    params: dict[str, Any]
    request_id: str
    dropped_params: tuple[str, ...] = ()


class Completions:
    """Answers calls: with the provider's own bytes where nothing has to be enforced."""

    def __init__(
        self,
        db: Database,
        client: ProviderClient,
        answers: Answers,
        new_id: NewId,
        clock: Clock,
    ) -> None:
        self._db = db
        self._client = client
        self._answers = answers
        self._new_id = new_id
        self._clock = clock
        self.cutoff = Cutoff()
        """What ends the calls that a stop finds at work."""

    async def chat(self, call: ChatCall) -> bytes:
        """A whole completion.

        Raises InvalidRequestError, BillingError, ProviderError,
        ResponseSchemaValidationFailedError.
        """
        while True:
            try:
                return await self._chat(call)
            except RingsideError as error:
                _move_on(call, error)

    async def _chat(self, call: ChatCall) -> bytes:
        route, planned = call.route, await self._planned(call)
        if planned.is_plain and relays(route.provider, planned.request):
            return await self._relayed_whole(call, planned.request)
        completion = ChatCompletion(self._new_id, route.ref.model, self._clock.now_ms() // 1000)
        try:
            async with (
                _in_time(route),
                aclosing(self._deltas(call, planned, is_streamed=False)) as batches,
            ):
                async for batch in batches:
                    completion.feed(batch)
        finally:
            await call.meter.settle()
        await self._keep_state(call, completion.first_call_id, completion.state)
        return orjson.dumps(completion.completion())

    @asynccontextmanager
    async def chat_stream(
        self, call: ChatCall
    ) -> AsyncIterator[tuple[bytes, AsyncIterator[bytes]]]:
        """A streamed completion: the first frames, which are there, and those that come together.

        Raises as `chat` does, here and while iterating. The provider is always asked for the
        usage; the client is told only if it asked.
        """
        first, frames = await self._begun(call)
        async with aclosing(frames):
            yield first, frames

    async def _begun(self, call: ChatCall) -> tuple[bytes, AsyncGenerator[bytes, None]]:
        """An answer that has begun, and its beginning."""
        while True:
            try:
                frames = await self._frames(call)
                return await anext(frames), frames
            except RingsideError as error:
                _move_on(call, error)

    async def _frames(self, call: ChatCall) -> AsyncGenerator[bytes, None]:
        planned = await self._planned(call)
        is_relayed = planned.is_plain and relays(call.route.provider, planned.request)
        return self._relayed(call, planned) if is_relayed else self._encoded(call, planned)

    async def embeddings(self, call: EmbeddingsCall) -> bytes:
        """Embeddings in OpenAI's shape. Raises InvalidRequestError, BillingError, ProviderError."""
        while True:
            try:
                return await self._embeddings(call)
            except RingsideError as error:
                _move_on(call, error)

    async def _embeddings(self, call: EmbeddingsCall) -> bytes:
        route, meter = call.route, call.meter
        provider = route.provider
        request = EmbeddingsRequest(
            model=route.ref.model, input=call.input, params=route.with_own(call.params)
        )
        parts: list[Embeddings] = []
        try:
            for http_request in provider.build_embeddings_requests(request, route.credentials):
                call.dropped_params = http_request.dropped_params
                await meter.admit_embeddings(http_request.body)
                reply = await self._sent(route, http_request, call.request_id, meter)
                if provider.speaks_openai:
                    meter.note(reply.usage or meter.estimate(), reply.raw_usage)
                    _require(b'"data"', reply.body, route)
                    return reply.body
                part = _counted(provider.parse_embeddings(reply.body), http_request)
                meter.note(part.usage or meter.estimate(), part.raw_usage)
                parts.append(part)
        finally:
            await meter.settle()
        return orjson.dumps(_embeddings_answer(request, parts))

    async def _relayed_whole(self, call: ChatCall, request: CompletionRequest) -> bytes:
        route, meter = call.route, call.meter
        http_request = await self._admitted(call, request)
        try:
            reply = await self._sent(route, http_request, call.request_id, meter)
            usage = reply.usage or estimated_usage(request, bytes_as_tokens(len(reply.body)))
            meter.note(usage, reply.raw_usage, reply.service_tier)
        finally:
            await meter.settle()
        _require(b'"choices"', reply.body, route)
        return reply.body

    async def _admitted(self, call: ChatCall, request: CompletionRequest) -> HTTPRequest:
        """The request as it goes upstream, paid for."""
        _, http_request = await call.meter.admitted(call.route, request)
        call.dropped_params = http_request.dropped_params
        return http_request

    async def _sent(
        self, route: Route, http_request: HTTPRequest, request_id: str, meter: Meter
    ) -> Reply:
        try:
            return await self._client.send(
                route.target, http_request, request_id=request_id, before_retry=meter.again
            )
        except ProviderError as error:
            meter.failed(error)
            raise

    async def _planned(self, call: ChatCall) -> Plan:
        scope, model = provider_states.chat_scope(call.owner), str(call.route.ref)
        call_ids = [first for message in call.messages if (first := _first_call_id(message))]
        states = self._db.get(provider_states.find, scope, call_ids, model) if call_ids else {}
        messages = call.messages
        if states or any(PROVIDER_STATE in message for message in messages):
            messages = [_with_state(message, states) for message in messages]
        request = CompletionRequest(
            model=call.route.ref.model, messages=messages, params=call.route.with_own(call.params)
        )
        return await self._answers.plan(call.route, request)

    def _deltas(
        self, call: ChatCall, planned: Plan, *, is_streamed: bool
    ) -> AsyncGenerator[list[Any], None]:
        def note(http_request: HTTPRequest) -> None:
            call.dropped_params = http_request.dropped_params

        return self._answers.deltas(
            call.route,
            planned,
            call.meter,
            request_id=call.request_id,
            on_request=note,
            is_streamed=is_streamed,
        )

    async def _relayed(self, call: ChatCall, planned: Plan) -> AsyncGenerator[bytes, None]:
        route = call.route
        request = msgspec.structs.replace(planned.request, is_stream=True, include_usage=True)
        relays: list[Relay] = []

        def new_relay() -> Relay:
            relays.append(
                Relay(
                    route.ref.provider,
                    include_usage=call.include_usage,
                    choices=int(request.params.get("n", 1)),
                )
            )
            return relays[-1]

        meter, is_told = call.meter, False
        http_request = await self._admitted(call, request)
        try:
            async with self._client.stream(
                route.target,
                http_request,
                new_relay,
                request_id=call.request_id,
                before_retry=meter.again,
            ) as batches:
                is_told = True
                async for frames in batches:
                    if relays[-1].is_done:  # whoever reads the end finds it booked
                        _note(meter, request, relays[-1])
                        await meter.settle()
                    yield frames[0] if len(frames) == 1 else b"".join(frames)
        except ProviderError as error:
            if not is_told:
                meter.failed(error)
            raise
        finally:
            if is_told:
                _note(meter, request, relays[-1])
            await meter.settle()

    async def _encoded(self, call: ChatCall, planned: Plan) -> AsyncGenerator[bytes, None]:
        chunks = ChatChunks(
            self._new_id,
            call.route.ref.model,
            self._clock.now_ms() // 1000,
            include_usage=call.include_usage,
        )
        kept: Any = None
        try:
            async with aclosing(self._deltas(call, planned, is_streamed=True)) as batches:
                async for batch in batches:
                    told = chunks.feed(batch)
                    # Before it is told: many clients leave at `finish_reason`.
                    if chunks.first_call_id is not None and chunks.state is not kept:
                        kept = chunks.state
                        await self._keep_state(call, chunks.first_call_id, kept)
                    if told:
                        yield b"".join(map(_frame, told))
        finally:
            await call.meter.settle()
        yield b"".join(map(_frame, chunks.end())) + b"data: [DONE]\n\n"

    async def _keep_state(self, call: ChatCall, call_id: str | None, state: Any) -> None:
        if call_id is not None and state is not None:
            await self._db.write(
                provider_states.put,
                provider_states.chat_scope(call.owner),
                call_id,
                str(call.route.ref),
                state,
                self._clock.now_ms() + STATE_KEPT_MS,
            )


def _move_on(call: ChatCall | EmbeddingsCall, error: RingsideError) -> None:
    """Have the slot's next model asked; raises `error` if there is none for it."""
    route = following(call.route, error)
    if route is None:
        raise error
    call.meter.move_to(route, error)
    call.route = route


def _note(meter: Meter, request: CompletionRequest, relay: Relay) -> None:
    """What a relayed answer consumed, whole or broken off."""
    usage = relay.usage or estimated_usage(request, relay.written_tokens_estimate)
    meter.note(usage, relay.raw_usage, relay.service_tier)


@asynccontextmanager
async def _in_time(route: Route) -> AsyncIterator[None]:
    """Bounds an answer that its caller waits for whole, although the provider streams it.

    Raises ProviderTimeoutError.
    """
    total_s, provider = route.target.timeouts.total_s, route.ref.provider
    deadline = asyncio.timeout(total_s)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise ProviderTimeoutError(
            f"{provider} did not end its answer within {total_s:g} s.", provider=provider
        ) from error


def _require(key: bytes, body: bytes, route: Route) -> None:
    """Raise ProviderBadReplyError for JSON that is no answer; one search, no parse."""
    if key not in body:
        raise ProviderBadReplyError(
            f"{route.ref.provider} sent JSON that is no answer to the call.",
            provider=route.ref.provider,
        )


def _frame(chunk: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(chunk)


def _first_call_id(message: dict[str, Any]) -> str | None:
    calls = message.get("tool_calls")
    first = calls[0] if isinstance(calls, list) and calls else None
    call_id = first.get("id") if isinstance(first, dict) else None
    return call_id if isinstance(call_id, str) else None


def _with_state(message: dict[str, Any], states: dict[str, Any]) -> dict[str, Any]:
    """The message with the state that is kept for it; one that its caller made up is none."""
    first = _first_call_id(message)
    own = {key: value for key, value in message.items() if key != PROVIDER_STATE}
    return own | {PROVIDER_STATE: states[first]} if first in states else own


def _counted(part: Embeddings, asked: HTTPRequest) -> Embeddings:
    """The answer with what it consumed; where it does not say, the size of what was asked."""
    if part.usage is not None:
        return part
    read = estimate(asked.body.decode())
    return msgspec.structs.replace(part, usage=TokenUsage(input_tokens=read, is_estimated=True))


def _embeddings_answer(request: EmbeddingsRequest, parts: list[Embeddings]) -> dict[str, Any]:
    """OpenAI's answer: base64 of little-endian float32 where that was asked for."""
    is_base64 = request.params.get("encoding_format") == "base64"
    usage = sum((part.usage for part in parts if part.usage is not None), NO_USAGE)
    vectors = [vector for part in parts for vector in part.vectors]
    return {
        "object": "list",
        "data": [
            {
                "object": "embedding",
                "index": index,
                "embedding": _base64(vector) if is_base64 else vector,
            }
            for index, vector in enumerate(vectors)
        ],
        "model": request.model,
        "usage": {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens},
    }


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
