"""The commands of a real `ringside`, alone and beside a running proxy."""

import re
import signal
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from ringside_proxy import __version__
from tests.crash.client import Client
from tests.crash.process import URL, Home, kill
from tests.e2e.ringside import TOKEN

TOKEN_SHAPE: Final = re.compile(r"ko_[0-9A-Za-z]{43}\n")
TOKENS: Final = [{"name": "app", "token": TOKEN}]
BROKEN: Final = """\
server: {port: 70000}
store: {url: "mysql://x"}
slots: {fast: fc:sandbocks/echo}
rums: {expires_after: 10m}
"""
BROKEN_PATHS: Final = ("server.port", "store.url", "slots.fast.model", "rums")


async def authenticates(url: str, token: str) -> bool:
    """Whether a token is let in."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(url, headers=headers) as session,
        session.get("/v1/threads") as response,
    ):
        return response.status == 200


async def test_the_version_is_told(home: Home) -> None:
    """`ringside --version` names the package's version."""
    outcome = await home.run("--version")

    assert (outcome.code, outcome.out) == (0, f"ringside {__version__}\n")


# --- serve


async def test_the_ready_line_comes_when_requests_work(home: Home) -> None:
    """The first request after the line is answered, on both listeners, also after a crash."""
    for _ in range(3):
        async with home.serving() as server, Client.of(server.url) as client:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{server.admin_url}/readyz") as response,
            ):
                assert response.status == 200
            await client.post("/v1/threads")
            await kill(server.process)


async def test_a_second_process_on_a_store_is_refused(home: Home) -> None:
    """The second one exits with 1, names the store and what to do; the first one goes on."""
    async with home.serving() as server, Client.of(server.url) as client:
        outcome = await home.run("serve", "-c", str(home.config))
        await client.post("/v1/threads")

    assert (outcome.code, outcome.out) == (1, "")
    last_line = outcome.err.splitlines()[-1]
    assert last_line.startswith(f"The store {home.store} is in use by another process.")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", ["serve", "sandbox"])
@pytest.mark.parametrize("port", ["65536", "-1", "abc"])
async def test_what_is_no_port_is_refused(home: Home, command: str, port: str) -> None:
    """The system would listen on what is left of a number that is too large."""
    outcome = await home.run(command, f"--port={port}")

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.endswith(f"argument --port: '{port}' is no port from 0 to 65535\n")


@pytest.mark.parametrize("listener", ["server", "admin"])
async def test_a_taken_port_is_refused(home: Home, listener: str) -> None:
    """The exit is 1, and the message says which address is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        home.configure(**{listener: {"port": port}})

        outcome = await home.run("serve", "-c", str(home.config))

    assert (outcome.code, outcome.out) == (1, "")
    assert "address already in use" in outcome.err.splitlines()[-1].lower()
    assert str(port) in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("listener", ["server", "admin"])
async def test_a_host_that_nobody_knows_is_named(home: Home, listener: str) -> None:
    """With the key that it stands under."""
    home.configure(**{listener: {"port": 0, "host": "nowhere.invalid"}}, auth={"tokens": TOKENS})

    outcome = await home.run("serve", "-c", str(home.config))

    assert (outcome.code, outcome.out) == (1, "")
    assert f"{listener}.host" in outcome.err.splitlines()[-1]
    assert "nowhere.invalid" in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err


async def test_a_store_that_cannot_be_made_is_named(home: Home) -> None:
    """With what is in the way, and the key that leads elsewhere."""
    (home.path / "file").touch()
    home.configure(store={"url": f"sqlite:///{home.path}/file/ringside.db"})

    outcome = await home.run("serve", "-c", str(home.config))

    last_line = outcome.err.splitlines()[-1]
    assert (outcome.code, outcome.out) == (1, "")
    assert last_line.startswith(f"The store {home.path}/file/ringside.db cannot be opened: ")
    assert last_line.endswith("or name another place under store.url.")
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("was_clean", [True, False])
async def test_a_damaged_store_is_refused_and_left_alone(home: Home, was_clean: bool) -> None:
    """The exit is 3, the message says how to restore, and no byte of the store has changed."""
    async with home.serving() as server, Client.of(server.url) as client:
        for _ in range(20):
            await client.post(
                "/v1/threads", {"messages": [{"role": "user", "content": "x" * 2000}]}
            )
        assert await server.stop() == 0
    if not was_clean:
        with closing(sqlite3.connect(home.store)) as connection, connection:
            connection.execute("INSERT INTO store_meta VALUES ('open', '1')")
    damage = b"\xff" * 4096 if was_clean else b"\xff" * 2048
    data = bytearray(home.store.read_bytes())
    at = 0 if was_clean else len(data) // 2 // 4096 * 4096
    data[at : at + len(damage)] = damage
    home.store.write_bytes(data)

    outcome = await home.run("serve", "-c", str(home.config))

    assert (outcome.code, outcome.out) == (3, "")
    assert f"The store {home.store} is damaged" in outcome.err
    assert f"cp BACKUP {home.store}" in outcome.err
    assert home.store.read_bytes() == bytes(data)
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize("command", ["serve", "check"])
async def test_a_broken_config_is_refused_with_every_problem(home: Home, command: str) -> None:
    """The exit is 1, with one line for each problem: path, what is wrong, what would be right."""
    home.config.write_text(BROKEN)

    outcome = await home.run(command, "-c", str(home.config))

    assert (outcome.code, outcome.out) == (1, "")
    lines = outcome.err.splitlines()
    assert sorted(line.split(":")[0] for line in lines) == sorted(BROKEN_PATHS)
    assert all("; " in line for line in lines)
    assert not home.store.exists()


async def test_a_missing_config_is_refused(home: Home) -> None:
    """A file that was named and is not there is no reason to run on the defaults."""
    outcome = await home.run("serve", "-c", "nowhere.yaml")

    assert outcome.code == 1
    assert "nowhere.yaml" in outcome.err
    assert "Traceback" not in outcome.err


# --- check


async def test_a_valid_config_is_confirmed(home: Home) -> None:
    """`check` exits with 0, names the file, and makes no store."""
    outcome = await home.run("check", "-c", str(home.config))

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{home.config} is valid\n"
    assert not home.store.exists()


async def test_the_config_may_be_named_by_a_variable(home: Home) -> None:
    """`RINGSIDE_CONFIG` is taken where no -c is given."""
    outcome = await home.run("check", RINGSIDE_CONFIG=str(home.config))

    assert outcome.out == f"{home.config} is valid\n"


# --- token new


async def test_a_token_is_stored_while_no_proxy_runs(home: Home) -> None:
    """It is shown alone on stdout, works in the next process, and only its hash is kept."""
    outcome = await home.run("token", "new", "app", "-c", str(home.config))
    token = outcome.out.strip()

    async with home.serving() as server:
        is_let_in = await authenticates(server.url, token)

    assert outcome.code == 0
    assert TOKEN_SHAPE.fullmatch(outcome.out)
    assert is_let_in
    assert token.encode() not in b"".join(path.read_bytes() for path in store_files(home))


def store_files(home: Home) -> list[Path]:
    return [path for path in home.path.iterdir() if path.name.startswith(home.store.name)]


async def test_a_running_proxy_is_asked_for_a_token(home: Home) -> None:
    """With RINGSIDE_TOKEN the token is made over the API; it is valid at once and after a crash."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.configure(server={"port": port})
    async with home.serving() as server:
        command = ("token", "new", "web", "--role", "client", "--customer", "c_1")
        outcome = await home.run(*command, "-c", str(home.config), RINGSIDE_TOKEN=TOKEN)
        token = outcome.out.strip()
        is_let_in = await authenticates(server.url, token)
        await kill(server.process)

    async with home.serving() as server:
        is_let_in_later = await authenticates(server.url, token)

    assert outcome.code == 0
    assert TOKEN_SHAPE.fullmatch(outcome.out)
    assert (is_let_in, is_let_in_later) == (True, True)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, "A proxy is running on this store. Set RINGSIDE_TOKEN to a developer token"),
        ({"RINGSIDE_TOKEN": "ko_wrong"}, "The proxy refused: Incorrect API key provided"),
    ],
)
async def test_a_running_proxy_gives_no_token_to_strangers(
    home: Home, variables: dict[str, str], reason: str
) -> None:
    """Without a valid RINGSIDE_TOKEN the exit is 1, and the message says what is missing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.configure(server={"port": port})
    async with home.serving():
        before = len(home.logged())
        process = await home.launch("token", "new", "x", "-c", str(home.config), **variables)
        said, _ = await process.communicate()

    assert (process.returncode, said) == (1, b"")
    assert reason in home.logged()[before:]


@pytest.mark.parametrize("arguments", [("--role", "client"), ("--customer", "c_1")])
async def test_a_client_token_needs_a_customer(home: Home, arguments: tuple[str, ...]) -> None:
    """A client token without a customer, or a developer's with one, is refused; none is made."""
    outcome = await home.run("token", "new", "x", *arguments, "-c", str(home.config))

    assert (outcome.code, outcome.out) == (1, "")
    assert "'client' needs a 'customer'" in outcome.err
    assert not home.store.exists()


async def test_a_running_proxy_lists_and_revokes_tokens(home: Home) -> None:
    """`token list` shows who may call, `token revoke` ends one at once; both ask the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.configure(server={"port": port})
    with_config = ("-c", str(home.config))
    async with home.serving() as server:
        made = await home.run("token", "new", "web", *with_config, RINGSIDE_TOKEN=TOKEN)
        listed = await home.run("token", "list", *with_config, RINGSIDE_TOKEN=TOKEN)
        token_id = listed.out.splitlines()[1].split()[0]
        was_let_in = await authenticates(server.url, made.out.strip())
        revoked = await home.run("token", "revoke", token_id, *with_config, "--token", TOKEN)
        is_let_in = await authenticates(server.url, made.out.strip())

    assert [line.split()[1] for line in listed.out.splitlines()] == ["NAME", "web", "app"]
    assert (revoked.code, revoked.out) == (0, f"{token_id} is revoked\n")
    assert (was_let_in, is_let_in) == (True, False)


# --- usage


async def test_usage_is_told_by_the_proxy_or_the_store(home: Home) -> None:
    """The same line for line while a proxy runs, at its URL, and when it has stopped."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home.configure(server={"port": port})
    command = ("usage", "--month", "2025-11", "--format", "csv", "-c", str(home.config))
    async with home.serving() as server:
        asked = await home.run(*command, RINGSIDE_TOKEN=TOKEN)
        by_url = await home.run(*command, "--url", server.url, "--token", TOKEN)
        refused = await home.run(*command)
        assert await server.stop() == 0
    read = await home.run(*command)

    assert (asked.code, by_url.code, read.code) == (0, 0, 0)
    assert asked.out.startswith("customer,model,provider,requests,")
    assert asked.out == by_url.out == read.out
    assert (refused.code, refused.out) == (1, "")
    assert "Set RINGSIDE_TOKEN to a developer token" in refused.err


async def test_usage_of_no_store_is_refused(home: Home) -> None:
    """A store that is not there is named, and none is made."""
    outcome = await home.run("usage", "-c", str(home.config))

    assert (outcome.code, outcome.err) == (1, f"There is no store at {home.store}.\n")
    assert not home.store.exists()


# --- backup


async def test_a_backup_beside_a_running_proxy_is_whole(home: Home) -> None:
    """The copy holds what was acknowledged before it, and a proxy starts on it."""
    copy = home.path / "copy.db"
    async with home.serving() as server, Client.of(server.url) as client:
        thread = await client.post("/v1/threads", {"metadata": {"kept": "yes"}})
        outcome = await home.run("backup", "-c", str(home.config), str(copy))
        again = await home.run("backup", "-c", str(home.config), str(copy))
        await client.delete(f"/v1/threads/{thread['id']}")

    home.configure(store={"url": f"sqlite:///{copy}"})
    async with home.serving() as server, Client.of(server.url) as client:
        found = await client.get(f"/v1/threads/{thread['id']}")

    assert (outcome.code, outcome.out) == (0, f"{home.store} was copied to {copy}\n")
    assert (again.code, again.err) == (1, f"{copy} exists already; choose another name.\n")
    assert found == thread


async def test_a_backup_of_no_store_is_refused(home: Home) -> None:
    """A store that is not there is named, and no file is made."""
    outcome = await home.run("backup", "-c", str(home.config), "copy.db")

    assert (outcome.code, outcome.err) == (1, f"There is no store at {home.store}.\n")
    assert not (home.path / "copy.db").exists()


# --- sandbox


async def test_the_sandbox_serves_until_it_is_stopped(home: Home) -> None:
    """`ringside sandbox` answers on the address that it says, and SIGTERM ends it with 0."""
    process = await home.launch("sandbox", "--port", "0")
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        [url] = URL.findall(line)
        body = {"model": "echo", "messages": [{"role": "user", "content": "Are you there?"}]}
        headers = {"Authorization": "Bearer anything"}
        async with (
            aiohttp.ClientSession(url, headers=headers) as session,
            session.post("/v1/chat/completions", json=body) as response,
        ):
            answer = await response.json()
        process.send_signal(signal.SIGTERM)
        code = await process.wait()
    finally:
        await kill(process)

    assert line == f"The sandbox is ready on {url}/v1\n"
    assert answer["choices"][0]["message"]["content"] == "Are you there?"
    assert code == 0
