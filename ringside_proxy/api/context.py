"""What every handler is given: who calls, on which configuration, and the services."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from ringside_proxy.delivery.endpoints import Webhooks
from ringside_proxy.domain.callers import Caller, require_customer_id
from ringside_proxy.domain.ids import NewId
from ringside_proxy.services.assistants import Assistants
from ringside_proxy.services.completions import Completions
from ringside_proxy.services.customers import Customers
from ringside_proxy.services.idempotency import Idempotency
from ringside_proxy.services.live_config import LiveConfig
from ringside_proxy.services.live_runs import LiveRuns
from ringside_proxy.services.metering import Ledger
from ringside_proxy.services.models import Models
from ringside_proxy.services.rate_limits import Admission, RateLimits
from ringside_proxy.services.runs import Runs
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.services.threads import Threads
from ringside_proxy.services.tokens import Tokens
from ringside_proxy.services.wallet import Wallet
from ringside_proxy.store.db import Database
from ringside_proxy.store.ledger import Terms
from ringside_proxy.telemetry.metrics import Metrics


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that handlers call, built once by `app.py`."""

    db: Database
    tokens: Tokens
    assistants: Assistants
    threads: Threads
    runs: Runs
    live_runs: LiveRuns
    completions: Completions
    models: Models
    customers: Customers
    wallet: Wallet
    idempotency: Idempotency
    books: Ledger
    rate_limits: RateLimits
    webhooks: Webhooks
    metrics: Metrics
    new_id: NewId
    monotonic_s: Callable[[], float]
    now_ms: Callable[[], int]
    live_config: LiveConfig
    unready_reasons: Callable[[], list[str]]
    body_s_max: float
    """How long a request's body may take to arrive."""


SERVICES: Final = web.AppKey("services", Services)
CALLER: Final = web.RequestKey("caller", Caller)
REQUEST_ID: Final = web.RequestKey("request_id", str)
ADMISSION: Final = web.RequestKey("admission", Admission)
SNAPSHOT: Final = web.RequestKey("snapshot", Snapshot)
KEPT: Final = web.RequestKey("kept", bytes)
"""What a stream with an Idempotency-Key is given again as; absent if it can be made again."""

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


def services(request: web.Request) -> Services:
    """The services."""
    return request.app[SERVICES]


def caller(request: web.Request) -> Caller:
    """Who calls; set by the authentication."""
    return request[CALLER]


def admission(request: web.Request) -> Admission:
    """What the request has taken of its caller's rate limits; set after the authentication."""
    return request[ADMISSION]


def snapshot(request: web.Request) -> Snapshot:
    """The configuration as it was when the request came."""
    return request[SNAPSHOT]


def terms(request: web.Request) -> Terms:
    """What that configuration says of money."""
    settings = request[SNAPSHOT].settings
    return Terms(budgets=settings.budgets, wallet=settings.wallet)


def customer(request: web.Request, user: str | None) -> str | None:
    """The end-customer a call is for: the token's own, else the body's `user`, else the header.

    Raises InvalidRequestError for an id that cannot stand in a path.
    """
    own = caller(request).customer
    if own is not None:
        return own
    param, given = ("user", user) if user else ("x-ringside-customer", None)
    given = given or request.headers.get("x-ringside-customer")
    if given is not None:
        require_customer_id(given, param)
    return given


def json_response(body: Any, headers: dict[str, str] | None = None) -> web.Response:
    """A 200 with a wire object."""
    return web.Response(body=_encode(body), content_type="application/json", headers=headers)
