"""Real `ringside` processes that a test starts, signals, kills, and starts again on one store."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.e2e.ringside import ROOT, TOKEN

URL: Final = re.compile(r"https?://[\w.]+:\d+")
READY_S_MAX: Final = 30.0
EXIT_S_MAX: Final = 28.0
"""The whole of a stop: the drain of 20 s and what comes after it."""

Json = dict[str, Any]


class Home:
    """The files of one proxy: its configuration, its store and its log."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "ringside.yaml"
        self.store = path / "ringside.db"
        self.log = path / "ringside.log"
        self.configure()

    def configure(self, **sections: Json) -> None:
        """Write the configuration, with these sections in place of those every test has.

        JSON is YAML.
        """
        usual: Json = {
            "server": {"port": 0},
            "admin": {"port": 0},
            "models": {"refresh": None},
            "store": {"url": f"sqlite:///{self.store}"},
            "auth": {"tokens": [{"name": "app", "token": TOKEN}]},
            "providers": {"sandbox": {}},
        }
        self.config.write_text(json.dumps(usual | sections))

    def logged(self) -> str:
        """What its processes wrote to stderr so far."""
        return self.log.read_text()

    async def launch(self, *arguments: str, **variables: str) -> asyncio.subprocess.Process:
        """Start `ringside` with these arguments, in this home and a bare environment."""
        with self.log.open("a") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ringside_proxy",
                *arguments,
                cwd=self.path,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | variables,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
            )

    async def run(self, *arguments: str, **variables: str) -> "Outcome":
        """Run a command to its end."""
        before = len(self.logged()) if self.log.exists() else 0
        process = await self.launch(*arguments, **variables)
        try:
            async with asyncio.timeout(READY_S_MAX):
                said, _ = await process.communicate()
        finally:
            await kill(process)
        return Outcome(process.returncode, said.decode(), self.logged()[before:])

    @asynccontextmanager
    async def serving(self, **variables: str) -> AsyncIterator["Server"]:
        """A server that is ready; killed at the end, unless it has ended by itself."""
        process = await self.launch("serve", "-c", str(self.config), **variables)
        try:
            yield await Server.ready(process, self)
        finally:
            await kill(process)


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it said."""

    code: int | None
    out: str
    err: str


class Server:
    """A running `ringside serve`: where it listens, and ways to end it."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, admin_url: str) -> None:
        self.process = process
        self.url = url
        self.admin_url = admin_url

    @classmethod
    async def ready(cls, process: asyncio.subprocess.Process, home: Home) -> Self:
        """The server of a process that was just started, once it has said that it is ready."""
        assert process.stdout is not None
        async with asyncio.timeout(READY_S_MAX):
            line = (await process.stdout.readline()).decode()
        urls = URL.findall(line)
        assert len(urls) == 2, f"not ready but {line!r}:\n{home.logged()}"
        return cls(process, *urls)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def exit_code(self, seconds_max: float = EXIT_S_MAX) -> int:
        """Its exit status, when it has ended by itself."""
        async with asyncio.timeout(seconds_max):
            return await self.process.wait()

    async def stop(self) -> int:
        """End it by SIGTERM; its exit status."""
        self.signal(signal.SIGTERM)
        return await self.exit_code()


async def kill(process: asyncio.subprocess.Process) -> None:
    """End a process that may still run, at once, and read what it had said."""
    if process.returncode is None:
        process.kill()
    await process.communicate()
