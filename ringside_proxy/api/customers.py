"""/v1/customers: Ringside's own; developers only."""

from typing import Annotated, Any, Final, TypeAlias

from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from ringside_proxy.api.amounts import AmountUSD, nano_of
from ringside_proxy.api.bodies import Body, Metadata, Name
from ringside_proxy.api.context import caller, json_response, services, terms
from ringside_proxy.api.decode import decode_query
from ringside_proxy.api.request import read_body
from ringside_proxy.domain.callers import (
    CUSTOMER_ID_CHARACTER,
    CUSTOMER_ID_LENGTH_MAX,
    require_customer_id,
)
from ringside_proxy.domain.lists import ListQuery
from ringside_proxy.store import accounts as store

CustomerID: TypeAlias = Annotated[
    str,
    Meta(min_length=1, max_length=CUSTOMER_ID_LENGTH_MAX, pattern=rf"^{CUSTOMER_ID_CHARACTER}+\Z"),
]
PerMinute: TypeAlias = Annotated[int, Meta(ge=1, le=10**9)]


class RateLimits(Body, frozen=True, kw_only=True):
    """A customer's own limits: only what is given changes, null takes one away."""

    requests_per_minute: PerMinute | UnsetType | None = UNSET
    tokens_per_minute: PerMinute | UnsetType | None = UNSET


NO_LIMITS: Final = RateLimits(requests_per_minute=None, tokens_per_minute=None)


class ModifyCustomer(Body, frozen=True, kw_only=True):
    """PATCH and POST /v1/customers/{customer_id}: only what is given changes.

    Null clears the name and the limits; a budget of null is no cap, whatever the configuration
    says.
    """

    name: Name | UnsetType | None = UNSET
    metadata: Metadata | None = None
    monthly_budget_usd: AmountUSD | UnsetType | None = UNSET
    rate_limits: RateLimits | UnsetType | None = UNSET


class CreateCustomer(ModifyCustomer, frozen=True, kw_only=True):
    """POST /v1/customers."""

    id: CustomerID


async def create(request: web.Request) -> web.Response:
    """POST /v1/customers."""
    body = await read_body(request, CreateCustomer)
    made = await services(request).customers.create(
        body.id, _changes(body), terms(request), caller(request).once
    )
    return json_response(made)


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/customers/{customer_id}."""
    db = services(request).db
    return json_response(db.get(store.get, request.match_info["customer_id"], terms(request)))


async def update(request: web.Request) -> web.Response:
    """PATCH and POST /v1/customers/{customer_id}: makes one that is not there yet."""
    body = await read_body(request, ModifyCustomer)
    customer_id = request.match_info["customer_id"]
    require_customer_id(customer_id, "id")
    changed = await services(request).customers.put(
        customer_id, _changes(body), terms(request), caller(request).once
    )
    return json_response(changed)


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/customers/{customer_id}: its usage, and what it has spent, stay."""
    customer_id = request.match_info["customer_id"]
    await services(request).customers.delete(customer_id)
    return json_response({"id": customer_id, "object": "customer.deleted", "deleted": True})


async def index(request: web.Request) -> web.Response:
    """GET /v1/customers."""
    query = decode_query(request.query, ListQuery)
    return json_response(await services(request).db.read(store.page, query, terms(request)))


def _changes(body: ModifyCustomer) -> dict[str, Any]:
    """What was given, as fields of the customer's record."""
    changes: dict[str, Any] = {}
    if body.name is not UNSET:
        changes["name"] = body.name
    if body.metadata is not None:
        changes["metadata"] = body.metadata
    if body.monthly_budget_usd is not UNSET:
        amount = body.monthly_budget_usd
        changes["has_own_budget"] = True
        changes["monthly_nano"] = None if amount is None else nano_of(amount, "monthly_budget_usd")
    if body.rate_limits is not UNSET:
        limits = body.rate_limits or NO_LIMITS
        given = {name: getattr(limits, name) for name in limits.__struct_fields__}
        changes |= {name: limit for name, limit in given.items() if limit is not UNSET}
    return changes
