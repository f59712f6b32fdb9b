"""Requests on aiohttp's connections: its pool, its TLS and its parsers under a request written at once.

What aiohttp's own request can do beside that (redirects, cookies, proxies, bodies piece by piece)
is a third of what a model call costs. It is left to the few requests that need it.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final, NamedTuple, Self

import aiohttp
from aiohttp import http
from yarl import URL

from ringside_proxy import __version__
from ringside_proxy.providers.types import HTTPRequest

CONNECTIONS_MAX: Final = 2_000
"""As many as there may be requests at once: all of them may be streams of one host."""
KEEPALIVE_S: Final = 30
DNS_CACHE_S: Final = 30

BODY_AT_ONCE_BYTES_MAX: Final = 1024 * 1024
ADDRESSES_MAX: Final = 256
"""Addresses, with the headers that go there, whose request lines are at hand."""
LEFT_S_MIN: Final = 0.001
"""aiohttp takes none for as long as it takes."""
SCHEMES: Final = ("http", "https")

CONNECTED: Final[ContextVar[Callable[[], None] | None]] = ContextVar("connected", default=None)
"""Called when the request that is being sent has its connection."""


class Answer:
    """An answer: its head, and its body as it comes.

    Closed before the body has been read to its end, it takes its connection along.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        content: aiohttp.StreamReader,
        close: Callable[[], None],
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.close = close

    @property
    def content_type(self) -> str:
        """What the body is, without parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class _Address(NamedTuple):
    """Where requests go: what finds their connection, and the lines that all of them begin with."""

    request: aiohttp.ClientRequest
    lines: str


class Connections:
    """Connections to the hosts of one configuration. Needs a running event loop."""

    def __init__(self, *, trust_env: bool) -> None:
        self._session = aiohttp.ClientSession(
            connector=_TellingConnector(
                limit=CONNECTIONS_MAX,
                keepalive_timeout=KEEPALIVE_S,
                ttl_dns_cache=DNS_CACHE_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": f"ringside-proxy/{__version__}"},
            trust_env=trust_env,
        )
        self._addresses: dict[tuple[str, str, tuple[str, ...]], _Address | None] = {}

    async def ask(
        self,
        request: HTTPRequest,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - how long a connection may take
        on_connected: Callable[[], None] | None = None,
        deadline_s: float | None = None,
    ) -> Answer:
        """Send a request; gives the answer's head. Raises what aiohttp raises, and OSError.

        At `deadline_s`, by the loop's time, an answer that has not begun is a TimeoutError.
        """
        address = self._address(request)
        if address is None or len(request.body) > BODY_AT_ONCE_BYTES_MAX:
            async with asyncio.timeout_at(deadline_s):
                return await self._ask_aiohttp(request, timeout, on_connected)
        head = _head(address, request)
        connection = await self._connect(address, _within(deadline_s, timeout))
        if on_connected is not None:
            on_connected()
        try:
            return await _exchanged(connection, address, head + request.body, deadline_s)
        except BaseException:
            connection.close()
            raise

    async def close(self) -> None:
        """Close all of them."""
        await self._session.close()

    async def _connect(
        self,
        address: _Address,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - how long a connection may take
    ) -> "aiohttp.connector.Connection":
        connector = self._session.connector
        if connector is None:
            raise RuntimeError("the connections are closed")
        try:
            return await connector.connect(address.request, [], timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(
                f"no connection to {address.request.url}"
            ) from error

    async def _ask_aiohttp(
        self,
        request: HTTPRequest,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as above
        on_connected: Callable[[], None] | None,
    ) -> Answer:
        """The same by aiohttp's own request, which refuses in its own words what is no address."""
        body: BytesIO | bytes | None = request.body or None
        if len(request.body) > BODY_AT_ONCE_BYTES_MAX:
            body = BytesIO(request.body)  # written piece by piece
        told = CONNECTED.set(on_connected)
        try:
            response = await self._session.request(
                request.method,
                _url(request) or request.url,
                headers=request.headers,
                data=body,
                allow_redirects=False,  # a redirect would carry the key to another host
                timeout=timeout,
            )
        finally:
            CONNECTED.reset(told)
        return Answer(response.status, response.headers, response.content, response.close)

    def _address(self, request: HTTPRequest) -> _Address | None:
        """Where a request goes; None where only aiohttp itself can send it."""
        key = (request.method, request.url, tuple(request.headers))
        if key in self._addresses:
            return self._addresses[key]
        if len(self._addresses) >= ADDRESSES_MAX:
            self._addresses.pop(next(iter(self._addresses)))
        self._addresses[key] = address = self._found(request)
        return address

    def _found(self, request: HTTPRequest) -> _Address | None:
        url = _url(request)
        is_plain = url is not None and url.scheme in SCHEMES and url.raw_host and url.user is None
        if url is None or not is_plain or self._session.trust_env:
            return None
        asked = aiohttp.ClientRequest(
            request.method,
            url,
            headers=self._session.headers,
            loop=asyncio.get_running_loop(),
            response_class=aiohttp.ClientResponse,
            session=self._session,
        )
        given = {name.lower() for name in request.headers} | {"content-length", "content-type"}
        lines = [f"{request.method} {url.raw_path_qs} HTTP/1.1"]
        lines += [f"{k}: {v}" for k, v in asked.headers.items() if k.lower() not in given]
        return _Address(asked, "\r\n".join(lines) + "\r\n")


class _TellingConnector(aiohttp.TCPConnector):
    """Tells whoever asked for a connection that it has one. aiohttp's tracing could, at ten times
    the price.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Any:
        """A connection for the request."""
        connection = await super().connect(req, traces, timeout)
        if tell := CONNECTED.get():
            tell()
        return connection


async def _exchanged(
    connection: "aiohttp.connector.Connection",
    address: _Address,
    written: bytes,
    deadline_s: float | None,
) -> Answer:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    protocol.set_response_params(read_until_eof=True)
    transport.write(written)
    timer: asyncio.TimerHandle | None = None
    if deadline_s is not None:  # by itself it costs a third of what `asyncio.timeout` does
        loop = asyncio.get_running_loop()
        timer = loop.call_at(deadline_s, protocol.set_exception, TimeoutError())
    try:
        message, content = await protocol.read()
        while 100 <= message.code < 200 and message.code != HTTPStatus.SWITCHING_PROTOCOLS:
            message, content = await protocol.read()
    except http.HttpProcessingError as error:
        raise aiohttp.ClientResponseError(
            address.request.request_info, (), status=error.code, message=error.message
        ) from error
    finally:
        if timer is not None:
            timer.cancel()
    content.on_eof(connection.release)
    return Answer(message.code, message.headers, content, connection.close)


def _within(deadline_s: float | None, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientTimeout:
    """The time for a connection, which ends with the deadline."""
    if deadline_s is None or timeout.connect is None:
        return timeout
    left_s = deadline_s - asyncio.get_running_loop().time()
    if left_s >= timeout.connect:
        return timeout
    left_s = max(left_s, LEFT_S_MIN)
    return aiohttp.ClientTimeout(connect=left_s, sock_connect=left_s)


def _head(address: _Address, request: HTTPRequest) -> bytes:
    """The request up to its body. Raises ValueError for a header that would be two."""
    values = "".join(request.headers.values())
    if "\n" in values or "\r" in values or "\0" in values:
        raise ValueError("a header of a request holds a line break")
    own = [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    if request.body or request.method == "POST":
        own.append(f"content-length: {len(request.body)}\r\n")
    return f"{address.lines}{''.join(own)}\r\n".encode()


def _url(request: HTTPRequest) -> URL | None:
    """The address; one that is quoted or signed already is not quoted again. None if it is none."""
    is_quoted = request.sign is not None or "%" in request.url
    try:
        return URL(request.url, encoded=is_quoted)
    except ValueError:
        return None
