"""Whether the store is as the clients were told, over the API and in its rows."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.crash.client import Client, RefusedError
from tests.crash.journal import RunBelief, ThreadNotes
from tests.crash.load import World, outputs_for
from tests.faults.invariants import BOOKS

Json = dict[str, Any]

AT_ONCE: Final = 16
ACTIVE: Final = "('queued', 'in_progress', 'requires_action', 'cancelling')"
AT_WORK: Final = ("queued", "in_progress")

MUST_BE_EMPTY: Final = {
    "runs whose end does not fit their status": (
        "SELECT id FROM runs WHERE (ended_ms IS NULL) <> "
        "(status IN ('queued', 'in_progress', 'requires_action', 'cancelling'))"
    ),
    **BOOKS,
    "runs at work": "SELECT id FROM runs WHERE status IN ('queued', 'in_progress', 'cancelling')",
    "open steps of runs that do not wait": (
        "SELECT s.id FROM run_steps s JOIN runs r ON r.seq = s.run "
        "WHERE s.status = 'in_progress' AND r.status != 'requires_action'"
    ),
    "open messages": "SELECT id FROM items WHERE status = 'in_progress'",
    "open generations": "SELECT id FROM generations WHERE ended_ms IS NULL",
    "miscounted threads": (
        "SELECT c.id FROM conversations c WHERE message_count != "
        "(SELECT count(*) FROM items i WHERE i.conversation = c.seq AND i.type = 'message')"
    ),
    "deleted threads with rows": "SELECT id FROM conversations WHERE deleted_ms IS NOT NULL",
    "threads under two names or none": (
        "SELECT c.id FROM conversations c LEFT JOIN api_thread_aliases a "
        "ON a.conversation = c.seq WHERE a.thread_id IS NULL"
    ),
    "runs that ended unsaid, or were said to end twice": (
        "SELECT r.id FROM runs r WHERE r.status NOT IN "
        "('queued', 'in_progress', 'requires_action', 'cancelling') AND (SELECT count(*) FROM "
        "events e WHERE json_extract(CAST(e.data AS TEXT), '$.run_id') = r.id "
        "AND e.type <> 'run.requires_action') <> 1"
    ),
}
"""Queries that find something only in a store that is not sound, after a clean stop."""


def audit_rows(store: Path) -> None:
    """Raise AssertionError unless a store that nobody has open is sound."""
    with closing(sqlite3.connect(store)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for name, query in MUST_BE_EMPTY.items():
            assert connection.execute(query).fetchall() == [], name


async def audit_touched(client: Client, world: World) -> None:
    """Everything that was touched since the last time, and its threads can be used."""
    touched = [thread for thread in world.threads if thread.is_touched]
    await _audit(client, world, touched, is_used=True)


async def audit_everything(client: Client, world: World) -> None:
    """Everything that was ever made."""
    await _audit(client, world, world.threads, is_used=False)
    listed = {each["id"] for each in await client.every("/v1/threads")}
    assert listed >= {each.belief.id for each in world.threads if not each.belief.is_gone}


async def _audit(
    client: Client, world: World, threads: list[ThreadNotes], *, is_used: bool
) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def audit(thread: ThreadNotes) -> None:
        async with slots:
            if await _thread_is_there(client, thread):
                await _audit_thread(client, thread)
                if is_used:
                    await _use(client, world, thread)
            thread.is_touched = False

    listed = {each["id"]: each for each in await client.every("/v1/assistants")}
    for belief in world.assistants:
        belief.check(listed.get(belief.id))
    async with asyncio.TaskGroup() as tasks:
        for thread in threads:
            tasks.create_task(audit(thread))


async def _thread_is_there(client: Client, thread: ThreadNotes) -> bool:
    found = await client.find(thread.path)
    thread.belief.check(found)
    if found is None:
        assert await client.find(f"{thread.path}/messages") is None
        assert await client.find(f"{thread.path}/runs") is None
    return found is not None


async def _audit_thread(client: Client, thread: ThreadNotes) -> None:
    found = await client.every(f"{thread.path}/runs")
    for run in found:
        await _audit_run(client, thread, run)
    assert thread.runs.keys() <= {run["id"] for run in found}
    thread.plans.clear()
    thread.check_messages(await client.every(f"{thread.path}/messages"))
    for belief in thread.runs.values():
        belief.check_steps(await client.every(f"{thread.path}/runs/{belief.id}/steps"))


async def _audit_run(client: Client, thread: ThreadNotes, run: Json) -> None:
    """The run has ended or waits, or goes on since it had not begun; then it comes to its end."""
    belief = thread.runs.get(run["id"]) or _adopted(thread, run)
    had_begun = belief.seen["status"] in ("in_progress", "cancelling")
    assert not had_begun or run["status"] not in AT_WORK, f"not ended by the restart: {run}"
    belief.learn(run)
    if run["status"] in AT_WORK and belief.plan.hangs:
        belief.ask_cancel()
        await client.post(f"{thread.path}/runs/{run['id']}/cancel")
    belief.learn(await client.settled(run))


def _adopted(thread: ThreadNotes, run: Json) -> RunBelief:
    """A run that no answer told of, and that was asked for."""
    assert run["metadata"]["number"] in thread.plans, f"nobody asked for {run}"
    queued = {"status": "queued", "required_action": None, "last_error": None}
    return thread.began(run | queued)


async def _use(client: Client, world: World, thread: ThreadNotes) -> None:
    """The thread takes a run, once the one that waits for outputs has been served."""
    waiting = thread.waiting
    if waiting is not None:
        with pytest.raises(RefusedError, match=f"while a run {waiting.id} is active"):
            await client.post(f"{thread.path}/messages", {"role": "user", "content": "now"})
        if world.random.random() < 0.5:
            return
        waiting.ask_submit()
        path = f"{thread.path}/runs/{waiting.id}/submit_tool_outputs"
        waiting.learn(await client.post(path, outputs_for(waiting.seen)))
        waiting.learn(await client.settled(waiting.seen))
        assert waiting.seen["status"] == "completed"
        thread.check_messages(await client.every(f"{thread.path}/messages"))
    plan = world.plan("echo")
    number = world.number()
    thread.plans[number] = plan
    made = await client.post(
        f"{thread.path}/runs",
        {
            "assistant_id": world.assistant_id,
            "additional_messages": [{"role": "user", "content": plan.question}],
            "metadata": {"number": number},
        },
    )
    belief = thread.began(made)
    belief.learn(await client.settled(made))
    assert belief.seen["status"] == "completed", belief.seen
