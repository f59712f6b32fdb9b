"""/v1/tokens: Ringside's own; developers only."""

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from ringside_proxy.api.bodies import Body
from ringside_proxy.api.context import caller, json_response, services, snapshot
from ringside_proxy.api.decode import decode_query
from ringside_proxy.api.request import read_body
from ringside_proxy.domain.lists import ListQuery, page_of_all
from ringside_proxy.services.tokens import configured_id, require_customer
from ringside_proxy.settings.schema import TokenSettings
from ringside_proxy.store import tokens as store
from ringside_proxy.store.tokens import TokenRecord

EXPIRES_IN_S_MAX: Final = 100 * 365 * 24 * 3600


class CreateToken(Body, frozen=True, kw_only=True):
    """POST /v1/tokens."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    role: Literal["developer", "client"] = "developer"
    customer: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    expires_in: Annotated[int, Meta(ge=1, le=EXPIRES_IN_S_MAX)] | None = None


class TokenObject(msgspec.Struct, frozen=True, kw_only=True):
    """`token`; the token itself only in the answer that made it."""

    id: str
    object: Literal["token"] = "token"
    name: str
    role: Literal["developer", "client"]
    customer: str | None
    created_at: int | None = None
    expires_at: int | None = None
    last_used_at: int | None = None
    source: Literal["api", "config"]
    token: str | msgspec.UnsetType = msgspec.UNSET


async def create(request: web.Request) -> web.Response:
    """POST /v1/tokens: the only answer that shows the token."""
    body = await read_body(request, CreateToken)
    require_customer(body.role, body.customer)
    minted = await services(request).tokens.mint(
        body.name, body.role, body.customer, body.expires_in, once=caller(request).once
    )
    return json_response(msgspec.structs.replace(_minted(minted.record), token=minted.token))


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/tokens/{token_id}: revoked at once."""
    token_id = request.match_info["token_id"]
    await services(request).tokens.revoke(token_id)
    return json_response({"id": token_id, "object": "token.deleted", "deleted": True})


async def index(request: web.Request) -> web.Response:
    """GET /v1/tokens: those minted here, newest first, then those of the configuration."""
    query = decode_query(request.query, ListQuery)
    minted = await services(request).db.read(store.every)
    configured = snapshot(request).settings.auth.tokens
    every = token_objects(minted, configured, services(request).tokens.used_ms)
    return json_response(page_of_all(every, query, "token"))


def token_objects(
    minted: Sequence[TokenRecord],
    configured: Iterable[TokenSettings],
    used_ms: Callable[[str], int | None],
) -> list[TokenObject]:
    """Every token: those minted (given oldest first) newest first, then the configuration's."""
    every = [*map(_minted, reversed(minted)), *map(_configured, configured)]
    return [
        msgspec.structs.replace(token, last_used_at=ms // 1000) if ms is not None else token
        for token in every
        for ms in (used_ms(token.id),)
    ]


def _minted(record: TokenRecord) -> TokenObject:
    return TokenObject(
        id=record.id,
        name=record.name,
        role=record.role,
        customer=record.customer,
        created_at=record.created_ms // 1000,
        expires_at=None if record.expires_ms is None else record.expires_ms // 1000,
        source="api",
    )


def _configured(token: TokenSettings) -> TokenObject:
    return TokenObject(
        id=configured_id(token),
        name=token.name,
        role=token.role,
        customer=token.customer,
        source="config",
    )
