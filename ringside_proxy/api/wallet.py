"""/v1/wallet: Ringside's own; developers only."""

from typing import Annotated, Literal, TypeAlias

import msgspec
from aiohttp import web
from msgspec import Meta

from ringside_proxy.api.amounts import nano_of
from ringside_proxy.api.bodies import Body
from ringside_proxy.api.context import caller, json_response, services, terms
from ringside_proxy.api.decode import decode_query
from ringside_proxy.api.request import read_body
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.domain.money import AMOUNT_USD_MAX, usd
from ringside_proxy.store import wallet as store
from ringside_proxy.store.wallet import TopUp

TopUpUSD: TypeAlias = Annotated[float, Meta(ge=1e-9, le=AMOUNT_USD_MAX)]


class CreateTopUp(Body, frozen=True, kw_only=True):
    """POST /v1/wallet/top_ups."""

    amount_usd: TopUpUSD
    note: Annotated[str, Meta(max_length=512)] | None = None


class TopUpObject(msgspec.Struct, frozen=True, kw_only=True):
    """`wallet.top_up`; `balance_usd` is what there was afterwards."""

    id: str
    object: Literal["wallet.top_up"] = "wallet.top_up"
    amount_usd: float
    balance_usd: float
    created_at: int
    note: str | None


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/wallet."""
    wallet = services(request).db.get(store.get)
    return json_response(store.wire_object(wallet, terms(request).wallet))


async def top_up(request: web.Request) -> web.Response:
    """POST /v1/wallet/top_ups."""
    body = await read_body(request, CreateTopUp)
    nano = nano_of(body.amount_usd, "amount_usd")
    made = await services(request).wallet.top_up(
        nano, body.note, terms(request).wallet, caller(request).once
    )
    return json_response(top_up_object(made))


def top_up_object(made: TopUp) -> TopUpObject:
    """The top-up on the wire."""
    return TopUpObject(
        id=made.id,
        amount_usd=usd(made.amount_nano),
        balance_usd=usd(made.balance_nano),
        created_at=made.created_ms // 1000,
        note=made.note,
    )


async def transactions(request: web.Request) -> web.Response:
    """GET /v1/wallet/transactions: top-ups and charges, newest first."""
    query = decode_query(request.query, ListQuery)
    return json_response(await services(request).db.read(store.transaction_page, query))
