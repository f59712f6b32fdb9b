"""Run steps: a step opens in progress and ends once."""

from typing import Final

import msgspec

from ringside_proxy.domain.errors import NotFoundError
from ringside_proxy.domain.items import FunctionCallBody, FunctionCallOutputBody, Item
from ringside_proxy.domain.lists import ListQuery, Page, page_of
from ringside_proxy.domain.run_steps import (
    MessageCreation,
    MessageCreationDetails,
    RunStep,
    StepFunction,
    StepStatus,
    StepToolCall,
    ToolCallsDetails,
    required_action,
)
from ringside_proxy.domain.runs import LastError, RequiredAction
from ringside_proxy.domain.usage import NO_USAGE, TokenUsage, assistants_usage
from ringside_proxy.store import items
from ringside_proxy.store.paging import PagedTable
from ringside_proxy.store.tx import Row, Tx

INSERT: Final = (
    "INSERT INTO run_steps (id, run, generation, type, status, created_ms, message_id, ended_ms, "
    "last_error, usage) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
END: Final = (
    "UPDATE run_steps SET status = ?, ended_ms = ?, last_error = ?, usage = coalesce(?, usage) "
    "WHERE id = ? AND status = 'in_progress'"
)
SET_USAGE: Final = "UPDATE run_steps SET usage = ? WHERE id = ?"
FIND_SEQ: Final = "SELECT seq FROM run_steps WHERE id = ?"
COLUMNS: Final = (
    "s.id, s.type, s.status, s.created_ms, s.ended_ms, s.last_error, s.usage, r.id, "
    "r.assistant_id, r.thread_id, r.expires_ms, r.ended_ms, s.seq, s.generation, "
    "s.message_id"
)
SOURCE: Final = "run_steps s JOIN runs r ON r.seq = s.run"
GET: Final = f"SELECT {COLUMNS} FROM {SOURCE} WHERE s.id = ? AND s.run = ?"  # noqa: S608 - fixed fragments
OPEN: Final = f"SELECT {COLUMNS} FROM {SOURCE} WHERE s.run = ? AND s.status = 'in_progress'"  # noqa: S608 - fixed fragments
FIND: Final = "SELECT seq, '' FROM run_steps WHERE id = ? AND run = ?"
OF_GENERATION: Final = f"SELECT {COLUMNS} FROM {SOURCE} WHERE s.generation = ? ORDER BY s.seq"  # noqa: S608 - fixed fragments
MADE_BY: Final = (
    "SELECT r.id, r.seq, g.number FROM run_steps s JOIN runs r ON r.seq = s.run "
    "JOIN generations g ON g.seq = s.generation WHERE s.id = ?"
)

LISTED: Final = PagedTable("run step", COLUMNS, SOURCE, "s.seq", FIND)
OF_RUN: Final = "s.run = ?"

_encode = msgspec.json.Encoder().encode
_parse_error = msgspec.json.Decoder(LastError).decode
_parse_usage = msgspec.json.Decoder(TokenUsage).decode


class OpenStep(msgspec.Struct, frozen=True, kw_only=True):
    """The step a run has in progress, with its rows' numbers."""

    seq: int
    generation: int
    step: RunStep


class MadeStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step, the run it is of, and the number of the generation that made it."""

    run_id: str
    generation: int
    step: RunStep


def insert(
    tx: Tx,
    run: int,
    generation: int,
    step_id: str,
    step_type: str,
    created_ms: int,
    message_id: str | None = None,
) -> int:
    """Open a step; gives its `seq`. A run has at most one open.

    `message_id` is the message it makes; it goes on naming it when that is deleted.
    """
    return tx.insert(
        INSERT,
        step_id,
        run,
        generation,
        step_type,
        "in_progress",
        created_ms,
        message_id,
        None,
        None,
        None,
    )


def insert_ended(
    tx: Tx, run: int, generation: int, step: RunStep, created_ms: int, usage: TokenUsage | None
) -> int:
    """Add a step that made a message and ended in the same transaction; gives its `seq`."""
    details = step.step_details
    return tx.insert(
        INSERT,
        step.id,
        run,
        generation,
        step.type,
        step.status.value,
        created_ms,
        details.message_creation.message_id
        if isinstance(details, MessageCreationDetails)
        else None,
        tx.now_ms,
        None if step.last_error is None else _encode(step.last_error),
        None if usage is None else _encode(usage),
    )


def end(
    tx: Tx,
    step_id: str,
    status: StepStatus,
    ended_ms: int,
    *,
    last_error: LastError | None = None,
    usage: TokenUsage | None = None,
) -> None:
    """End an open step; one that has ended stays as it is."""
    tx.run(
        END,
        status.value,
        ended_ms,
        None if last_error is None else _encode(last_error),
        None if usage is None else _encode(usage),
        step_id,
    )


def seq_of(tx: Tx, step_id: str) -> int:
    """The row number of a step that exists."""
    row = tx.one(FIND_SEQ, step_id)
    if row is None:
        raise NotFoundError.of("run step", step_id)
    seq: int = row[0]
    return seq


def set_usage(tx: Tx, step_id: str, usage: TokenUsage) -> None:
    """Note what the model call behind a step consumed; shown once the step has ended."""
    tx.run(SET_USAGE, _encode(usage), step_id)


def get(tx: Tx, run: int, step_id: str) -> RunStep:
    """A step of the run. Raises NotFoundError."""
    row = tx.one(GET, step_id, run)
    if row is None:
        raise NotFoundError.of("run step", step_id)
    return _step(row, items.of_steps(tx, run))


def find_open(tx: Tx, run: int) -> OpenStep | None:
    """The step in progress, if any."""
    row = tx.one(OPEN, run)
    if row is None:
        return None
    return OpenStep(seq=row[12], generation=row[13], step=_step(row, items.of_steps(tx, run)))


def of_generation(tx: Tx, run: int, generation: int) -> list[RunStep]:
    """The steps that one of the run's generations made, in order."""
    rows, found = tx.all(OF_GENERATION, generation), items.of_steps(tx, run)
    return [_step(row, found) for row in rows]


def made_by(tx: Tx, step_id: str) -> MadeStep:
    """A step, by its id alone. Raises NotFoundError."""
    row = tx.one(MADE_BY, step_id)
    if row is None:
        raise NotFoundError.of("run step", step_id)
    return MadeStep(run_id=row[0], generation=row[2], step=get(tx, row[1], step_id))


def page(tx: Tx, run: int, query: ListQuery) -> Page[RunStep]:
    """A page of the run's steps."""
    rows, has_more = LISTED.page(tx, query, OF_RUN, (run,), run)
    found = items.of_steps(tx, run)
    return page_of([_step(row, found) for row in rows], has_more)


def pending_calls(tx: Tx, run: int) -> RequiredAction | None:
    """The calls that wait for outputs, if any."""
    opened = find_open(tx, run)
    return None if opened is None else required_action(opened.step)


def details_of(
    message_id: str | None, step_items: list[Item]
) -> MessageCreationDetails | ToolCallsDetails:
    """The `step_details` of a step that made a message, or else of one with these items."""
    if message_id is not None:
        return MessageCreationDetails(message_creation=MessageCreation(message_id))
    outputs = {
        item.call_id: item.body.output
        for item in step_items
        if isinstance(item.body, FunctionCallOutputBody)
    }
    return ToolCallsDetails(
        tool_calls=[
            StepToolCall(
                id=item.call_id or item.id,
                function=StepFunction(
                    name=item.body.name,
                    arguments=item.body.arguments,
                    output=outputs.get(item.call_id),
                ),
            )
            for item in step_items
            if isinstance(item.body, FunctionCallBody)
        ]
    )


def _step(row: Row, found: dict[str, list[Item]]) -> RunStep:
    status = StepStatus(row[2])
    ended_at = None if row[4] is None else row[4] // 1000
    is_open = status is StepStatus.IN_PROGRESS
    usage = NO_USAGE if row[6] is None else _parse_usage(row[6])
    return RunStep(
        id=row[0],
        created_at=row[3] // 1000,
        run_id=row[7],
        assistant_id=row[8],
        thread_id=row[9],
        type=row[1],
        status=status,
        cancelled_at=ended_at if status is StepStatus.CANCELLED else None,
        completed_at=ended_at if status is StepStatus.COMPLETED else None,
        expires_at=row[10] // 1000 if row[11] is None else None,
        expired_at=ended_at if status is StepStatus.EXPIRED else None,
        failed_at=ended_at if status is StepStatus.FAILED else None,
        last_error=None if row[5] is None else _parse_error(row[5]),
        step_details=details_of(row[14], found.get(row[0], [])),
        usage=None if is_open else assistants_usage(usage),
    )
