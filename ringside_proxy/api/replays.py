"""The answer to a request that was made before with the same Idempotency-Key."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from ringside_proxy.api import sse
from ringside_proxy.api.context import caller, json_response, services, terms
from ringside_proxy.api.wallet import top_up_object
from ringside_proxy.api.webhooks import webhook_object
from ringside_proxy.delivery.endpoints import REPLAY_TO, SECRET_OF
from ringside_proxy.domain.callers import Caller
from ringside_proxy.domain.errors import (
    IdempotencyAnswerNotKeptError,
    IdempotencyError,
    IdempotencyOutcomeUnknownError,
)
from ringside_proxy.domain.idempotency import Earlier
from ringside_proxy.domain.items import message_object
from ringside_proxy.services import run_replay
from ringside_proxy.store import (
    accounts,
    assistants,
    deliveries,
    items,
    runs,
    threads,
    wallet,
    webhooks,
)
from ringside_proxy.store.ledger import Terms
from ringside_proxy.store.tx import Tx

REPLAYED: Final = {"Idempotent-Replayed": "true"}


class _Body(msgspec.Struct):
    """What is read of the body of a request for a run."""

    stream: bool | None = None


async def replay(request: web.Request, raw: bytes, earlier: Earlier) -> web.Response:
    """What the earlier request was answered, or what it made as that is now.

    Raises IdempotencyOutcomeUnknownError, IdempotencyAnswerNotKeptError, NotFoundError for what is
    gone since, and IdempotencyInProgressError for a stream of a run that is still at work.
    """
    answer, resource = earlier.answer, earlier.resource
    headers = REPLAYED if answer is None else answer.headers | REPLAYED
    if answer is not None and answer.body is not None:
        kind = {"Content-Type": answer.content_type}
        return web.Response(status=answer.status, body=answer.body, headers=headers | kind)
    look = OBJECTS.get(_kind(resource))
    if look is None or resource is None:
        raise _unknown(earlier)
    who, found = caller(request), request.match_info
    if _kind(resource) in RUNS and _is_streamed(raw):
        told = await services(request).db.read(
            run_replay.retell, who, resource, with_thread="thread_id" not in found
        )
        body = sse.frames(told.events) + sse.DONE
        return web.Response(body=body, headers=sse.HEADERS | told.headers | headers)
    asked = Asked(
        caller=who, resource=resource, thread_id=found.get("thread_id", ""), terms=terms(request)
    )
    seen = await services(request).db.read(look, asked)
    return json_response(seen.made, seen.headers | headers)


def _unknown(earlier: Earlier) -> IdempotencyError:
    if earlier.answer is None and earlier.resource is None:
        return IdempotencyOutcomeUnknownError(
            "An earlier request with this Idempotency-Key was cut off after its call had gone to a "
            "provider: what came of it is not known, and it may have been paid for. To have it "
            "carried out once more, send it with a new key."
        )
    named = (earlier.resource or "").removeprefix(SECRET_OF).removeprefix(REPLAY_TO)
    about = f" ({named})" if named else ""
    return IdempotencyAnswerNotKeptError(
        f"An earlier request with this Idempotency-Key was carried out{about}, but its answer is "
        "not kept: it was larger than 1 MiB, or showed a secret. To have it carried out once more, "
        "send it with a new key."
    )


def _kind(resource: str | None) -> str:
    return (resource or "").partition("_")[0]


def _is_streamed(raw: bytes) -> bool:
    return bool(raw.strip()) and bool(msgspec.json.decode(raw, type=_Body).stream)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for: the object, for whom, and what the request says beside that."""

    caller: Caller
    resource: str
    thread_id: str
    terms: Terms


class Seen(msgspec.Struct, frozen=True):
    """An object as GET shows it, and the headers that its POST answers with."""

    made: Any
    headers: dict[str, str] = {}


def _assistant(tx: Tx, asked: Asked) -> Seen:
    return Seen(assistants.get(tx, asked.resource, asked.caller))


def _thread(tx: Tx, asked: Asked) -> Seen:
    return Seen(threads.get(tx, asked.resource, asked.caller).thread)


def _message(tx: Tx, asked: Asked) -> Seen:
    thread = threads.get(tx, asked.thread_id, asked.caller)
    item = items.get_message(tx, thread, asked.resource)
    return Seen(message_object(item, asked.thread_id))


def _run(tx: Tx, asked: Asked) -> Seen:
    run, _step = run_replay.find(tx, asked.caller, asked.resource)
    generation = runs.generation(tx, run, 1)
    headers = {} if generation is None else run_replay.model_header(generation.model)
    return Seen(runs.wire_object(tx, run), headers)


def _customer(tx: Tx, asked: Asked) -> Seen:
    return Seen(accounts.get(tx, asked.resource.partition("_")[2], asked.terms))


def _top_up(tx: Tx, asked: Asked) -> Seen:
    return Seen(top_up_object(wallet.get_top_up(tx, asked.resource)))


def _webhook(tx: Tx, asked: Asked) -> Seen:
    return Seen(webhook_object(webhooks.get(tx, asked.resource)))


def _delivery(tx: Tx, asked: Asked) -> Seen:
    return Seen(deliveries.wire_object(tx, deliveries.by_id(tx, asked.resource)))


OBJECTS: Final[dict[str, Callable[[Tx, Asked], Seen]]] = {
    "asst": _assistant,
    "thread": _thread,
    "msg": _message,
    "run": _run,
    "step": _run,  # whose calls' outputs were submitted
    "customer": _customer,
    "top": _top_up,
    "wh": _webhook,
    "del": _delivery,
}
"""How to see what a request made or changed, by the kind of its id."""

RUNS: Final = ("run", "step")
"""What a stream tells of."""
