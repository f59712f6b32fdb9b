"""/v1/tokens: Ringside's own; developers only."""

from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta

from ringside_proxy.api.bodies import Body
from ringside_proxy.api.context import json_response, services, snapshot
from ringside_proxy.api.decode import decode_query
from ringside_proxy.api.request import read_body
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.services.tokens import configured_id, require_customer
from ringside_proxy.settings.schema import TokenSettings
from ringside_proxy.store import tokens as store
from ringside_proxy.store.tokens import TokenRecord


class CreateToken(Body, frozen=True, kw_only=True):
    """POST /v1/tokens."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    role: Literal["developer", "client"] = "developer"
    customer: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    expires_in: Annotated[int, Meta(ge=1)] | None = None


async def create(request: web.Request) -> web.Response:
    """POST /v1/tokens: the only answer that shows the token."""
    body = await read_body(request, CreateToken)
    require_customer(body.role, body.customer)
    minted = await services(request).tokens.mint(
        body.name, body.role, body.customer, body.expires_in
    )
    return json_response(_wire_object(minted.record) | {"token": minted.token})


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/tokens/{token_id}: revoked at once."""
    token_id = request.match_info["token_id"]
    await services(request).tokens.revoke(token_id)
    return json_response({"id": token_id, "object": "token.deleted", "deleted": True})


async def index(request: web.Request) -> web.Response:
    """GET /v1/tokens: those minted here, then, on the last page, those of the configuration."""
    records, has_more = services(request).db.get(store.page, decode_query(request.query, ListQuery))
    data = [_wire_object(record) for record in records]
    if not has_more:
        data += [_configured(token) for token in snapshot(request).settings.auth.tokens]
    return json_response(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": has_more,
        }
    )


def _wire_object(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "object": "token",
        "name": record.name,
        "role": record.role,
        "customer": record.customer,
        "created_at": record.created_ms // 1000,
        "expires_at": None if record.expires_ms is None else record.expires_ms // 1000,
        "last_used_at": None,
        "source": "api",
    }


def _configured(token: TokenSettings) -> dict[str, Any]:
    return {
        "id": configured_id(token),
        "object": "token",
        "name": token.name,
        "role": token.role,
        "customer": token.customer,
        "created_at": None,
        "expires_at": None,
        "last_used_at": None,
        "source": "config",
    }
