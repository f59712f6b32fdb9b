"""Whose a call to a provider is: what its hold and its usage rows say of it."""

from typing import Any

from ringside_proxy.domain.ledger import Call, CallKind
from ringside_proxy.services.model_routing import Route
from ringside_proxy.store.runs import RunRecord


def call_of(kind: CallKind, route: Route, requested_model: str, token: str, **facts: Any) -> Call:
    """Whose call it is."""
    return Call(
        kind=kind,
        model=str(route.ref),
        requested_model=requested_model,
        provider=route.ref.provider,
        token=token,
        **facts,
    )


def call_of_run(run: RunRecord, route: Route, request_id: str | None) -> Call:
    """Whose call a run's is."""
    return call_of(
        "run",
        route,
        run.settings.model,
        run.token,
        customer=run.customer,
        thread_id=run.thread_id,
        run_id=run.id,
        request_id=request_id,
    )
