"""Every metric, declared once. None has a label that a caller can make up at will."""

from collections.abc import Mapping
from functools import partial
from typing import Final, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Info,
    disable_created_metrics,
    generate_latest,
)

from ringside_proxy.domain.runs import ACTIVE, TERMINAL
from ringside_proxy.domain.usage import TokenUsage
from ringside_proxy.telemetry.families import OTHER, Counter, Family, Histogram

METRICS_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `Metrics.render` gives."""
NAMESPACE: Final = "ringside"

Operation = Literal["chat", "embeddings"]
Attempted = Literal["delivered", "retry", "dead", "failed"]
WEBHOOK_OUTCOMES: Final = (*get_args(Attempted), "abandoned")
HTTP_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REQUEST_BUCKETS_S: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
OVERHEAD_BUCKETS_S: Final = tuple(0.00025 * 2**k for k in range(16))  # 0.25 ms … 8.2 s
OPERATION_BUCKETS_S: Final = tuple(0.01 * 2**k for k in range(14))  # 10 ms … 81.92 s
TOKEN_BUCKETS: Final = tuple(float(4**k) for k in range(14))  # 1 … 67,108,864
COMMIT_BUCKETS_S: Final = tuple(0.0001 * 2**k for k in range(14))  # 0.1 ms … 0.82 s
BATCH_BUCKETS: Final = tuple(float(2**k) for k in range(7))  # 1 … 64, the writer's batch
LAG_BUCKETS_S: Final = tuple(0.001 * 2**k for k in range(13))  # 1 ms … 4.1 s


class Metrics:
    """Every metric of the proxy, on a registry of its own; built once, in `app.py`.

    Metrics without labels are attributes, to be used as they are. Those with labels have a method
    each, named for what happened.
    """

    def __init__(self, version: str) -> None:
        # Else every counter brings a second series, the time of its birth, that nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # unannotated in the library
        self._registry = CollectorRegistry()
        self._counter = partial(Counter, namespace=NAMESPACE, registry=self._registry)
        self._gauge = partial(Gauge, namespace=NAMESPACE, registry=self._registry)
        self._histogram = partial(Histogram, namespace=NAMESPACE, registry=self._registry)
        self._declare_requests_and_runs()
        self._declare_upstream()
        self._declare_failures()
        self._declare_money()
        self._declare_store()
        self._declare_configuration()
        self._declare_delivery()
        self.loop_lag_seconds = self._histogram(
            "loop_lag_seconds", "How late the event loop's timer fires", buckets=LAG_BUCKETS_S
        )
        build = Info("build", "The running version", namespace=NAMESPACE, registry=self._registry)
        build.info({"version": version})

    def request_done(
        self, route: str, method: str, status: int, duration_s: float, waited_s: float
    ) -> None:
        """A request was answered. `route` is the route table's pattern, or `other`."""
        known = method if method in HTTP_METHODS else OTHER
        self._requests.of(route, known, str(status)).inc()
        self._request_seconds.of(route).observe(duration_s)
        self._overhead_seconds.of(route).observe(max(0.0, duration_s - waited_s))

    def error_answered(self, code: str | None) -> None:
        """A request was answered with an error of this machine code."""
        self._errors.of(code or "none").inc()

    def runs_counted(self, counts: Mapping[str, int]) -> None:
        """So many runs are not over, by status."""
        for status in ACTIVE:
            self._active_runs.of(status).set(counts.get(status, 0))

    def run_finished(self, status: str) -> None:
        """A run reached a terminal status."""
        self._runs.of(status).inc()

    def upstream_done(
        self,
        provider: str,
        model: str,
        outcome: str,
        first_chunk_s: float | None,
        duration_s: float,
        operation: Operation = "chat",
    ) -> None:
        """An attempt at a model call ended: `ok`, `cancelled`, or the code of what went wrong."""
        self._upstream.of(provider, model, outcome).inc()
        self._operation_seconds.of(provider, model, operation).observe(duration_s)
        if first_chunk_s is not None:
            self._first_chunk_seconds.of(provider, model, operation).observe(first_chunk_s)

    def model_list_read(self, provider: str, outcome: str) -> None:
        """A provider was asked for its models: `ok`, or the code of what went wrong."""
        self._model_lists.of(provider, outcome).inc()

    def upstream_retried(self, provider: str, reason: str) -> None:
        """A model call is sent again."""
        self._retries.of(provider, reason).inc()

    def fell_back(self, provider: str, reason: str) -> None:
        """A slot's next model is asked, because this provider's failed."""
        self._fallbacks.of(provider, reason).inc()

    def breaker_moved(self, provider: str, model: str, state: int) -> None:
        """A model's circuit breaker is closed (0), half open (1) or open (2) now."""
        self._breakers.of(provider, model).set(state)

    def tokens_used(self, provider: str, model: str, usage: TokenUsage) -> None:
        """A model call consumed tokens; cached and reasoning tokens are in the two sums."""
        self._tokens.of(provider, model, "input").observe(usage.input_tokens)
        self._tokens.of(provider, model, "output").observe(usage.output_tokens)

    def cost_booked(self, provider: str, model: str, cost_nano_usd: int) -> None:
        """An attempt at a model call was booked."""
        self._costs.of(provider, model).inc(cost_nano_usd)

    def webhook_attempted(self, outcome: Attempted) -> None:
        """An attempt at a webhook ended; `failed`: a test, or one that had been delivered before."""
        self._webhooks.of(outcome).inc()

    def webhooks_given_up(self, count: int) -> None:
        """So many deliveries are tried no more, because their time is over."""
        self._webhooks.of("dead").inc(count)

    def webhooks_abandoned(self, count: int) -> None:
        """So many deliveries are tried no more, because their receiver was disabled."""
        self._webhooks.of("abandoned").inc(count)

    def store_committed(self, transactions: int, duration_s: float) -> None:
        """The writer made a batch durable."""
        self.store_tx_total.inc(transactions)
        self.store_commit_seconds.observe(duration_s)
        self.store_batch_size.observe(transactions)

    def render(self) -> bytes:
        """All metrics in Prometheus' text format. Call it in a thread: a scrape takes a while."""
        return generate_latest(self._registry)

    def _declare_requests_and_runs(self) -> None:
        counter, histogram = self._counter, self._histogram
        self._requests = Family(
            counter("requests_total", "Requests answered", ("route", "method", "code")),
            open_index=0,
        )
        self._request_seconds = Family(
            histogram(
                "request_duration_seconds",
                "From a request's head to its last byte",
                ("route",),
                buckets=REQUEST_BUCKETS_S,
            ),
            open_index=0,
        )
        self._overhead_seconds = Family(
            histogram(
                "overhead_seconds",
                "The part of a request's time in which no provider was waited for",
                ("route",),
                buckets=OVERHEAD_BUCKETS_S,
            ),
            open_index=0,
        )
        self._errors = Family(counter("errors_total", "Errors answered", ("code",)), open_index=0)
        self._runs = Family(counter("runs_total", "Runs finished", ("status",)), open_index=0)
        self._runs.begin_at_zero(sorted(TERMINAL))
        self._active_runs = Family(
            self._gauge("runs", "Runs that are not over", ("status",)), open_index=0
        )
        self._active_runs.begin_at_zero(sorted(ACTIVE))
        self.run_lock_conflicts_total = counter(
            "run_lock_conflicts_total", "Runs refused because their thread had an active one"
        )

    def _declare_upstream(self) -> None:
        counter, histogram = self._counter, self._histogram
        self._upstream = Family(
            counter(
                "upstream_requests_total",
                "Attempts at model calls",
                ("provider", "model", "outcome"),
            ),
            open_index=1,
        )
        self._model_lists = Family(
            counter(
                "model_lists_total",
                "Readings of the model lists that providers publish",
                ("provider", "outcome"),
            ),
            open_index=1,
        )
        self._operation_seconds = Family(
            histogram(
                "gen_ai_client_operation_duration_seconds",
                "Whole model calls",
                ("provider", "model", "operation"),
                buckets=OPERATION_BUCKETS_S,
            ),
            open_index=1,
        )
        self._first_chunk_seconds = Family(
            histogram(
                "gen_ai_client_operation_time_to_first_chunk_seconds",
                "Model calls up to their first chunk",
                ("provider", "model", "operation"),
                buckets=OPERATION_BUCKETS_S,
            ),
            open_index=1,
        )
        self._tokens = Family(
            histogram(
                "gen_ai_client_token_usage",
                "Tokens of a model call",
                ("provider", "model", "type"),
                buckets=TOKEN_BUCKETS,
            ),
            open_index=1,
        )

    def _declare_failures(self) -> None:
        self._fallbacks = Family(
            self._counter(
                "fallbacks_total", "Calls that went to a slot's next model", ("provider", "reason")
            ),
            open_index=1,
        )
        self._breakers = Family(
            self._gauge(
                "breaker_state",
                "0 a model is asked, 1 one call finds out how it is, 2 it is left alone",
                ("provider", "model"),
            ),
            open_index=1,
        )
        self._retries = Family(
            self._counter("retries_total", "Model calls sent again", ("provider", "reason")),
            open_index=1,
        )

    def _declare_money(self) -> None:
        counter, gauge = self._counter, self._gauge
        self._costs = Family(
            counter("cost_nano_usd_total", "Booked cost, markup included", ("provider", "model")),
            open_index=1,
        )
        self.budget_rejections_total = counter(
            "budget_rejections_total", "Calls refused by a customer's cap or the wallet"
        )
        self.budget_overrun_total = counter(
            "budget_overrun_total", "Calls under a cap that cost more than was held for them"
        )
        self.holds_live = gauge("holds_live", "Calls whose worst case is kept back")
        self.holds_oldest_seconds = gauge("holds_oldest_seconds", "Age of the oldest of them")

    def _declare_configuration(self) -> None:
        counter, gauge = self._counter, self._gauge
        self.config_reload_failed_total = counter(
            "config_reload_failed_total", "Changed configurations that were refused"
        )
        self.config_last_success_timestamp_seconds = gauge(
            "config_last_success_timestamp_seconds", "When a configuration was last found right"
        )
        self.config_in_sync = gauge(
            "config_in_sync", "1 if what runs is what the file holds, 0 if not"
        )

    def _declare_store(self) -> None:
        counter, gauge, histogram = self._counter, self._gauge, self._histogram
        self.store_tx_total = counter("store_tx_total", "Transactions committed")
        self.store_commit_seconds = histogram(
            "store_commit_seconds", "Making one batch durable", buckets=COMMIT_BUCKETS_S
        )
        self.store_batch_size = histogram(
            "store_batch_size", "Transactions that shared a commit", buckets=BATCH_BUCKETS
        )
        self.store_queue_depth = gauge("store_queue_depth", "Transactions waiting for the writer")
        self.store_wal_bytes = gauge("store_wal_bytes", "Size of the write-ahead log")
        self.store_free_bytes = gauge("store_free_bytes", "Free space beside the store")
        self.sqlite_fixed = gauge(
            "sqlite_fixed", "1 if this SQLite is 3.51.3 or newer: without the WAL-reset bug"
        )

    def _declare_delivery(self) -> None:
        counter, gauge = self._counter, self._gauge
        self._webhooks = Family(
            counter(
                "webhook_deliveries_total",
                "Attempts at webhooks; `abandoned`: deliveries to one that was disabled",
                ("outcome",),
            ),
            open_index=0,
        )
        self._webhooks.begin_at_zero(WEBHOOK_OUTCOMES)
        self.webhook_backlog = gauge("webhook_backlog", "Deliveries that are not over")
        self.webhook_oldest_seconds = gauge(
            "webhook_oldest_seconds", "Age of the oldest delivery that is not over"
        )
        self.webhooks_disabled = gauge(
            "webhooks_disabled", "Webhooks that were disabled because they failed"
        )
        self.usage_push_oldest_seconds = gauge(
            "usage_push_oldest_seconds", "Age of the oldest usage record the upstream has not got"
        )
