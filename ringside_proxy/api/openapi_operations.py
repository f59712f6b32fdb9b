"""What each operation takes and gives: the part of the published document that is said by hand.

A route that is missing here, or a line that has no route, fails `tests/api/test_openapi.py`.
"""

from typing import Any, Final, NamedTuple

from msgspec import Struct

from ringside_proxy.api import (
    assistants,
    bodies,
    chat,
    compatibility,
    config,
    customers,
    decode,
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
from ringside_proxy.api import openapi_shapes as shapes
from ringside_proxy.api.routes import Handler
from ringside_proxy.domain.assistants import Assistant
from ringside_proxy.domain.customers import Customer
from ringside_proxy.domain.lists import ListQuery, Page
from ringside_proxy.domain.messages import Message
from ringside_proxy.domain.run_steps import RunStep
from ringside_proxy.domain.runs import Run
from ringside_proxy.domain.threads import Thread
from ringside_proxy.domain.usage_records import UsageRecord
from ringside_proxy.domain.usage_reports import UsageReport
from ringside_proxy.domain.wallet import WalletTransaction
from ringside_proxy.services.compatibility import Compatibility
from ringside_proxy.services.live_config import ConfigStatus
from ringside_proxy.services.models import ModelObject
from ringside_proxy.store.deliveries import Delivery

CSV: Final = "text/csv"
EVENTS: Final = "text/event-stream"


class Operation(NamedTuple):
    """`answer`: what a 200 holds. `also`: other media types it may come in.

    `is_call`: it goes to a model, for an end-customer whom a header may name.
    """

    answer: Any
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    also: str | None = None
    is_call: bool = False


class ModelsQuery(Struct, frozen=True, kw_only=True):
    """GET /v1/models: models that can do all of this, of one provider."""

    supports: list[str] | None = None
    provider: str | None = None


def _run(body: type[Struct], query: type[Struct] | None = None) -> Operation:
    return Operation(Run, body, query, EVENTS, is_call=True)


OPERATIONS: Final[dict[Handler, Operation]] = {
    assistants.create: Operation(Assistant, bodies.CreateAssistant),
    assistants.index: Operation(Page[Assistant], query=ListQuery),
    assistants.retrieve: Operation(Assistant),
    assistants.update: Operation(Assistant, bodies.ModifyAssistant),
    assistants.delete: Operation(shapes.Deleted),
    threads.create: Operation(Thread, bodies.CreateThread),
    threads.index: Operation(Page[Thread], query=decode.ThreadListQuery),
    threads.retrieve: Operation(Thread),
    threads.update: Operation(Thread, bodies.ModifyThread),
    threads.delete: Operation(shapes.Deleted),
    messages.create: Operation(Message, bodies.CreateMessage),
    messages.index: Operation(Page[Message], query=decode.MessageListQuery),
    messages.retrieve: Operation(Message),
    messages.update: Operation(Message, bodies.ModifyMessage),
    messages.delete: Operation(shapes.Deleted),
    runs.create_with_thread: _run(bodies.CreateThreadAndRun),
    runs.create: _run(bodies.CreateRun, decode.IncludeQuery),
    runs.index: Operation(Page[Run], query=ListQuery),
    runs.retrieve: Operation(Run),
    runs.update: Operation(Run, bodies.ModifyRun),
    runs.cancel: Operation(Run),
    runs.submit_tool_outputs: Operation(Run, bodies.SubmitToolOutputs, also=EVENTS),
    run_steps.index: Operation(Page[RunStep], query=decode.StepListQuery),
    run_steps.retrieve: Operation(RunStep, query=decode.IncludeQuery),
    chat.create_completion: Operation(
        shapes.ChatCompletionObject, bodies.ChatCompletion, also=EVENTS, is_call=True
    ),
    chat.create_embeddings: Operation(shapes.EmbeddingList, bodies.Embeddings, is_call=True),
    models.index: Operation(shapes.Listing[ModelObject], query=ModelsQuery),
    models.retrieve: Operation(ModelObject),
    compatibility.index: Operation(shapes.Listing[Compatibility]),
    config.status: Operation(ConfigStatus),
    customers.index: Operation(Page[Customer], query=ListQuery),
    customers.create: Operation(Customer, customers.CreateCustomer),
    customers.retrieve: Operation(Customer),
    customers.update: Operation(Customer, customers.ModifyCustomer),
    customers.delete: Operation(shapes.Deleted),
    usage.of_customer: Operation(UsageReport, query=usage.CustomerUsageQuery, also=CSV),
    usage.index: Operation(UsageReport, query=usage.UsageQuery, also=CSV),
    usage.records: Operation(Page[UsageRecord], query=usage.RecordListQuery),
    wallet.retrieve: Operation(shapes.WalletObject),
    wallet.top_up: Operation(wallet.TopUpObject, wallet.CreateTopUp),
    wallet.transactions: Operation(Page[WalletTransaction], query=ListQuery),
    tokens.create: Operation(tokens.TokenObject, tokens.CreateToken),
    tokens.index: Operation(Page[tokens.TokenObject], query=ListQuery),
    tokens.delete: Operation(shapes.Deleted),
    webhooks.create: Operation(webhooks.WebhookObject, webhooks.CreateWebhook),
    webhooks.index: Operation(Page[webhooks.WebhookObject], query=ListQuery),
    webhooks.retrieve: Operation(webhooks.WebhookObject),
    webhooks.update: Operation(webhooks.WebhookObject, webhooks.ModifyWebhook),
    webhooks.delete: Operation(shapes.Deleted),
    webhooks.rotate: Operation(webhooks.WebhookObject),
    webhooks.test: Operation(Delivery),
    webhooks.replay: Operation(webhooks.Replay, webhooks.ReplayEvents),
    webhooks.index_deliveries: Operation(Page[Delivery], query=webhooks.DeliveryListQuery),
    webhooks.redeliver: Operation(Delivery),
    health.healthz: Operation(shapes.Health),
    openapi.retrieve: Operation(dict[str, Any]),
}

_QUESTION: Final = {"role": "user", "content": "What is 2 + 2?"}
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}
_METADATA: Final = {"metadata": {"order": "17"}}

EXAMPLES: Final[dict[type[Struct], dict[str, Any]]] = {
    bodies.CreateAssistant: {
        "model": "slot:fast",
        "name": "Tutor",
        "instructions": "Be brief.",
        "tools": [_TOOL],
    },
    bodies.ModifyAssistant: {"instructions": "Be very brief."},
    bodies.CreateThread: {"messages": [_QUESTION], "user": "customer_42"},
    bodies.ModifyThread: _METADATA,
    bodies.CreateMessage: _QUESTION,
    bodies.ModifyMessage: _METADATA,
    bodies.CreateRun: {"assistant_id": "asst_0123456789abcdef01234567", "stream": True},
    bodies.CreateThreadAndRun: {
        "assistant_id": "asst_0123456789abcdef01234567",
        "thread": {"messages": [_QUESTION]},
        "expires_after": "2m",
    },
    bodies.ModifyRun: _METADATA,
    bodies.SubmitToolOutputs: {
        "tool_outputs": [{"tool_call_id": "call_0123456789abcdef01234567", "output": "4"}]
    },
    bodies.ChatCompletion: {"model": "slot:fast", "messages": [_QUESTION], "max_tokens": 64},
    bodies.Embeddings: {"model": "fc:openai/text-embedding-3-small", "input": ["a", "b"]},
    customers.CreateCustomer: {"id": "customer_42", "monthly_budget_usd": 50},
    customers.ModifyCustomer: {"rate_limits": {"requests_per_minute": 60}},
    wallet.CreateTopUp: {"amount_usd": 100, "note": "invoice 17"},
    tokens.CreateToken: {"name": "web", "role": "client", "customer": "customer_42"},
    webhooks.CreateWebhook: {"url": "https://example.com/hooks", "events": ["run.completed"]},
    webhooks.ModifyWebhook: {"enabled": True},
    webhooks.ReplayEvents: {"from": 1763700000},
}
