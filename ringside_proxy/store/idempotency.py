"""Requests that came with an Idempotency-Key. `_move` alone writes where one is, by its table.

A row is known by its scope (`domain.idempotency.scope_of`). Of a request that came without a key
the scope is None, and nothing is written.
"""

from typing import Final

import msgspec

from ringside_proxy.domain.errors import IdempotencyInProgressError, IdempotencyKeyReusedError
from ringside_proxy.domain.idempotency import (
    KEPT_MS,
    KEY_TRANSITIONS,
    Answer,
    Earlier,
    KeyEvent,
    KeyState,
)
from ringside_proxy.store.tx import Row, Tx

COLUMNS: Final = "fingerprint, state, boot, dispatched, resource, status, content_type, headers, body, created_ms"
GET: Final = f"SELECT {COLUMNS} FROM idempotency_keys WHERE scope = ?"  # noqa: S608 - fixed fragments
WHERE_IT_IS: Final = "SELECT state, dispatched, resource FROM idempotency_keys WHERE scope = ?"
INSERT: Final = (
    "INSERT INTO idempotency_keys (scope, fingerprint, state, boot, created_ms) "
    "VALUES (?, ?, 'running', ?, ?)"
)
ACT: Final = (
    "UPDATE idempotency_keys SET dispatched = max(dispatched, ?), resource = coalesce(?, resource) "
    "WHERE scope = ?"
)
RECALL: Final = "UPDATE idempotency_keys SET dispatched = 0 WHERE scope = ?"
"""Leaves what it has made: who has made an object goes on acting."""
END: Final = (
    "UPDATE idempotency_keys SET state = 'done', status = ?, content_type = ?, headers = ?, "
    "body = ? WHERE scope = ?"
)
DELETE: Final = "DELETE FROM idempotency_keys WHERE scope = ?"
FORGET: Final = (
    "DELETE FROM idempotency_keys WHERE scope IN (SELECT scope FROM idempotency_keys "
    "WHERE created_ms <= ? AND (state = 'done' OR boot <> ?) LIMIT 100)"
)

RETRY_AFTER_S: Final = 1.0

_encode = msgspec.json.Encoder().encode
_parse_headers = msgspec.json.Decoder(dict[str, str]).decode


def begin(tx: Tx, scope: bytes, fingerprint: bytes, boot: str) -> Earlier | None:
    """None: the request is to be carried out. Else what became of an earlier one.

    An earlier one of a process that is gone is carried out again only if it had done nothing.
    Raises IdempotencyInProgressError, IdempotencyKeyReusedError.
    """
    row = tx.one(GET, scope)
    if row is not None and row[1] == "running" and row[2] != boot:
        _move(tx, scope, KeyEvent.LOSE)
        row = tx.one(GET, scope)
    if row is not None and row[1] == "done" and row[9] + KEPT_MS <= tx.now_ms:
        _move(tx, scope, KeyEvent.FORGET)
        row = None
    if row is None:
        _move(tx, scope, KeyEvent.BEGIN, fingerprint, boot, tx.now_ms)
        return None
    if row[0] != fingerprint:
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key came with another request before. Take a new key for each "
            "request, and send the same bytes when you repeat one."
        )
    if row[1] == "running":
        raise in_progress()
    return _earlier(row)


def dispatched(tx: Tx, scope: bytes | None) -> None:
    """Note, in the transaction before a request's call goes to a provider, that it does."""
    if scope is not None:
        _move(tx, scope, KeyEvent.ACT, True, None)


def recalled(tx: Tx, scope: bytes) -> None:
    """Note that no provider was reached with a request's call: nothing has happened yet."""
    _move(tx, scope, KeyEvent.RECALL)


def made(tx: Tx, scope: bytes | None, resource: str) -> None:
    """Note, in the transaction that makes or changes an object, which one a request is about."""
    if scope is not None:
        _move(tx, scope, KeyEvent.ACT, False, resource)


def answered(tx: Tx, scope: bytes, answer: Answer) -> None:
    """Keep the answer; one that refused before anything happened is forgotten instead."""
    facts = (answer.status, answer.content_type, _encode(answer.headers), answer.body)
    _move(tx, scope, answer.event, *facts)


def lost(tx: Tx, scope: bytes) -> None:
    """The request will not be answered any more: what it did stands, else it is forgotten."""
    _move(tx, scope, KeyEvent.LOSE)


def forget_old(tx: Tx, boot: str) -> int:
    """Remove what is older than 24 hours, a bounded number at a time; how many went."""
    return tx.run(FORGET, tx.now_ms - KEPT_MS, boot)


def in_progress() -> IdempotencyInProgressError:
    """What is said while the earlier request is being answered."""
    return IdempotencyInProgressError(
        "An earlier request with this Idempotency-Key is still being answered. Ask again in a "
        "second for its answer.",
        retry_after_s=RETRY_AFTER_S,
    )


def _move(tx: Tx, scope: bytes, event: KeyEvent, *facts: object) -> None:
    """Do what the table says; nothing if it has no entry: whoever comes late changes nothing."""
    target = KEY_TRANSITIONS[_state(tx, scope)].get(event)
    match target:
        case None:
            pass
        case KeyState.NEW:
            tx.run(DELETE, scope)
        case KeyState.RUNNING if event is KeyEvent.RECALL:
            tx.run(RECALL, scope)
        case KeyState.RUNNING:
            tx.run(INSERT, scope, *facts)
        case KeyState.ACTING:
            tx.run(ACT, *facts, scope)
        case KeyState.DONE:
            tx.run(END, *(facts or (None, None, None, None)), scope)


def _state(tx: Tx, scope: bytes) -> KeyState:
    row = tx.one(WHERE_IT_IS, scope)
    if row is None:
        return KeyState.NEW
    state, is_dispatched, resource = row
    if state == "done":
        return KeyState.DONE
    return KeyState.ACTING if is_dispatched or resource is not None else KeyState.RUNNING


def _earlier(row: Row) -> Earlier:
    status, content_type, headers, body = row[5:9]
    if status is None:
        return Earlier(None, row[4])
    answer = Answer(
        status=status, content_type=content_type, headers=_parse_headers(headers), body=body
    )
    return Earlier(answer, row[4])
