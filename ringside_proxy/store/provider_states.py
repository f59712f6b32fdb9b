"""Providers' opaque state: thinking blocks, thought signatures, reasoning items.

It belongs to the model that made it and is found by the first call of its answer, in the scope of
a thread or of a token's chat completions.
"""

from typing import Any, Final

import msgspec

from ringside_proxy.store.tx import Tx

PUT: Final = (
    "INSERT OR REPLACE INTO provider_states (scope, call_id, model, state, expires_ms) "
    "VALUES (?, ?, ?, ?, ?)"
)
GET: Final = "SELECT state FROM provider_states WHERE scope = ? AND call_id = ? AND model = ?"
FORGET_SCOPE: Final = (
    "DELETE FROM provider_states WHERE (scope, call_id) IN (SELECT scope, call_id "
    "FROM provider_states WHERE scope = ? LIMIT 500)"
)
FORGET_EXPIRED: Final = (
    "DELETE FROM provider_states WHERE (scope, call_id) IN (SELECT scope, call_id "
    "FROM provider_states WHERE expires_ms IS NOT NULL AND expires_ms < ? LIMIT 500)"
)

_encode = msgspec.json.encode
_parse = msgspec.json.decode


def thread_scope(conversation: int) -> str:
    """Where a thread's state is kept."""
    return f"thread:{conversation}"


def chat_scope(owner: str) -> str:
    """Where the state of somebody's chat completions is kept."""
    return f"chat:{owner}"


def put(
    tx: Tx, scope: str, call_id: str, model: str, state: Any, expires_ms: int | None = None
) -> None:
    """Keep the state of the answer that made `call_id`."""
    tx.run(PUT, scope, call_id, model, _encode(state), expires_ms)


def find(tx: Tx, scope: str, call_ids: list[str], model: str) -> dict[str, Any]:
    """The states that `model` left in `scope`, by call id."""
    rows = ((call_id, tx.one(GET, scope, call_id, model)) for call_id in call_ids)
    return {call_id: _parse(row[0]) for call_id, row in rows if row is not None}


def forget(tx: Tx, scope: str) -> int:
    """Remove what is kept in `scope`, a bounded number at a time; how many went."""
    return tx.run(FORGET_SCOPE, scope)


def forget_expired(tx: Tx) -> int:
    """Remove what has expired, a bounded number at a time; how many went."""
    return tx.run(FORGET_EXPIRED, tx.now_ms)
