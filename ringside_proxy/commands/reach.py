"""A command's two ways: over the API of the proxy that owns the store, else into the store itself.

Two processes never share a store: whoever finds it in use asks the process that has it.
"""

import os
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec
import uvloop

from ringside_proxy.commands.errors import CommandError
from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.settings.schema import Settings
from ringside_proxy.settings.tls import own_client_context
from ringside_proxy.store.db import Database
from ringside_proxy.store.files import StoreInUseError
from ringside_proxy.system import SystemClock

TOKEN_VARIABLE: Final = "RINGSIDE_TOKEN"  # noqa: S105 - the name of a variable
UMASK: Final = 0o077
API_CALL_S_MAX: Final = 30.0
PAGE: Final = 100

T = TypeVar("T")


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """How a command reaches things: by this configuration, or at `url`, with this token."""

    settings: Settings
    url: str | None = None
    token: str | None = None


class Proxy:
    """The API of a running proxy; every failure is a CommandError."""

    def __init__(self, access: Access) -> None:
        self.url = _base_url(access)
        if not access.token:
            where = "on this store" if access.url is None else f"at {self.url}"
            way_out = ", or stop it first" if access.url is None else ""
            raise CommandError(
                f"A proxy is running {where}. Set {TOKEN_VARIABLE} to a developer token (or pass "
                f"--token), with which to ask it{way_out}."
            )
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {access.token}"},
            timeout=API_CALL_S_MAX,
            # What listens here is not asked through somebody else's proxy.
            trust_env=access.url is not None,
            verify=_verification(access),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        params: dict[str, str] | None = None,
    ) -> Any:
        """The JSON of a 200."""
        url = self.url + path
        try:
            answer = self._client.request(method, url, json=body, params=params)
            reply = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise CommandError(f"The proxy at {url} did not answer as expected: {error}") from None
        if answer.status_code != httpx.codes.OK:
            raise CommandError(f"The proxy refused: {_message(reply, answer.status_code)}")
        return reply

    def every(self, path: str) -> list[Any]:
        """All entries of a list."""
        found: list[Any] = []
        params = {"limit": str(PAGE)}
        while True:
            page = self.call("GET", path, params=params)
            found += page["data"]
            if not page["has_more"]:
                return found
            params["after"] = page["last_id"]


def reach(
    access: Access,
    in_store: Callable[[Database], Awaitable[T]],
    over_api: Callable[[Proxy], T],
    *,
    may_make: bool = False,
) -> T:
    """What `in_store` gives, or `over_api` where a proxy has the store or a URL is given.

    Raises CommandError, also where there is neither, unless the store may be made; StoreError.
    """
    if access.url is None:
        path = access.settings.store.path
        if not may_make and not path.exists():
            raise CommandError(f"There is no store at {path}.")
        try:
            return run(_with_store(access.settings, in_store))
        except StoreInUseError:
            pass
    with Proxy(access) as proxy:
        return over_api(proxy)


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a command's coroutine."""
    return uvloop.run(work)


async def _with_store(settings: Settings, work: Callable[[Database], Awaitable[T]]) -> T:
    os.umask(UMASK)
    db = await Database.open(settings.store.path, SystemClock(), settings.store.synchronous)
    try:
        return await work(db)
    except RingsideError as error:
        raise CommandError(error.message) from None
    finally:
        await db.close()


def _base_url(access: Access) -> str:
    if access.url is not None:
        return access.url.rstrip("/").removesuffix("/v1")
    return access.settings.server.url()


def _verification(access: Access) -> ssl.SSLContext | bool:
    """Whose certificate is believed: what is on this store has the one of the configuration."""
    own = own_client_context(access.settings.server.tls) if access.url is None else None
    return True if own is None else own


def _message(reply: Any, status: int) -> str:
    try:
        return str(reply["error"]["message"])
    except (KeyError, TypeError):
        return f"status {status}"
