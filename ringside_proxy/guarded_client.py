"""HTTP to addresses that others name: webhooks' and images'.

Every socket passes one guard (`domain/addresses.py`), which sees the address that is about to be
dialled, after all lookups: so no spelling of an address and no name that resolves to another one
a moment later gets by. A request has a session of its own, that follows no redirect, asks no
proxy of the environment, keeps no cookie and no connection.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from errno import EACCES
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ringside_proxy import __version__
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.errors import AddressRefusedError

LOOKUPS_AT_ONCE_MAX: Final = 4
"""A name may be slow to resolve on purpose: it only ever waits behind others that callers named."""

CHECK_S_MAX: Final = 2.0
"""Who waits for an answer need not wait for a slow lookup."""


class GuardedClient:
    """Sends requests where `AddressRules` let them go."""

    def __init__(
        self,
        resolver: AbstractResolver | None = None,
        *,
        lookups_at_once_max: int = LOOKUPS_AT_ONCE_MAX,
    ) -> None:
        self._resolver = resolver or _OwnThreads(lookups_at_once_max)

    @asynccontextmanager
    async def request(
        self,
        rules: AddressRules,
        method: str,
        url: str,
        *,
        timeouts: aiohttp.ClientTimeout,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        may_be_plain: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head; its body is as it was sent, compressed or not.

        Raises AddressRefusedError, aiohttp's ClientError, TimeoutError. Plain http is for private
        targets, unless it `may_be_plain`.
        """
        target = _parsed(url)
        rules.check_url(str(target), may_be_plain=may_be_plain)
        refused: list[str] = []
        session = self._session(rules, target.raw_host or "", refused)
        try:
            async with (
                session,
                session.request(
                    method,
                    target,
                    headers=headers,
                    data=body,
                    timeout=timeouts,
                    allow_redirects=False,
                ) as response,
            ):
                yield response
        except aiohttp.ClientConnectorError as error:
            if refused:
                raise rules.refusal(refused[0]) from error
            raise

    async def check(self, rules: AddressRules, url: str) -> None:
        """Raise AddressRefusedError for a URL that leads, as far as can be seen now, inside.

        For a readable answer to whoever names it; the guard judges again whenever it is dialled.
        A name that cannot be looked up passes.
        """
        target = _parsed(url)
        rules.check_url(str(target))
        host = target.raw_host or ""
        try:
            async with asyncio.timeout(CHECK_S_MAX):
                found = await self._resolver.resolve(host, target.port or 0)
        except OSError:
            return
        for address in found:
            if rules.refuses(address["host"], host=host):
                raise rules.refusal(address["host"])

    async def close(self) -> None:
        """Looks nothing up any more."""
        await self._resolver.close()

    def _session(self, rules: AddressRules, host: str, refused: list[str]) -> aiohttp.ClientSession:
        def dial(info: aiohttp.AddrInfoType) -> socket.socket:
            family, kind, protocol, _, address = info
            if rules.refuses(str(address[0]), host=host):
                refused.append(str(address[0]))
                raise OSError(EACCES, "the address may not be dialled")
            return socket.socket(family=family, type=kind, proto=protocol)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                socket_factory=dial, resolver=self._resolver, use_dns_cache=False, force_close=True
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"user-agent": f"ringside-proxy/{__version__}"},
            auto_decompress=False,
            trust_env=False,
        )


class _OwnThreads(AbstractResolver):
    """Lookups in threads of their own: the loop's are for providers' names, and few.

    A name has one of them at a time. Whoever asks for it meanwhile waits for the same answer: a
    lookup that hangs goes on in its thread when those who asked have long given up.
    """

    def __init__(self, at_once_max: int) -> None:
        self._at_once_max = at_once_max
        self._threads: ThreadPoolExecutor | None = None
        self._under_way: dict[tuple[str, int, int], asyncio.Future[Any]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError."""
        try:
            found = await asyncio.shield(self._lookup(host, port, family))
        except UnicodeError as error:  # a label that is empty, or longer than names have them
            raise socket.gaierror(socket.EAI_NONAME, f"no host name: {error}") from error
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    def _lookup(self, host: str, port: int, family: socket.AddressFamily) -> "asyncio.Future[Any]":
        asked = (host, port, family)
        if asked not in self._under_way:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self._at_once_max, "guarded-lookup")
            look_up = partial(
                socket.getaddrinfo, host, port, family=family, type=socket.SOCK_STREAM
            )
            lookup = asyncio.get_running_loop().run_in_executor(self._threads, look_up)
            lookup.add_done_callback(partial(self._end, asked))
            self._under_way[asked] = lookup
        return self._under_way[asked]

    def _end(self, asked: tuple[str, int, int], lookup: "asyncio.Future[Any]") -> None:
        del self._under_way[asked]
        if not lookup.cancelled():
            lookup.exception()  # seen, also where nobody waits for it any more

    async def close(self) -> None:
        """Ends the threads; a lookup that is under way is not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _parsed(url: str) -> URL:
    """The URL as it will be dialled: checked and used in one reading, so that none is fooled."""
    try:
        return URL(url)
    except (ValueError, TypeError) as error:
        raise AddressRefusedError(f"The URL cannot be read: {error}.") from error
