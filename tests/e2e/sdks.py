"""Installs the official SDKs that the end-to-end suites drive, each version beside the others.

    python tests/e2e/sdks.py [python] [node]

Standard library only, and idempotent: a stamp holds the lock file that was installed. Python's
live in `.venvs/openai-<version>`, Node's in `tests/e2e/sdk_node/node_modules`.
"""

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
PYTHON_SUITE: Final = HERE / "sdk_python"
NODE_SUITE: Final = HERE / "sdk_node"
VENVS: Final = HERE.parent.parent / ".venvs"

PYTHON_VERSIONS: Final = ("1.30.0", "1.109.1", "2.54.0", "3.52.0")
NODE_VERSIONS: Final = ("4.104.0", "5.23.2", "6.49.0", "7.55.0")


def python_sdk(version: str) -> Path:
    """The interpreter of a virtual environment that holds openai `version`."""
    home = VENVS / f"openai-{version}"
    interpreter = home / "bin" / "python"
    lock = PYTHON_SUITE / f"openai-{version}.lock"

    def install() -> None:
        venv.create(home, clear=True, with_pip=True)
        pip = [interpreter, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "install", "--require-hashes", "-r", lock], check=True)

    _once(lock, home / "installed.lock", install)
    return interpreter


def node_sdks() -> Path:
    """The directory from which Node finds every SDK version, by the names of `package.json`."""
    modules = NODE_SUITE / "node_modules"

    def install() -> None:
        subprocess.run(["npm", "ci", "--loglevel=error"], cwd=NODE_SUITE, check=True)

    _once(NODE_SUITE / "package-lock.json", modules / "installed.lock", install)
    return modules


def has_node() -> bool:
    """Whether this machine can run the Node suites at all."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


def _once(lock: Path, stamp: Path, install: Callable[[], None]) -> None:
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    install()
    shutil.copyfile(lock, stamp)


def main(languages: list[str]) -> None:
    """Installs what is asked for, everything by default; Node's only where there is a Node."""
    if not languages or "python" in languages:
        for version in PYTHON_VERSIONS:
            python_sdk(version)
    if (not languages or "node" in languages) and has_node():
        node_sdks()


if __name__ == "__main__":
    main(sys.argv[1:])
