"""Runs a suite of an official SDK as a process of its own, through the relay."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.relay import Relay, relaying
from tests.e2e.ringside import Ringside

SUITE_S_MAX: Final = 120.0
LOCKED_RUN: Final = "locked-run"

ASSISTANTS_API: Final = {
    "POST /v1/assistants",
    "GET /v1/assistants",
    "GET /v1/assistants/{}",
    "POST /v1/assistants/{}",
    "DELETE /v1/assistants/{}",
    "POST /v1/threads",
    "GET /v1/threads/{}",
    "POST /v1/threads/{}",
    "DELETE /v1/threads/{}",
    "POST /v1/threads/{}/messages",
    "GET /v1/threads/{}/messages",
    "GET /v1/threads/{}/messages/{}",
    "POST /v1/threads/{}/messages/{}",
    "DELETE /v1/threads/{}/messages/{}",
    "POST /v1/threads/runs",
    "POST /v1/threads/runs (stream)",
    "POST /v1/threads/{}/runs",
    "POST /v1/threads/{}/runs (stream)",
    "GET /v1/threads/{}/runs",
    "GET /v1/threads/{}/runs/{}",
    "POST /v1/threads/{}/runs/{}",
    "POST /v1/threads/{}/runs/{}/cancel",
    "POST /v1/threads/{}/runs/{}/submit_tool_outputs",
    "POST /v1/threads/{}/runs/{}/submit_tool_outputs (stream)",
    "GET /v1/threads/{}/runs/{}/steps",
    "GET /v1/threads/{}/runs/{}/steps/{}",
}
"""What every suite has to have used, with success."""


async def run_suite(command: list[str | Path], cwd: Path, ringside: Ringside, **env: str) -> None:
    """Runs `command` against the server and fails with what it printed, or with what it was sent.

    The SDK is pointed at the server the way an application is: by two variables, and no others
    of this machine (a proxy or an organisation, say) reach it.
    """
    async with relaying(ringside.url) as relay:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={
                "PATH": os.environ["PATH"],
                "OPENAI_BASE_URL": f"{relay.url}/v1",
                "OPENAI_API_KEY": ringside.token,
                **env,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,  # so that it ends with the processes it starts
        )
        reading = asyncio.create_task(process.communicate())
        try:
            await asyncio.wait({reading}, timeout=SUITE_S_MAX)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        # Of one that hung, too, what it printed says where.
        output, _ = await reading
    print(output.decode())
    _judge(process.returncode, relay, ringside)


def _judge(exit_code: int | None, relay: Relay, ringside: Ringside) -> None:
    faults = list(relay.violations)
    if exit_code != 0:
        faults.insert(0, f"the suite's own cases failed (exit {exit_code}), see its output")
    if relay.cases[LOCKED_RUN] != 1:
        faults.append(f"a refused second run was sent {relay.cases[LOCKED_RUN]} times, not once")
    if unused := ASSISTANTS_API - relay.operations:
        faults.append(f"the suite never used {', '.join(sorted(unused))}")
    if ringside.process.poll() is not None:
        faults.append(f"the server died:\n{ringside.log.read_text()}")
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)
