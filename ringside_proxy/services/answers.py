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
    InvalidRequestError,
    ProviderError,
    ProviderRejectedError,
    ResponseSchemaValidationFailedError,
)
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.tokens import estimate
from ringside_proxy.domain.usage import NO_USAGE, UNCOUNTED, TokenUsage
from ringside_proxy.providers.chat.messages import PROVIDER_STATE
from ringside_proxy.providers.client import ProviderClient
from ringside_proxy.providers.errors import SCHEMA_REJECTED, STATE_REJECTED
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
from ringside_proxy.services.call_order import CallOrder
from ringside_proxy.services.calls_in_words import CallsInWords
from ringside_proxy.services.context import estimate_request
from ringside_proxy.services.images import Images, with_images
from ringside_proxy.services.joined_text import joined_text
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.metering import Meter
from ringside_proxy.services.model_routing import Route

CONTINUATIONS_MAX: Final = 8
"""How often a provider may break a long answer off to be asked to go on."""

ABOUT_THE_SCHEMA: Final = re.compile(
    r"schema|response.?format|\bjson\b|grammar|structured|output.?(config|format)"
    r"|requested parameters",
    re.IGNORECASE,
)
"""What a refusal speaks of that a call without the schema may pass; the last is OpenRouter's, which
has no route then."""
ABOUT_THE_PROMPT: Final = ("context_length_exceeded", "content_policy_violation")

STATE_KEYS: Final = (PROVIDER_STATE, "thinking_blocks")
"""Where state stands in a message: what was kept here, and what a caller gives back itself."""

CALL_ID: Final = re.compile(r"call_(?=.*[A-Za-z])[A-Za-z0-9]{8,59}|call_[0-9]{16,59}")
"""An id that no other call has: one that only counts (`call_0`) comes again in the next answer, and
what is kept under it would be given back to another chat."""

Batches = AsyncGenerator[list[Delta], None]
OnRequest = Callable[[HTTPRequest], None]


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """What all attempts at an answer have in common."""

    route: Route
    meter: Meter
    request_id: str | None
    on_request: OnRequest
    joins_text: bool
    calls_in_words: tuple[str, ...]


class Answers:
    """Asks models."""

    def __init__(
        self, client: ProviderClient, new_id: NewId, schemas: Schemas, images: Images
    ) -> None:
        self._client = client
        self._images = images
        self._new_id = new_id
        self._schemas = schemas

    async def plan(self, route: Route, request: CompletionRequest) -> Plan:
        """How the request is put to the route's model, with images as it takes them.

        Raises InvalidRequestError.
        """
        able = route.provider.capabilities(request.model)
        planned = plan(request, able, self._schemas)
        if planned.schema is not None:
            await planned.schema.check()
        if able.image_urls or not able.image_data:
            return planned
        fetched = await self._images.fetched(request.messages, route.rules.images)
        return planned.with_messages(lambda messages: with_images(messages, fetched))

    def dropped_params(self, route: Route, request: CompletionRequest) -> tuple[str, ...]:
        """What the route's model does not take of a request, by OpenAI's names.

        None for one that cannot be put to it at all: that is told when it is.
        """
        if not request.params:
            return ()
        able = route.provider.capabilities(request.model)
        try:
            planned = plan(request, able, self._schemas)
            built = route.provider.build_request(planned.request, route.credentials)
        except InvalidRequestError:
            return ()
        return built.dropped_params

    async def deltas(
        self,
        route: Route,
        planned: Plan,
        meter: Meter,
        *,
        request_id: str | None = None,
        on_request: OnRequest = lambda http_request: None,
        is_streamed: bool = False,
        joins_text: bool = False,
    ) -> Batches:
        """The answer, batch by batch; usage is the sum over everything that was asked.

        An answer with checks comes in one batch, once it has passed; one that does not is asked
        for again, as often as the route says. Where the route tells streams at once, one that
        `is_streamed` comes as it is said, without its finish until it has passed. Raises
        BillingError, ProviderError, and ResponseSchemaValidationFailedError for an answer that
        does not pass, and InvalidRequestError for one whose schema takes too long to apply, after
        the usage has been told.

        `meter` counts every attempt by itself; `on_request` is shown every request as it goes out.
        With `joins_text` pieces of text that come together are one.
        """
        call = _Call(
            route=route,
            meter=meter,
            request_id=request_id,
            on_request=on_request,
            joins_text=joins_text,
            calls_in_words=planned.calls_in_words,
        )
        if not planned.has_checks:
            answer = self._stream(call, planned.request)
        elif is_streamed and route.rules.tells_at_once and not planned.must_call:
            answer = self._told_at_once(call, planned)
        else:
            answer = self._held_back(call, planned)
        async with aclosing(answer) as batches:
            async for batch in batches:
                if kept := _first_calls(batch, planned.calls_max):
                    yield kept

    async def _held_back(self, call: _Call, planned: Plan) -> Batches:
        """An answer that has passed its checks, from as many as it took."""
        request, used = planned.request, NO_USAGE
        for repairs_left in range(call.route.rules.repairs_max, -1, -1):
            try:
                whole = await self._whole(call, request)
            except ProviderRejectedError as error:
                planned = self._in_words(call, planned, request, error)
                request = planned.request
                whole = await self._whole(call, request)
            used = used + whole.usage
            try:
                faults = await whole.faults(planned)
            except InvalidRequestError:
                yield [UsageDelta(used)]
                raise
            if not faults:
                yield [*whole.deltas, UsageDelta(used)]
                return
            yield [UsageDelta(used)]
            if repairs_left == 0:
                raise _hopeless(planned, whole.text, faults, "also after it was asked again")
            request = again(planned, whole.text, faults)

    async def _told_at_once(self, call: _Call, planned: Plan) -> Batches:
        """An answer as it comes: it is finished if it has passed, and an error if it has not."""
        told: list[Delta] = []
        try:
            async with aclosing(self._stream(call, planned.request)) as batches:
                async for batch in batches:
                    told.extend(batch)
                    yield [delta for delta in batch if not isinstance(delta, Finish)]
        except ProviderRejectedError as error:
            if told:
                raise
            planned = self._in_words(call, planned, planned.request, error)
            async with aclosing(self._stream(call, planned.request)) as batches:
                async for batch in batches:
                    told.extend(batch)
                    yield [delta for delta in batch if not isinstance(delta, Finish)]
        whole = _Whole(told)
        if faults := await whole.faults(planned):
            raise _hopeless(planned, whole.text, faults, "and it has been told already")
        yield [delta for delta in told if isinstance(delta, Finish)]

    def _in_words(
        self, call: _Call, planned: Plan, request: CompletionRequest, error: ProviderRejectedError
    ) -> Plan:
        """The plan for a model that takes schemas, but not this one.

        Raises `error` if it is not the schema that the model has refused.
        """
        if planned.schema is None or "response_format" not in request.params:
            raise error
        if error.code in ABOUT_THE_PROMPT or not (
            error.code == SCHEMA_REJECTED or ABOUT_THE_SCHEMA.search(error.message)
        ):
            raise error
        able = call.route.provider.capabilities(planned.request.model)
        unable = msgspec.structs.replace(able, json_schema=False)
        return plan(planned.asked, unable, self._schemas)

    async def _whole(self, call: _Call, request: CompletionRequest) -> "_Whole":
        deltas: list[Delta] = []
        async with aclosing(self._stream(call, request)) as batches:
            async for batch in batches:
                deltas.extend(batch)
        return _Whole(deltas)

    async def _stream(self, call: _Call, request: CompletionRequest) -> Batches:
        """One answer; if the model will not have its state back, one without it."""
        has_told = False
        try:
            async with aclosing(self._continued(call, request)) as batches:
                async for batch in batches:
                    has_told = True
                    yield batch
        except ProviderRejectedError as error:
            stateless = [
                {key: value for key, value in message.items() if key not in STATE_KEYS}
                for message in request.messages
            ]
            if has_told or error.code != STATE_REJECTED or stateless == request.messages:
                raise
            request = msgspec.structs.replace(request, messages=stateless)
            async with aclosing(self._continued(call, request)) as batches:
                async for batch in batches:
                    yield batch

    async def _continued(self, call: _Call, request: CompletionRequest) -> Batches:
        """One answer, through all the requests that its provider makes of a long one."""
        before, order = NO_USAGE, CallOrder()
        for hops_left in range(CONTINUATIONS_MAX, -1, -1):
            used, halt = NO_USAGE, None
            async with aclosing(self._asked(call, request)) as batches:
                async for batch in batches:
                    told: list[Delta] = []
                    for delta in batch:
                        if isinstance(delta, UsageDelta):
                            used = delta.usage
                            told.append(UsageDelta(before + used) if before != NO_USAGE else delta)
                        elif isinstance(delta, Finish) and delta.continuation and hops_left:
                            halt = delta.continuation
                        else:
                            told.append(delta)
                    if told := order.feed(told):
                        yield told
            if halt is None:
                return
            before += used
            request = msgspec.structs.replace(request, continuation=halt)

    async def _asked(self, call: _Call, request: CompletionRequest) -> Batches:
        """One answer as it comes, with ids of OpenAI's kind and always with its usage."""
        provider = call.route.provider
        streamed = msgspec.structs.replace(request, is_stream=True, include_usage=True)
        streamed, http_request = await call.meter.admitted(call.route, streamed)
        call.on_request(http_request)
        decoder = partial(provider.stream_decoder, streamed, self._new_id)
        count = _Count(request)
        spoken = CallsInWords(call.calls_in_words, self._new_id) if call.calls_in_words else None
        try:
            async with self._client.stream(
                call.route.target,
                http_request,
                decoder,
                request_id=call.request_id,
                before_retry=call.meter.again,
            ) as batches:
                async for told in batches:
                    batch = joined_text(told) if call.joins_text else told
                    count.take(batch)
                    batch = spoken.feed(batch) if spoken else batch
                    yield [self._with_own_id(delta) for delta in batch]
        except ProviderError as error:
            count.note(error)
            call.meter.saw(error)
            raise
        finally:
            used = count.used()
            usage = call.meter.note(used.usage, used.raw, used.service_tier)
        if usage.is_estimated:
            yield [msgspec.structs.replace(used, usage=usage)]

    def _with_own_id(self, delta: Delta) -> Delta:
        """Clients may rely on `call_…`, and we on its being the only one; others are replaced."""
        if isinstance(delta, ToolCallDelta) and delta.id and not CALL_ID.fullmatch(delta.id):
            return msgspec.structs.replace(delta, id=self._new_id("call"))
        return delta


def estimated_usage(request: CompletionRequest, written_tokens: int) -> TokenUsage:
    """What a call consumed whose provider did not say."""
    return TokenUsage(
        input_tokens=estimate_request(request.messages, request.params.get("tools", [])),
        output_tokens=written_tokens,
        is_estimated=True,
    )


class _Count:
    """What one attempt has consumed, as far as it has come."""

    def __init__(self, request: CompletionRequest) -> None:
        self._request = request
        self._written: list[str] = []
        self._told: UsageDelta | None = None
        self._has_begun = False
        self._is_finished = False
        self._was_refused = False

    def take(self, batch: list[Delta]) -> None:
        """Something has come."""
        self._has_begun = True
        for delta in batch:
            if isinstance(delta, UsageDelta):
                self._told = delta
            elif isinstance(delta, Finish):
                self._is_finished = True
            else:
                self._written.append(_words(delta))

    def note(self, error: ProviderError) -> None:
        """The attempt has failed."""
        self._was_refused = not self._has_begun and not error.may_be_billed

    def used(self) -> UsageDelta:
        """What the provider said of a finished answer; else what is known, and an estimate."""
        if self._was_refused:
            return UsageDelta(NO_USAGE)
        if self._told is None or self._told.usage == UNCOUNTED:
            usage = estimated_usage(self._request, estimate("".join(self._written)))
            return UsageDelta(usage, None if self._told is None else self._told.raw)
        if self._is_finished:
            return self._told
        written = estimate("".join(self._written))
        if written <= self._told.usage.output_tokens:
            return self._told
        # Some count as they begin: what they had not yet written is not in it.
        usage = msgspec.structs.replace(self._told.usage, output_tokens=written, is_estimated=True)
        return msgspec.structs.replace(self._told, usage=usage)


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
        self.called = [d.name for d in deltas if isinstance(d, ToolCallDelta) and d.name]

    async def faults(self, planned: Plan) -> list[str]:
        """What is wrong with it, in words for the model; an answer that was cut is let through."""
        return [] if self.is_cut else await planned.faults(self.text, self.called)


def _words(delta: Delta) -> str:
    match delta:
        case TextDelta(text=text) | RefusalDelta(text=text) | ReasoningDelta(text=text):
            return text
        case ToolCallDelta(arguments=arguments):
            return arguments
        case _:
            return ""


def _first_calls(batch: list[Delta], calls_max: int | None) -> list[Delta]:
    if calls_max is None:
        return batch
    return [
        delta for delta in batch if not isinstance(delta, ToolCallDelta) or delta.index < calls_max
    ]


def _hopeless(
    planned: Plan, text: str, faults: list[str], circumstance: str
) -> ResponseSchemaValidationFailedError:
    wanted = "call a tool, as tool_choice asks" if planned.must_call else "meet response_format"
    return ResponseSchemaValidationFailedError(
        f"The model's answer does not {wanted}, {circumstance}: " + "; ".join(faults),
        content=text,
        param="tool_choice" if planned.must_call else "response_format",
    )
