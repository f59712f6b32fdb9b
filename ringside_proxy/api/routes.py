"""The API on one screen: method, path, handler, and whether client tokens may use it."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aiohttp import web

from ringside_proxy.api import (
    assistants,
    chat,
    compatibility,
    config,
    customers,
    health,
    messages,
    models,
    openapi,
    run_steps,
    runs,
    threads,
    tokens,
    usage,
    wallet,
    webhooks,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One operation. `open_to` says for whom: everybody, any token, or developers.

    `is_free`: it does not count as a request in its caller's rate limits, as what only developers
    may do never does: what is polled, and what ends a run. What an answer `shows_secret` in is
    never stored, also not to be given again.
    """

    method: str
    path: str
    handler: Handler
    open_to: str = "tokens"
    is_free: bool = False
    shows_secret: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether a request counts in its caller's rate limits."""
        return self.open_to == "tokens" and not self.is_free


THREAD: Final = "/v1/threads/{thread_id}"
RUN: Final = f"{THREAD}/runs/{{run_id}}"
CUSTOMER: Final = "/v1/customers/{customer_id}"
WEBHOOK: Final = "/v1/webhooks/{webhook_id}"

ROUTES: Final = (
    Route("POST", "/v1/assistants", assistants.create),
    Route("GET", "/v1/assistants", assistants.index),
    Route("GET", "/v1/assistants/{assistant_id}", assistants.retrieve),
    Route("POST", "/v1/assistants/{assistant_id}", assistants.update),
    Route("DELETE", "/v1/assistants/{assistant_id}", assistants.delete),
    Route("POST", "/v1/threads", threads.create),
    Route("GET", "/v1/threads", threads.index),
    Route("POST", "/v1/threads/runs", runs.create_with_thread),
    Route("GET", THREAD, threads.retrieve),
    Route("POST", THREAD, threads.update),
    Route("DELETE", THREAD, threads.delete),
    Route("POST", f"{THREAD}/messages", messages.create),
    Route("GET", f"{THREAD}/messages", messages.index),
    Route("GET", f"{THREAD}/messages/{{message_id}}", messages.retrieve),
    Route("POST", f"{THREAD}/messages/{{message_id}}", messages.update),
    Route("DELETE", f"{THREAD}/messages/{{message_id}}", messages.delete),
    Route("POST", f"{THREAD}/runs", runs.create),
    Route("GET", f"{THREAD}/runs", runs.index, is_free=True),
    Route("GET", RUN, runs.retrieve, is_free=True),
    Route("POST", RUN, runs.update),
    Route("POST", f"{RUN}/cancel", runs.cancel, is_free=True),
    Route("POST", f"{RUN}/submit_tool_outputs", runs.submit_tool_outputs),
    Route("GET", f"{RUN}/steps", run_steps.index, is_free=True),
    Route("GET", f"{RUN}/steps/{{step_id}}", run_steps.retrieve, is_free=True),
    Route("POST", "/v1/chat/completions", chat.create_completion),
    Route("POST", "/v1/embeddings", chat.create_embeddings),
    Route("GET", "/v1/models", models.index),
    Route("GET", "/v1/models/{model:.+}", models.retrieve),
    Route("GET", "/v1/compatibility", compatibility.index, is_free=True),
    Route("GET", "/v1/config/status", config.status, "developers"),
    Route("GET", "/v1/customers", customers.index, "developers"),
    Route("POST", "/v1/customers", customers.create, "developers"),
    Route("GET", CUSTOMER, customers.retrieve, "developers"),
    Route("PATCH", CUSTOMER, customers.update, "developers"),
    Route("POST", CUSTOMER, customers.update, "developers"),
    Route("DELETE", CUSTOMER, customers.delete, "developers"),
    Route("GET", f"{CUSTOMER}/usage", usage.of_customer, "developers"),
    Route("GET", "/v1/usage", usage.index, "developers"),
    Route("GET", "/v1/usage/records", usage.records, "developers"),
    Route("GET", "/v1/wallet", wallet.retrieve, "developers"),
    Route("POST", "/v1/wallet/top_ups", wallet.top_up, "developers"),
    Route("GET", "/v1/wallet/transactions", wallet.transactions, "developers"),
    Route("POST", "/v1/tokens", tokens.create, "developers", shows_secret=True),
    Route("GET", "/v1/tokens", tokens.index, "developers"),
    Route("DELETE", "/v1/tokens/{token_id}", tokens.delete, "developers"),
    Route("POST", "/v1/webhooks", webhooks.create, "developers", shows_secret=True),
    Route("GET", "/v1/webhooks", webhooks.index, "developers"),
    Route("GET", WEBHOOK, webhooks.retrieve, "developers"),
    Route("POST", WEBHOOK, webhooks.update, "developers"),
    Route("PATCH", WEBHOOK, webhooks.update, "developers"),
    Route("DELETE", WEBHOOK, webhooks.delete, "developers"),
    Route("POST", f"{WEBHOOK}/rotate", webhooks.rotate, "developers", shows_secret=True),
    Route("POST", f"{WEBHOOK}/test", webhooks.test, "developers"),
    Route("POST", f"{WEBHOOK}/replay", webhooks.replay, "developers"),
    Route("GET", f"{WEBHOOK}/deliveries", webhooks.index_deliveries, "developers"),
    Route(
        "POST",
        f"{WEBHOOK}/deliveries/{{delivery_id}}/redeliver",
        webhooks.redeliver,
        "developers",
    ),
    Route("GET", "/openapi.json", openapi.retrieve, "everybody"),
    Route("GET", "/healthz", health.healthz, "everybody"),
)

ADMIN_ROUTES: Final = (
    Route("GET", "/healthz", health.healthz, "everybody"),
    Route("GET", "/readyz", health.readyz, "everybody"),
    Route("GET", "/metrics", health.metrics, "everybody"),
)
