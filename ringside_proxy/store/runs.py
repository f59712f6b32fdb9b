"""Runs, their generations and the lock they hold.

`move` is the only function that writes a run's status; the table in `domain.runs` says where to.
The unique index `one_active_run_per_conversation` is the lock.
"""

import sqlite3
from typing import Any, Final

import msgspec

from ringside_proxy.domain.errors import ConversationLockedError, NotFoundError, ThreadBusyError
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.runs import (
    TERMINAL,
    LastError,
    RequiredAction,
    Run,
    RunEvent,
    RunIncompleteDetails,
    RunSettings,
    RunStatus,
    next_status,
)
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage, assistants_usage
from ringside_proxy.store import run_steps
from ringside_proxy.store.paging import PagedTable
from ringside_proxy.store.threads import ThreadRecord
from ringside_proxy.store.tx import Row, Tx

INSERT: Final = (
    "INSERT INTO runs (id, conversation, thread_id, assistant_id, customer, token, status, "
    "created_ms, expires_ms, settings, metadata, waiting) "
    "VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?)"
)
COLUMNS: Final = (
    "seq, id, conversation, thread_id, assistant_id, customer, status, created_ms, started_ms, "
    "expires_ms, ended_ms, settings, metadata, last_error, incomplete_reason, usage, token, "
    "waiting IS NOT NULL"
)
GET: Final = f"SELECT {COLUMNS} FROM runs WHERE id = ?"  # noqa: S608 - fixed fragments
CHANGEABLE: Final = (
    "SELECT status, started_ms, expires_ms, metadata, waiting IS NOT NULL FROM runs "
    "WHERE seq = ? AND id = ?"
)
ACTIVE: Final = (
    "SELECT id FROM runs WHERE conversation = ? AND ended_ms IS NULL AND waiting IS NULL"
)
EVERY_ACTIVE: Final = (
    f"SELECT {COLUMNS} FROM runs "  # noqa: S608 - fixed fragments
    "WHERE ended_ms IS NULL"
)
COUNT_ACTIVE_MADE_BY: Final = "SELECT count(*) FROM runs WHERE token = ? AND ended_ms IS NULL"
COUNT_ACTIVE_IN_NAME_OF: Final = "SELECT count(*) FROM runs WHERE customer = ? AND ended_ms IS NULL"
COUNT_ACTIVE: Final = "SELECT status, count(*) FROM runs WHERE ended_ms IS NULL GROUP BY status"
DUE: Final = "SELECT id, expires_ms FROM runs WHERE ended_ms IS NULL ORDER BY expires_ms LIMIT 500"
MOVE: Final = "UPDATE runs SET status = ?, started_ms = ? WHERE seq = ?"
END: Final = (
    "UPDATE runs SET status = ?, ended_ms = ?, last_error = ?, incomplete_reason = ?, usage = ?, "
    "waiting = NULL WHERE seq = ?"
)
SET_METADATA: Final = "UPDATE runs SET metadata = ? WHERE seq = ?"
FIND: Final = "SELECT seq, '' FROM runs WHERE id = ? AND conversation = ?"

OPEN_GENERATION: Final = (
    "INSERT INTO generations (id, run, number, model, created_ms) VALUES (?, ?, "
    "(SELECT count(*) + 1 FROM generations WHERE run = ?), ?, ?)"
)
CLOSE_GENERATION: Final = (
    "UPDATE generations SET ended_ms = ?, usage = ? WHERE run = ? AND ended_ms IS NULL"
)
HAS_OPEN_GENERATION: Final = "SELECT 1 FROM generations WHERE run = ? AND ended_ms IS NULL"
GENERATION: Final = (
    "SELECT seq, model, created_ms, ended_ms FROM generations WHERE run = ? AND number = ?"
)
MODEL_OF: Final = "SELECT model FROM generations WHERE seq = ?"
SET_MODEL: Final = "UPDATE generations SET model = ? WHERE seq = ?"
LAST_MODEL: Final = "SELECT model FROM generations WHERE run = ? ORDER BY number DESC LIMIT 1"
USAGES: Final = "SELECT usage FROM generations WHERE run = ? AND usage IS NOT NULL"

LISTED: Final = PagedTable("run", COLUMNS, "runs", "seq", FIND)
OF_CONVERSATION: Final = "conversation = ?"

_encode = msgspec.json.Encoder().encode
_parse = msgspec.json.decode
_parse_settings = msgspec.json.Decoder(RunSettings).decode
_parse_error = msgspec.json.Decoder(LastError).decode
_parse_usage = msgspec.json.Decoder(TokenUsage).decode


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run's row. Times are milliseconds; `ended_ms` is when it became terminal.

    `token` is the id of the token that made it. One that `is_waiting` does not lock its thread yet.
    """

    seq: int
    id: str
    conversation: int
    thread_id: str
    assistant_id: str
    customer: str | None
    token: str = ""
    status: RunStatus
    created_ms: int
    started_ms: int | None = None
    expires_ms: int
    ended_ms: int | None = None
    settings: RunSettings
    metadata: dict[str, str]
    last_error: LastError | None = None
    incomplete_reason: Any = None
    usage: TokenUsage | None = None
    is_waiting: bool = False

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status in TERMINAL


class Generation(msgspec.Struct, frozen=True):
    """A stretch of a run's model work; `ended_ms` is None while it is at work."""

    seq: int
    model: str
    created_ms: int
    ended_ms: int | None


def insert(
    tx: Tx,
    run_id: str,
    thread: ThreadRecord,
    assistant_id: str,
    settings: RunSettings,
    *,
    customer: str | None,
    metadata: dict[str, str],
    expires_after_ms: int,
    token: str = "",
    waiting: bytes | None = None,
) -> RunRecord:
    """Add a queued run, which locks its thread, unless it waits for it (see `waiting_runs`).

    Raises ConversationLockedError.
    """
    try:
        seq = tx.insert(
            INSERT,
            run_id,
            thread.seq,
            thread.thread.id,
            assistant_id,
            customer,
            token,
            tx.now_ms,
            tx.now_ms + expires_after_ms,
            _encode(settings),
            _encode(metadata).decode(),
            waiting,
        )
    except sqlite3.IntegrityError:
        raise ConversationLockedError(
            f"Thread {thread.thread.id} already has an active run {active_run_id(tx, thread)}."
        ) from None
    return RunRecord(
        seq=seq,
        id=run_id,
        conversation=thread.seq,
        thread_id=thread.thread.id,
        assistant_id=assistant_id,
        customer=customer,
        token=token,
        status=RunStatus.QUEUED,
        created_ms=tx.now_ms,
        expires_ms=tx.now_ms + expires_after_ms,
        settings=settings,
        metadata=metadata,
        is_waiting=waiting is not None,
    )


def active_run_id(tx: Tx, thread: ThreadRecord) -> str | None:
    """The run that locks the thread, if any."""
    row = tx.one(ACTIVE, thread.seq)
    return None if row is None else row[0]


def require_idle(tx: Tx, thread: ThreadRecord) -> None:
    """Raise ThreadBusyError, in OpenAI's words, while a run is active."""
    run_id = active_run_id(tx, thread)
    if run_id is not None:
        raise ThreadBusyError(
            f"Can't add messages to {thread.thread.id} while a run {run_id} is active."
        )


def get(tx: Tx, thread: ThreadRecord, run_id: str) -> RunRecord:
    """A run of the thread. Raises NotFoundError."""
    row = tx.one(GET, run_id)
    if row is None or row[2] != thread.seq:
        raise NotFoundError.of("run", run_id)
    return _record(row)


def reload(tx: Tx, run_id: str) -> RunRecord | None:
    """The run as it is now, by id alone; None once its thread was purged."""
    row = tx.one(GET, run_id)
    return None if row is None else _record(row)


def refresh(tx: Tx, run: RunRecord) -> RunRecord | None:
    """A run that has not ended, as it is now; None once its thread was purged.

    What it was created with is not read again. Of one that has ended meanwhile only that is told.
    """
    row = tx.one(CHANGEABLE, run.seq, run.id)
    if row is None:
        return None
    return msgspec.structs.replace(
        run,
        status=RunStatus(row[0]),
        started_ms=row[1],
        expires_ms=row[2],
        metadata=_parse(row[3]),
        is_waiting=bool(row[4]),
    )


def page(tx: Tx, thread: ThreadRecord, query: ListQuery) -> Page[Run]:
    """A page of the thread's runs."""
    rows, has_more = LISTED.page(tx, query, OF_CONVERSATION, (thread.seq,), thread.seq)
    return page_of([wire_object(tx, _record(row)) for row in rows], has_more)


def move(
    tx: Tx,
    run: RunRecord,
    event: RunEvent,
    *,
    last_error: LastError | None = None,
    incomplete_reason: str | None = None,
) -> RunRecord:
    """The run after `event`. Raises RunStateError for what the table refuses, changing nothing.

    A run that ends gets the sum of its generations' usage, zeros if there is none.
    """
    status = next_status(run.status, event)
    if status not in TERMINAL:
        started_ms = tx.now_ms if event is RunEvent.START else run.started_ms
        tx.run(MOVE, status.value, started_ms, run.seq)
        return msgspec.structs.replace(run, status=status, started_ms=started_ms)
    used = _consumed(tx, run)
    tx.run(
        END,
        status.value,
        tx.now_ms,
        None if last_error is None else _encode(last_error),
        incomplete_reason,
        _encode(used),
        run.seq,
    )
    return msgspec.structs.replace(
        run,
        status=status,
        ended_ms=tx.now_ms,
        last_error=last_error,
        incomplete_reason=incomplete_reason,
        usage=used,
        is_waiting=False,
    )


def set_metadata(tx: Tx, run: RunRecord, metadata: dict[str, str]) -> RunRecord:
    """The run with its metadata replaced."""
    tx.run(SET_METADATA, _encode(metadata).decode(), run.seq)
    return msgspec.structs.replace(run, metadata=metadata)


def open_generation(tx: Tx, run: RunRecord, generation_id: str, model: str) -> int:
    """Note, before any byte goes to a provider, that model work begins; gives its `seq`."""
    return tx.insert(OPEN_GENERATION, generation_id, run.seq, run.seq, model, tx.now_ms)


def generation(tx: Tx, run: RunRecord, number: int) -> Generation | None:
    """The run's generation with that number, from 1; None if it has not begun."""
    row = tx.one(GENERATION, run.seq, number)
    return None if row is None else Generation(*row)


def model_of(tx: Tx, generation: int) -> str:
    """The model that a generation is made by."""
    row = tx.one(MODEL_OF, generation)
    if row is None:
        raise LookupError(generation)
    model: str = row[0]
    return model


def set_model(tx: Tx, generation: int, model: str) -> None:
    """Note that another model is asked to make a generation, before any byte goes to it."""
    tx.run(SET_MODEL, model, generation)


def last_model(tx: Tx, run: RunRecord) -> str | None:
    """The model that was asked last for the run; None if none was yet."""
    row = tx.one(LAST_MODEL, run.seq)
    return None if row is None else row[0]


def close_generation(tx: Tx, run: RunRecord, usage: TokenUsage | None) -> None:
    """Note what the run's open generation consumed, if one is open."""
    tx.run(CLOSE_GENERATION, tx.now_ms, None if usage is None else _encode(usage), run.seq)


def was_dispatched(tx: Tx, run: RunRecord) -> bool:
    """Whether model work of this run began and was not finished."""
    return tx.one(HAS_OPEN_GENERATION, run.seq) is not None


def used_so_far(tx: Tx, run: RunRecord) -> TokenUsage:
    """What the run's finished generations consumed."""
    return _consumed(tx, run)


def active(tx: Tx) -> list[RunRecord]:
    """Every run that is not terminal, oldest first."""
    # Sorted here: asked to sort, SQLite would read every run there ever was, in order.
    return sorted((_record(row) for row in tx.all(EVERY_ACTIVE)), key=lambda run: run.seq)


def count_active(tx: Tx) -> dict[str, int]:
    """How many runs have not ended, by status."""
    return {str(status): int(count) for status, count in tx.all(COUNT_ACTIVE)}


def count_active_of_token(tx: Tx, token: str) -> int:
    """How many runs that the token made have not ended."""
    row = tx.one(COUNT_ACTIVE_MADE_BY, token)
    return 0 if row is None else int(row[0])


def count_active_of_customer(tx: Tx, customer: str) -> int:
    """How many runs in the customer's name have not ended."""
    row = tx.one(COUNT_ACTIVE_IN_NAME_OF, customer)
    return 0 if row is None else int(row[0])


def by_expiry(tx: Tx) -> list[tuple[str, int]]:
    """Ids and expiry times (ms) of the active runs that expire first, at most 500."""
    return [(row[0], row[1]) for row in tx.all(DUE)]


def wire_object(tx: Tx, run: RunRecord) -> Run:
    """The run on the Assistants surface; pending calls are looked up if it waits for them."""
    pending = (
        run_steps.pending_calls(tx, run.seq) if run.status is RunStatus.REQUIRES_ACTION else None
    )
    return to_wire(run, pending)


def to_wire(run: RunRecord, required_action: RequiredAction | None = None) -> Run:
    """The run on the Assistants surface."""
    settings = run.settings
    ended_at = None if run.ended_ms is None else run.ended_ms // 1000
    return Run(
        id=run.id,
        created_at=run.created_ms // 1000,
        assistant_id=run.assistant_id,
        thread_id=run.thread_id,
        status=run.status,
        started_at=None if run.started_ms is None else run.started_ms // 1000,
        expires_at=None if run.is_terminal else run.expires_ms // 1000,
        cancelled_at=ended_at if run.status is RunStatus.CANCELLED else None,
        failed_at=ended_at if run.status is RunStatus.FAILED else None,
        completed_at=ended_at
        if run.status in (RunStatus.COMPLETED, RunStatus.INCOMPLETE)
        else None,
        required_action=required_action,
        last_error=run.last_error,
        model=settings.model,
        instructions=settings.instructions,
        tools=settings.tools,
        metadata=run.metadata,
        temperature=settings.temperature,
        top_p=settings.top_p,
        reasoning_effort=settings.reasoning_effort,
        max_completion_tokens=settings.max_completion_tokens,
        max_prompt_tokens=settings.max_prompt_tokens,
        truncation_strategy=settings.truncation_strategy,
        incomplete_details=None
        if run.incomplete_reason is None
        else RunIncompleteDetails(run.incomplete_reason),
        usage=None if run.usage is None else assistants_usage(run.usage),
        response_format=settings.response_format,
        tool_choice=settings.tool_choice,
        parallel_tool_calls=settings.parallel_tool_calls,
    )


def _consumed(tx: Tx, run: RunRecord) -> TokenUsage:
    return sum((_parse_usage(usage) for (usage,) in tx.all(USAGES, run.seq)), NO_USAGE)


def _record(row: Row) -> RunRecord:
    return RunRecord(
        seq=row[0],
        id=row[1],
        conversation=row[2],
        thread_id=row[3],
        assistant_id=row[4],
        customer=row[5],
        status=RunStatus(row[6]),
        created_ms=row[7],
        started_ms=row[8],
        expires_ms=row[9],
        ended_ms=row[10],
        settings=_parse_settings(row[11]),
        metadata=_parse(row[12]),
        last_error=None if row[13] is None else _parse_error(row[13]),
        incomplete_reason=row[14],
        usage=None if row[15] is None else _parse_usage(row[15]),
        token=row[16],
        is_waiting=bool(row[17]),
    )
