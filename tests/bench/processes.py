"""Contenders as processes of their own, pinned to a core, and what they have used."""

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
READY_S_MAX: Final = 30.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
CONTENDER_CPU: Final = 0
"""The contender's core; the far end and the callers share the other ones."""


@dataclass(frozen=True)
class Contender:
    """A process under load."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu_s(self) -> float:
        """CPU seconds used so far, by all threads that are there."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 10**9

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def other_cpus() -> set[int]:
    """Where everything but the contender runs."""
    every = os.sched_getaffinity(0)
    return every - {CONTENDER_CPU} or every


@contextmanager
def started(
    name: str, port: int, *command: str, cpus: set[int] | None = None
) -> Iterator[Contender]:
    """A process that has said that it is ready; it is ended with the block."""
    wanted = cpus or {CONTENDER_CPU}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, wanted),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], READY_S_MAX)
        if not ready or not process.stdout.readline():
            raise RuntimeError(f"{name} did not start: {' '.join(command)}")
        yield Contender(name, port, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
