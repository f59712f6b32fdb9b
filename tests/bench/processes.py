"""Contenders as processes of their own, pinned to a core, and what they have used."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
READY_S_MAX: Final = 120.0
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
CPUS: Final = frozenset(os.sched_getaffinity(0))
CONTENDER_CPU: Final = min(CPUS)
"""The contender's core; the far end and the callers share the other ones."""
OTHER_CPUS: Final = (CPUS - {CONTENDER_CPU}) or CPUS

OURS: Final = {"PYTHONPATH": str(ROOT)}
"""What our own modules need to be found."""


@dataclass(frozen=True)
class Contender:
    """A process under load."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"

    def cpu_s(self) -> float:
        """CPU seconds used so far, by every thread there is or was, in nanoseconds' steps."""
        # Linux's own clock of another process: CPUCLOCK_SCHED of clock_getcpuclockid(3).
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def waited_s(self) -> float:
        """Seconds that its main thread could have run, but others had the core."""
        told = Path(f"/proc/{self.process.pid}/schedstat").read_text()
        return int(told.split()[1]) / 10**9

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", name, *arguments]


@contextmanager
def started(
    name: str,
    port: int,
    command: Sequence[str],
    *,
    cpus: frozenset[int] = frozenset({CONTENDER_CPU}),
    environment: Mapping[str, str] = OURS,
    tells: bool = True,
) -> Iterator[Contender]:
    """A process that is ready: it says so (`tells`), or takes connections. It ends with the block."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE if tells else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        env={"PATH": os.environ["PATH"], **environment},
    )
    contender = Contender(name, port, process)
    try:
        if not (_has_told(process) if tells else _listens(contender)):
            raise RuntimeError(f"{name} did not start: {' '.join(command)}")
        yield contender
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _has_told(process: "subprocess.Popen[bytes]") -> bool:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_S_MAX)
    return bool(ready and process.stdout.readline())


def _listens(contender: Contender) -> bool:
    deadline_s = time.monotonic() + READY_S_MAX
    while time.monotonic() < deadline_s and contender.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", contender.port), timeout=1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return True
    return False
