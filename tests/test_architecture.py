"""The shape of the code, checked by the machine; each check is shown to catch what it forbids."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "ringside_proxy"
SOURCES: Final = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

FUNCTION_LINES_MAX: Final = 60
FILE_LINES_MAX: Final = 500
REASON: Final = re.compile(r"# long: \S+")
"""Beside a `def`, or in a file's first line: why this one is longer."""

PRINTING: Final = ("cli.py", "demo.py")
DIALLING: Final = ("providers/connections.py", "guarded_client.py")
"""Calls to whom the owner configured, and calls to whom somebody else named."""

SQL: Final = re.compile(
    r"^\s*(SELECT\s.+|INSERT\s+(OR\s+\w+\s+)?INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|REPLACE\s+INTO\s"
    r"|(CREATE|ALTER|DROP)\s+(UNIQUE\s+)?(TABLE|INDEX|VIEW|TRIGGER)\s|PRAGMA\s+\w+|VACUUM\b"
    r"|BEGIN\s+IMMEDIATE|SAVEPOINT\s+\w+|WITH\s+\w+\s+AS\s*\()",
    re.DOTALL,
)

Check = Callable[[str, str], Iterator[str]]
"""`check(path, source)`: what is wrong, one line each; `path` counts from the package."""


def long_file(path: str, source: str) -> Iterator[str]:
    """A file of more than FILE_LINES_MAX lines, unless its first line says why."""
    lines = source.splitlines()
    if len(lines) > FILE_LINES_MAX and not REASON.match(lines[0]):
        yield f"{path} has {len(lines)} lines"


def long_function(path: str, source: str) -> Iterator[str]:
    """A function of more than FUNCTION_LINES_MAX lines, unless a comment beside it says why."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        length = (node.end_lineno or first) - first + 1
        beside = "\n".join(lines[max(first - 2, 0) : node.body[0].lineno - 1])
        if length > FUNCTION_LINES_MAX and not REASON.search(beside):
            yield f"{path}:{first} {node.name} has {length} lines"


def sql_outside_the_store(path: str, source: str) -> Iterator[str]:
    """A string that is an SQL statement, anywhere but under store/."""
    if path.startswith("store/"):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield f"{path}:{node.lineno} holds SQL: {node.value[:40]!r}"


def client_outside_its_module(path: str, source: str) -> Iterator[str]:
    """An aiohttp client opened anywhere but in the two modules that own a connection pool."""
    if path in DIALLING:
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="ClientSession")):
                yield f"{path}:{node.lineno} opens an aiohttp client"
            case ast.ImportFrom(names=aliases) if "ClientSession" in {a.name for a in aliases}:
                yield f"{path}:{node.lineno} imports aiohttp's client by name"


def print_outside_commands(path: str, source: str) -> Iterator[str]:
    """A print, anywhere but in a command."""
    if path in PRINTING:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id == "print":
            yield f"{path}:{node.lineno} prints"


CHECKS: Final[tuple[Check, ...]] = (
    long_file,
    long_function,
    sql_outside_the_store,
    client_outside_its_module,
    print_outside_commands,
)

VIOLATIONS: Final[list[tuple[Check, str, str]]] = [
    (long_file, "api/a.py", "x = 1\n" * (FILE_LINES_MAX + 1)),
    (long_file, "api/a.py", "# long:\n" + "x = 1\n" * FILE_LINES_MAX),
    (long_function, "api/a.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (long_function, "api/a.py", "async def f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (
        long_function,
        "api/a.py",
        "class A:\n    @a\n    def f():\n" + "        x = 1\n" * (FUNCTION_LINES_MAX - 1),
    ),
    (long_function, "api/a.py", "def f():\n" + "    x = 1  # long: no\n" * FUNCTION_LINES_MAX),
    (sql_outside_the_store, "services/a.py", "Q = 'SELECT id FROM runs'"),
    (sql_outside_the_store, "api/a.py", "def f(t): return f'DELETE FROM {t}'"),
    (sql_outside_the_store, "app.py", "Q = '''\n  UPDATE runs SET status = ?'''"),
    (sql_outside_the_store, "domain/a.py", "Q = ('INSERT OR IGNORE ' 'INTO runs VALUES (?)')"),
    (sql_outside_the_store, "domain/storey.py", "Q = 'PRAGMA journal_mode=WAL'"),
    (client_outside_its_module, "services/a.py", "import aiohttp\naiohttp.ClientSession()"),
    (client_outside_its_module, "services/a.py", "from aiohttp import ClientSession as S"),
    (client_outside_its_module, "api/client.py", "from aiohttp import ClientSession"),
    (print_outside_commands, "api/a.py", "print('x')"),
    (print_outside_commands, "api/a.py", "log = print"),
    (print_outside_commands, "services/cli.py", "print('x')"),
]

ALLOWED: Final[list[tuple[Check, str, str]]] = [
    (long_file, "api/a.py", "x = 1\n" * FILE_LINES_MAX),
    (long_file, "api/a.py", "# long: one table, generated\n" + "x = 1\n" * FILE_LINES_MAX),
    (long_function, "api/a.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES_MAX - 1)),
    (long_function, "a.py", "def f():  # long: a table\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (long_function, "a.py", "# long: a table\ndef f():\n" + "    x = 1\n" * FUNCTION_LINES_MAX),
    (sql_outside_the_store, "store/runs.py", "Q = 'SELECT id FROM runs'"),
    (sql_outside_the_store, "api/a.py", "M = 'Select a model; update its settings'"),
    (client_outside_its_module, "providers/connections.py", "from aiohttp import ClientSession"),
    (client_outside_its_module, "providers/a.py", "def f(s: aiohttp.ClientSession): ..."),
    (print_outside_commands, "cli.py", "print('x')"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", SOURCES)
def test_source_keeps_its_shape(path: str, check: Check) -> None:
    """Every file of the package passes every check."""
    assert list(check(path, (PACKAGE / path).read_text())) == []


@pytest.mark.parametrize(("check", "path", "source"), VIOLATIONS)
def test_check_catches(check: Check, path: str, source: str) -> None:
    """A check names the one thing that is wrong."""
    assert len(list(check(path, source))) == 1


@pytest.mark.parametrize(("check", "path", "source"), ALLOWED)
def test_check_allows(check: Check, path: str, source: str) -> None:
    """What stands at the limit, has a reason beside it or is at home there passes."""
    assert list(check(path, source)) == []


# ----------------------------------------------------------------------------------- import floors


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with the contracts of the pyproject.toml in `folder`."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def skeleton(folder: Path) -> Path:
    """A package with an empty module on every floor, under the real contracts."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    floors = next(contract for contract in contracts["contracts"] if contract["type"] == "layers")
    package = folder / "ringside_proxy"
    package.mkdir()
    for name in ["__init__", *re.findall(r"\w+", " ".join(floors["layers"]))]:
        (package / f"{name}.py").touch()
    shutil.copy(ROOT / "pyproject.toml", folder)
    return package


def test_imports_run_down_the_floors() -> None:
    """The package keeps the contracts of pyproject.toml."""
    result = lint_imports(ROOT)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("path", "source", "broken"),
    [
        ("domain.py", "import ringside_proxy.api", "Imports run one way"),
        ("store.py", "import ringside_proxy.providers", "Imports run one way"),
        ("stray.py", "", "Imports run one way"),
        ("domain.py", "import asyncio", "The domain does no I/O"),
        ("services.py", "import sqlite3", "SQL stays in the store"),
        ("system.py", "import ringside_proxy.app", "No cycles"),
    ],
)
def test_contracts_catch(tmp_path: Path, path: str, source: str, broken: str) -> None:
    """One wrong import, or a module on no floor, breaks the contract that forbids it."""
    package = skeleton(tmp_path)
    (package / "app.py").write_text("import ringside_proxy.system")
    sound = lint_imports(tmp_path)

    (package / path).write_text(source)
    result = lint_imports(tmp_path)

    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert result.returncode == 1
    assert re.search(rf"^{broken}.* BROKEN$", result.stdout, re.MULTILINE), result.stdout
