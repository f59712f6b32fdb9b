"""A real `ringside serve` process, on a free port, with its own store."""

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
TOKEN: Final = "ko_test00000000000000000000000000000000"
READY_S_MAX: Final = 30.0
STOP_S_MAX: Final = 28.0  # the drain of 20 s and what comes after it
URL: Final = re.compile(r"http://\S+:\d+")

CONFIG: Final = """\
server: {{port: 0}}
admin: {{port: 0}}
models: {{refresh: null}}
store: {{url: "sqlite:///{store}"}}
auth: {{tokens: [{{name: app, token: {token}}}]}}
providers: {{sandbox: {{}}}}
"""


@dataclass(frozen=True)
class Ringside:
    """A server that is ready. `log` is what it wrote to stderr so far."""

    url: str
    token: str
    process: subprocess.Popen[str]
    log: Path


@contextmanager
def serving(
    home: Path, config_text: str = CONFIG, env: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Ringside]:
    """Runs a server whose files live in `home`; `{store}` and `{token}` in its config are filled in.

    SIGTERM ends it; it has to exit with 0 and to have logged no exception it did not expect.

    The environment is bare but for `env`, so that no provider's key of the machine is picked up.
    """
    config, log = home / "ringside.yaml", home / "ringside.log"
    config.write_text(config_text.format(store=home / "ringside.db", token=TOKEN))
    with log.open("w") as stderr, _start(config, stderr, env) as process:
        try:
            yield Ringside(url=_ready_url(process, log), token=TOKEN, process=process, log=log)
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_S_MAX)
            logged = log.read_text()
            assert code == 0, f"exit {code} after SIGTERM:\n{logged}"
            assert "Traceback" not in logged, logged
        finally:
            process.kill()


def _start(config: Path, stderr: IO[str], env: Mapping[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "ringside_proxy", "serve", "-c", str(config)],
        cwd=config.parent,
        env={**env, "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def _ready_url(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], READY_S_MAX)
    line = process.stdout.readline() if ready else ""
    url = URL.search(line)
    assert url, f"no ready line within {READY_S_MAX:g} s but {line!r}:\n{log.read_text()}"
    return url.group()
