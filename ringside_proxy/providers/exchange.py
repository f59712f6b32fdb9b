"""One attempt at a provider: a request, its answer, and what is measured of them.

Every failure leaves here as a ProviderError: aiohttp's and the system's are translated in one
table, looked up along the exception's MRO.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final, Generic, TypeVar

import aiohttp
import msgspec

from ringside_proxy.domain.errors import (
    ProviderBadReplyError,
    ProviderError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from ringside_proxy.providers.connections import Answer, Connections
from ringside_proxy.providers.errors import error_from_reply, redact
from ringside_proxy.providers.types import Epilogue, HTTPRequest, StreamDecoder
from ringside_proxy.system import Clock
from ringside_proxy.telemetry.waits import waited

STREAM_BYTES_MAX: Final = 64 * 1024 * 1024
ERROR_BODY_BYTES_MAX: Final = 64 * 1024
ERROR_BODY_S_MAX: Final = 10.0
FIRST_ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bounds the answer that only says where the real one is."""

EPILOGUE_S_MAX: Final = 5.0
EOF_GRACE_S: Final = 0.25
"""How long the end of the body is waited for after the last event: it saves a new TLS handshake."""

KEY_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where keys travel; `x-amz-security-token` is one too, but no answer repeats it."""

Observe = Callable[[str, str, str, float | None, float], None]
"""Told of every attempt: provider, model, outcome, seconds to the first byte, seconds in all.

The outcome is `ok`, `cancelled` or an error's code.
"""

Restate = Callable[[int, Mapping[str, str], bytes], tuple[int, Mapping[str, str], bytes]]
"""Puts a refusal in the words that `errors.py` reads: status, headers and body in, and out."""

T = TypeVar("T")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long each part of a call may take, in seconds. `total_s` bounds calls that do not stream."""

    pool_s: float = 5
    connect_s: float = 10
    first_byte_s: float = 60
    between_chunks_s: float = 60
    total_s: float = 300


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a call is for, and how patient it is.

    `has_breaker`: it is not asked while it fails. `has_next`: somebody else can be asked, so that
    its rate limits are not waited for. `trust_env`: through the proxy that the environment names.
    `restate` is for providers whose refusals are not in any of the usual shapes. Calls with equal
    `session` share connections; another configuration of the provider has another one.
    """

    provider: str
    model: str
    base_url: str = ""
    has_breaker: bool = True
    has_next: bool = False
    trust_env: bool = False
    timeouts: Timeouts = Timeouts()
    max_retries: int = 2
    restate: Restate | None = None
    session: int = 0


class Failure(msgspec.Struct, frozen=True):
    """What a transport error means; the text follows the provider's name."""

    error: type[ProviderError]
    text: str
    is_retryable: bool
    may_be_billed: bool = False
    was_sent: bool = True


NOT_A_URL: Final = Failure(
    ProviderUnavailableError,
    "has a `base_url` that is not an HTTP URL",
    is_retryable=False,
    was_sent=False,
)

TRANSPORT_ERRORS: Final = (aiohttp.ClientError, OSError)

FAILURES: Final[dict[type[BaseException], Failure]] = {
    aiohttp.ConnectionTimeoutError: Failure(
        ProviderTimeoutError, "did not accept a connection in time", True, was_sent=False
    ),
    # The provider may be at work on the call: a second one would be paid twice.
    TimeoutError: Failure(ProviderTimeoutError, "took too long to answer", False, True),
    aiohttp.ClientConnectorCertificateError: Failure(
        ProviderUnavailableError,
        "has a certificate that cannot be verified",
        is_retryable=False,
        was_sent=False,
    ),
    aiohttp.ClientConnectorError: Failure(
        ProviderUnavailableError, "cannot be reached", True, was_sent=False
    ),
    aiohttp.ClientConnectionError: Failure(
        ProviderUnavailableError, "closed the connection without an answer", True
    ),
    aiohttp.ClientPayloadError: Failure(ProviderBadReplyError, "broke off its answer", True, True),
    aiohttp.InvalidURL: NOT_A_URL,
    aiohttp.NonHttpUrlClientError: NOT_A_URL,
    aiohttp.ClientError: Failure(
        ProviderBadReplyError, "sent an answer that is not HTTP as we know it", False
    ),
    OSError: Failure(ProviderUnavailableError, "closed the connection", True),
}


def translated(provider: str, error: BaseException) -> ProviderError:
    """The ProviderError that a transport error stands for."""
    failure = next(FAILURES[cls] for cls in type(error).__mro__ if cls in FAILURES)
    known = failure.error(
        f"{provider} {failure.text}.",
        provider=provider,
        is_retryable=failure.is_retryable,
        was_sent=failure.was_sent,
    )
    known.may_be_billed = failure.may_be_billed
    return known


class Attempt:
    """Measures one attempt, and lets nothing but a ProviderError out of it."""

    def __init__(
        self, target: Target, request: HTTPRequest, clock: Clock, observe: Observe | None
    ) -> None:
        self.target = target
        self.request = request
        self.again = request
        """What to send if this attempt fails."""
        self.is_followed = False
        """The provider has taken up the call; what comes is the request for its answer."""
        self.outcome = "cancelled"
        self.first_byte_s: float | None = None
        self._clock = clock
        self._observe = observe
        self._began_s = clock.monotonic_s()
        self._ended_s: float | None = None

    def __enter__(self) -> None:
        """Translates what goes wrong inside, and takes our key out of what is said about it."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is not None:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """Notes what went wrong. Raises the ProviderError that a transport error stands for."""
        if isinstance(error, ProviderError):
            self._fail(error)
        elif isinstance(error, TRANSPORT_ERRORS):
            failure = translated(self.target.provider, error)
            failure.was_sent = failure.was_sent or self.is_followed
            self._fail(failure)
            raise failure from error

    def mark_first_byte(self) -> None:
        """The first byte of the body is here."""
        if self.first_byte_s is None:
            self.first_byte_s = self._clock.monotonic_s() - self._began_s

    def mark_last_byte(self) -> None:
        """The answer is here, whole or broken off: nobody waits for its provider any more."""
        self._ended_s = self._clock.monotonic_s()

    def end(self) -> None:
        """Reports the outcome."""
        if self._observe:
            now_s = self._clock.monotonic_s()
            duration_s = now_s - self._began_s
            waited((now_s if self._ended_s is None else self._ended_s) - self._began_s)
            target = self.target
            self._observe(
                target.provider, target.model, self.outcome, self.first_byte_s, duration_s
            )

    def refusal(self, response: Answer, body: bytes) -> ProviderError:
        """The error that an answer stands for."""
        said: tuple[int, Mapping[str, str], bytes] = response.status, response.headers, body
        if self.target.restate:
            said = self.target.restate(*said)
        return error_from_reply(self.target.provider, *said, self._clock.now_ms())

    def beside(self, request: HTTPRequest) -> "Attempt":
        """Another request to the same end, which nobody observes."""
        return Attempt(self.target, request, self._clock, None)

    def outgoing(self) -> HTTPRequest:
        """The request as it goes out now."""
        sign = self.request.sign
        return sign(self.request, self._clock.now_ms()) if sign else self.request

    def _fail(self, error: ProviderError) -> None:
        for name in KEY_HEADERS:
            key = self.request.headers.get(name, "").removeprefix("Bearer ")
            error.message = redact(error.message, key)
        error.args = (error.message,)
        self.outcome = error.code or type(error).__name__


class Exchange(Generic[T]):
    """A streamed answer: iterates over lists of decoded items, none of them empty.

    `asked` is the call's first request, also where the attempt is made with one that followed it.
    """

    def __init__(
        self,
        connections: Connections,
        attempt: Attempt,
        decoder: StreamDecoder[T],
        asked: HTTPRequest,
    ) -> None:
        self._connections = connections
        self._attempt = attempt
        self._decoder = decoder
        self._timeouts = attempt.target.timeouts
        self._asked = asked
        self._response: Answer | None = None
        self._first: list[T] = []
        self._received_bytes = 0
        self._is_over = False
        self._patience = _Patience()

    @property
    def has_begun(self) -> bool:
        """Whether anything of the answer has come."""
        return self._received_bytes > 0

    async def open(self) -> None:
        """Sends the request and waits for the first items. Raises ProviderError."""
        with self._attempt:
            if follow := self._attempt.request.follow:
                await self._follow(follow)
            response = await self._send()
            await self._check(response)
            self._attempt.again = self._asked
            self._first = await self._next(response)

    def __aiter__(self) -> "Exchange[T]":
        return self

    async def __anext__(self) -> list[T]:
        items, self._first = self._first, []
        if not items and self._response is not None:
            try:
                items = await self._next(self._response)
            except BaseException as error:
                self._attempt.failed(error)
                raise
        if not items:
            raise StopAsyncIteration
        return items

    @property
    def abandons(self) -> HTTPRequest | None:
        """What tells the provider to stop if the exchange is closed now; None if it has stopped."""
        has_stopped = self._decoder.is_done or self._attempt.outcome == "ok"
        return None if has_stopped else self._attempt.request.abandon

    def close(self) -> None:
        """Drops the connection, unless the answer was read to its end."""
        self._patience.end()
        if self._response is not None:
            self._response.close()
        self._attempt.end()

    async def _follow(self, follow: Callable[[bytes], HTTPRequest]) -> None:
        """Asks, and takes up the request that gets the answer.

        Should that one fail, it alone is sent again: what was asked for is at work already.
        """
        response = await self._send()
        if not 200 <= response.status < 300:
            raise self._attempt.refusal(response, await read_refusal(response))
        async with asyncio.timeout(self._timeouts.first_byte_s):
            body = await read_up_to(response, FIRST_ANSWER_BYTES_MAX)
        if len(body) > FIRST_ANSWER_BYTES_MAX:
            raise too_large(self._attempt.target.provider, FIRST_ANSWER_BYTES_MAX)
        self._attempt.request = self._attempt.again = follow(body)
        self._attempt.is_followed = True

    async def _send(self) -> Answer:
        """The answer's head; `first_byte_s` counts from the moment there is a connection."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as deadline:
            self._response = await begin(
                self._connections,
                self._attempt,
                lambda: deadline.reschedule(loop.time() + self._timeouts.first_byte_s),
            )
        return self._response

    async def _check(self, response: Answer) -> None:
        """Raises ProviderError for anything but a stream: some send errors as JSON with a 200."""
        if response.status != 200 or response.content_type in ("application/json", "text/html"):
            raise self._attempt.refusal(response, await read_refusal(response))

    async def _next(self, response: Answer) -> list[T]:
        """The next items; an empty list at the end of a whole answer."""
        while not self._is_over:
            if self._decoder.is_done:
                await _drain(response)
                return await self._finish(None)
            wait_s = self._timeouts.between_chunks_s
            if self._attempt.first_byte_s is None:
                wait_s = self._timeouts.first_byte_s
            self._patience.begin(response.content, wait_s)
            try:
                chunk = await response.content.readany()
            except TRANSPORT_ERRORS as error:
                return await self._finish(error)
            self._patience.rest()
            if not chunk:
                return await self._finish(None)
            self._attempt.mark_first_byte()
            self._received_bytes += len(chunk)
            if self._received_bytes > STREAM_BYTES_MAX:
                raise too_large(self._attempt.target.provider, STREAM_BYTES_MAX)
            if items := self._decoder.feed(chunk):
                return items
        return []

    async def _finish(self, broken: Exception | None) -> list[T]:
        items = self._end(broken)
        epilogue = self._attempt.request.epilogue
        return items if epilogue is None else await self._read_epilogue(epilogue, items)

    async def _read_epilogue(self, epilogue: Epilogue, items: list[T]) -> list[T]:
        beside = self._attempt.beside(epilogue.request)
        with suppress(*TRANSPORT_ERRORS):
            async with (
                asyncio.timeout(EPILOGUE_S_MAX),
                await begin(self._connections, beside, None) as response,
            ):
                body = await read_up_to(response, FIRST_ANSWER_BYTES_MAX)
                if response.status == 200 and len(body) <= FIRST_ANSWER_BYTES_MAX:
                    return epilogue.read(body, items)
        return items

    def _end(self, broken: Exception | None) -> list[T]:
        """What the decoder has left. An answer that is whole stays so if the connection breaks."""
        self._is_over = True
        self._attempt.mark_last_byte()
        try:
            items = self._decoder.close()
        except ProviderBadReplyError:
            if broken:
                raise broken from None
            raise
        self._attempt.outcome = "ok"
        return items


class _Patience:
    """How long the next bytes of a stream are waited for.

    One timer for all of them: it looks, when it is due, whether the wait that is on has become too
    long. A timer for each read would be a tenth of what a small chunk costs.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._content: aiohttp.StreamReader | None = None
        self._due_s = self._armed_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, content: aiohttp.StreamReader, wait_s: float) -> None:
        """A wait begins: after so long, reading raises TimeoutError."""
        self._content = content
        self._due_s = due_s = self._loop.time() + wait_s
        if self._timer is None or due_s < self._armed_s:
            self._arm()

    def rest(self) -> None:
        """It was not too long."""
        self._content = None

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self.end()
        self._armed_s = self._due_s
        self._timer = self._loop.call_at(self._armed_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._content is None:  # the next wait sets it anew
            return
        if self._loop.time() >= self._due_s:
            self._content.set_exception(TimeoutError())
        else:
            self._arm()


async def begin(
    connections: Connections,
    attempt: Attempt,
    on_connected: Callable[[], None] | None = None,
    deadline_s: float | None = None,
) -> Answer:
    """Sends a request and gives back the answer's head, which is there at `deadline_s`."""
    timeouts = attempt.target.timeouts
    timeout = _client_timeout(timeouts.pool_s, timeouts.connect_s)
    return await connections.ask(attempt.outgoing(), timeout, on_connected, deadline_s)


@lru_cache(maxsize=64)
def _client_timeout(pool_s: float, connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=pool_s + connect_s, sock_connect=connect_s)


async def read_up_to(response: Answer, bytes_max: int) -> bytes:
    """The body, or its beginning: a little more than `bytes_max` if there is more."""
    parts, size = [], 0
    while size <= bytes_max and (chunk := await response.content.readany()):
        parts.append(chunk)
        size += len(chunk)
    return b"".join(parts)


async def read_refusal(response: Answer) -> bytes:
    """What a refusal says, or nothing if it breaks off: what its status says is enough."""
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(ERROR_BODY_S_MAX):
            return await read_up_to(response, ERROR_BODY_BYTES_MAX)
    return b""


def too_large(provider: str, bytes_max: int) -> ProviderBadReplyError:
    """The error for an answer past its limit; decompressed bytes count."""
    return ProviderBadReplyError(
        f"{provider} sent an answer of more than {bytes_max} bytes.", provider=provider
    )


async def _drain(response: Answer) -> None:
    """Reads what is left after the last event, so that the connection can serve the next call."""
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(EOF_GRACE_S):
            while await response.content.readany():
                pass
