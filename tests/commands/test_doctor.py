"""`ringside doctor` finds what is wrong, says what to do, and is content with what is right."""

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ringside_proxy.commands import doctor
from ringside_proxy.commands.doctor import Finding
from ringside_proxy.delivery.secrets import Secrets
from ringside_proxy.store import webhooks
from ringside_proxy.store.db import Database
from ringside_proxy.store.vault import Vault, key_file_of
from ringside_proxy.system import SystemClock, system_ids
from tests.api.live import Live, following
from tests.api.rig import DEVELOPER
from tests.crash.process import Home
from tests.fakes import FakeClock

DAY_MS = 24 * 3600 * 1000


def configured(home: Path, **sections: Any) -> Path:
    """A configuration file on a store in `home`, on ports where nobody is."""
    path = home / "ringside.yaml"
    usual = {
        "server": {"port": 0},
        "admin": {"port": 0},
        "store": {"url": f"sqlite:///{home}/data/ringside.db"},
        "auth": {"tokens": [{"name": "app", "token": DEVELOPER}]},
    }
    path.write_text(json.dumps(usual | sections))
    return path


def examined(path: Path, clock: Any = None, **env: str) -> list[Finding]:
    """Every finding."""
    return doctor.examine(path, env, clock or SystemClock(), system_ids())[1]


def about(findings: list[Finding], subject: str, level: str = "FAIL") -> list[str]:
    """What was found so about a subject."""
    return [f.text for f in findings if (f.subject, f.level) == (subject, level)]


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A folder with a store that was closed in good order."""
    db = await Database.open(tmp_path / "data/ringside.db", SystemClock())
    await db.close()
    return tmp_path


async def test_a_sound_proxy_is_well(home: Path) -> None:
    """Nothing to put right, and each look has said something."""
    findings = examined(configured(home))

    assert doctor.is_well(findings)
    assert {f.subject for f in findings} >= {"config", "access", "store", "disk", "clock", "sqlite"}
    assert about(findings, "store", "ok")[0].endswith("no proxy runs on it")


async def test_every_finding_that_is_not_fine_says_what_to_do(tmp_path: Path) -> None:
    """No complaint without a remedy."""
    path = configured(tmp_path, auth={"required": False}, log={"level": "loud"}, sl={})

    findings = examined(path)

    assert all(f.remedy for f in findings if f.level != "ok")


def test_problems_of_the_configuration_are_named(tmp_path: Path) -> None:
    """All of them, with place and remedy; the looks that need none go on."""
    findings = examined(configured(tmp_path, log={"level": "loud"}, slotts={}))

    assert len(about(findings, "config")) == 2
    assert "slots" in next(f.remedy for f in findings if f.text.startswith("slotts"))
    assert about(findings, "sqlite", "ok")
    assert not doctor.is_well(findings)


@pytest.mark.parametrize(
    ("auth", "text"),
    [
        ({"required": False}, "everyone on this machine may use the API"),
        ({"tokens": [{"name": "app", "token": "ko_localhost"}]}, "ko_localhost opens the API"),
    ],
)
def test_a_door_that_everyone_opens_is_looked_at(
    tmp_path: Path, auth: dict[str, Any], text: str
) -> None:
    """Allowed on loopback, and worth a look."""
    [found] = about(examined(configured(tmp_path, auth=auth)), "access", "warn")

    assert text in found


def test_a_slot_that_cannot_answer_is_found(tmp_path: Path) -> None:
    """One with nobody behind it has to be put right; of another, who is passed over is said."""
    there, away = "fc:sandbox/echo", "fc:mistral/m"
    slots: dict[str, Any] = {
        "good": there,
        "half": {"models": [{"model": away, "weight": 2}], "fallbacks": [there, "fc:xai/grok-4"]},
        "none": {"model": away},
    }

    findings = examined(configured(tmp_path, providers={"sandbox": {}}, slots=slots))
    content = examined(configured(tmp_path, providers={"sandbox": {}}, slots={"good": there}))

    assert about(findings, "slots") == [
        "slot:none has nobody to answer: no provider of its models has a key"
    ]
    assert about(findings, "slots", "warn") == [
        "slot:half passes over fc:mistral/m, fc:xai/grok-4: there is no key for it"
    ]
    assert [f.remedy for f in findings if f.subject == "slots"] == [
        "give providers.mistral, providers.xai a key, or take the model out",
        "give providers.mistral a key, or name another model",
    ]
    assert about(content, "slots", "ok") == ["every model of every slot has its provider"]


async def test_a_damaged_store_is_found(home: Path) -> None:
    """Before the next start does."""
    store = home / "data/ringside.db"
    data = bytearray(store.read_bytes())
    data[4096 : 4096 + 2000] = b"\xff" * 2000
    store.write_bytes(data)

    findings = examined(configured(home))

    assert "is damaged" in about(findings, "store")[0]


async def test_a_key_that_is_lost_is_found(home: Path) -> None:
    """No start is made without it; with it all is well, and nothing is made either way."""
    path = home / "data/ringside.db"
    key_file = key_file_of(path)
    db = await Database.open(path, SystemClock())
    sealed = Secrets(Vault.of((), path)).seal("wh_1", "whsec_" + "A" * 44)
    await db.write(webhooks.insert, "wh_1", "https://example.com/", ["*"], sealed, "whsec_…")
    await db.close()

    with_key = examined(configured(home))
    key = key_file.read_text()
    key_file.unlink()
    without = examined(configured(home))
    is_made = key_file.exists()
    given = examined(configured(home), RINGSIDE_MASTER_KEYS=key.strip())

    said = ["1 in the store, and their keys are here"]
    assert about(with_key, "secrets", "ok") == about(given, "secrets", "ok") == said
    assert "sealed with the key" in about(without, "secrets")[0]
    assert not is_made


@pytest.mark.parametrize(("schema", "level"), [(99, "FAIL"), (1, "warn")])
async def test_a_store_of_another_version_is_found(home: Path, schema: int, level: str) -> None:
    """A newer one is refused, an older one will be brought up."""
    with closing(sqlite3.connect(home / "data/ringside.db")) as connection:
        connection.execute(f"PRAGMA user_version = {schema}")

    [found] = about(examined(configured(home)), "store", level)

    assert f"schema {schema}" in found


async def test_a_store_that_everyone_reads_is_found(home: Path) -> None:
    """It holds what customers wrote."""
    os.chmod(home / "data/ringside.db", 0o644)

    assert "everyone may read" in about(examined(configured(home)), "store", "warn")[0]


async def test_looking_leaves_the_store_to_others(home: Path) -> None:
    """A proxy can be started right after it, and its running is seen."""
    path = configured(home)
    examined(path)

    db = await Database.open(home / "data/ringside.db", SystemClock())
    try:
        findings = examined(path)
    finally:
        await db.close()

    assert about(findings, "store", "ok")[0].endswith("a proxy runs on it")


async def test_a_clock_far_ahead_of_the_store_is_found(home: Path) -> None:
    """It would open a fresh month of budgets."""
    now = SystemClock().now_ms()
    with closing(sqlite3.connect(home / "data/ringside.db")) as connection:
        connection.execute("UPDATE ledger_clock SET seen_ms = ?", (now,))
        connection.commit()

    sound = examined(configured(home))
    findings = examined(configured(home), FakeClock(now + 36 * DAY_MS))

    assert about(sound, "clock") == []
    assert "35 days ahead" in about(findings, "clock")[0]


def test_a_clock_in_the_past_is_found(tmp_path: Path) -> None:
    """No signature and no certificate holds by it."""
    assert about(examined(configured(tmp_path), FakeClock(0)), "clock")


@pytest.mark.parametrize(("kind", "level"), [("nfs4", "FAIL"), ("fuse.sshfs", "FAIL")])
def test_a_shared_file_system_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, level: str
) -> None:
    """The longest mount point that the store is under counts."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/x {tmp_path} {kind} rw 0 0\n")
    monkeypatch.setattr(doctor, "MOUNTS", mounts)

    assert kind in about(examined(configured(tmp_path)), "store", level)[0]


def test_a_secret_that_everyone_reads_is_found(tmp_path: Path) -> None:
    """Through the links of a mounted Secret, too."""
    (tmp_path / "..data").mkdir()
    real = tmp_path / "..data/key"
    real.write_text("k")
    real.chmod(0o644)
    (tmp_path / "key").symlink_to("..data/key")
    path = configured(tmp_path, providers={"openai": {"api_key": f"file:{tmp_path}/key"}})

    found = about(examined(path), "permissions", "warn")

    assert f"everyone may read {real}" in found


async def test_a_running_proxy_is_asked_how_it_is(tmp_path: Path) -> None:
    """Its probes, and with a token whether it runs what the file holds."""
    async with following(tmp_path) as live:
        path = at(live, tmp_path / "asking.yaml")
        well = await asyncio.to_thread(examined, path, None, RINGSIDE_TOKEN=DEVELOPER)
        live.path.write_text('{"slots": {"fast": "gpt-4o"}}')
        await live.reload()
        ill = await asyncio.to_thread(examined, path, None, RINGSIDE_TOKEN=DEVELOPER)
        live.proxy.is_draining = True
        draining = await asyncio.to_thread(examined, path)

    assert len(about(well, "proxy", "ok")) == 2
    assert about(well, "reload", "ok")
    assert "slots.fast.model" in about(ill, "reload")[0]
    assert "draining" in about(draining, "proxy")[0]


def at(live: Live, path: Path) -> Path:
    """A configuration with the ports that a running proxy took."""
    ports = {
        "server": {"port": int(live.proxy.url.rpartition(":")[2])},
        "admin": {"port": int(live.proxy.admin_url.rpartition(":")[2])},
    }
    path.write_text(json.dumps(json.loads(live.path.read_text()) | ports))
    return path


async def test_the_command_says_it_by_its_exit_code(tmp_path: Path) -> None:
    """0 if nothing has to be put right, 1 if something has; the sum is the last line."""
    home = Home(tmp_path)
    well = await home.run("doctor", "-c", str(home.config))
    home.configure(log={"level": "loud"})
    ill = await home.run("doctor", "-c", str(home.config))

    assert (well.code, ill.code) == (0, 1)
    assert well.out.splitlines()[-1].startswith("0 to put right")
    assert "FAIL  config       log.level" in ill.out
