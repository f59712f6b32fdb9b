"""Other proxies, measured beside ours where they are installed.

    python -m tests.bench.peers        installs them by their lock files: `make bench-peers`

Each lives in an environment of its own and is no part of the project. Wheels alone are installed,
and no package's install script is run.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.processes import ROOT, Contender, free_port, started

HERE: Final = Path(__file__).resolve().parent / "peers"
LITELLM_HOME: Final = ROOT / ".venvs" / "litellm"
LITELLM_LOCK: Final = HERE / "litellm.lock"
LITELLM_CONFIG: Final = """\
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{url}/v1", api_key: k}}
litellm_settings: {{telemetry: false}}
"""
"""As little as it can be asked for: one key is checked, nothing is stored, nothing is logged."""
LITELLM_ENVIRONMENT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no network at its start
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
}
PORTKEY_HOME: Final = HERE / "portkey"
PORTKEY_LOCK: Final = PORTKEY_HOME / "package-lock.json"
PORTKEY_START: Final = "node_modules/@portkey-ai/gateway/build/start-server.js"


@dataclass(frozen=True)
class Peer:
    """Another proxy: how it is started, and what it wants beside the request."""

    name: str
    lock: Path
    stamp: Path
    requests: int
    """In a round: slow ones are asked less."""
    command: Callable[[Path, int, str], list[str]]
    environment: dict[str, str]
    headers: Callable[[str], tuple[str, ...]]
    install: Callable[[], None]

    @contextmanager
    def started(self, home: Path, url: str, token: str) -> Iterator[Contender]:
        """The proxy, before the far end at `url`, for callers with `token`."""
        port = free_port()
        command = self.command(home, port, url)
        environment = self.environment | {"HOME": str(home), "LITELLM_MASTER_KEY": token}
        with started(self.name, port, command, environment=environment, tells=False) as contender:
            yield contender


def _litellm(home: Path, port: int, url: str) -> list[str]:
    config = home / "litellm.yaml"
    config.write_text(LITELLM_CONFIG.format(url=url))
    at = ["--host", "127.0.0.1", "--port", str(port)]
    return [str(LITELLM_HOME / "bin" / "litellm"), "--config", str(config), *at]


def _portkey(home: Path, port: int, url: str) -> list[str]:
    del home, url
    return ["node", str(PORTKEY_HOME / PORTKEY_START), f"--port={port}", "--headless"]


def _install_litellm() -> None:
    venv.create(LITELLM_HOME, clear=True, with_pip=True)
    pip = [LITELLM_HOME / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = ["--only-binary", ":all:", "--require-hashes", "-r", LITELLM_LOCK]
    subprocess.run([*pip, "install", "--no-input", *wheels], check=True)


def _install_portkey() -> None:
    command = ["npm", "ci", "--ignore-scripts", "--loglevel=error"]
    subprocess.run(command, cwd=PORTKEY_HOME, check=True)


PEERS: Final = (
    Peer(
        name="LiteLLM",
        lock=LITELLM_LOCK,
        stamp=LITELLM_HOME / "installed.lock",
        requests=64,
        command=_litellm,
        environment=LITELLM_ENVIRONMENT,
        headers=lambda url: (),
        install=_install_litellm,
    ),
    Peer(
        name="Portkey",
        lock=PORTKEY_LOCK,
        stamp=PORTKEY_HOME / "node_modules" / "installed.lock",
        requests=160,
        command=_portkey,
        environment={"NODE_ENV": "production"},
        headers=lambda url: ("x-portkey-provider: openai", f"x-portkey-custom-host: {url}/v1"),
        install=_install_portkey,
    ),
)


def _is_there(peer: Peer) -> bool:
    return peer.stamp.exists() and peer.stamp.read_bytes() == peer.lock.read_bytes()


def installed() -> list[Peer]:
    """Those that are installed as their lock files say."""
    return [peer for peer in PEERS if _is_there(peer)]


def main() -> None:
    """Install what is missing; Node's only where there is a Node."""
    for peer in PEERS:
        if _is_there(peer):
            continue
        if peer.name == "Portkey" and shutil.which("npm") is None:
            print("Portkey is left out: there is no npm", file=sys.stderr)
            continue
        print(f"installing {peer.name} …", flush=True)
        peer.install()
        shutil.copyfile(peer.lock, peer.stamp)


if __name__ == "__main__":
    main()
