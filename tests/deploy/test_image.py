"""The image without an engine: the Dockerfile linted, its steps run by hand, the result looked at."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import venv
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

import ringside_proxy
from ringside_proxy.telemetry.logs import SECRET
from tests.test_packaging import PROJECT, ROOT, instructions, last_stage, pins

IMAGE_BYTES_MAX: Final = 60 * 10**6
"""Beside Python itself; uncompressed."""
ELSEWHERE: Final = {"tests", "test", ".git", "deploy"}
SECRET_FILES: Final = re.compile(r"(^|/)(\.env|id_\w+|.*\.(pem|key|db)|secrets)$")
PATHS: Final = ("/opt/ringside", "/wheels", "/src")
READY_S_MAX: Final = 60

pytestmark = pytest.mark.timeout(600)  # the first test waits for the packages to be fetched

Tool = Callable[[str], Path]


def test_dockerfile_passes_the_linter(tool: Tool) -> None:
    """hadolint finds nothing."""
    command = [tool("hadolint"), ROOT / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, "")


def test_dockerfile_linter_catches(tool: Tool, tmp_path: Path) -> None:
    """Something that is wrong is found, so that nothing found means something."""
    path = tmp_path / "Dockerfile"
    path.write_text((ROOT / "Dockerfile").read_text().replace("-slim-trixie", ":latest"))

    done = subprocess.run([tool("hadolint"), path], capture_output=True, timeout=60, check=False)

    assert done.returncode != 0


def build_steps() -> list[tuple[str, str]]:
    """The first stage, without its FROM."""
    steps = instructions()
    last = max(number for number, (name, _) in enumerate(steps) if name == "FROM")
    return steps[1:last]


def let_through(folder: str, names: list[str]) -> list[str]:
    """What .dockerignore keeps out of a folder."""
    del folder
    return [name for name in names if name == "__pycache__" or name.endswith(".pyc")]


@pytest.fixture(scope="module")
def image(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root below which the build stage's steps were run, one after the other."""
    tool("hadolint")  # where no tools are, `make test` does not fetch packages either
    tool("strip")
    root = tmp_path_factory.mktemp("image")
    builder = root / "python"
    venv.create(builder, with_pip=True)
    env = {"PATH": f"{builder}/bin:{os.environ['PATH']}", "HOME": str(root)}
    env |= {name: text for name, text in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    work = root

    def inside(text: str) -> str:
        for path in PATHS:
            text = re.sub(rf"(?<![\w./]){path}\b", f"{root}{path}", text)
        return text

    for name, argument in build_steps():
        match name:
            case "WORKDIR":
                work = Path(inside(argument))
                work.mkdir(parents=True)
            case "COPY":
                *sources, target = argument.split()
                for source in sources:
                    place = work / target
                    if (ROOT / source).is_dir():
                        shutil.copytree(ROOT / source, place, ignore=let_through)
                    else:
                        shutil.copy(ROOT / source, place)
            case "RUN":
                subprocess.run(
                    ["/bin/sh", "-ec", inside(argument)],
                    cwd=work,
                    env=env,
                    check=True,
                    capture_output=True,
                    timeout=550,
                )
    return root


def shipped(image: Path) -> list[str]:
    """Every file that the second stage copies, from its own root."""
    home = image / "opt/ringside"
    return sorted(p.relative_to(home).as_posix() for p in home.rglob("*") if not p.is_dir())


def test_image_holds_the_lock_file_and_us(image: Path) -> None:
    """Each installed package is pinned, at this version; ours is the only one more; no pip."""
    found = re.findall(
        r"site-packages/([\w.]+)-([\w.+]+)\.dist-info/METADATA", "\n".join(shipped(image))
    )
    installed = {name.replace("_", "-").replace(".", "-").lower(): v for name, v in found}

    assert installed.pop("ringside-proxy") == ringside_proxy.__version__
    assert installed.items() <= pins("requirements.lock").items()
    assert "pip" not in installed
    named = {re.split(r"[\[<>=~! ]", wanted)[0] for wanted in PROJECT["dependencies"]}
    assert named <= installed.keys()


def test_image_holds_no_tests_and_no_secrets(image: Path) -> None:
    """Of ours only the package, and in it nothing that looks like a key."""
    ours = [name for name in shipped(image) if "site-packages/ringside_proxy/" in name]
    home = image / "opt/ringside"

    assert ours
    assert [name for name in ours if ELSEWHERE & set(Path(name).parts)] == []
    assert [name for name in ours if SECRET_FILES.search(name)] == []
    well_known = {"ko_localhost", "whsec_" + b64encode(b"not a secret, only an example").decode()}
    for name in (name for name in ours if "__pycache__" not in name):
        text = (home / name).read_bytes().decode(errors="replace")
        keys = {found.group() for found in SECRET.finditer(text) if len(found.group()) >= 24}
        assert keys <= well_known, name


def test_image_is_small(image: Path) -> None:
    """What is added to the slim Python stays under 60 MB."""
    home = image / "opt/ringside"
    size = sum((home / name).lstat().st_size for name in shipped(image))

    assert size < IMAGE_BYTES_MAX


def image_env(image: Path, folder: Path) -> dict[str, str]:
    """The second stage's environment, with /data in `folder` and free ports."""
    text = last_stage()["ENV"][0]
    given = dict(pair.split("=", 1) for pair in text.split())
    given["PATH"] = f"{image}/opt/ringside/bin:/usr/bin:/bin"
    given["RINGSIDE_STORE_URL"] = given["RINGSIDE_STORE_URL"].replace("/data", f"{folder}/data")
    assert given["RINGSIDE_ADMIN_HOST"] == "0.0.0.0"  # noqa: S104
    return given | {"RINGSIDE_ADMIN_HOST": "127.0.0.1", "RINGSIDE_PORT": "0"}


@pytest.fixture
def container(image: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path, int]]:
    """The entry point, running in an empty folder; its process, the folder, the admin port."""
    (tmp_path / "data").mkdir(mode=0o700)
    work = tmp_path / "ringside"
    work.mkdir()
    env = image_env(image, tmp_path) | {"RINGSIDE_ADMIN_PORT": "0"}
    [program, *args] = json.loads(last_stage()["ENTRYPOINT"][0])
    command = [image / "opt/ringside/bin" / program, *args]
    with subprocess.Popen(
        command, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = re.search(r"metrics on http://127\.0\.0\.1:(\d+)", line)
            assert port, line
            yield process, tmp_path, int(port[1])
        finally:
            process.kill()


def test_image_turns_healthy_and_stops(
    image: Path, container: tuple[subprocess.Popen[str], Path, int]
) -> None:
    """HEALTHCHECK's own command finds it well; SIGTERM ends it with 0; only /data was written."""
    process, folder, port = container
    _, _, command = last_stage()["HEALTHCHECK"][0].partition("CMD ")
    env = image_env(image, folder) | {"RINGSIDE_ADMIN_PORT": str(port)}
    asked = subprocess.run(json.loads(command), env=env, timeout=30, check=False)

    process.send_signal(signal.SIGTERM)

    assert asked.returncode == 0
    assert process.wait(timeout=READY_S_MAX) == 0
    assert list((folder / "ringside").iterdir()) == []
    assert (folder / "data/ringside.db").exists()
    dead = subprocess.run(
        json.loads(command), env=env, timeout=30, check=False, capture_output=True
    )
    assert dead.returncode != 0


# ---------------------------------------------------------------------------------------------- sbom


def test_sbom_lists_what_is_locked(tool: Tool, tmp_path: Path) -> None:
    """`make sbom` writes CycloneDX with every pinned package, and says whose it is."""
    tool("cyclonedx-py")
    target = tmp_path / "sbom.json"
    command = ["make", "-s", "sbom", f"SBOM={target}", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)

    bill = json.loads(target.read_text())

    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["name"] == "ringside-proxy"
    listed = {part["name"]: part["version"] for part in bill["components"]}
    assert listed == pins("requirements.lock")
    assert all(part["purl"].startswith("pkg:pypi/") for part in bill["components"])
