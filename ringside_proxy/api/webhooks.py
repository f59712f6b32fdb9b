"""/v1/webhooks: Ringside's own; developers only."""

from typing import Annotated, Any, Final, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from ringside_proxy.api.bodies import Body, Description, Metadata
from ringside_proxy.api.context import caller, json_response, services, snapshot
from ringside_proxy.api.decode import decode_query
from ringside_proxy.api.request import read_body
from ringside_proxy.delivery.endpoints import WithSecret
from ringside_proxy.domain.deliveries import DeliveryState
from ringside_proxy.domain.errors import InvalidRequestError
from ringside_proxy.domain.lists import ListQuery, page_of_all
from ringside_proxy.domain.outgoing import SubscribedType
from ringside_proxy.store import deliveries, webhooks
from ringside_proxy.store.webhooks import DisabledReason, WebhookRecord

TIME_S_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""

Url = Annotated[str, Meta(min_length=1, max_length=2048)]
Events = Annotated[list[SubscribedType], Meta(min_length=1, max_length=32)]
Time = Annotated[int, Meta(ge=0, le=TIME_S_MAX)]


class CreateWebhook(Body, frozen=True, kw_only=True):
    """POST /v1/webhooks."""

    url: Url
    events: Events
    description: Description | None = None
    metadata: Metadata | None = None
    secret: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class ModifyWebhook(Body, frozen=True, kw_only=True):
    """PATCH and POST /v1/webhooks/{webhook_id}: only what is given changes."""

    url: Url | None = None
    events: Events | None = None
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | None = None
    enabled: bool | None = None


class ReplayEvents(Body, frozen=True, kw_only=True, rename={"from_s": "from", "to_s": "to"}):
    """POST /v1/webhooks/{webhook_id}/replay: both ends are included; no end is now."""

    from_s: Time
    to_s: Time | None = None


class DeliveryListQuery(ListQuery, frozen=True, kw_only=True):
    """GET /v1/webhooks/{webhook_id}/deliveries."""

    state: Literal["pending", "in_flight", "delivered", "dead"] | None = None


class WebhookObject(msgspec.Struct, frozen=True, kw_only=True):
    """`webhook`; the secret itself only in the answers that made it."""

    id: str
    object: Literal["webhook"] = "webhook"
    created_at: int
    url: str
    events: list[str]
    enabled: bool
    description: str | None
    metadata: dict[str, str]
    source: Literal["api", "config"]
    secret_hint: str
    last_success_at: int | None
    last_failure_at: int | None
    consecutive_failures: int
    disabled_reason: DisabledReason | None
    secret: str | UnsetType = UNSET


class Replay(msgspec.Struct, frozen=True, kw_only=True, rename={"from_s": "from", "to_s": "to"}):
    """`webhook.replay`: how many events were queued."""

    object: Literal["webhook.replay"] = "webhook.replay"
    webhook_id: str
    from_s: int
    to_s: int
    queued: int


async def create(request: web.Request) -> web.Response:
    """POST /v1/webhooks."""
    body = await read_body(request, CreateWebhook)
    made = await services(request).webhooks.create(
        body.url,
        body.events,
        description=body.description,
        metadata=body.metadata,
        secret=body.secret,
        once=caller(request).once,
    )
    return json_response(_with_secret(made))


async def index(request: web.Request) -> web.Response:
    """GET /v1/webhooks: newest first."""
    query = decode_query(request.query, ListQuery)
    records = await services(request).db.read(webhooks.every)
    return json_response(page_of_all([*map(webhook_object, records)], query, "webhook"))


async def retrieve(request: web.Request) -> web.Response:
    """GET /v1/webhooks/{webhook_id}."""
    return json_response(webhook_object(services(request).db.get(webhooks.get, _id(request))))


async def update(request: web.Request) -> web.Response:
    """PATCH and POST /v1/webhooks/{webhook_id}."""
    body = await read_body(request, ModifyWebhook)
    given = {"url": body.url, "events": body.events, "metadata": body.metadata}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if body.description is not UNSET:
        changes["description"] = body.description
    return json_response(
        webhook_object(
            await services(request).webhooks.update(
                _id(request), changes, is_enabled=body.enabled, once=caller(request).once
            )
        )
    )


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/webhooks/{webhook_id}."""
    await services(request).webhooks.delete(_id(request))
    return json_response({"id": _id(request), "object": "webhook.deleted", "deleted": True})


async def rotate(request: web.Request) -> web.Response:
    """POST /v1/webhooks/{webhook_id}/rotate."""
    overlap_s = snapshot(request).settings.webhooks.rotation_overlap_s
    made = await services(request).webhooks.rotate(_id(request), overlap_s, caller(request).once)
    return json_response(_with_secret(made))


async def test(request: web.Request) -> web.Response:
    """POST /v1/webhooks/{webhook_id}/test."""
    return json_response(await services(request).webhooks.test(_id(request), caller(request).once))


async def index_deliveries(request: web.Request) -> web.Response:
    """GET /v1/webhooks/{webhook_id}/deliveries: newest first."""
    query = decode_query(request.query, DeliveryListQuery)
    db = services(request).db
    webhook = db.get(webhooks.get, _id(request))
    state = None if query.state is None else DeliveryState(query.state)
    return json_response(await db.read(deliveries.page, webhook, query, state))


async def redeliver(request: web.Request) -> web.Response:
    """POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver."""
    delivery_id = request.match_info["delivery_id"]
    once = caller(request).once
    return json_response(
        await services(request).webhooks.redeliver(_id(request), delivery_id, once)
    )


async def replay(request: web.Request) -> web.Response:
    """POST /v1/webhooks/{webhook_id}/replay."""
    body = await read_body(request, ReplayEvents)
    called = services(request)
    to_s = called.now_ms() // 1000 if body.to_s is None else body.to_s
    if to_s < body.from_s:
        raise InvalidRequestError(
            "Invalid 'to': it is before 'from'.", param="to", code="invalid_value"
        )
    queued = await called.webhooks.replay(
        _id(request), body.from_s * 1000, to_s * 1000 + 999, caller(request).once
    )
    return json_response(
        Replay(webhook_id=_id(request), from_s=body.from_s, to_s=to_s, queued=queued)
    )


def _id(request: web.Request) -> str:
    return request.match_info["webhook_id"]


def _with_secret(made: WithSecret) -> WebhookObject:
    return msgspec.structs.replace(webhook_object(made.record), secret=made.secret)


def webhook_object(record: WebhookRecord) -> WebhookObject:
    """A receiver on the wire."""
    return WebhookObject(
        id=record.id,
        created_at=record.created_ms // 1000,
        url=record.url,
        events=record.events,
        enabled=record.is_enabled,
        description=record.description,
        metadata=record.metadata,
        source=record.source,
        secret_hint=record.secret_hint,
        last_success_at=_seconds(record.last_success_ms),
        last_failure_at=_seconds(record.last_failure_ms),
        consecutive_failures=record.consecutive_failures,
        disabled_reason=record.disabled_reason,
    )


def _seconds(moment_ms: int | None) -> int | None:
    return None if moment_ms is None else moment_ms // 1000
