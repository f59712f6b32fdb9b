"""The composition root: settings in, a running proxy out, taken down in reverse."""

import asyncio
import logging
import os
import sqlite3
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware

from ringside_proxy import __version__
from ringside_proxy.api import cors, middleware, openapi, openapi_document
from ringside_proxy.api.context import SERVICES, Services
from ringside_proxy.api.edge import Runner
from ringside_proxy.api.routes import ADMIN_ROUTES, ROUTES, Route
from ringside_proxy.delivery.lifecycle import Delivery, delivering
from ringside_proxy.domain.addresses import AddressRules
from ringside_proxy.domain.ids import NewId
from ringside_proxy.domain.model_ref import ModelRef, parse
from ringside_proxy.guarded_client import GuardedClient
from ringside_proxy.providers.chat.adapter import azure_base_url
from ringside_proxy.providers.client import ProviderClient, Target, Timeouts
from ringside_proxy.providers.registry import PROVIDERS as PROVIDER_TABLE
from ringside_proxy.providers.registry import remembering, with_deployments
from ringside_proxy.providers.types import Credentials, Provider
from ringside_proxy.sandbox.host import SandboxHost
from ringside_proxy.services.answers import Answers
from ringside_proxy.services.assistants import Assistants
from ringside_proxy.services.completions import Completions
from ringside_proxy.services.customers import Customers
from ringside_proxy.services.idempotency import Idempotency
from ringside_proxy.services.images import Images
from ringside_proxy.services.json_schemas import Schemas
from ringside_proxy.services.live_config import LiveConfig
from ringside_proxy.services.live_models import LiveModels
from ringside_proxy.services.live_runs import LiveRuns, StopReason
from ringside_proxy.services.metering import Ledger
from ringside_proxy.services.model_routing import ActiveProvider, AnswerRules, ModelRouter, Slot
from ringside_proxy.services.models import Models
from ringside_proxy.services.prices import PriceBook, facts, overrides
from ringside_proxy.services.rate_limits import RateLimits
from ringside_proxy.services.run_executor import RunExecutor
from ringside_proxy.services.runs import Runs
from ringside_proxy.services.schema_judge import SchemaJudge
from ringside_proxy.services.shield import Shield
from ringside_proxy.services.snapshot import Snapshot
from ringside_proxy.services.sweeper import Sweeper
from ringside_proxy.services.threads import Threads
from ringside_proxy.services.tokens import Tokens, new_token
from ringside_proxy.services.wallet import Wallet
from ringside_proxy.settings.field_types import PROVIDERS
from ringside_proxy.settings.schema import ProviderSettings, Settings
from ringside_proxy.settings.slots import SlotSettings
from ringside_proxy.settings.source import ConfigSource
from ringside_proxy.settings.tls import renew, server_context
from ringside_proxy.store import customers, files
from ringside_proxy.store.db import Database
from ringside_proxy.system import Clock, SystemClock, system_ids, system_uniform
from ringside_proxy.telemetry.logs import configure_logging, fields
from ringside_proxy.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

KEEPALIVE_S: Final = 75.0
HANDLERS_S: Final = 2.0
"""How long cancelled handlers may take to end, after the drain."""
LINE_BYTES_MAX: Final = 8190
BACKLOG: Final = 1024
BODY_S_MAX: Final = 30.0
LAG_EVERY_S: Final = 1.0
SANDBOX: Final = "sandbox"
OPTIONS: Final = (
    *("access_key_id", "secret_access_key", "session_token", "region"),
    *("organization", "project", "bill_to", "referer", "title", "num_ctx"),
)
"""What adapters are given of a provider's settings beside its key and its address."""
TRUST_CLOCK: Final = "RINGSIDE_TRUST_CLOCK"
"""Set to 1, somebody vouches for a clock that is far ahead of everything stored."""


class Proxy:
    """A running proxy: its addresses, and its drain."""

    def __init__(self, services: Services, traffic: middleware.Traffic) -> None:
        self.services = services
        self.traffic = traffic
        self.url = ""
        self.admin_url = ""
        self.is_draining = False
        self._is_stopped = False

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Go on serving until nothing is at work, `seconds` have passed, or `hurry` is set.

        Local callers have no load balancer to take them elsewhere, so new requests are still
        served meanwhile; afterwards new runs are refused and those at work are ended.
        """
        self.is_draining = True
        quiet = asyncio.ensure_future(self._quiet())
        rush = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({quiet, rush}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        quiet.cancel()
        rush.cancel()
        await self.stop()

    async def stop(self) -> None:
        """Begin no more runs, and end those that are at work; once."""
        if self._is_stopped:
            return
        self._is_stopped = self.is_draining = True
        await self.services.runs.refuse_new()
        calls = self.services.completions.cutoff.pull()
        await asyncio.gather(calls, self.services.live_runs.stop_all(StopReason.SHUTDOWN))

    async def _quiet(self) -> None:
        live_runs, idempotency = self.services.live_runs, self.services.idempotency
        while self.traffic.count or len(live_runs) or len(idempotency):
            await self.traffic.idle.wait()
            await live_runs.idle.wait()
            await idempotency.idle.wait()

    def unready_reasons(self) -> list[str]:
        """Why no new traffic should come; never because of a provider."""
        reasons = {
            "draining": self.is_draining,
            "disk_full": self.services.db.is_full,
            "clock_jump": self.services.books.clock_jumped,
        }
        return [reason for reason, holds in reasons.items() if holds]


@asynccontextmanager
async def running(
    settings: Settings,
    clock: Clock | None = None,
    *,
    source: ConfigSource | None = None,
    reload: asyncio.Event | None = None,
    body_s_max: float = BODY_S_MAX,
) -> AsyncIterator[Proxy]:
    """The proxy, serving while the block runs. Raises StoreError, OSError for a taken port.

    It follows `source` as that changes, and reads it anew whenever `reload` is set.
    """
    clock, new_id = clock or SystemClock(), system_ids()
    metrics = Metrics(__version__)
    _log_start(settings, metrics)
    async with AsyncExitStack() as stack:
        db = await Database.open(
            settings.store.path,
            clock,
            settings.store.synchronous,
            metrics.store_committed,
            new_id,
        )
        stack.push_async_callback(db.close)
        client = ProviderClient(
            clock,
            system_uniform(),
            observe=metrics.upstream_done,
            on_retry=metrics.upstream_retried,
            on_breaker=metrics.breaker_moved,
        )
        stack.push_async_callback(client.close)
        sandbox = SandboxHost(clock, new_id, lambda: client.calls_to(SANDBOX) > 0)
        stack.push_async_callback(sandbox.close)
        build = partial(_snapshot, sandbox=sandbox)
        live = LiveConfig(await build(settings), source, build, clock, metrics)
        delivery = await stack.enter_async_context(
            delivering(db, settings, clock, system_uniform(), new_id, metrics)
        )
        proxy = await _assemble(
            stack, live, db, client, delivery, metrics, clock, new_id, body_s_max=body_s_max
        )
        live.observe(partial(_let_go, client, sandbox))
        live.observe(partial(_retune, proxy.services.tokens))
        live.observe(lambda old, new: delivery.follow(new.settings))
        await _listen(stack, proxy, settings, live)
        stack.push_async_callback(_cancel, asyncio.create_task(live.run(reload or asyncio.Event())))
        stack.push_async_callback(proxy.stop)
        yield proxy


async def _snapshot(settings: Settings, *, sandbox: SandboxHost) -> Snapshot:
    """Settings, and all that depends on them alone."""
    router = await build_router(settings, sandbox)
    prices = PriceBook(overrides(settings.prices), _deployments(settings))
    return Snapshot(settings, router, prices)


def _let_go(client: ProviderClient, sandbox: SandboxHost, old: Snapshot, new: Snapshot) -> None:
    """What the former configuration alone used ends with the last call that began on it."""
    del old
    client.keep_only(active.target for active in new.router.active.values())
    if not _uses_sandbox(new.settings):
        sandbox.leave()


def _uses_sandbox(settings: Settings) -> bool:
    own = settings.providers.get(SANDBOX)
    return own is not None and own.base_url is None


def _retune(tokens: Tokens, old: Snapshot, new: Snapshot) -> None:
    """What keeps settings of its own takes over the new ones."""
    tokens.load(new.settings.auth.tokens, is_required=new.settings.auth.required)
    log = new.settings.log
    if log != old.settings.log:
        configure_logging(log.level, log.format, sys.stderr)
    for key in new.settings.not_in_effect:
        if key not in old.settings.not_in_effect:
            logger.warning("not in effect yet", extra=fields(setting=key))


async def _assemble(
    stack: AsyncExitStack,
    live_config: LiveConfig,
    db: Database,
    client: ProviderClient,
    delivery: Delivery,
    metrics: Metrics,
    clock: Clock,
    new_id: NewId,
    *,
    body_s_max: float,
) -> Proxy:
    """Build the services, recover what a dead process left, start what works in the background."""
    boot = new_id("boot")
    idempotency = Idempotency(db, boot)
    tokens = _tokens(live_config.snapshot.settings, db, clock, new_id)
    stack.push_async_callback(tokens.save_uses)
    answers = _answers(stack, client, new_id)
    executor = RunExecutor(db, answers, new_id, clock)
    woken = asyncio.Event()
    shield = Shield()
    books = Ledger(db, new_id, clock, metrics, shield, boot)
    live_runs = LiveRuns(db, executor, partial(new_id, "resp"), metrics, books)
    on_unpaid = metrics.budget_rejections_total.inc
    runs = Runs(db, live_runs, new_id, clock, shield, woken.set, on_unpaid)
    rate_limits = RateLimits(partial(_own_rates, db), clock.monotonic_s)
    services = Services(
        db=db,
        tokens=tokens,
        assistants=Assistants(db, new_id),
        threads=Threads(db, live_runs, new_id, shield, woken.set),
        runs=runs,
        live_runs=live_runs,
        completions=Completions(db, client, answers, new_id, clock),
        books=books,
        models=Models(clock, _live_models(stack, live_config, clock, metrics)),
        customers=Customers(db, rate_limits.forget),
        wallet=Wallet(db),
        idempotency=idempotency,
        rate_limits=rate_limits,
        webhooks=delivery.webhooks,
        metrics=metrics,
        new_id=new_id,
        monotonic_s=clock.monotonic_s,
        now_ms=clock.now_ms,
        live_config=live_config,
        unready_reasons=lambda: proxy.unready_reasons(),
        body_s_max=body_s_max,
    )
    proxy = Proxy(services, middleware.Traffic())
    await books.recover(live_config.snapshot, trusts_clock=os.environ.get(TRUST_CLOCK) == "1")
    await runs.recover(live_config.snapshot)
    sweeper = Sweeper(
        db, runs, idempotency, clock, woken, lambda: books.sweep(live_config.snapshot)
    )
    for work in (sweeper.run(), tokens.run(), _watch_loop(db, metrics, clock)):
        stack.push_async_callback(_cancel, asyncio.create_task(work))
    stack.push_async_callback(idempotency.close)
    return proxy


def _answers(stack: AsyncExitStack, client: ProviderClient, new_id: NewId) -> Answers:
    guarded, judge = GuardedClient(), SchemaJudge()
    stack.push_async_callback(guarded.close)
    stack.push_async_callback(judge.close)
    return Answers(client, new_id, Schemas(judge), Images(guarded))


def _tokens(settings: Settings, db: Database, clock: Clock, new_id: NewId) -> Tokens:
    tokens = Tokens(db, new_id, clock, is_required=settings.auth.required)
    tokens.load(settings.auth.tokens)
    if not len(tokens) and settings.auth.required:
        logger.warning(
            "no token is valid yet: make one with 'ringside token new NAME', or set auth.tokens"
        )
    return tokens


def _own_rates(db: Database, customer: str) -> dict[str, int]:
    return db.get(customers.own_rates, customer)


def _live_models(
    stack: AsyncExitStack, live_config: LiveConfig, clock: Clock, metrics: Metrics
) -> LiveModels:
    """On connections of its own, so that a slow list takes nothing from the calls of callers."""
    client = ProviderClient(clock, system_uniform())
    stack.push_async_callback(client.close)
    live = LiveModels(
        client,
        lambda: live_config.snapshot.router.active,
        lambda: live_config.snapshot.settings.models.refresh_s,
        system_uniform(),
        metrics,
    )
    stack.push_async_callback(_cancel, asyncio.create_task(live.run()))
    return live


async def build_router(settings: Settings, sandbox: SandboxHost) -> ModelRouter:
    """The providers that are on and the slots; starts the sandbox if it is one of them."""
    active: dict[str, ActiveProvider] = {}
    for name, provider in settings.providers.items():
        if name not in PROVIDER_TABLE:
            continue
        models = {alias: behind.base_model for alias, behind in provider.deployments.items()}
        row = remembering(with_deployments(PROVIDER_TABLE[name], models))
        base_url = _base_url(provider, row)
        if base_url is None and name == SANDBOX:
            base_url = await sandbox.url()
        if base_url is None:
            continue
        active[name] = ActiveProvider(
            provider=row,
            credentials=_credentials(name, provider, base_url),
            target=Target(
                provider=name,
                model="",
                base_url=base_url,
                has_breaker=provider.breaker,
                trust_env=provider.trust_env,
                timeouts=_timeouts(provider),
                max_retries=provider.max_retries,
                restate=getattr(row, "restate", None),  # few need it
                session=_session(provider, base_url),
            ),
        )
    return ModelRouter(
        PROVIDERS,
        active,
        {alias: _slot(slot) for alias, slot in settings.slots.items()},
        _answer_rules(settings),
        _deployments(settings),
        facts(settings.prices),
        system_uniform(),
    )


def _deployments(settings: Settings) -> dict[ModelRef, ModelRef]:
    """The models behind names that the owner gave them at a provider."""
    return {
        ModelRef(name, alias): ModelRef(name, behind.base_model)
        for name, provider in settings.providers.items()
        for alias, behind in provider.deployments.items()
    }


def _answer_rules(settings: Settings) -> AnswerRules:
    return AnswerRules(
        repairs_max=settings.structured_output.max_retries,
        tells_at_once=settings.structured_output.stream == "optimistic",
        images=AddressRules.of("images.allow_private", settings.images.allow_private),
    )


def _credentials(name: str, provider: ProviderSettings, base_url: str) -> Credentials:
    options = {option: value for option in OPTIONS if (value := getattr(provider, option))}
    # The sandbox insists on a key, as OpenAI does, and takes any.
    key = provider.api_key or (new_token() if name == SANDBOX else None)
    return Credentials(base_url=base_url, api_key=key, options=options)


def _session(provider: ProviderSettings, base_url: str) -> int:
    """The same for the same account at the same address: there the connections can stay."""
    account = (provider.api_key, provider.access_key_id, provider.secret_access_key)
    return hash((base_url, provider.trust_env, *account, provider.session_token))


def _base_url(provider: ProviderSettings, row: Provider) -> str | None:
    if provider.base_url is None and provider.endpoint is not None:
        return azure_base_url(provider.endpoint)
    return provider.base_url or row.base_url


def _slot(slot: SlotSettings) -> Slot:
    one = () if slot.model is None else ((slot.model, 1),)
    models = (*one, *((each.model, each.weight) for each in slot.models))
    own = msgspec.structs.asdict(slot.timeouts)
    return Slot(
        models=tuple((_slot_ref(name), weight) for name, weight in models),
        fallbacks=tuple(map(_slot_ref, slot.fallbacks)),
        fallback_on=frozenset(slot.fallback_on),
        params=slot.params,
        timeouts={name: seconds for name, seconds in own.items() if seconds is not None},
    )


def _slot_ref(name: str) -> ModelRef:
    parsed = parse(name, PROVIDERS, ())
    if isinstance(parsed, str):  # pragma: no cover - the settings refuse slots of slots
        raise TypeError(name)
    return parsed


def _timeouts(provider: ProviderSettings) -> Timeouts:
    return msgspec.convert(msgspec.structs.asdict(provider.timeouts), Timeouts)


async def _listen(
    stack: AsyncExitStack, proxy: Proxy, settings: Settings, live: LiveConfig
) -> None:
    server, admin = settings.server, settings.admin
    around = [middleware.measured(proxy.traffic)]
    if server.cors:
        around.append(cors.preflight(server.cors))
    api = _application(proxy.services, ROUTES, around, server.max_body_bytes)
    if server.cors:
        api.on_response_prepare.append(cors.shown(server.cors))
    api[openapi.DOCUMENT] = openapi_document.document
    tls = server_context(server.tls)
    if tls is not None:
        live.renew(partial(renew, tls, server.tls))
    proxy.url = await _site(stack, api, server.host, server.port, tls)
    health = _application(proxy.services, ADMIN_ROUTES, [], server.max_body_bytes)
    proxy.admin_url = await _site(stack, health, admin.host, admin.port)


def _application(
    services: Services,
    routes: tuple[Route, ...],
    middlewares: list[Middleware],
    body_bytes_max: int,
) -> web.Application:
    app = web.Application(middlewares=middlewares, client_max_size=body_bytes_max)
    app[SERVICES] = services
    app.on_response_prepare.append(middleware.name_answer)
    for route in routes:
        app.router.add_route(route.method, route.path, middleware.guarded(route))
    return app


async def _site(
    stack: AsyncExitStack,
    app: web.Application,
    host: str,
    port: int,
    tls: ssl.SSLContext | None = None,
) -> str:
    """Serve `app`; gives its URL, with the port that was taken."""
    runner = Runner(
        app,
        app[SERVICES].new_id,
        shutdown_timeout=HANDLERS_S,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        max_line_size=LINE_BYTES_MAX,
        max_field_size=LINE_BYTES_MAX,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port, backlog=BACKLOG, ssl_context=tls).start()
    name, taken = runner.addresses[0][:2]
    scheme = "http" if tls is None else "https"
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{taken}"


async def _watch_loop(db: Database, metrics: Metrics, clock: Clock) -> None:
    """Measure how late the loop is, and what the store has waiting."""
    while True:
        due_s = clock.monotonic_s() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        metrics.loop_lag_seconds.observe(max(0.0, clock.monotonic_s() - due_s))
        metrics.store_queue_depth.set(db.queue_depth)
        metrics.store_wal_bytes.set(db.wal_bytes)
        metrics.store_free_bytes.set(db.free_bytes)


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def _log_start(settings: Settings, metrics: Metrics) -> None:
    metrics.sqlite_fixed.set(files.sqlite_is_fixed())
    logger.info("starting", extra=fields(version=__version__))
    logger.info("sqlite", extra=fields(version=sqlite3.sqlite_version))
    for key in settings.not_in_effect:
        logger.warning("not in effect yet", extra=fields(setting=key))
