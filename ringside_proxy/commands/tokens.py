"""`ringside token`: new, list, revoke."""

import datetime
from typing import Final, Literal

import msgspec

from ringside_proxy.api.tokens import TokenObject, token_objects
from ringside_proxy.commands.errors import CommandError
from ringside_proxy.commands.reach import Access, Proxy, reach
from ringside_proxy.commands.tables import table
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.services.tokens import Tokens, configured_id, require_customer
from ringside_proxy.store import tokens as store
from ringside_proxy.store.db import Database
from ringside_proxy.system import SystemClock, system_ids

PATH: Final = "/v1/tokens"
HEADER: Final = (
    "ID",
    "NAME",
    "ROLE",
    "CUSTOMER",
    "CREATED",
    "EXPIRES",
    "LAST USED",
    "SOURCE",
)
NOT_KNOWN: Final = "-"


def new(
    access: Access,
    name: str,
    role: Literal["developer", "client"],
    customer: str | None,
    expires_in_s: int | None,
) -> str:
    """A new token; it can never be shown again. Raises CommandError."""
    try:
        require_customer(role, customer)
    except InvalidRequestError as error:
        raise CommandError(error.message) from None

    async def in_store(db: Database) -> str:
        return (await _tokens(db).mint(name, role, customer, expires_in_s)).token

    def over_api(proxy: Proxy) -> str:
        body = {"name": name, "role": role, "customer": customer, "expires_in": expires_in_s}
        token: str = proxy.call("POST", PATH, body)["token"]
        return token

    return reach(access, in_store, over_api, may_make=True)


def listing(access: Access) -> str:
    """All tokens as a table, newest first, then those of the configuration. Raises CommandError."""
    configured = access.settings.auth.tokens

    async def in_store(db: Database) -> list[TokenObject]:
        used_ms = db.get(store.uses)
        return token_objects(db.get(store.every), configured, used_ms.get)

    def over_api(proxy: Proxy) -> list[TokenObject]:
        return msgspec.convert(proxy.every(PATH), list[TokenObject])

    return table(HEADER, [_row(token) for token in reach(access, in_store, over_api)])


def revoke(access: Access, token_id: str) -> None:
    """End a minted token, at once. Raises CommandError."""
    if token_id in map(configured_id, access.settings.auth.tokens):
        raise CommandError(
            f"{token_id} is a token of the configuration: remove it from auth.tokens there."
        )

    async def in_store(db: Database) -> None:
        await _tokens(db).revoke(token_id)

    def over_api(proxy: Proxy) -> None:
        proxy.call("DELETE", f"{PATH}/{token_id}")

    reach(access, in_store, over_api)


def _tokens(db: Database) -> Tokens:
    return Tokens(db, system_ids(), SystemClock(), is_required=True)


def _row(token: TokenObject) -> list[str]:
    return [
        token.id,
        token.name,
        token.role,
        token.customer or NOT_KNOWN,
        _time(token.created_at),
        _time(token.expires_at),
        _time(token.last_used_at),
        token.source,
    ]


def _time(unix_s: int | None) -> str:
    if unix_s is None:
        return NOT_KNOWN
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%d %H:%MZ")
