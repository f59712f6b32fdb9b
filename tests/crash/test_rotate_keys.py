"""Keys that seal the store's secrets: `ringside rotate-keys`, and what a start does by itself."""

import base64
from pathlib import Path
from typing import Any, Final

from tests.crash.client import Client
from tests.crash.process import Home

OLD: Final = base64.b64encode(b"o" * 32).decode()
NEW: Final = base64.b64encode(b"n" * 32).decode()
WEBHOOK: Final = {"url": "https://hooks.example.com/", "events": ["*"]}


def key_file(home: Home) -> Path:
    """The key of a store without master keys."""
    return Path(f"{home.store}.key")


async def make_webhook(home: Home, **variables: str) -> Any:
    """A webhook with a sealed secret, made by a proxy that is stopped afterwards."""
    async with home.serving(**variables) as server, Client.of(server.url) as client:
        made = await client.post("/v1/webhooks", WEBHOOK)
        assert await server.stop() == 0
    return made


async def can_open(home: Home, **variables: str) -> bool:
    """Whether a proxy starts, which opens every secret."""
    async with home.serving(**variables) as server:
        return await server.stop() == 0


async def test_key_of_the_store_is_exchanged(home: Home) -> None:
    """The old key is gone from its file, and everything opens with the new one."""
    await make_webhook(home)
    before = key_file(home).read_text()

    rotated = await home.run("rotate-keys", "-c", str(home.config))

    assert (rotated.code, rotated.out.startswith("1 secrets were sealed anew")) == (0, True)
    assert key_file(home).read_text() != before
    assert len(key_file(home).read_text().split()) == 1
    assert await can_open(home)


async def test_master_keys_are_exchanged(home: Home) -> None:
    """The new one first, both while it lasts; then the old one is not needed."""
    await make_webhook(home, RINGSIDE_MASTER_KEYS=OLD)

    rotated = await home.run(
        "rotate-keys", "-c", str(home.config), RINGSIDE_MASTER_KEYS=f"{NEW},{OLD}"
    )

    assert rotated.code == 0
    assert not key_file(home).exists()
    assert await can_open(home, RINGSIDE_MASTER_KEYS=NEW)


async def test_start_seals_with_the_first_key(home: Home) -> None:
    """A restart with both keys is enough."""
    await make_webhook(home, RINGSIDE_MASTER_KEYS=OLD)

    assert await can_open(home, RINGSIDE_MASTER_KEYS=f"{NEW},{OLD}")

    assert await can_open(home, RINGSIDE_MASTER_KEYS=NEW)


async def test_start_without_the_key_says_so(home: Home) -> None:
    """Before anything is served, with the way out; and nothing is changed by it."""
    await make_webhook(home, RINGSIDE_MASTER_KEYS=OLD)

    refused = await home.run("serve", "-c", str(home.config), RINGSIDE_MASTER_KEYS=NEW)

    assert refused.code == 1
    assert "RINGSIDE_MASTER_KEYS" in refused.err
    assert OLD not in refused.err
    assert NEW not in refused.err
    assert await can_open(home, RINGSIDE_MASTER_KEYS=OLD)


async def test_webhooks_of_a_lost_key_can_be_given_up(home: Home) -> None:
    """They are deleted, on request alone, and the proxy starts again."""
    await make_webhook(home, RINGSIDE_MASTER_KEYS=OLD)
    command = ("rotate-keys", "-c", str(home.config))

    refused = await home.run(*command, RINGSIDE_MASTER_KEYS=NEW)
    dropped = await home.run(*command, "--drop-unreadable", RINGSIDE_MASTER_KEYS=NEW)

    assert (refused.code, "--drop-unreadable" in refused.err) == (1, True)
    assert (dropped.code, dropped.out.startswith("1 webhooks were deleted")) == (0, True)
    assert await can_open(home, RINGSIDE_MASTER_KEYS=NEW)


async def test_keys_are_not_exchanged_under_a_running_proxy(home: Home) -> None:
    """It would go on with the old one; the command says what to do."""
    async with home.serving():
        refused = await home.run("rotate-keys", "-c", str(home.config))

    assert refused.code == 1
    assert "restart it" in refused.err


async def test_wrong_master_key_is_named_by_its_place(home: Home) -> None:
    """And not repeated."""
    checked = await home.run(
        "check", "-c", str(home.config), RINGSIDE_MASTER_KEYS=f"{NEW},hunter2hunter2"
    )

    assert checked.code == 1
    assert "RINGSIDE_MASTER_KEYS: key 2 is not 32 bytes in base64; make one with" in checked.err
    assert "hunter2" not in checked.err


async def test_backup_says_what_its_secrets_need(home: Home) -> None:
    """The key lies beside the store and is not in the copy."""
    await make_webhook(home)

    copied = await home.run("backup", "-c", str(home.config), str(home.path / "copy.db"))

    assert str(key_file(home)) in copied.out
