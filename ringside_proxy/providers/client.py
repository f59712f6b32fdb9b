"""Calls to providers: sessions, retries and limits, once for all of them.

A call is sent again only while nothing of its answer has reached the caller: `stream` hands its
iterator out together with the first decoded item, so an error inside a 200 that comes before it
is retried like any other. Leaving the block, or being cancelled, closes the connection at once;
only an answer that was read to its end gives its connection back to the pool.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderUnavailableError,
)
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.providers.breakers import Breaker, Breakers, Call, Key, OnState
from ringside_proxy.providers.connections import Connections
from ringside_proxy.providers.exchange import (
    TRANSPORT_ERRORS,
    Attempt,
    Exchange,
    Observe,
    Target,
    Timeouts,
    begin,
    read_refusal,
    read_up_to,
    too_large,
)
from ringside_proxy.providers.retries import RetryBudget, Uniform, retry_delay_s
from ringside_proxy.providers.types import HTTPRequest, StreamDecoder
from ringside_proxy.providers.usage import known_tier, token_usage
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.waits import waited

__all__ = ["Observe", "ProviderClient", "Reply", "Target", "Timeouts"]

REPLY_BYTES_MAX: Final = 32 * 1024 * 1024
FAREWELL_S_MAX: Final = 5.0
FAREWELLS_S_MAX: Final = 1.0
"""How long a provider is tried to be told to stop, and how long the end waits for that."""
KEPT_HEADERS: Final = ("content-type", "x-request-id")

OnRetry = Callable[[str, str], None]
"""Told of every call that is sent again: provider, and the code of what went wrong."""
BeforeRetry = Callable[[ProviderError], Awaitable[None]]
"""Awaited before a call is sent again, with what went wrong; what it raises ends the call."""
Sleep = Callable[[float], Awaitable[None]]
R = TypeVar("R")
T = TypeVar("T")


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer: well-formed JSON that is not an error.

    `usage` is None if it names none; `raw_usage` is the provider's own count, as it said it.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    usage: TokenUsage | None = None
    raw_usage: dict[str, Any] | None = None
    service_tier: str | None = None


class _Envelope(msgspec.Struct):
    """What is read of every answer; the rest is only checked to be JSON."""

    error: Any = None
    usage: Any = None
    service_tier: Any = None


class _Upstream(msgspec.Struct):
    """What is kept per provider configuration: its connections, and how many calls use them.

    `budget` is the provider's: how many retries it is still good for.
    """

    connections: Connections
    budget: RetryBudget
    calls: int = 0


_Configuration: TypeAlias = tuple[str, int]
"""A provider, and which of its configurations: see `Target.session`."""


class ProviderClient:
    """Sends requests to providers. Needs a running event loop from its first call to `close`."""

    def __init__(
        self,
        clock: Clock,
        uniform: Uniform,
        *,
        sleep: Sleep = asyncio.sleep,
        observe: Observe | None = None,
        on_retry: OnRetry = lambda provider, reason: None,
        on_breaker: OnState = lambda provider, model, state: None,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self._sleep = sleep
        self._observe = observe
        self._on_retry = on_retry
        self._breakers = Breakers(clock, on_breaker)
        self._upstreams: dict[_Configuration, _Upstream] = {}
        self._budgets: dict[str, RetryBudget] = {}
        self._current: frozenset[_Configuration] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._farewells: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def stream(
        self,
        target: Target,
        request: HTTPRequest,
        new_decoder: Callable[[], StreamDecoder[T]],
        *,
        request_id: str | None = None,
        before_retry: BeforeRetry | None = None,
    ) -> AsyncIterator[AsyncIterator[list[T]]]:
        """A streamed answer, as lists of decoded items; each attempt has a decoder of its own.

        Entered once the first item is there. Raises ProviderError, here and while iterating, and
        what `before_retry` raises.
        """
        next_request = asked = _with_request_id(request, request_id)
        upstream = self._begin(target)

        async def attempt() -> Exchange[T]:
            nonlocal next_request
            measured = Attempt(target, next_request, self._clock, self._observe)
            exchange = Exchange(upstream.connections, measured, new_decoder(), asked)
            try:
                await exchange.open()
            except BaseException as error:
                next_request = measured.again
                if next_request is asked:
                    self._abandon(target, upstream, exchange.abandons)
                exchange.close()
                if isinstance(error, ProviderBadReplyError) and exchange.has_begun:
                    error.may_be_billed = True
                raise
            return exchange

        try:
            exchange, call = await self._with_retries(target, upstream, attempt, before_retry)
        except BaseException:
            self._abandon(target, upstream, next_request.abandon)
            self._end(target, upstream)
            raise
        try:
            yield exchange
        except ProviderError as error:
            call.failed(error)
            raise
        finally:
            self._abandon(target, upstream, exchange.abandons)
            exchange.close()
            self._end(target, upstream)

    async def send(
        self,
        target: Target,
        request: HTTPRequest,
        *,
        request_id: str | None = None,
        before_retry: BeforeRetry | None = None,
    ) -> Reply:
        """A whole answer within `total_s`, retries included.

        Raises ProviderError, and what `before_retry` raises.
        """
        request = _with_request_id(request, request_id)
        upstream = self._begin(target)
        deadline_s = asyncio.get_running_loop().time() + target.timeouts.total_s

        async def attempt() -> Reply:
            measured = Attempt(target, request, self._clock, self._observe)
            try:
                with measured:
                    return await _reply(upstream.connections, measured, deadline_s)
            finally:
                measured.end()

        try:
            reply, _ = await self._with_retries(target, upstream, attempt, before_retry, deadline_s)
        finally:
            self._end(target, upstream)
        return reply

    def keep_only(self, current: Iterable[Target]) -> None:
        """Lets go of the connections of every other configuration, each after its last call.

        Calls to a former one still work: what began with it ends with it.
        """
        self._current = frozenset(map(_configuration, current))
        for configuration, upstream in list(self._upstreams.items()):
            self._close_if_done(configuration, upstream)

    def calls_to(self, provider: str) -> int:
        """How many calls to a provider are at work."""
        return sum(
            upstream.calls
            for configuration, upstream in self._upstreams.items()
            if configuration[0] == provider
        )

    async def close(self) -> None:
        """Closes every connection; providers that are being told to stop have a moment for it."""
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=FAREWELLS_S_MAX)
        if self._closing:
            await asyncio.wait(self._closing)
        upstreams, self._upstreams = self._upstreams, {}
        for upstream in upstreams.values():
            await upstream.connections.close()

    async def _with_retries(
        self,
        target: Target,
        upstream: _Upstream,
        attempt: Callable[[], Awaitable[R]],
        before_retry: BeforeRetry | None,
        deadline_s: float | None = None,
    ) -> tuple[R, Call]:
        upstream.budget.count_request()
        failures: list[ProviderError] = []
        while True:
            try:
                return await self._let_through(target, attempt, before_retry, failures)
            except ProviderError as error:
                delay_s = self._delay_s(target, error, len(failures))
                if delay_s is None or error in failures:
                    raise
                if deadline_s and asyncio.get_running_loop().time() + delay_s > deadline_s:
                    raise
                if not upstream.budget.take():
                    raise
                self._on_retry(target.provider, error.code or type(error).__name__)
                failures.append(error)
            await self._sleep(delay_s)
            waited(delay_s)

    async def _let_through(
        self,
        target: Target,
        attempt: Callable[[], Awaitable[R]],
        before_retry: BeforeRetry | None,
        failures: list[ProviderError],
    ) -> tuple[R, Call]:
        """An attempt that the model's breaker lets through, and is told of.

        If it lets no further one through, what failed before is what the call comes to.
        """
        try:
            call = self._breaker(target).admit(is_again=bool(failures))
        except ProviderUnavailableError:
            if failures:
                raise failures[-1] from None
            raise
        try:
            if failures and before_retry is not None:
                await before_retry(failures[-1])
            result = await attempt()
        except ProviderError as error:
            if error in failures:  # which `before_retry` has raised again
                call.dropped()
            else:
                call.failed(error)
            raise
        except BaseException:
            call.dropped()
            raise
        call.answered()
        return result, call

    def _breaker(self, target: Target) -> Breaker:
        key = Key(target.provider, target.base_url, target.model)
        if not target.has_breaker:
            return Breaker(key, self._clock)  # one of its own never sees enough calls to open
        return self._breakers.of(key)

    def _delay_s(self, target: Target, error: ProviderError, failed: int) -> float | None:
        """How long to wait for another attempt; None if there is none."""
        if failed == target.max_retries:
            return None
        if target.has_next and isinstance(error, ProviderRateLimitedError):
            return None
        return retry_delay_s(error, failed, self._uniform)

    def _abandon(self, target: Target, upstream: _Upstream, request: HTTPRequest | None) -> None:
        """Sends the request that ends work which nobody waits for; nobody waits for this either."""
        if request is None:
            return

        async def tell() -> None:
            measured = Attempt(target, request, self._clock, None)
            with suppress(*TRANSPORT_ERRORS):
                async with asyncio.timeout(FAREWELL_S_MAX):
                    (await begin(upstream.connections, measured, None)).close()

        def told(task: asyncio.Task[None]) -> None:
            self._farewells.discard(task)
            self._end(target, upstream)

        upstream.calls += 1
        task = asyncio.create_task(tell())
        self._farewells.add(task)
        task.add_done_callback(told)

    def _begin(self, target: Target) -> _Upstream:
        """The connections for one more call; they stay until its `_end`."""
        configuration = _configuration(target)
        upstream = self._upstreams.get(configuration)
        if upstream is None:
            budget = self._budgets.setdefault(target.provider, RetryBudget(self._clock))
            connections = Connections(trust_env=target.trust_env)
            upstream = _Upstream(connections=connections, budget=budget)
            self._upstreams[configuration] = upstream
        upstream.calls += 1
        return upstream

    def _end(self, target: Target, upstream: _Upstream) -> None:
        upstream.calls -= 1
        self._close_if_done(_configuration(target), upstream)

    def _close_if_done(self, configuration: _Configuration, upstream: _Upstream) -> None:
        if upstream.calls or self._current is None or configuration in self._current:
            return
        if self._upstreams.get(configuration) is upstream:
            del self._upstreams[configuration]
            task = asyncio.create_task(upstream.connections.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


def _configuration(target: Target) -> _Configuration:
    return (target.provider, target.session)


async def _reply(connections: Connections, attempt: Attempt, deadline_s: float) -> Reply:
    async with await begin(connections, attempt, deadline_s=deadline_s) as response:
        attempt.mark_first_byte()
        if not 200 <= response.status < 300:
            async with asyncio.timeout_at(deadline_s):
                raise attempt.refusal(response, await read_refusal(response))
        if response.content.is_eof():  # it came with the head, as most do
            body = response.content.read_nowait()
        else:
            async with asyncio.timeout_at(deadline_s):
                body = await read_up_to(response, REPLY_BYTES_MAX)
        if len(body) > REPLY_BYTES_MAX:
            raise too_large(attempt.target.provider, REPLY_BYTES_MAX)
        envelope = _envelope(body)
        if envelope is None or envelope.error:
            raise attempt.refusal(response, body)
        attempt.outcome = "ok"
        usage = token_usage(envelope.usage)
        return Reply(
            status=response.status,
            headers={
                name: response.headers[name] for name in KEPT_HEADERS if name in response.headers
            },
            body=body.strip(),  # DeepSeek sends blank lines first to keep the connection alive
            usage=usage,
            raw_usage=envelope.usage if usage else None,
            service_tier=known_tier(envelope.service_tier),
        )


def _envelope(body: bytes) -> _Envelope | None:
    try:
        return msgspec.json.decode(body, type=_Envelope)
    except msgspec.ValidationError:
        return _Envelope()  # JSON, but not an object: some list their models as a bare array
    except msgspec.DecodeError:
        return None


def _with_request_id(request: HTTPRequest, request_id: str | None) -> HTTPRequest:
    if request_id is None:
        return request
    return msgspec.structs.replace(request, headers=request.headers | {"x-request-id": request_id})
