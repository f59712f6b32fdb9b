"""The compose file and the systemd unit: valid, and as closed as the pods."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from ringside_proxy.cli import EXIT_DAMAGED
from ringside_proxy.settings.load import load

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final = ROOT / "deploy/compose/docker-compose.yaml"
UNIT: Final = ROOT / "deploy/systemd/ringside.service"
EXPOSURE_MAX: Final = 15
"""Of systemd's own score, in tenths: below 2.0 it says "OK" without a doubt."""

SHUT: Final = {
    **{"user": "10001:10001", "read_only": True, "cap_drop": ["ALL"]},
    **{"security_opt": ["no-new-privileges:true"], "stop_grace_period": "60s"},
}


def service() -> dict[str, Any]:
    """The one service of the compose file."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    assert list(services) == ["ringside"]
    return services["ringside"]


def test_compose_file_is_valid(tool: Callable[[str], Path]) -> None:
    """By the schema of the Compose specification."""
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout


def test_compose_check_catches(tool: Callable[[str], Path], tmp_path: Path) -> None:
    """A key that Compose does not know is refused."""
    path = tmp_path / "docker-compose.yaml"
    path.write_text(COMPOSE.read_text().replace("read_only:", "readonly:"))
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", path]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "readonly" in done.stdout


def test_container_is_as_closed_as_a_pod() -> None:
    """No root, no capabilities, a read-only root, no port beyond this machine, limits."""
    given = service()

    assert SHUT.items() <= given.items()
    assert all(str(port).startswith("127.0.0.1:") for port in given["ports"])
    assert {"mem_limit", "pids_limit"} <= given.keys()
    assert not given.keys() & {"privileged", "network_mode", "pid", "ipc", "cap_add", "devices"}
    assert not [volume for volume in given["volumes"] if "docker.sock" in volume]


def test_compose_configuration_loads_with_its_secret(tmp_path: Path) -> None:
    """Each secret that ringside.yaml names is one of the service, and has a file of its own."""
    document = yaml.safe_load(COMPOSE.read_text())
    text = (COMPOSE.parent / "config/ringside.yaml").read_text()
    active = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    named = set(re.findall(r"file:/run/secrets/([\w-]+)", active))
    for name in named:
        (tmp_path / name).write_text("secret-of-a-test\n")
    (tmp_path / "ringside.yaml").write_text(active.replace("/run/secrets", str(tmp_path)))

    settings = load(tmp_path / "ringside.yaml", document["services"]["ringside"]["environment"])

    assert settings.server.host == "0.0.0.0"  # noqa: S104
    assert named == set(service()["secrets"]) == set(document["secrets"])


def test_secrets_folder_is_out_of_the_tree() -> None:
    """What the README has people put there is never committed."""
    done = subprocess.run(
        ["git", "check-ignore", "-q", "--no-index", "deploy/compose/secrets/app-token"],
        cwd=ROOT,
        check=False,
    )

    assert done.returncode == 0


# ------------------------------------------------------------------------------------------ systemd


def directives() -> dict[str, list[str]]:
    """The unit's lines by key."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith(("#", "[")):
            found.setdefault(key, []).append(value)
    return found


def test_unit_serves_reloads_and_gives_up_on_a_damaged_store() -> None:
    """The commands are ours; SIGHUP reloads; exit 3 is not tried again."""
    given = directives()

    assert [line.split()[:2] for line in given["ExecStart"]] == [
        ["/opt/ringside/bin/ringside", "serve"]
    ]
    assert given["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert given["RestartPreventExitStatus"] == [str(EXIT_DAMAGED)]
    assert given["TimeoutStopSec"] == ["60"]
    assert given["User"] != ["root"]


def test_the_page_tells_other_commands_what_the_unit_tells_the_proxy() -> None:
    """Else a backup beside the service finds no store."""
    [told] = directives()["Environment"]
    serve = directives()["ExecStart"][0].split()

    exported = f"export {told} RINGSIDE_CONFIG={serve[serve.index('-c') + 1]}\n"
    assert exported in (ROOT / "deploy/README.md").read_text()


@pytest.fixture
def unit_here(tmp_path: Path) -> Path:
    """The unit with its program where systemd can find it."""
    program = tmp_path / "ringside"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / UNIT.name
    text = UNIT.read_text().replace("/opt/ringside/bin/ringside", str(program))
    unit.write_text(text.replace("Documentation=file:/opt/ringside/README.md\n", ""))
    return unit


def analyze(tool: Callable[[str], Path], *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs systemd's own judge."""
    command = [tool("systemd-analyze"), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_systemd_knows_every_directive(tool: Callable[[str], Path], unit_here: Path) -> None:
    """No key that it would ignore, no value that it would not take."""
    done = analyze(tool, "verify", unit_here)

    assert unit_here.name not in done.stdout + done.stderr


def test_systemd_check_catches(tool: Callable[[str], Path], unit_here: Path) -> None:
    """A misspelt key is named."""
    unit_here.write_text(unit_here.read_text().replace("ProtectClock=", "ProtectClocks="))

    assert "ProtectClocks" in analyze(tool, "verify", unit_here).stderr


def test_unit_is_hardened(tool: Callable[[str], Path], unit_here: Path) -> None:
    """systemd's own score of what the service could still do."""
    done = analyze(tool, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit_here)

    assert done.returncode == 0, done.stdout[-300:]
