"""What is shipped, and what is said about it: wheel, lock files, image, changelog, README."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final, get_args

import pytest
import yaml

import ringside_proxy
from ringside_proxy.api.errors import STATUS_AND_TYPE
from ringside_proxy.domain.errors import RingsideError
from ringside_proxy.domain.outgoing import EventType
from ringside_proxy.sandbox.models import ROWS, SandboxModel
from ringside_proxy.settings.load import load
from ringside_proxy.telemetry.metrics import Metrics

ROOT: Final = Path(__file__).parents[1]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README: Final = (ROOT / "README.md").read_text()
LOCKS: Final = ("requirements.lock", "requirements-demo.lock", "requirements-dev.lock")

FIRST_COMMAND_LINE_MAX: Final = 20
DECISION_LINES_MAX: Final = 40

# ------------------------------------------------------------------------------------------- wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """The project's wheel, built from the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [path] = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_wheel_holds_the_whole_package(wheel: zipfile.ZipFile) -> None:
    """Every file of the package is shipped: code, migrations, the model table, py.typed."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "ringside_proxy").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert shipped == expected
    assert "ringside_proxy/py.typed" in shipped
    assert "ringside_proxy/providers/models/openai.json" in shipped
    assert "ringside_proxy/providers/models/NOTICES.md" in shipped
    assert any(re.fullmatch(r"ringside_proxy/store/migrations/\d{4}_\w+\.sql", n) for n in shipped)


def test_wheel_describes_itself(wheel: zipfile.ZipFile) -> None:
    """The version, the licence and the command are in the wheel's own papers."""
    papers = f"ringside_proxy-{ringside_proxy.__version__}.dist-info"

    metadata = wheel.read(f"{papers}/METADATA").decode()
    commands = wheel.read(f"{papers}/entry_points.txt").decode()

    assert f"\nVersion: {ringside_proxy.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "ringside = ringside_proxy.__main__:main" in commands
    assert b"Apache License" in wheel.read(f"{papers}/licenses/LICENSE")


# -------------------------------------------------------------------------------------- lock files


def pins(name: str) -> dict[str, str]:
    """A lock file's packages and versions; every line of it must be a pin or a hash of one."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        pin = re.fullmatch(
            r"([a-z0-9.-]+)(?:\[[a-z0-9,-]+\])?==(\S+)( ; [^\\]+?)?((\s+--hash=sha256:[0-9a-f]{64})+)",
            line,
        )
        assert pin, line
        found[pin[1]] = pin[2]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_lock_file_holds_pins_and_hashes_only(name: str) -> None:
    """Versions with their hashes, and no address that they were fetched from."""
    assert pins(name)
    assert "://" not in (ROOT / name).read_text()


def test_lock_files_agree() -> None:
    """What runs is in the demo's lock file, and that is in the developers', at the same versions."""
    runtime, demo, dev = map(pins, LOCKS)

    assert runtime.items() <= demo.items() <= dev.items()


def test_lock_file_covers_the_dependencies() -> None:
    """Each dependency of the project is pinned."""
    names = {re.split(r"[\[<>=~! ]", wanted)[0] for wanted in PROJECT["dependencies"]}

    assert names <= pins("requirements.lock").keys()


# ------------------------------------------------------------------------------------------- image


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, argument), comments gone, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    joined = text.replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(name, " ".join(argument.split())) for name, argument in lines]


def last_stage() -> dict[str, list[str]]:
    """The final image's instructions, by name."""
    stages: list[dict[str, list[str]]] = []
    for name, argument in instructions():
        if name == "FROM":
            stages.append({})
        stages[-1].setdefault(name, []).append(argument)
    return stages[-1]


def test_image_is_slim_and_pinned_to_a_python() -> None:
    """It is slim, of a Python that the project supports; what builds is the same, with binutils."""
    bases = [argument.split()[0] for name, argument in instructions() if name == "FROM"]

    assert len(bases) == 2
    assert re.fullmatch(r"python:3\.1[3-9]-slim-[a-z]+", bases[1])
    assert bases[0] == bases[1].replace("-slim", "")


def test_image_installs_by_hash_only() -> None:
    """Whatever pip fetches is checked against a lock file; the project itself is fetched nowhere."""
    installs = [
        step
        for name, argument in instructions()
        if name == "RUN"
        for step in argument.split("&&")
        if " install " in step and "pip" in step
    ]

    assert any("--require-hashes -r requirements.lock" in step for step in installs)
    assert all("--require-hashes" in step or "--no-index" in step for step in installs)


def test_image_runs_without_root_and_writes_to_data_only() -> None:
    """User 10001, and one volume, where the store is."""
    stage = last_stage()

    assert stage["USER"] == ["10001:10001"]
    assert stage["VOLUME"] == ["/data"]
    assert "RINGSIDE_STORE_URL=sqlite:////data/ringside.db" in stage["ENV"][0].split()
    assert list(stage).index("USER") < list(stage).index("ENTRYPOINT")


def test_image_serves_and_says_how_it_is() -> None:
    """It starts `ringside serve`, shows both listeners, and is asked for /healthz with Python."""
    stage = last_stage()
    _, _, command = stage["HEALTHCHECK"][0].partition("CMD ")

    python, flag, program = json.loads(command)

    assert json.loads(stage["ENTRYPOINT"][0]) == ["ringside", "serve"]
    assert stage["EXPOSE"] == ["8080 9090"]
    assert (python, flag) == ("python", "-c")
    assert "/healthz" in program
    ast.parse(program)


def test_image_says_why_its_sqlite_is_safe() -> None:
    """A version below the fix is no oversight: the reason stands in the file."""
    text = (ROOT / "Dockerfile").read_text()

    assert "3.51.3" in text
    assert "single-writer rule" in text


def test_image_knows_time_zones() -> None:
    """Its build fails where the time zone database is missing: a month begins somewhere."""
    checks = [json.loads(run) for run in last_stage()["RUN"] if run.startswith("[")]

    assert any("zoneinfo.ZoneInfo(" in program for *_, program in checks)


def test_image_is_built_from_what_is_there() -> None:
    """Every source of a COPY exists and gets past .dockerignore."""
    let_in = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        source
        for name, argument in instructions()
        if name == "COPY" and "--from" not in argument
        for source in argument.split()[:-1]
    ]

    assert copied
    assert all((ROOT / source).exists() for source in copied)
    assert set(copied) == set(let_in)


# --------------------------------------------------------------------------------------- ci, papers


def test_ci_runs_lint_demo_and_tests_without_asking() -> None:
    """.ci/run is executable, stops at the first failure, reads nothing, ends with the tests."""
    script = ROOT / ".ci" / "run"
    lines = [line for line in script.read_text().splitlines() if line and line[0] != "#"]

    assert os.access(script, os.X_OK)
    assert {"set -euo pipefail", "exec </dev/null"} < set(lines)
    assert [line for line in lines if line.startswith("make ")] == [
        "make lint",
        "make demo",
        "make node",
        "make deploy-tools",
        "make test",
    ]


def test_workflow_runs_the_same_and_pins_its_actions() -> None:
    """CI calls .ci/run, with every action pinned by commit."""
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]

    assert ".ci/run" in [step.get("run") for step in steps]
    used = [step["uses"] for step in steps if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


def test_changelog_names_this_version() -> None:
    """Unreleased first, then the version that the package says it is."""
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[:2] == ["Unreleased", ringside_proxy.__version__]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github/decisions").glob("*.md")), ids=lambda p: p.stem
)
def test_decision_is_short_and_whole(path: Path) -> None:
    """A decision has its four parts on less than a page."""
    text = path.read_text()

    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == [
        "Context",
        "Choice",
        "Alternatives",
        "Price",
    ]
    assert len(text.splitlines()) < DECISION_LINES_MAX
    assert re.match(rf"# {int(path.name[:4])}\. ", text)


# ------------------------------------------------------------------------------------------ readme


def blocks(language: str) -> list[str]:
    """The README's code blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_readme_starts_with_the_two_commands() -> None:
    """The first block, by line 20, is `make demo` and `make test`; the client change is next."""
    first = README[: README.index("make test")].count("\n") + 1
    languages = re.findall(r"^```(\w+)$", README, re.MULTILINE)

    assert [shlex.split(line, comments=True) for line in blocks("sh")[0].splitlines()] == [
        ["make", "demo"],
        ["make", "test"],
    ]
    assert first <= FIRST_COMMAND_LINE_MAX
    assert languages[:2] == ["sh", "python"]
    assert 'base_url="http://127.0.0.1:8080/v1"' in blocks("python")[0]


def test_readme_make_targets_exist() -> None:
    """Every `make …` that the README and the contributors' page name is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = README + (ROOT / ".github/CONTRIBUTING.md").read_text()

    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", pages, re.MULTILINE))

    assert {"demo", "test", "run", "check"} <= named <= targets


def test_readme_python_is_python() -> None:
    """The examples parse, one after the other as one program."""
    program = "\n".join(blocks("python"))

    names = {node.id for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Name)}

    assert {"OpenAI", "client", "assistant", "thread", "stream"} <= names


def test_readme_files_exist() -> None:
    """Every link into the repository leads somewhere."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def subclasses(cls: type[RingsideError]) -> set[type[RingsideError]]:
    direct = cls.__subclasses__()
    return set(direct).union(*(subclasses(child) for child in direct))


def error_rows() -> set[tuple[int, str, str]]:
    """The README's table of errors as (status, type, code)."""
    row = re.compile(r"^\| [^|]+ \| (\d{3}) \| `(\w+)` \| (.+) \|$", re.MULTILINE)
    return {
        (int(status), error_type, code)
        for status, error_type, codes in row.findall(README)
        for code in re.findall(r"`(\w+)`", codes)
    }


@pytest.mark.parametrize(
    "error",
    sorted(
        (error for error in subclasses(RingsideError) if error.default_code),
        key=lambda error: error.__name__,
    ),
    ids=lambda error: error.__name__,
)
def test_readme_lists_every_error_code(error: type[RingsideError]) -> None:
    """What the proxy answers, a user can look up: its code, with its status and its type."""
    status, error_type = next(
        STATUS_AND_TYPE[cls] for cls in error.__mro__ if cls in STATUS_AND_TYPE
    )

    assert (status, error_type, error.default_code) in error_rows()


def test_readme_configuration_loads(tmp_path: Path) -> None:
    """The examples are valid configurations, all of them in effect."""
    path = tmp_path / "ringside.yaml"
    providers: set[str] = set()
    for example in blocks("yaml"):
        path.write_text(example)
        named = {name: f"value-of-{name}" for name in re.findall(r"\$\{(\w+)\}", example)}

        settings = load(path, named)

        providers |= set(settings.providers)
        assert settings.not_in_effect == ()

    assert providers == {"openai", "sandbox"}


def test_readme_lists_every_event() -> None:
    """The table of what webhooks are told is the proxy's own, neither more nor less."""
    table = README.partition("\n| event | when | `data` |\n")[2].partition("\n\n")[0]

    named = [
        name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]

    assert sorted(named) == sorted(get_args(EventType))
    assert "`usage.recorded`" in README.partition("\n## Usage upstream\n")[2].partition("\n## ")[0]


def test_readme_lists_every_metric() -> None:
    """The table of metrics is the registry's, neither more nor less."""
    declared = re.findall(r"^# TYPE (\S+)", Metrics("0").render().decode(), re.MULTILINE)

    named = re.findall(r"^\| `(ringside_\w+)`", README, re.MULTILINE)

    assert sorted(named) == sorted(declared)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_readme_lists_every_sandbox_model(row: SandboxModel) -> None:
    """The table of simulated models is the sandbox's own, in its words."""
    # A bare `<n>` would be an HTML tag to whoever shows the page.
    assert f"| `{row.name}` | {row.description} |" in README.replace("\\<", "<").splitlines()


def test_runtime_lock_holds_everything_the_package_imports() -> None:
    """What only the tests install must not be needed to serve; the demo alone needs more."""
    locked = {
        line.partition("==")[0].lower()
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if "==" in line
    }
    distributions = packages_distributions()
    imported: set[str] = set()
    for path in (ROOT / "ringside_proxy").rglob("*.py"):
        if path.name != "demo.py":
            imported |= _imports(path)
    foreign = imported - set(sys.stdlib_module_names) - {"ringside_proxy", "openai"}

    missing = {name for name in foreign if not _is_locked(distributions.get(name, []), locked)}

    assert foreign >= {"aiohttp", "jsonschema_rs", "msgspec"}
    assert missing == set()


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def _is_locked(distributions: list[str], locked: set[str]) -> bool:
    return any(name.lower().replace("_", "-") in locked for name in distributions)
